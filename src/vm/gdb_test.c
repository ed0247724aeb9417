/*
 * vm/gdb_test.c: a scripted gdb over a socket pair, against vCPUs that count.
 */
#include "base/clock.h"
#include "testlib/test.h"
#include "vm/gdb_regs.h"
#include "vm/gdb_rig.h"

/* The next packet from the stub, or "nothing" after 10 s. */
static const char *answer(struct rig *r)
{
    u64 end = clock_mono_ns() + 10 * NSEC_PER_SEC;
    char c;

    while (clock_mono_ns() < end) {
        rig_turn(r);
        while (recv(r->fd, &c, 1, MSG_DONTWAIT) == 1)
            if (gdb_packet_feed(&r->reader, (u8)c) == GDB_PACKET)
                return r->reader.data;
    }
    return "nothing";
}

static void tell(struct rig *r, const char *packet)
{
    AUTO(strbuf) struct strbuf out = {};

    gdb_packet_add(&out, packet, strlen(packet));
    rig_send(r, out.text, out.len);
}

static const char *ask(struct rig *r, const char *packet)
{
    tell(r, packet);
    return answer(r);
}

static u32 reg_number(const char *name)
{
    AUTO(strbuf) struct strbuf xml = {};
    char want[40];
    u32 n = 0;

    gdb_regs_xml(&xml);
    str_fmt(want, sizeof(want), "<reg name=\"%s\"", name);
    for (const char *p = xml.text; (p = strstr(p, "<reg name=\"")); p++, n++)
        if (str_starts(p, want))
            return n;
    test_true(false, name, __FILE__, __LINE__);
    return 0;
}

static u64 reg(struct rig *r, const char *name)
{
    char packet[16];
    u8 bytes[8] = {};
    const char *text;

    str_fmt(packet, sizeof(packet), "p%x", reg_number(name));
    text = ask(r, packet);
    CHECK(gdb_hex_bytes(text, bytes, strlen(text) / 2));
    return le_load(bytes, 8);
}

static struct rig *start(u32 n_cpus)
{
    struct rig *r = rig_new(n_cpus);
    struct err e = {};

    CHECK_OK(run_start(&r->vm, &e), &e);
    rig_attach(r);
    return r;
}

TEST(gdb_answers)
{
    static const struct {
        const char *why, *packet, *reply;
    } rows[] = {
        { "why it stopped", "?", "T05thread:1;" },
        { "what it can", "qSupported:swbreak+;xmlRegisters=i386", "PacketSize=4000;" },
        { "no question that gdb knows but we do not", "qTStatus", "" },
        { "a checksum of memory is not offered", "qCRC:1000,10", "" },
        { "an unknown packet", "vMustReplyEmpty", "" },
        { "which actions", "vCont?", "vCont;c;C;s;S;t" },
        { "the thread", "qC", "QC1" },
        { "threads", "qfThreadInfo", "m1,2" },
        { "no more of them", "qsThreadInfo", "l" },
        { "threads as XML", "qXfer:threads:read::0,fff",
          "l<?xml version=\"1.0\"?><threads><thread id=\"1\"" },
        { "the description, in part", "qXfer:features:read:target.xml:0,5", "m<?xml" },
        { "beyond its end", "qXfer:features:read:target.xml:fffff,5", "E16" },
        { "it was there before", "qAttached", "1" },
        { "a thread's line", "qThreadExtraInfo,2", "72756e73" },
        { "there are two", "T3", "E16" },
        { "the second lives", "T2", "OK" },
        { "choose a thread", "Hg2", "OK" },
        { "choose one that is not there", "Hg3", "E16" },
        { "memory", "m1000,4", "31323334" },
        { "memory, binary", "x1000,4", "b1234" },
        { "memory up to the end of RAM", "mffffe,4", "0000" },
        { "no RAM", "m100000,4", "E0e" },
        { "a bad range", "m1000;4", "E16" },
        { "write", "M3000,2:abcd", "OK" },
        { "write too few bytes", "M3000,2:ab", "E16" },
        { "write where nothing is", "M100000,1:ab", "E0e" },
        { "write binary", "X3000,3:a}c", "OK" },
        { "no such register", "pfff", "E16" },
        { "no such register to set", "Pfff=00", "E16" },
        { "no such point", "Z5,1000,1", "E16" },
        { "a breakpoint where nothing is", "Z0,100000,1", "E0e" },
        { "a hardware breakpoint where nothing is", "Z1,100000,1", "E0e" },
        { "a breakpoint", "Z0,1010,1", "OK" },
        { "watched: nothing", "Z2,2000,0", "E16" },
        { "five watchpoints", "Z2,2001,1f", "E1c" },
        { "a watchpoint", "Z2,2000,4", "OK" },
        { "taken away", "z2,2000,4", "OK" },
        { "a bad action", "vCont;q", "E16" },
        { "none runs", "vCont;t", "E16" },
        { "physical addresses", "Qqemu.PhyMemMode:1", "OK" },
        { "are on", "qqemu.PhyMemMode", "1" },
        { "a bad mode", "Qqemu.PhyMemMode:2", "E16" },
    };
    struct rig *r = start(2);

    CHECK_EQ(mem_write(r->vm.mem, 0x1000, "1234", 4), 0);
    for_each_row(c, rows) {
        const char *got = ask(r, c->packet);

        ROW(c);
        if (*c->reply)
            CHECK_HAS(got, c->reply);
        else
            CHECK_STR(got, "");
    }
    rig_free(r);
}

