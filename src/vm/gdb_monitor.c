/*
 * vm/gdb_monitor.c: commands of our own that gdb passes on: `monitor TEXT`.
 */
#include "vm/gdb_internal.h"

static void mon_help(struct gdb *g, const char *arg, struct strbuf *out);

static void mon_phys(struct gdb *g, const char *arg, struct strbuf *out)
{
    if (strcmp(arg, "on") == 0 || strcmp(arg, "off") == 0)
        g->phys = strcmp(arg, "on") == 0;
    else if (*arg)
        strbuf_add(out, "'on' or 'off' is wanted\n");
    strbuf_add(out, "addresses are guest-%s\n", g->phys ? "physical" : "virtual");
}

static void mon_inspect(struct gdb *g, const char *arg, struct strbuf *out)
{
    if (!inspect_print(g->vm, arg, out))
        strbuf_add(out, "\nthere is no such device: 'inspect' without a name shows all");
    strbuf_add(out, "\n");
}

static void mon_translate(struct gdb *g, const char *arg, struct strbuf *out)
{
    struct err e = {};
    u64 gva, gpa;

    if (str_u64(arg, &gva) < 0)
        strbuf_add(out, "an address is wanted, as 0xffffffff81000000\n");
    else if (vcpu_translate(cpu_vcpu(g->vm->cpu, g->cpu), gva, &gpa, &e) < 0)
        strbuf_add(out, "%s\n", e.text);
    else
        strbuf_add(out, "0x%llx\n", gpa);
}

/* clang-format off */
static const struct row {
    const char *name, *usage, *doc;
    void (*fn)(struct gdb *g, const char *arg, struct strbuf *out);
} rows[] = {
    { "help",      "",         "this",                                                      mon_help },
    { "phys",      "[on|off]", "take addresses as guest-physical, not as the vCPU has them", mon_phys },
    { "translate", "ADDRESS",  "where a virtual address lies in guest-physical memory",     mon_translate },
    { "inspect",   "[DEVICE]", "registers of a device, of vcpuN, of irqchip, or of all",    mon_inspect },
};
/* clang-format on */

static void mon_help(struct gdb *, const char *, struct strbuf *out)
{
    for_each_row(r, rows)
        strbuf_add(out, "%-10s %-10s %s\n", r->name, r->usage, r->doc);
}

void gdb_monitor(struct gdb *g, const char *text, struct strbuf *out)
{
    for_each_row(r, rows) {
        size_t n = strlen(r->name);

        if (strncmp(text, r->name, n) != 0 || (text[n] && text[n] != ' '))
            continue;
        text += n;
        while (*text == ' ')
            text++;
        r->fn(g, text, out);
        return;
    }
    strbuf_add(out, "there is no such command; these are:\n");
    mon_help(g, "", out);
}
