/*
 * vm/workset_test.c: what a restored guest touched is recorded, and fetched at the next restore; files that are left aside.
 */
#include "vm/workset.h"

#include "testlib/test.h"
#include "vm/state_rig.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define MEMORY "\"memory\": 16777216"

static char *in_dir(const char *name)
{
    return str_new("%s/%s", test_dir(), name);
}

static int make_file(const char *name)
{
    AUTO(free) char *path = in_dir(name);
    int fd;

    unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    return fd;
}

static void new_machine(struct state_rig *r, const char *more)
{
    AUTO(free)
    char *members =
        str_new(MEMORY ", \"engine\": \"soft\", \"kernel\": \"%s/kernel\"%s", test_dir(), more);
    struct err e = {};

    CHECK_OK(state_rig_new(r, members, &e), &e);
}

static void ask(struct state_rig *r, const char *request, int fd, const char *has)
{
    char answer[400];

    state_rig_send(r, request, fd);
    state_rig_answer(r, answer, sizeof(answer));
    CHECK_HAS(answer, has);
}

static void restore(struct state_rig *r)
{
    AUTO(free) char *more = str_new(", \"restore\": {\"file\": \"%s/state\"}", test_dir());

    new_machine(r, more);
    state_rig_run(r);
}

/* Is this page of the guest in our page tables? */
static bool is_mapped(const struct state_rig *r, u64 gpa)
{
    AUTO(fd) int fd = workset_source();
    u64 entry = 0;

    CHECK_EQ(fd_pread_all(fd, &entry, sizeof(entry),
                          (uintptr_t)mem_at(r->vm->mem, gpa, 1) / MEM_PAGE * sizeof(entry)),
             0);
    return entry >> 63;
}

TEST(workset_is_recorded_and_fetched)
{
    const u64 far = RIG_PAGES + 8 * MiB; /* nobody touches its neighbours */
    AUTO(fd) int kernel = make_file("kernel");
    AUTO(fd) int state = make_file("state");
    AUTO(fd) int pages = -1;
    struct state_rig r;
    u32 v = 5;

    if (workset_source() < 0)
        test_skip("no pagemap");
    CHECK_EQ(fd_write_all(kernel, rig_payload, sizeof(rig_payload)), 0);
    new_machine(&r, "");
    state_rig_run(&r);
    CHECK_EQ(mem_write(r.vm->mem, far, &v, sizeof(v)), 0);
    ask(&r, "{\"cmd\": \"record-pages\"}", state, "did not go on from a saved state");
    ask(&r, "{\"cmd\": \"snapshot\"}", state, "\"ok\": true");
    state_rig_free(&r);

    restore(&r);
    CHECK(!is_mapped(&r, far)); /* no such file yet */
    CHECK_EQ(mem_read(r.vm->mem, far, &v, sizeof(v)), 0);
    CHECK(is_mapped(&r, far));
    pages = make_file("state.pages");
    ask(&r, "{\"cmd\": \"record-pages\"}", -1, "1 file is to be handed in");
    ask(&r, "{\"cmd\": \"record-pages\"}", pages, "\"pages\":");
    state_rig_free(&r);

    restore(&r);
    for (u32 ms = 0; ms < 5000 && !is_mapped(&r, far); ms++)
        poll(NULL, 0, 1);
    CHECK(is_mapped(&r, far));
    ask(&r, "{\"cmd\": \"snapshot\"}", make_file("again"),
        "\"ok\": true"); /* the thread is free for it */
    state_rig_free(&r);
}

TEST(workset_files_that_are_left_aside)
{
    static const char id[] = "0123456789abcdef0123456789abcdef";
    static const struct {
        const char *why;
        u32 at, len; /* the byte that is changed; the file's length, 0: as it is */
        const char *has;
    } rows[] = {
        { "another magic", 0, 0, "something else" },
        { "other pages", 8, 0, "not of 256 pages" },
        { "another state", 16, 0, "of another state" },
        { "another sum", 48, 0, "damaged" },
        { "another map", 60, 0, "damaged" },
        { "too short", 0, 80, "80 bytes; for 256 pages 88" },
        { "empty", 0, 1, "1 bytes" },
    };
    AUTO(mem) struct mem *m = NULL;
    AUTO(fd) int fd = make_file("pages");
    AUTO(fd) int source = workset_source();
    u8 data[88], bad[88];
    struct err e = {};

    if (source < 0)
        test_skip("no pagemap");
    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 1 * MiB, .prealloc = true }, &m, &e), &e);
    CHECK_EQ(workset_record(m, source, id, fd, &e), 256);
    CHECK_EQ(fd_pread_all(fd, data, sizeof(data), 0), 0);
    free(workset_parse(data, sizeof(data), id, 256, &e));
    CHECK_EQ(e.code, 0);
    for_each_row(c, rows) {
        struct err why = {};

        ROW(c);
        memcpy(bad, data, sizeof(bad));
        bad[c->at] ^= 1;
        CHECK(!workset_parse(bad, c->len ? c->len : sizeof(bad), id, 256, &why));
        CHECK_HAS(why.text, c->has);
    }
}
