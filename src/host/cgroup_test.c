/*
 * host/cgroup_test.c: control groups, in a folder that looks like them; and real ones, where this machine lets us make some.
 */
#include "host/cgroup.h"

#include "host/host.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void make_file(const char *folder, const char *name, const char *text)
{
    AUTO(free) char *path = str_new("%s/%s", folder, name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

static void check_file(const char *folder, const char *name, const char *text)
{
    AUTO(free) char *path = str_new("%s/%s", folder, name);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char got[256];
    const ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got) - 1);

    CHECK(n >= 0);
    got[max(n, (ssize_t)0)] = 0;
    CHECK_STR(got, text);
}

static char *make_folder(const char *name)
{
    char *path = str_new("%s/%s", test_dir(), name);

    CHECK_EQ(mkdir(path, 0700), 0);
    return path;
}

TEST(cgroup_limits)
{
    static const char *const files[] = { "cpu.weight", "cpu.max",   "cpuset.cpus",
                                         "memory.max", "io.weight", "pids.max" };
    const struct instance_limits all = { 200, 150, (char[]){ "0-1,3" }, 64 * MiB, 50, 300 },
                                 none = {};
    AUTO(free) char *folder = make_folder("group");
    struct err e = {};

    CHECK_EQ(cgroup_write(folder, &all, GiB, &e), -EOPNOTSUPP);
    CHECK_HAS(e.text, "cpu.weight");
    CHECK_OK(cgroup_write(folder, &none, GiB, &e), &e); /* nothing is asked */
    for_each_row(f, files)
        make_file(folder, *f, "");
    CHECK_OK(cgroup_write(folder, &all, GiB, &e), &e);
    check_file(folder, "cpu.weight", "200");
    check_file(folder, "cpu.max", "150000 100000");
    check_file(folder, "cpuset.cpus", "0-1,3");
    check_file(folder, "memory.max", "1140850688");
    check_file(folder, "io.weight", "default 50");
    check_file(folder, "pids.max", "300");
    for_each_row(f, files)
        make_file(folder, *f, "");
    CHECK_OK(cgroup_write(folder, &none, GiB, &e), &e);
    check_file(folder, "cpu.weight", "100");
    check_file(folder, "cpu.max", "max 100000");
    check_file(folder, "cpuset.cpus", "\n");
    check_file(folder, "memory.max", "max");
    check_file(folder, "pids.max", "max");
}

TEST(cgroup_use)
{
    AUTO(free) char *folder = make_folder("use");
    struct cgroup_usage u = {};

    CHECK_EQ(cgroup_usage(folder, &u), -ENOENT);
    make_file(folder, "cpu.stat", "usage_usec 123456\nuser_usec 1\n");
    CHECK_EQ(cgroup_usage(folder, &u), 0);
    CHECK_EQ(u.cpu_us, 123456);
    CHECK_EQ(u.memory, 0);
    make_file(folder, "memory.current", "4096\n");
    CHECK_EQ(cgroup_usage(folder, &u), 0);
    CHECK_EQ(u.memory, 4096);
}

/* Under systemd only what was delegated is ours; we leave its top to the groups below it. */
TEST(cgroup_places)
{
    const bool keeps = setxattr(test_dir(), "user.delegate", "1", 1, 0) == 0;
    AUTO(free) char *top = make_folder("top");
    AUTO(free) char *unit = str_new("%s/unit", top), *child = str_new("%s/socled", unit);
    AUTO(free) char *plain = NULL, *below = NULL, *again = NULL;
    struct err e = {};
    struct stat st;
    mode_t was;

    was = umask(077); /* socled's */
    plain = cgroup_base(top, "/", false, &e);
    umask(was);
    CHECK(plain && strcmp(plain + strlen(top), "/socle") == 0);
    CHECK(plain && stat(plain, &st) == 0 && (st.st_mode & 0777) == 0755);
    CHECK(plain && chmod(plain, 0700) == 0); /* made by an older one */
    free(cgroup_base(top, "/", false, &e));
    CHECK(plain && stat(plain, &st) == 0 && (st.st_mode & 0777) == 0755);
    CHECK(mkdir(unit, 0700) == 0 && mkdir(child, 0700) == 0);
    CHECK(!cgroup_base(top, "/unit", true, &e));
    CHECK_HAS(e.text, "Delegate");
    if (!keeps)
        return; /* the folder keeps no attributes */
    CHECK_EQ(setxattr(unit, "user.delegate", "1", 1, 0), 0);
    make_file(child, "cgroup.procs", "");
    below = cgroup_base(top, "/unit", true, &e);
    CHECK(below && strcmp(below + strlen(unit), "/machines") == 0);
    check_file(child, "cgroup.procs", "0");
    again = cgroup_base(top, "/unit/socled", true, &e); /* the next socled, started by the first */
    CHECK_STR(again, below);
}

/* The unit that is there for machines' groups, when it is ours to use; also when nothing is below it. */
TEST(cgroup_beside_ours)
{
    AUTO(free) char *top = make_folder("beside");
    AUTO(free) char *slice = str_new("%s/a.slice", top), *unit = str_new("%s/" CGROUP_UNIT, slice);
    AUTO(free) char *found = NULL;
    struct err e = {};

    CHECK(!cgroup_beside(top, "/a.slice/socled.service", &e));
    CHECK(mkdir(slice, 0700) == 0 && mkdir(unit, 0700) == 0);
    CHECK(!cgroup_beside(top, "/a.slice/socled.service", &e)); /* not delegated */
    if (setxattr(unit, "user.delegate", "1", 1, 0) < 0)
        return; /* the folder keeps no attributes */
    CHECK(!cgroup_beside(top, "/b.slice/socled.service", &e));
    CHECK_HAS(e.text, "b.slice/" CGROUP_UNIT);
    found = cgroup_beside(top, "/a.slice/socled.service", &e);
    CHECK(found && strcmp(found + strlen(unit), "/machines") == 0 && access(found, F_OK) == 0);
}

/* With the kernel's own files. */
TEST(cgroup_real)
{
    static const char *const tops[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    const struct instance_limits l = { .cpu_weight = 200, .cpu_max = 150, .memory = 64 * MiB };
    char *folder = NULL;
    struct err e = {};
    bool has = false;

    for_each_row(t, tops) {
        AUTO(free) char *cpu = str_new("%s/socle-test-%d/cpu.max", *t, getpid());

        free(folder);
        folder = str_new("%s/socle-test-%d", *t, getpid());
        if (mkdir(folder, 0755) < 0)
            continue;
        has = access(cpu, W_OK) == 0;
        if (has)
            break;
        rmdir(folder);
    }
    if (has) {
        CHECK_OK(cgroup_write(folder, &l, GiB, &e), &e);
        check_file(folder, "cpu.weight", "200\n");
        check_file(folder, "cpu.max", "150000 100000\n");
        check_file(folder, "memory.max", "1140850688\n");
        CHECK_EQ(rmdir(folder), 0);
    }
    free(folder);
    if (!has)
        test_skip("no group with a CPU controller can be made here");
}
