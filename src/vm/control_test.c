/*
 * vm/control_test.c: requests and answers of the control socket.
 */
#include "testlib/test.h"
#include "vm/control_rig.h"

#include <dirent.h>
#include <stdlib.h>

TEST(control_answers)
{
    static const struct {
        const char *why, *request, *has;
    } rows[] = {
        { "status", "{\"cmd\": \"status\", \"id\": 7}",
          "{\"id\": 7, \"ok\": true, \"result\": {\"name\":\"rig\",\"state\":\"paused\"" },
        { "an id is any value", "{\"cmd\": \"status\", \"id\": [1, \"x\"]}",
          "{\"id\": [1,\"x\"], \"ok\": true" },
        { "no id", "{\"cmd\": \"status\"}", "{\"id\": null, \"ok\": true" },
        { "unknown command", "{\"cmd\": \"fly\"}", "there is no command 'fly'" },
        { "no command", "{\"id\": 1}", "\"ok\": false" },
        { "unknown argument", "{\"cmd\": \"status\", \"wings\": 2}", "wings" },
        { "not JSON", "hello", "one JSON object" },
        { "not an object", "[1]", "one JSON object" },
        { "inspect one", "{\"cmd\": \"inspect\", \"device\": \"vcpu0\"}", "\"rip\": 4096" },
        { "inspect the interrupt controllers", "{\"cmd\": \"inspect\", \"device\": \"irqchip\"}",
          "\"ioapic\"" },
        { "inspect nothing", "{\"cmd\": \"inspect\", \"device\": \"vcpu9\"}", "no such device" },
        { "a long device name",
          "{\"cmd\": \"inspect\", \"device\": \"dddddddddddddddddddddddddddddddddddddd\"}",
          "at most 31" },
        { "pause while paused", "{\"cmd\": \"pause\", \"id\": 2}",
          "{\"id\": 2, \"ok\": true, \"result\": null}" },
        { "statistics", "{\"cmd\": \"stats\"}", "\"io\":0" },
        { "no balloon", "{\"cmd\": \"balloon\", \"bytes\": 1}", "no balloon" },
        { "a bad power action", "{\"cmd\": \"power\", \"action\": \"up\"}",
          "allowed are 'button' and 'off'" },
        { "trace", "{\"cmd\": \"trace\", \"action\": \"set\", \"pattern\": \"no*such\"}",
          "\"result\": 0" },
        { "points of the CPU", "{\"cmd\": \"trace\"}", "\"cpu_pio_read\":false" },
        { "points that this engine does not have", "{\"cmd\": \"trace\"}", "\"cpu_insn\":null" },
        { "… cannot be set", "{\"cmd\": \"trace\", \"action\": \"set\", \"pattern\": \"cpu_insn\"}",
          "engine 'rig' does not see" },
        { "… unless others match, too",
          "{\"cmd\": \"trace\", \"action\": \"set\", \"pattern\": \"cpu_*n*\", \"on\": false}",
          "\"ok\": true" },
        { "no profile of what stands still", "{\"cmd\": \"profile\"}", "the machine is paused" },
        { "too long a profile", "{\"cmd\": \"profile\", \"seconds\": 61}", "allowed are 1 to 60" },
        { "a bad trace action", "{\"cmd\": \"trace\", \"action\": \"sing\"}", "allowed are" },
        { "no file to go back to", "{\"cmd\": \"restore\"}", "restore: 'file' is missing" },
        { "half a snapshot to go back to",
          "{\"cmd\": \"restore\", \"file\": \"/s\", \"disk\": \"/d\"}",
          "of 'disk' and 'snapshot' one is missing" },
        { "disks of what cannot be saved", "{\"cmd\": \"disks\"}", "cannot be saved" },
        { "pages of what cannot be saved", "{\"cmd\": \"record-pages\"}", "cannot be saved" },
        { "overlays of what cannot be saved",
          "{\"cmd\": \"snapshot\", \"mode\": \"disks\", \"overlays\": [{\"disk\": 0, \"image\": "
          "\"x\"}]}",
          "cannot be saved" },
        { "no translator", "{\"cmd\": \"jit\"}", "{\"vcpu0\":{}" },
        { "no translations", "{\"cmd\": \"perf-map\"}", "\"result\": \"\"" },
        { "NMI", "{\"cmd\": \"nmi\"}", "\"ok\": true" },
    };

    cpu_trace_register();
    for_each_row(c, rows) {
        struct rig *r = rig_new();
        AUTO(strbuf) struct strbuf got = {};

        ROW(c);
        rig_send(r, c->request, strlen(c->request));
        rig_send(r, "\n", 1);
        rig_turn(r, &got);
        CHECK_HAS(got.text, c->has);
        CHECK_EQ(got.text[got.len - 1], '\n');
        rig_free(r);
    }
}

