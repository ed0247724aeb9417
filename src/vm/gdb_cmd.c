/*
 * vm/gdb_cmd.c: what packets mean: registers, memory, points, going on.  (GDB manual, appendix E "Packets")
 * Threads are vCPUs: thread n is vCPU n - 1.  A packet that has no row is answered by an empty one: gdb then does without.
 */
#include "cpu/walk.h"
#include "vm/gdb_internal.h"
#include "vm/gdb_query.h"
#include "vm/gdb_regs.h"

enum { MEM_BYTES_MAX = 4096 }; /* of one packet; it has two digits for each */

static void send_text(struct gdb *g, const char *text)
{
    gdb_send(g, text, strlen(text));
}

static void send_error(struct gdb *g, int code)
{
    char text[8];

    str_fmt(text, sizeof(text), "E%02x", (u32)-code & 0xff);
    send_text(g, text);
}

static void send_result(struct gdb *g, int r)
{
    if (r < 0)
        send_error(g, r);
    else
        send_text(g, "OK");
}

struct vcpu_state *gdb_regs(struct gdb *g)
{
    struct err e = {};

    if (g->regs_of == g->cpu)
        return g->regs;
    g->regs_of = -1;
    if (vcpu_regs_get(cpu_vcpu(g->vm->cpu, g->cpu), g->regs, &e) < 0) {
        log_warn("debugger: %s", e.text);
        return NULL;
    }
    g->regs_of = g->cpu;
    return g->regs;
}

u64 gdb_mem_read(struct gdb *g, u64 addr, void *buf, u64 len)
{
    const struct vcpu_state *s;

    if (g->phys)
        return mem_read(g->vm->mem, addr, buf, len) < 0 ? 0 : len;
    s = gdb_regs(g);
    return s ? walk_read(s, g->vm->mem, addr, buf, len) : 0;
}

u64 gdb_mem_write(struct gdb *g, u64 addr, const void *buf, u64 len)
{
    const struct vcpu_state *s;

    if (g->phys)
        return mem_write(g->vm->mem, addr, buf, len) < 0 ? 0 : len;
    s = gdb_regs(g);
    return s ? walk_write(s, g->vm->mem, addr, buf, len) : 0;
}

/* "thread:1;watch:…" */
void gdb_tell_stop(struct gdb *g)
{
    static const char *const words[GDB_POINT_TYPES] = {
        [GDB_WRITE] = "watch", [GDB_READ] = "rwatch", [GDB_ACCESS] = "awatch"
    };
    const struct cpu_stop *stop = &cpu_vcpu(g->vm->cpu, g->stop_cpu)->debug;
    const struct gdb_point *p = g->stop_is_hit ? gdb_point_of(g, stop) : NULL;
    AUTO(strbuf) struct strbuf text = {};

    strbuf_add(&text, "T%02x", g->signal);
    if (p && words[p->type])
        strbuf_add(&text, "%s:%llx;", words[p->type], stop->addr);
    else if (p && p->type == GDB_SOFT && g->says_swbreak)
        strbuf_add(&text, "swbreak:;");
    else if (p && p->type == GDB_HARD && g->says_hwbreak)
        strbuf_add(&text, "hwbreak:;");
    strbuf_add(&text, "thread:%x;", g->stop_cpu + 1);
    gdb_send(g, text.text, text.len);
}

static void cmd_why(struct gdb *g, const char *, size_t)
{
    gdb_tell_stop(g);
}

/* Registers. */

static void cmd_regs_get(struct gdb *g, const char *, size_t)
{
    const struct vcpu_state *s = gdb_regs(g);
    AUTO(strbuf) struct strbuf text = {};
    u8 value[GDB_REG_SIZE_MAX];

    if (!s) {
        send_error(g, -EIO);
        return;
    }
    for (u32 i = 0; i < gdb_regs_count(); i++) {
        gdb_regs_get(s, i, value);
        gdb_hex_add(&text, value, gdb_regs_size(i));
    }
    gdb_send(g, text.text, text.len);
}

static int write_regs(struct gdb *g)
{
    struct err e = {};
    int r = vcpu_regs_set(cpu_vcpu(g->vm->cpu, g->cpu), g->regs, &e);

    if (r < 0)
        log_warn("debugger: %s", e.text);
    g->regs_of = -1; /* what the vCPU made of it is read again */
    return r;
}

static int set_all_regs(struct gdb *g, const char *text)
{
    struct vcpu_state *s = gdb_regs(g);
    u8 value[GDB_REG_SIZE_MAX];

    if (!s)
        return -EIO;
    for (u32 i = 0; i < gdb_regs_count() && *text; i++) {
        if (!gdb_hex_bytes(text, value, gdb_regs_size(i))) {
            g->regs_of = -1;
            return -EINVAL;
        }
        gdb_regs_set(s, i, value);
        text += (size_t)2 * gdb_regs_size(i);
    }
    return write_regs(g);
}

