/*
 * vm/gdb_fuzz.c: any bytes from a debugger.  What the stub sends are whole packets with right checksums, one "+" for each packet
 * that it did, and what it read of a packet can be framed and read again.  The guest of the rig has no threads: when it is to
 * run, the machine is made to stand still again.
 */
#include "testlib/fuzz.h"
#include "vm/gdb_rig.h"

/* Reads all that the stub sent; aborts at what is no packet and no acknowledgement. */
static void check_answers(struct rig *r)
{
    u8 buf[4096];
    ssize_t n;

    while ((n = recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            enum gdb_token t = gdb_packet_feed(&r->reader, buf[i]);

            must(t != GDB_GARBLED && t != GDB_TOO_LONG && t != GDB_BREAK);
        }
    }
}

/* What was read, framed anew, is read as the same. */
static void check_round_trip(const u8 *data, size_t size)
{
    static struct gdb_reader once, again;
    AUTO(strbuf) struct strbuf framed = {};

    once = again = (struct gdb_reader){};
    for (size_t i = 0; i < size; i++) {
        enum gdb_token t = GDB_NOTHING;

        if (gdb_packet_feed(&once, data[i]) != GDB_PACKET)
            continue;
        framed.len = 0;
        gdb_packet_add(&framed, once.data, once.len);
        for (size_t j = 0; j < framed.len; j++) {
            must(t == GDB_NOTHING);
            t = gdb_packet_feed(&again, (u8)framed.text[j]);
        }
        must(t == GDB_PACKET && again.len == once.len && !memcmp(again.data, once.data, once.len));
    }
}

FUZZ(gdb)
{
    struct rig *r = rig_new(2);

    r->vm.state = RUN_PAUSED;
    r->vm.user_paused = true; /* so that "go on" starts no thread */
    rig_attach(r);
    check_round_trip(data, size);
    for (size_t at = 0; at < size && r->vm.gdb->fd >= 0; at += 512) {
        rig_send(r, data + at, min(size - at, (size_t)512));
        for (u32 i = 0; i < 4; i++)
            rig_turn(r);
        check_answers(r);
        if (r->vm.gdb->state == GDB_RUNNING) { /* a vCPU comes to a breakpoint */
            r->cpu.vcpus[1].debug = (struct cpu_stop){ CPU_STOP_EXEC, CODE };
            gdb_hit(r->vm.gdb, 2);
        }
    }
    check_answers(r);
    rig_free(r);
}