TEST(gdb_registers)
{
    struct rig *r = start(1);
    char packet[64];

    ask(r, "?");
    r->cpus[0].s.reg[GPR_RBX] = 0x1122334455667788;
    r->cpus[0].s.xsave[4] = 0x81; /* ST0 and ST7 are in use */
    CHECK_STR(ask(r, "p1"), "8877665544332211");
    CHECK_EQ(reg(r, "ftag"), 0x3ffc);
    CHECK_EQ(reg(r, "cr0"), 1);
    CHECK_EQ(reg(r, "rip"), r->cpus[0].s.rip);
    str_fmt(packet, sizeof(packet), "P%x=00200000000000000", reg_number("rip"));
    CHECK_STR(ask(r, packet), "OK");
    CHECK_EQ(r->cpus[0].s.rip, 0x2000);
    str_fmt(packet, sizeof(packet), "P%x=000102030405060708090a0b0c0d0e0f", reg_number("xmm1"));
    CHECK_STR(ask(r, packet), "OK");
    CHECK_EQ(r->cpus[0].s.xsave[160 + 16 + 15], 15);
    CHECK_EQ(r->cpus[0].s.xsave[512], 3);
    AUTO(strbuf) struct strbuf all = {};
    strbuf_add(&all, "G%s", ask(r, "g"));
    r->cpus[0].s.reg[GPR_RBX] = 0;
    CHECK_STR(ask(r, all.text), "OK");
    CHECK_EQ(r->cpus[0].s.reg[GPR_RBX], 0x1122334455667788);
    rig_free(r);
}

TEST(gdb_steps_one_vcpu_and_leaves_the_others)
{
    struct rig *r = start(2);
    u64 rip, other;

    ask(r, "?");
    rip = r->cpus[1].s.rip;
    other = r->cpus[0].s.rip;
    CHECK_STR(ask(r, "vCont;s:2"), "T05thread:2;");
    CHECK_EQ(r->cpus[1].s.rip, rip + 1 < CODE_END ? rip + 1 : CODE);
    CHECK_EQ(r->cpus[0].s.rip, other);
    CHECK_STR(ask(r, "Hc1"), "OK");
    CHECK_STR(ask(r, "s"), "T05thread:1;");
    CHECK(r->cpus[0].s.rip != other);
    rig_free(r);
}

TEST(gdb_steps_a_vcpu_that_waits_to_be_started)
{
    struct rig *r = start(2);
    u64 rip;

    ask(r, "?");
    r->cpus[1].s.run_state = VCPU_WAIT_SIPI;
    rip = r->cpus[1].s.rip;
    CHECK_STR(ask(r, "vCont;s:2"), "T05thread:2;");
    CHECK_EQ(r->cpus[1].s.rip, rip);
    CHECK_EQ(r->vm.state, RUN_PAUSED);
    rig_free(r);
}

TEST(gdb_breakpoint_watchpoint_and_break)
{
    struct rig *r = start(1);

    ask(r, "qSupported:swbreak+;hwbreak+");
    CHECK(!gdb_has_points(r->vm.gdb));
    CHECK_STR(ask(r, "Z0,1040,1"), "OK");
    CHECK(gdb_has_points(r->vm.gdb));
    CHECK_STR(ask(r, "vCont;c"), "T05swbreak:;thread:1;");
    CHECK_EQ(r->cpus[0].s.rip, 0x1040);
    CHECK_EQ(r->cpus[0].d.n_points, 0); /* in force only while it runs */
    CHECK_STR(ask(r, "z0,1040,1"), "OK");
    CHECK(!gdb_has_points(r->vm.gdb));
    CHECK_STR(ask(r, "Z1,1041,1"), "OK");
    CHECK_STR(ask(r, "c"), "T05hwbreak:;thread:1;");
    CHECK_STR(ask(r, "z1,1041,1"), "OK");
    CHECK_STR(ask(r, "Z2,1ffc,8"), "OK"); /* unaligned for one: becomes two */
    CHECK_STR(ask(r, "vCont;c:1"), "T05watch:2000;thread:1;");
    CHECK_EQ(r->cpus[0].s.rip, WRITES + 1);
    CHECK_STR(ask(r, "z2,1ffc,8"), "OK");
    tell(r, "vCont;c");
    for (int i = 0; i < 10; i++)
        rig_turn(r);
    rig_send(r, "\003", 1);
    CHECK_STR(answer(r), "T02thread:1;");
    CHECK_EQ(r->vm.state, RUN_PAUSED);
    rig_free(r);
}