static void cmd_regs_set(struct gdb *g, const char *text, size_t)
{
    send_result(g, set_all_regs(g, text));
}

static void cmd_reg_get(struct gdb *g, const char *text, size_t)
{
    const struct vcpu_state *s = gdb_regs(g);
    AUTO(strbuf) struct strbuf reply = {};
    u8 value[GDB_REG_SIZE_MAX];
    u64 n;

    if (!s || !gdb_hex_number(&text, &n) || n >= gdb_regs_count()) {
        send_error(g, -EINVAL);
        return;
    }
    gdb_regs_get(s, (u32)n, value);
    gdb_hex_add(&reply, value, gdb_regs_size((u32)n));
    gdb_send(g, reply.text, reply.len);
}

static int set_reg(struct gdb *g, const char *text)
{
    struct vcpu_state *s = gdb_regs(g);
    u8 value[GDB_REG_SIZE_MAX];
    u64 n;

    if (!s || !gdb_hex_number(&text, &n) || n >= gdb_regs_count() || *text++ != '=' ||
        !gdb_hex_bytes(text, value, gdb_regs_size((u32)n)))
        return -EINVAL;
    gdb_regs_set(s, (u32)n, value);
    return write_regs(g);
}

static void cmd_reg_set(struct gdb *g, const char *text, size_t)
{
    send_result(g, set_reg(g, text));
}

/* Memory. */

/* "addr,length" and then `end` (0: the text ends). */
static bool parse_range(const char **text, char end, u64 *addr, u64 *len)
{
    if (!gdb_hex_number(text, addr) || *(*text)++ != ',' || !gdb_hex_number(text, len))
        return false;
    return **text == end;
}

static void send_memory(struct gdb *g, const char *text, bool binary)
{
    AUTO(strbuf) struct strbuf reply = {};
    u8 buf[MEM_BYTES_MAX];
    u64 addr, len;

    if (!parse_range(&text, 0, &addr, &len)) {
        send_error(g, -EINVAL);
        return;
    }
    u64 want = min(len, (u64)MEM_BYTES_MAX);
    u64 got = gdb_mem_read(g, addr, buf, want);
    if (!got && want) {
        send_error(g, -EFAULT);
        return;
    }
    if (binary) {
        strbuf_add(&reply, "b");
        strbuf_add_mem(&reply, buf, got);
    } else {
        gdb_hex_add(&reply, buf, got);
    }
    gdb_send(g, reply.text, reply.len);
}

static void cmd_mem_get(struct gdb *g, const char *text, size_t)
{
    send_memory(g, text, false);
}

static void cmd_mem_get_binary(struct gdb *g, const char *text, size_t)
{
    send_memory(g, text, true);
}

static int set_memory(struct gdb *g, const char *text)
{
    u8 buf[MEM_BYTES_MAX * 2];
    u64 addr, len;

    if (!parse_range(&text, ':', &addr, &len) || len > sizeof(buf) ||
        !gdb_hex_bytes(text + 1, buf, len))
        return -EINVAL;
    return gdb_mem_write(g, addr, buf, len) == len ? 0 : -EFAULT;
}

static void cmd_mem_set(struct gdb *g, const char *text, size_t)
{
    send_result(g, set_memory(g, text));
}

static int set_memory_binary(struct gdb *g, const char *text, const char *end)
{
    u64 addr, len;

    if (!parse_range(&text, ':', &addr, &len) || len != (u64)(end - text - 1))
        return -EINVAL;
    return gdb_mem_write(g, addr, text + 1, len) == len ? 0 : -EFAULT;
}

static void cmd_mem_set_binary(struct gdb *g, const char *text, size_t len)
{
    send_result(g, set_memory_binary(g, text, text + len));
}

/* Points. */

/* "type,addr,kind" with whatever behind it. */
static bool parse_point(const char *text, struct gdb_point *ret)
{
    u64 type, addr, len;

    if (!gdb_hex_number(&text, &type) || *text++ != ',' || !gdb_hex_number(&text, &addr) ||
        *text++ != ',' || !gdb_hex_number(&text, &len) || type >= GDB_POINT_TYPES)
        return false;
    *ret = (struct gdb_point){ (enum gdb_point_type)type, addr, type > GDB_HARD ? len : 1 };
    return true;
}

static void cmd_point_add(struct gdb *g, const char *text, size_t)
{
    struct gdb_point p;

    send_result(g, parse_point(text, &p) ? gdb_point_add(g, &p) : -EINVAL);
}

static void cmd_point_remove(struct gdb *g, const char *text, size_t)
{
    struct gdb_point p;

    if (!parse_point(text, &p)) {
        send_error(g, -EINVAL);
        return;
    }
    gdb_point_remove(g, &p);
    send_text(g, "OK");
}

/* Threads, and going on. */

