/*
 * vm/gdb_query.c: what gdb asks and sets in general.  (GDB manual, E.4 "General Query Packets")
 */
#include "vm/gdb_query.h"

#include "vm/gdb_regs.h"

#include <stdlib.h>

static void send_text(struct gdb *g, const char *text)
{
    gdb_send(g, text, strlen(text));
}

static void q_supported(struct gdb *g, const char *text, size_t)
{
    AUTO(strbuf) struct strbuf reply = {};

    g->says_swbreak = strstr(text, "swbreak+") != NULL;
    g->says_hwbreak = strstr(text, "hwbreak+") != NULL;
    strbuf_add(&reply,
               "PacketSize=%x;qXfer:features:read+;qXfer:threads:read+;QStartNoAckMode+;"
               "vContSupported+;swbreak+;hwbreak+;binary-upload+",
               GDB_PACKET_MAX);
    gdb_send(g, reply.text, reply.len);
}

/* The part of `whole` that "offset,length" asks for: 'm', or 'l' when it is the last. */
static void send_part(struct gdb *g, const struct strbuf *whole, const char *range)
{
    AUTO(strbuf) struct strbuf reply = {};
    u64 at, want;

    if (!gdb_hex_number(&range, &at) || *range++ != ',' || !gdb_hex_number(&range, &want) ||
        at > whole->len) {
        send_text(g, "E16");
        return;
    }
    want = min(want, (u64)GDB_PACKET_MAX / 2); /* escapes may double it */
    strbuf_add(&reply, "%s", want < whole->len - at ? "m" : "l");
    strbuf_add_mem(&reply, whole->text + at, min(want, whole->len - at));
    gdb_send(g, reply.text, reply.len);
}

static void q_features(struct gdb *g, const char *range, size_t)
{
    AUTO(strbuf) struct strbuf xml = {};

    gdb_regs_xml(&xml);
    send_part(g, &xml, range);
}

static void q_threads(struct gdb *g, const char *range, size_t)
{
    AUTO(strbuf) struct strbuf xml = {};

    strbuf_add(&xml, "<?xml version=\"1.0\"?><threads>");
    for (u32 i = 0; i < cpu_count(g->vm->cpu); i++)
        strbuf_add(&xml, "<thread id=\"%x\" core=\"%u\" name=\"vcpu%u\"/>", i + 1, i, i);
    strbuf_add(&xml, "</threads>");
    send_part(g, &xml, range);
}

static void q_thread_list(struct gdb *g, const char *, size_t)
{
    AUTO(strbuf) struct strbuf reply = {};

    for (u32 i = 0; i < cpu_count(g->vm->cpu); i++)
        strbuf_add(&reply, "%c%x", i ? ',' : 'm', i + 1);
    gdb_send(g, reply.text, reply.len);
}

static void q_thread_list_end(struct gdb *g, const char *, size_t)
{
    send_text(g, "l");
}

/* One line about a thread in `info threads`. */
static void q_thread_extra(struct gdb *g, const char *text, size_t)
{
    static const char *const states[] = { [VCPU_RUNNABLE] = "runs",
                                          [VCPU_WAIT_SIPI] = "waits to be started",
                                          [VCPU_HALTED] = "halted",
                                          [VCPU_INIT_RECEIVED] = "INIT received",
                                          [VCPU_SIPI_RECEIVED] = "SIPI received" };
    AUTO(free) struct vcpu_state *s = xnew(struct vcpu_state);
    AUTO(strbuf) struct strbuf reply = {};
    const char *state = "?";
    u64 id;

    if (!gdb_hex_number(&text, &id) || id < 1 || id > cpu_count(g->vm->cpu)) {
        send_text(g, "E16");
        return;
    }
    if (vcpu_regs_get(cpu_vcpu(g->vm->cpu, (u32)id - 1), s, NULL) >= 0 &&
        s->run_state < ARRAY_LEN(states))
        state = states[s->run_state];
    gdb_hex_add(&reply, state, strlen(state));
    gdb_send(g, reply.text, reply.len);
}

static void q_current(struct gdb *g, const char *, size_t len)
{
    AUTO(strbuf) struct strbuf reply = {};

    if (len) { /* qCRC */
        send_text(g, "");
        return;
    }
    strbuf_add(&reply, "QC%x", g->cpu + 1);
    gdb_send(g, reply.text, reply.len);
}

/* "1": it was there before gdb came, so that gdb leaves it alive when it quits. */
static void q_attached(struct gdb *g, const char *, size_t)
{
    send_text(g, "1");
}

static void q_monitor(struct gdb *g, const char *text, size_t len)
{
    AUTO(free) char *line = alloc_x(1, len / 2 + 1);
    AUTO(strbuf) struct strbuf out = {};

    if (!gdb_hex_bytes(text, (u8 *)line, len / 2)) {
        send_text(g, "E16");
        return;
    }
    gdb_monitor(g, line, &out);
    for (size_t at = 0; at < out.len; at += GDB_PACKET_MAX / 4) {
        AUTO(strbuf) struct strbuf part = {};

        strbuf_add(&part, "O");
        gdb_hex_add(&part, out.text + at, min(out.len - at, (size_t)GDB_PACKET_MAX / 4));
        gdb_send(g, part.text, part.len);
    }
    send_text(g, "OK");
}

static void q_phys_get(struct gdb *g, const char *, size_t)
{
    send_text(g, g->phys ? "1" : "0");
}

static void q_phys_set(struct gdb *g, const char *text, size_t)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0) {
        send_text(g, "E16");
        return;
    }
    g->phys = *text == '1';
    send_text(g, "OK");
}

static void q_no_ack(struct gdb *g, const char *, size_t)
{
    send_text(g, "OK");
    g->no_ack = true;
}

static void q_empty(struct gdb *g, const char *, size_t)
{
    send_text(g, "");
}

/* clang-format off */
static const struct row {
    const char *prefix; /* longer ones first */
    void (*fn)(struct gdb *g, const char *rest, size_t len);
} rows[] = {
    { "qSupported",                      q_supported },
    { "qXfer:features:read:target.xml:", q_features },
    { "qXfer:threads:read::",            q_threads },
    { "qfThreadInfo",                    q_thread_list },
    { "qsThreadInfo",                    q_thread_list_end },
    { "qThreadExtraInfo,",               q_thread_extra },
    { "qC",                              q_current },
    { "qAttached",                       q_attached },
    { "qRcmd,",                          q_monitor },
    { "qqemu.PhyMemMode",                q_phys_get }, /* as QEMU names it, for the scripts that exist */
    { "Qqemu.PhyMemMode:",               q_phys_set },
    { "QStartNoAckMode",                 q_no_ack },
    { "",                                q_empty },
};
/* clang-format on */

void gdb_query(struct gdb *g, const char *packet, size_t len)
{
    for_each_row(r, rows) {
        size_t n = strlen(r->prefix);

        if (len < n || memcmp(packet, r->prefix, n) != 0)
            continue;
        r->fn(g, packet + n, len - n);
        return;
    }
}