TEST(gdb_and_the_operator_both_hold_the_guest)
{
    struct rig *r = start(1);

    ask(r, "?");
    run_pause(&r->vm, "asked for");
    tell(r, "vCont;c");
    for (int i = 0; i < 10; i++)
        rig_turn(r);
    CHECK_EQ(r->vm.state, RUN_PAUSED);
    run_resume(&r->vm);
    CHECK_EQ(r->vm.state, RUN_RUNNING);
    rig_send(r, "\003", 1);
    CHECK_STR(answer(r), "T02thread:1;");
    run_resume(&r->vm);
    CHECK_EQ(r->vm.state, RUN_PAUSED);
    rig_free(r);
}

TEST(gdb_leaves_and_the_guest_goes_on)
{
    struct rig *r = start(2);
    int pair[2];

    ask(r, "?");
    CHECK_STR(ask(r, "Z0,1040,1"), "OK");
    CHECK_STR(ask(r, "D"), "OK");
    CHECK_EQ(r->vm.state, RUN_RUNNING);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_EQ(gdb_attach(r->vm.gdb, pair[1]), -EBUSY); /* the first is still connected */
    fd_close(&r->fd);
    while (r->vm.gdb->fd >= 0)
        rig_turn(r);
    rig_attach(r);
    CHECK_STR(ask(r, "?"), "T05thread:1;");
    CHECK_STR(ask(r, "Z0,1040,1"), "OK");
    tell(r, "vCont;s:1;t"); /* a client that is lost while it runs */
    fd_close(&r->fd);
    while (r->vm.gdb->fd >= 0 || r->vm.gdb->state != GDB_IDLE || r->vm.state != RUN_RUNNING)
        rig_turn(r);
    CHECK_EQ(r->vm.frozen, 0);
    close(pair[0]);
    close(pair[1]);
    rig_free(r);
}

TEST(gdb_waits_before_the_first_instruction)
{
    struct rig *r = rig_new(1);
    struct err e = {};

    r->vm.debug_paused = true;
    CHECK_OK(run_start(&r->vm, &e), &e);
    rig_attach(r);
    CHECK_STR(ask(r, "?"), "T05thread:1;");
    CHECK_EQ(r->cpus[0].s.rip, CODE);
    CHECK_STR(ask(r, "Z1,1000,1"), "OK");
    CHECK_STR(ask(r, "vCont;c"), "T05thread:1;");
    CHECK_EQ(r->cpus[0].s.reg[GPR_RAX], 0);
    rig_free(r);
}

TEST(gdb_hears_of_the_end)
{
    struct rig *r = start(1);
    AUTO(strbuf) struct strbuf got = {};
    char buf[64];
    ssize_t n;

    ask(r, "?");
    tell(r, "vCont;c");
    while (r->vm.state != RUN_RUNNING)
        rig_turn(r);
    run_end(&r->vm, VM_END_EXIT, 7, NULL);
    run_join(&r->vm);
    gdb_close(r->vm.gdb);
    r->vm.gdb = NULL;
    while ((n = recv(r->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
        strbuf_add_mem(&got, buf, (size_t)n);
    CHECK_HAS(got.text, "$W07#");
    rig_free(r);
}

TEST(gdb_sees_a_triple_fault_before_the_end)
{
    struct rig *r = start(2);

    ask(r, "?");
    atomic_store(&r->cpus[1].crashes, true);
    CHECK_STR(ask(r, "vCont;c"), "T06thread:2;");
    CHECK_EQ(r->vm.state, RUN_PAUSED);
    run_resume(&r->vm); /* the operator does not know */
    CHECK_EQ(r->vm.state, RUN_PAUSED);
    tell(r, "vCont;c");
    while (r->vm.state != RUN_ENDED)
        rig_turn(r);
    CHECK_EQ(r->vm.result.end, VM_END_CRASH);
    CHECK_STR(r->vm.result.why, "vCPU 1: triple fault");
    rig_free(r);
}

TEST(gdb_monitor_commands)
{
    static const struct {
        const char *why, *text, *has;
    } rows[] = {
        { "help", "help", "translate" },
        { "unknown", "fly", "there is no such command" },
        { "physical", "phys on", "guest-physical" },
        { "translate", "translate 0x1234", "0x1234" },
        { "translate nothing", "translate", "an address is wanted" },
        { "inspect", "inspect vcpu0", "\"rip\"" },
        { "inspect nothing", "inspect x", "no such device" },
    };
    struct rig *r = start(1);

    ask(r, "?");
    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf out = {};

        ROW(c);
        gdb_monitor(r->vm.gdb, c->text, &out);
        CHECK_HAS(out.text, c->has);
    }
    CHECK_STR(ask(r, "qRcmd,7068797320"), "O6164647265737365732061726520"
                                          "67756573742d706879736963616c0a");
    CHECK_STR(answer(r), "OK");
    rig_free(r);
}