TEST(control_answers_pipelined_requests_in_order)
{
    static const char two[] =
        "{\"cmd\": \"inspect\", \"id\": 1}\n{\"cmd\": \"status\", \"id\": 2}\n";
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf got = {};
    const char *second;

    rig_send(r, two, sizeof(two) - 1);
    rig_turn(r, &got);
    CHECK_HAS(got.text, "{\"id\": 1,");
    second = strchr(got.text, '\n');
    CHECK(second && str_starts(second + 1, "{\"id\": 2,"));
    rig_free(r);
}

TEST(control_drops_an_endless_line)
{
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf got = {};
    char x[4096];

    memset(x, 'x', sizeof(x));
    for (int i = 0; i < 20; i++) {
        rig_send(r, x, sizeof(x));
        rig_turn(r, &got);
    }
    CHECK_HAS(got.text, "a line is too long");
    CHECK_EQ(recv(r->fd, x, 1, MSG_DONTWAIT), 0); /* closed */
    rig_free(r);
}

TEST(control_power_off_ends_the_machine)
{
    static const char off[] = "{\"cmd\": \"power\", \"action\": \"off\"}\n";
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf got = {};

    rig_send(r, off, sizeof(off) - 1);
    rig_turn(r, &got);
    CHECK_HAS(got.text, "\"ok\": true");
    CHECK_EQ(r->vm.state, RUN_ENDED);
    CHECK_EQ(r->vm.result.end, VM_END_POWEROFF);
    rig_free(r);
}

TEST(control_power_presses_the_button)
{
    static const char button[] = "{\"cmd\": \"power\"}\n";
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf got = {};

    rig_send(r, button, sizeof(button) - 1);
    rig_turn(r, &got);
    CHECK_HAS(got.text, "\"ok\": true");
    CHECK_EQ(r->fake->irqs[RIG_PM_GSI], 1);
    CHECK_EQ(r->vm.state, RUN_RUNNING); /* the guest's turn */
    rig_send(r, button, sizeof(button) - 1);
    rig_turn(r, &got);
    CHECK_EQ(r->vm.result.end, VM_END_CUT);
    rig_free(r);
}

/* Who is given longer than usual is not turned off before. */
TEST(control_power_waits_as_long_as_is_said)
{
    static const struct {
        const char *request;
        u64 seconds;
    } rows[] = {
        { "{\"cmd\": \"power\"}\n", 60 },
        { "{\"cmd\": \"power\", \"action\": \"button\", \"seconds\": 3660}\n", 3660 },
        { "{\"cmd\": \"power\", \"seconds\": 4294967295}\n", 86400 },
    };

    for_each_row(row, rows) {
        struct rig *r = rig_new();
        AUTO(strbuf) struct strbuf got = {};
        u64 ms;

        rig_send(r, row->request, strlen(row->request));
        rig_turn(r, &got);
        CHECK_HAS(got.text, "\"ok\": true");
        ms = uv_timer_get_due_in(&r->vm.grace);
        CHECK(ms > (row->seconds - 30) * 1000 && ms <= row->seconds * 1000);
        rig_free(r);
    }
}

TEST(control_restore_tells_who_started_the_machine)
{
    static const char back[] = "{\"cmd\": \"restore\", \"file\": \"/s\", \"disk\": \"/d\", "
                               "\"snapshot\": \"one\", \"id\": 4}\n";
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf got = {};

    rig_send(r, back, sizeof(back) - 1);
    rig_turn(r, &got);
    CHECK_HAS(got.text,
              "{\"event\":\"restore\",\"file\":\"/s\",\"disk\":\"/d\",\"snapshot\":\"one\"}\n");
    CHECK_HAS(got.text, "{\"id\": 4, \"ok\": true");
    CHECK_EQ(r->vm.state, RUN_ENDED);
    CHECK_EQ(r->vm.result.end, VM_END_RESTORE);
    rig_free(r);
}

static u32 open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    u32 n = 0;

    must(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

TEST(control_keeps_no_files_that_nobody_asked_for)
{
    static char line[] = "{\"cmd\": \"status\"}\n";
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf got = {};
    const int files[3] = { r->fd, r->fd, r->fd };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(files))];
    } c = { .head = { .cmsg_len = CMSG_LEN(sizeof(files)),
                      .cmsg_level = SOL_SOCKET,
                      .cmsg_type = SCM_RIGHTS } };
    struct iovec iov = { line, sizeof(line) - 1 };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)
    };
    const u32 before = open_files();

    memcpy(CMSG_DATA(&c.head), files, sizeof(files));
    for (u32 i = 0; i < 5; i++) {
        CHECK_EQ(sendmsg(r->fd, &m, MSG_NOSIGNAL), iov.iov_len);
        rig_turn(r, &got);
    }
    CHECK_HAS(got.text, "\"ok\": true");
    CHECK(open_files() <= before + 1); /* the last one waits for a request that wants it */
    rig_free(r);
}
