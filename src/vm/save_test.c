/*
 * vm/save_test.c: a machine is suspended, or goes on while its state is written; others go on from what was written.
 */
#include "base/clock.h"
#include "dev/pc/pm.h"
#include "testlib/test.h"
#include "vm/state_rig.h"

#include <stdio.h>
#include <sys/stat.h>

#define MEMORY "\"memory\": 16777216"

static char *in_dir(const char *name)
{
    return str_new("%s/%s", test_dir(), name);
}

static void boot_with(struct state_rig *r, const char *more)
{
    AUTO(free) char *kernel = in_dir("kernel");
    AUTO(fd) int fd = open(kernel, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO(free)
    char *members = str_new(MEMORY ", \"engine\": \"soft\", \"kernel\": \"%s\"%s", kernel, more);
    struct err e = {};

    CHECK(fd >= 0 && fd_write_all(fd, rig_payload, sizeof(rig_payload)) == 0);
    CHECK_OK(state_rig_new(r, members, &e), &e);
    state_rig_run(r);
}

static void boot(struct state_rig *r)
{
    boot_with(r, "");
}

/* As `socle run --restore` does it, on `engine`. */
static int try_restore(struct state_rig *r, const char *name, const char *engine, const char *more,
                       struct err *e)
{
    AUTO(free) char *path = in_dir(name);
    AUTO(free)
    char *members = str_new(MEMORY ", \"engine\": \"%s\", \"kernel\": \"%s/kernel\", "
                                   "\"restore\": {\"file\": \"%s\"%s",
                            engine, test_dir(), path, more);

    return state_rig_new(r, members, e);
}

static void restore(struct state_rig *r, const char *name)
{
    struct err e = {};

    CHECK_OK(try_restore(r, name, "soft", "}", &e), &e);
}

/* Asks for a file of that name to be written; checks that it was. */
static void save(struct state_rig *r, const char *name, const char *request)
{
    AUTO(free) char *path = in_dir(name);
    AUTO(free) char *line = str_new("{%s, \"file\": \"%s\", \"id\": 5}", request, path);
    AUTO(fd) int fd = -1;
    char answer[400];

    unlink(path); /* a machine may run from the one that was there: it is replaced, not changed */
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    state_rig_send(r, line, fd);
    state_rig_answer(r, answer, sizeof(answer));
    CHECK_HAS(answer, "{\"id\": 5, \"ok\": true");
}

static void suspend(struct state_rig *r, const char *name)
{
    char answer[400];

    save(r, name, "\"cmd\": \"suspend\"");
    state_rig_send(r, "{\"cmd\": \"suspend\", \"action\": \"end\"}", -1);
    state_rig_answer(r, answer, sizeof(answer));
    CHECK_HAS(answer, "\"ok\": true");
    CHECK_EQ(state_rig_join(r), VM_END_SUSPENDED);
}

static void sleep_ms(u32 ms)
{
    poll(NULL, 0, (int)ms);
}

/* Waits until the guest counted on from `from`; it has found no difference. */
static void check_counts_on(struct state_rig *r, u32 from)
{
    u64 limit = clock_mono_ns() + 20 * NSEC_PER_SEC;

    while (state_rig_counter(r) - from < 100 && clock_mono_ns() < limit)
        sleep_ms(1);
    CHECK(state_rig_counter(r) - from >= 100);
    CHECK_EQ(r->vm->state, RUN_RUNNING);
}

static void note(struct state_rig *r, u64 at, u32 v)
{
    CHECK_EQ(mem_write(r->vm->mem, at, &v, sizeof(v)), 0);
}

static u32 noted(struct state_rig *r, u64 at)
{
    u32 v = 0;

    CHECK_EQ(mem_read(r->vm->mem, at, &v, sizeof(v)), 0);
    return v;
}

static void suspend_and_go_on(const char *first, const char *second)
{
    struct state_rig r;
    struct err e = {};
    u32 at;

    boot(&r);
    check_counts_on(&r, 0);
    for (u32 i = 0; i < 3; i++) {
        suspend(&r, "s");
        at = state_rig_counter(&r);
        state_rig_free(&r);
        CHECK_OK(try_restore(&r, "s", i % 2 ? first : second, "}", &e), &e);
        CHECK_EQ(state_rig_counter(&r), at);
        state_rig_run(&r);
        check_counts_on(&r, at);
    }
    state_rig_free(&r);
}

TEST(save_suspend_and_go_on)
{
    suspend_and_go_on("soft", "soft");
}

TEST(save_under_one_engine_goes_on_under_the_other)
{
    if (access("/dev/kvm", R_OK | W_OK) < 0)
        test_skip("no access to /dev/kvm");
    suspend_and_go_on("soft", "kvm");
}

TEST(save_suspend_is_taken_back_when_the_client_goes)
{
    struct state_rig r;
    char answer[400];
    u32 at;

    boot(&r);
    check_counts_on(&r, 0);
    save(&r, "s", "\"cmd\": \"suspend\"");
    at = state_rig_counter(&r);
    sleep_ms(5);
    CHECK_EQ(state_rig_counter(&r), at);
    CHECK_EQ(r.vm->state, RUN_PAUSED);
    state_rig_send(&r, "{\"cmd\": \"reset\"}", -1);
    state_rig_answer(&r, answer, sizeof(answer));
    CHECK_HAS(answer, "the machine is being saved");
    shutdown(r.control, SHUT_RDWR);
    check_counts_on(&r, at);
    run_end(r.vm, VM_END_POWEROFF, 0, NULL);
    CHECK_EQ(state_rig_join(&r), VM_END_POWEROFF);
    state_rig_free(&r);
}

/* It may have been asked for and not be done when the machine stops; then it is done before the state is looked at. */
TEST(save_comes_after_a_reset_that_the_guest_asked_for)
{
    for (u32 i = 0; i < 8; i++) {
        struct state_rig r;
        u32 at;

        boot(&r);
        check_counts_on(&r, 0);
        machine_event(&r.vm->machine, MACHINE_RESET, 0, "a test");
        suspend(&r, "s");
        CHECK(!r.vm->reset_owed);
        at = state_rig_counter(&r);
        state_rig_free(&r);
        restore(&r, "s");
        CHECK_EQ(state_rig_counter(&r), at);
        state_rig_run(&r);
        check_counts_on(&r, at);
        state_rig_free(&r);
    }
}

TEST(save_does_what_is_owed_before_it_looks)
{
    struct state_rig r;
    u32 first = 0;

    boot(&r);
    suspend(&r, "s");
    state_rig_free(&r);
    restore(&r, "s");
    r.vm->saving = true;
    CHECK_EQ(run_reset(r.vm), 0);
    CHECK(r.vm->reset_owed);
    CHECK_EQ(mem_write(r.vm->mem, 0x100000, &first, sizeof(first)), 0);
    CHECK(run_save_settle(r.vm));
    CHECK(!r.vm->reset_owed);
    CHECK_EQ(mem_read(r.vm->mem, 0x100000, &first, sizeof(first)), 0);
    CHECK_EQ(first, 0x1badb002); /* the kernel was loaded again */
    r.vm->saving = false;
    state_rig_free(&r);
}

/* Pages with notes of the time they were written at; what a chain of snapshots must get right. */
TEST(save_chain_of_snapshots)
{
    static const struct {
        const char *name, *mode;
        u32 notes[4]; /* in pages RIG_PAGES, … at that time; 0xffffffff: given back */
    } rows[] = {
        { "base", "base", { 1, 1, 1, 1 } }, { "d1", "diff", { 1, 2, 1, 1 } },
        { "full", "full", { 1, 2, 3, 1 } }, { "d2", "diff", { 1, 2, 3, 0 } },
        { "d3", "diff", { 4, 2, 3, 0 } },
    };
    struct state_rig r;
    u32 at = 0;

    boot(&r);
    for_each_row(c, rows) {
        AUTO(free) char *request = str_new("\"cmd\": \"snapshot\", \"mode\": \"%s\"", c->mode);

        for (u32 i = 0; i < 4; i++)
            if (c->notes[i] == 0)
                CHECK_EQ(mem_discard(r.vm->mem, RIG_PAGES + i * MEM_PAGE, MEM_PAGE), 0);
            else if (noted(&r, RIG_PAGES + i * MEM_PAGE) != c->notes[i])
                note(&r, RIG_PAGES + i * MEM_PAGE, c->notes[i]);
        check_counts_on(&r, at);
        save(&r, c->name, request);
        at = state_rig_counter(&r);
        check_counts_on(&r, at);
    }
    state_rig_free(&r);
    for_each_row(c, rows) {
        restore(&r, c->name);
        at = state_rig_counter(&r);
        for (u32 i = 0; i < 4; i++)
            CHECK_EQ(noted(&r, RIG_PAGES + i * MEM_PAGE), c->notes[i]);
        state_rig_run(&r);
        check_counts_on(&r, at);
        state_rig_free(&r);
    }
}

TEST(save_again_what_was_just_restored)
{
    struct state_rig r;
    u32 at;

    boot(&r);
    note(&r, RIG_NOTE, 77);
    note(&r, RIG_PAGES, 78);
    suspend(&r, "one");
    state_rig_free(&r);
    restore(&r, "one");
    CHECK_EQ(mem_discard(r.vm->mem, RIG_PAGES, MEM_PAGE), 0); /* as a balloon does it */
    state_rig_run(&r);
    save(&r, "two", "\"cmd\": \"snapshot\"");
    state_rig_free(&r);
    restore(&r, "two");
    at = state_rig_counter(&r);
    CHECK_EQ(noted(&r, RIG_NOTE), 77);
    CHECK_EQ(noted(&r, RIG_PAGES), 0);
    state_rig_run(&r);
    check_counts_on(&r, at);
    state_rig_free(&r);
}

TEST(save_costs_what_is_not_zero)
{
    AUTO(free) char *path = in_dir("sparse");
    struct state_rig r;
    struct stat st;

    boot(&r);
    check_counts_on(&r, 0);
    save(&r, "sparse", "\"cmd\": \"snapshot\"");
    CHECK_EQ(stat(path, &st), 0);
    CHECK((u64)st.st_size > 16 * MiB);
    CHECK((u64)st.st_blocks * 512 < 1 * MiB);
    state_rig_free(&r);
}

TEST(restore_gives_a_new_generation_and_tells)
{
    u8 was[16], now[16];
    struct state_rig r;

    boot(&r);
    memcpy(was, r.vm->st.generation, sizeof(was));
    suspend(&r, "s");
    state_rig_free(&r);
    restore(&r, "s");
    CHECK_EQ(mem_read(r.vm->mem, LAYOUT_VMGENID, now, sizeof(now)), 0);
    CHECK(memcmp(was, now, sizeof(was)) != 0);
    CHECK_MEM(now, r.vm->st.generation, sizeof(now));
    AUTO(strbuf) struct strbuf shown = {};
    device_inspect(r.vm->pm, &shown);
    CHECK_HAS(shown.text, "\"events\": 2");
    state_rig_free(&r);
}

/* A driver that runs has read the card's address, and keeps it; one that starts anew finds the clone's. */
TEST(restore_clone_has_its_own_address)
{
    AUTO(strbuf) struct strbuf shown = {}, later = {};
    struct state_rig r;
    struct err e = {};

    boot_with(&r, ", \"nets\": [{\"kind\": \"user\", \"mac\": \"52:54:00:00:00:01\"}]");
    suspend(&r, "s");
    state_rig_free(&r);
    CHECK_OK(try_restore(&r, "s", "soft",
                         ", \"clone\": true}, \"nets\": [{\"kind\": \"user\", \"mac\": "
                         "\"52:54:00:00:00:02\"}]",
                         &e),
             &e);
    for (u32 i = 0; i < r.vm->n_devices; i++) {
        if (strcmp(r.vm->devices[i]->name, "net0") != 0)
            continue;
        device_inspect(r.vm->devices[i], &shown);
        device_reset(r.vm->devices[i]);
        device_inspect(r.vm->devices[i], &later);
    }
    CHECK_HAS(shown.text, "\"config\": \"525400000001");
    CHECK_HAS(later.text, "\"config\": \"525400000002");
    state_rig_free(&r);
}

TEST(restore_and_reset)
{
    AUTO(free) char *kernel = in_dir("kernel");
    struct state_rig r;
    char answer[200];

    boot(&r);
    suspend(&r, "s");
    state_rig_free(&r);
    restore(&r, "s");
    state_rig_run(&r);
    state_rig_send(&r, "{\"cmd\": \"reset\"}", -1);
    state_rig_answer(&r, answer, sizeof(answer));
    CHECK_HAS(answer, "\"ok\": true");
    check_counts_on(&r, state_rig_counter(&r));
    state_rig_free(&r);
    CHECK_EQ(unlink(kernel), 0); /* it goes on without its kernel, but cannot start anew */
    restore(&r, "s");
    state_rig_run(&r);
    check_counts_on(&r, state_rig_counter(&r));
    state_rig_send(&r, "{\"cmd\": \"reset\"}", -1);
    CHECK_EQ(state_rig_join(&r), VM_END_RESET);
    CHECK_HAS(r.result.why, "was not to be had");
    state_rig_free(&r);
}

TEST(restore_knows_its_disks)
{
    AUTO(free) char *disk = in_dir("disk");
    AUTO(free) char *more = str_new(", \"disks\": [{\"file\": \"%s\"}]", disk);
    AUTO(free) char *later = str_new("}%s", more);
    AUTO(free) char *forced = str_new(", \"force\": true}%s", more);
    AUTO(fd) int fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct state_rig r;
    struct err e = {};

    CHECK(fd >= 0 && ftruncate(fd, 1 * MiB) == 0);
    boot_with(&r, more);
    suspend(&r, "s");
    state_rig_free(&r);
    CHECK_OK(try_restore(&r, "s", "soft", later, &e), &e);
    state_rig_free(&r);
    sleep_ms(20);
    CHECK_EQ(fd_pwrite_all(fd, "x", 1, 0), 0);
    e = (struct err){};
    CHECK(try_restore(&r, "s", "soft", later, &e) < 0);
    CHECK_HAS(e.text, "was changed at");
    state_rig_free(&r);
    CHECK_OK(try_restore(&r, "s", "soft", forced, &e), &e);
    state_rig_free(&r);
    CHECK_EQ(ftruncate(fd, 2 * MiB), 0);
    e = (struct err){};
    CHECK(try_restore(&r, "s", "soft", later, &e) < 0);
    CHECK_HAS(e.text, "has 2097152 bytes");
    state_rig_free(&r);
}

/* As many at once as you like; the original waits until they are gone. */
TEST(clones_share_a_disk_that_stays_as_it_is)
{
    AUTO(free) char *disk = in_dir("disk");
    AUTO(free) char *more = str_new(", \"disks\": [{\"file\": \"%s\"}]", disk);
    AUTO(free) char *later = str_new("}%s", more);
    AUTO(free) char *clone = str_new(", \"clone\": true}%s", more);
    AUTO(fd) int fd = open(disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct state_rig r, clones[3];
    char answer[400];
    struct err e = {};
    u32 at;

    CHECK(fd >= 0 && ftruncate(fd, 1 * MiB) == 0);
    boot_with(&r, more);
    suspend(&r, "s");
    state_rig_free(&r);
    for_each_row(c, clones) {
        CHECK_OK(try_restore(c, "s", "soft", clone, &e), &e);
        CHECK(c->vm->nameless_disks);
        at = state_rig_counter(c);
        state_rig_run(c);
        check_counts_on(c, at);
    }
    CHECK(try_restore(&r, "s", "soft", later, &e) < 0); /* they read its disk */
    CHECK_HAS(e.text, "disk");
    state_rig_free(&r);
    state_rig_send(&clones[0], "{\"cmd\": \"suspend\", \"file\": \"x\"}", fd);
    state_rig_answer(&clones[0], answer, sizeof(answer));
    CHECK_HAS(answer, "have no names");
    for_each_row(c, clones)
        state_rig_free(c);
    e = (struct err){};
    CHECK_OK(try_restore(&r, "s", "soft", later, &e), &e);
    state_rig_free(&r);
}

TEST(save_requests_that_are_refused)
{
    AUTO(free) char *path = in_dir("f");
    AUTO(fd) int empty = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO(fd) int readonly = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const struct {
        const char *why, *request;
        int fd;
        const char *has;
    } rows[] = {
        { "no file", "{\"cmd\": \"suspend\"}", -1,
          "1 files are to be handed in with this request, not 0" },
        { "not a file", "{\"cmd\": \"snapshot\"}", null, "a regular, empty file" },
        { "not to be written", "{\"cmd\": \"snapshot\"}", readonly, "reading and writing" },
        { "no base", "{\"cmd\": \"snapshot\", \"mode\": \"diff\"}", empty, "there is no base" },
        { "no such mode", "{\"cmd\": \"snapshot\", \"mode\": \"half\"}", empty,
          "'full', 'base', 'diff' and" },
        { "nothing suspended", "{\"cmd\": \"suspend\", \"action\": \"end\"}", -1,
          "has not suspended" },
        { "no such action", "{\"cmd\": \"suspend\", \"action\": \"sing\"}", -1,
          "'save' and 'end'" },
    };
    struct state_rig r;

    boot(&r);
    for_each_row(c, rows) {
        char answer[400];

        ROW(c);
        state_rig_send(&r, c->request, c->fd);
        state_rig_answer(&r, answer, sizeof(answer));
        CHECK_HAS(answer, c->has);
    }
    check_counts_on(&r, state_rig_counter(&r));
    state_rig_free(&r);
}
