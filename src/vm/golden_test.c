/*
 * vm/golden_test.c: states that earlier versions of this program wrote still go on.  src/vm/golden/state-N.xz is one of the guest of
 * vm/state_rig.h with two CPUs and an HPET, in version N of the format; a new version adds a file, and none is ever changed.
 */
#include "fw/unpack.h"
#include "testlib/test.h"
#include "vm/state_rig.h"

#include <limits.h>

static const struct golden {
    const char *why; /* the file */
    u64 size;        /* unpacked */
    u32 counter;
} files[] = {
    { "state-1", 6354797, 3201924 },
};

/* The sources' folder, when we run from a build tree inside of it: build/dev/src/vm_tests.  Owned. */
static char *golden_path(const char *name)
{
    char self[PATH_MAX] = "";
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash = n > 0 ? strrchr(self, '/') : NULL;

    return str_new("%.*s/../../../src/vm/golden/%s.xz", slash ? (int)(slash - self) : 0, self,
                   name);
}

static void unpack_to(const struct golden *g, const char *path)
{
    AUTO(free) char *from = golden_path(g->why);
    AUTO(fd) int in = open(from, O_RDONLY | O_CLOEXEC);
    AUTO(fd) int out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    AUTO(free) u8 *packed = xnew_n(u8, 64 * KiB), *plain = xnew_n(u8, g->size);
    struct err e = {};
    ssize_t len;

    if (in < 0)
        test_skip("the build tree is not inside the sources");
    len = read(in, packed, 64 * KiB);
    CHECK(len > 0 && out >= 0);
    CHECK_OK(unpack(packed, (size_t)len, plain, g->size, &e), &e);
    CHECK_EQ(fd_write_all(out, plain, g->size), 0);
}

TEST(golden_states_go_on)
{
    for_each_row(g, files) {
        AUTO(free) char *path = str_new("%s/%s", test_dir(), g->why);
        AUTO(free)
        char *members =
            str_new("\"memory\": 4194304, \"engine\": \"soft\", \"cpus\": 2, \"hpet\": true, "
                    "\"kernel\": \"/counter\", \"restore\": {\"file\": \"%s\"}",
                    path);
        struct state_rig r;
        struct err e = {};

        ROW(g);
        unpack_to(g, path);
        CHECK_OK(state_rig_new(&r, members, &e), &e);
        CHECK_EQ(state_rig_counter(&r), g->counter);
        state_rig_run(&r);
        for (u32 ms = 0; ms < 10000 && state_rig_counter(&r) - g->counter < 1000; ms++)
            poll(NULL, 0, 1);
        CHECK(state_rig_counter(&r) - g->counter >= 1000);
        CHECK_EQ(r.vm->state, RUN_RUNNING);
        state_rig_free(&r);
    }
}