/* "0" is any, "-1" all; both are -1 here. */
static bool parse_thread(struct gdb *g, const char **text, s64 *ret)
{
    u64 id;

    if (str_starts(*text, "-1")) {
        *text += 2;
        *ret = -1;
        return true;
    }
    if (!gdb_hex_number(text, &id) || id > cpu_count(g->vm->cpu))
        return false;
    *ret = (s64)id - 1;
    return true;
}

static void cmd_thread(struct gdb *g, const char *text, size_t)
{
    char what = *text;
    s64 cpu;

    if (what)
        text++;
    if ((what != 'g' && what != 'c') || !parse_thread(g, &text, &cpu)) {
        send_error(g, -EINVAL);
        return;
    }
    if (what == 'c')
        g->cpu_go = cpu;
    else if (cpu >= 0)
        g->cpu = (u32)cpu;
    send_text(g, "OK");
}

static void cmd_alive(struct gdb *g, const char *text, size_t)
{
    s64 cpu;

    send_result(g, parse_thread(g, &text, &cpu) && cpu >= 0 ? 0 : -EINVAL);
}

/* "s" of one thread leaves the others where they are: gdb steps over a breakpoint so. */
static void cmd_step(struct gdb *g, const char *, size_t)
{
    u32 cpu = g->cpu_go >= 0 ? (u32)g->cpu_go : g->cpu;

    gdb_go(g, cpu_mask(g->vm->cpu) & ~(1ull << cpu), 1ull << cpu);
}

static void cmd_go(struct gdb *g, const char *, size_t)
{
    gdb_go(g, 0, 0);
}

/* One action of vCont for the vCPUs that have none yet. */
static bool take_action(struct gdb *g, const char **text, u64 *have, u64 *runs, u64 *steps)
{
    char action = *(*text)++;
    s64 cpu = -1;
    u64 mask, signal;

    if ((action == 'C' || action == 'S') && !gdb_hex_number(text, &signal))
        return false;
    if (!strchr("cCsSt", action))
        return false;
    if (**text == ':') {
        (*text)++;
        if (!parse_thread(g, text, &cpu))
            return false;
    }
    mask = (cpu < 0 ? cpu_mask(g->vm->cpu) : 1ull << cpu) & ~*have;
    *have |= mask;
    if (action != 't')
        *runs |= mask;
    if (action == 's' || action == 'S')
        *steps |= mask;
    return true;
}

static void cmd_vcont(struct gdb *g, const char *text, size_t)
{
    u64 have = 0, runs = 0, steps = 0;

    while (*text == ';') {
        text++;
        if (!*text || !take_action(g, &text, &have, &runs, &steps))
            break;
    }
    if (*text || !runs)
        send_error(g, -EINVAL);
    else
        gdb_go(g, cpu_mask(g->vm->cpu) & ~runs, steps);
}

static void cmd_vcont_what(struct gdb *g, const char *, size_t)
{
    send_text(g, "vCont;c;C;s;S;t");
}

static void cmd_detach(struct gdb *g, const char *, size_t)
{
    send_text(g, "OK");
    gdb_detach(g);
}

static void cmd_kill(struct gdb *g, const char *, size_t)
{
    g->owes_stop = false;
    run_end(g->vm, VM_END_CUT, 0, "the debugger wished it");
}

static void cmd_vkill(struct gdb *g, const char *text, size_t len)
{
    send_text(g, "OK");
    cmd_kill(g, text, len);
}

/* clang-format off */
static const struct row {
    const char *prefix; /* longer ones first */
    void (*fn)(struct gdb *g, const char *rest, size_t len);
} rows[] = {
    { "vCont?", cmd_vcont_what },
    { "vCont",  cmd_vcont },
    { "vKill;", cmd_vkill },
    { "?",      cmd_why },
    { "g",      cmd_regs_get },
    { "G",      cmd_regs_set },
    { "p",      cmd_reg_get },
    { "P",      cmd_reg_set },
    { "m",      cmd_mem_get },
    { "M",      cmd_mem_set },
    { "x",      cmd_mem_get_binary },
    { "X",      cmd_mem_set_binary },
    { "Z",      cmd_point_add },
    { "z",      cmd_point_remove },
    { "H",      cmd_thread },
    { "T",      cmd_alive },
    { "c",      cmd_go },
    { "C",      cmd_go },
    { "s",      cmd_step },
    { "S",      cmd_step },
    { "D",      cmd_detach },
    { "k",      cmd_kill },
};
/* clang-format on */

void gdb_command(struct gdb *g, const char *packet, size_t len)
{
    if (*packet == 'q' || *packet == 'Q') {
        gdb_query(g, packet, len);
        return;
    }
    for_each_row(r, rows) {
        size_t n = strlen(r->prefix);

        if (len < n || memcmp(packet, r->prefix, n) != 0)
            continue;
        r->fn(g, packet + n, len - n);
        return;
    }
    gdb_send(g, "", 0);
}
