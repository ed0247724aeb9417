/*
 * box/oci_test.c: config.json: what is taken, what is refused and how it is named.
 */
#include "box/oci.h"

#include "box/caps.h"
#include "box/mount.h"
#include "testlib/test.h"

#include <linux/capability.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>

/* A specification with `more` in its linux part, and `top` beside it. */
static char *text_of(const char *process, const char *os, const char *top)
{
    return str_new("{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":["
                   "\"sh\"],\"cwd\":\"/\"%s},"
                   "\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"ipc\"}]%s}%s}",
                   process, os, top);
}

static int parse(struct oci *s, const char *process, const char *os, const char *top, struct err *e)
{
    char *text = text_of(process, os, top);
    int r = oci_parse(s, text, strlen(text), e);

    free(text);
    return r;
}

TEST(oci_least)
{
    struct oci s;
    struct err e = {};

    CHECK_OK(parse(&s, "", "", "", &e), &e);
    CHECK_STR(s.root.path, "r");
    CHECK_EQ(s.process.args.n, 1);
    CHECK_EQ(s.process.oomScoreAdj == BOX_UNSET, true);
    CHECK_EQ(s.os.resources.pids.limit == BOX_UNSET, true);
    CHECK_EQ(s.os.seccomp.defaultAction, OCI_NO_SECCOMP);
    oci_fini(&s);
}

TEST(oci_values)
{
    struct oci s;
    struct err e = {};

    CHECK_OK(
        parse(
            &s,
            ",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":5,\"hard\":18446744073709551615}],"
            "\"user\":{\"uid\":3,\"gid\":4,\"additionalGids\":[7,8]},\"oomScoreAdj\":-500,"
            "\"env\":[\"A=9999999999999999999999\"]",
            ",\"resources\":{\"pids\":{\"limit\":-1},\"memory\":{\"limit\":4096,\"swap\":-1},"
            "\"rdma\":{\"mlx5_1\":{\"hcaHandles\":3}},\"unified\":{\"memory.high\":\"1\"}},"
            "\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"clone\"]"
            ","
            "\"action\":\"SCMP_ACT_ALLOW\",\"args\":[{\"index\":0,\"value\":18446744073709551615,"
            "\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]},\"sysctl\":{\"kernel.msgmax\":\"1\"}",
            ",\"annotations\":{\"a\":\"b\"},\"mounts\":[{\"destination\":\"x\",\"options\":null}],"
            "\"hooks\":null",
            &e),
        &e);
    {
        const struct oci_rlimit *l = s.process.rlimits.items;
        const struct oci_gid *g = s.process.user.additionalGids.items;
        const struct oci_rdma *d = s.os.resources.rdma.items;
        const struct oci_seccomp_rule *rule = s.os.seccomp.syscalls.items;
        const struct oci_seccomp_arg *arg = rule->args.items;

        CHECK_EQ(l->type, RLIMIT_NOFILE);
        CHECK_EQ(l->hard, ~0ull);
        CHECK_EQ(s.process.user.additionalGids.n, 2);
        CHECK_EQ(g[1].gid, 8);
        CHECK(s.process.oomScoreAdj == -500);
        CHECK_STR(s.process.env.items[0], "A=9999999999999999999999");
        CHECK(s.os.resources.pids.limit == -1);
        CHECK(s.os.resources.memory.swap == -1);
        CHECK_STR(d->name, "mlx5_1");
        CHECK(d->hcaHandles == 3);
        CHECK(d->hcaObjects == BOX_UNSET);
        CHECK_EQ(arg->value, ~0ull);
        CHECK_STR(s.annotations.items[1], "b");
        CHECK_EQ(s.mounts.n, 1);
    }
    oci_fini(&s);
}

static const struct {
    const char *why, *process, *os, *top, *error;
} refusals[] = {
    { "twice", ",\"args\":[]", "", "", "duplicate" },
    { "unknown word", "", ",\"cgroupsPath\":5", "", "'cgroupsPath' is a number; text is expected" },
    { "what we cannot", "", ",\"intelRdt\":{\"closID\":\"a\"}", "",
      "field 'linux.intelRdt' cannot be applied" },
    { "what we cannot, by its defaults", "", ",\"intelRdt\":{}", "",
      "field 'linux.intelRdt' cannot be applied" },
    { "what only cgroup v1 can, in a list", "",
      ",\"resources\":{\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0,\"weight\":9,"
      "\"leafWeight\":9}]}}",
      "", "weightDevice.leafWeight' cannot be applied" },
    { "rules without a default", "",
      ",\"seccomp\":{\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\"}]}", "",
      "linux.seccomp needs a defaultAction" },
    { "an error of what has none", "",
      ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"defaultErrnoRet\":5}", "",
      "defaultErrnoRet 5" },
    { "an error of a rule that has none", "",
      ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"mkdir\"],"
      "\"action\":\"SCMP_ACT_ALLOW\",\"errnoRet\":7}]}",
      "", "errnoRet 7" },
    { "nice without a policy", ",\"scheduler\":{\"nice\":5}", "", "", "scheduler needs a policy" },
    { "nice of another policy", ",\"scheduler\":{\"policy\":\"SCHED_FIFO\",\"nice\":5}", "", "",
      "scheduler.nice 5" },
    { "times of another policy", ",\"scheduler\":{\"policy\":\"SCHED_BATCH\",\"runtime\":5}", "",
      "", "SCHED_DEADLINE only" },
    { "level without a class", ",\"ioPriority\":{\"priority\":5}", "", "",
      "ioPriority needs a class" },
    { "ambient ones alone are left out",
      ",\"capabilities\":{\"permitted\":[\"CAP_KILL\"],\"ambient\":[\"CAP_KILL\"]}", "", "", "" },
    { "in a list", "", "", ",\"mounts\":[{\"destination\":\"/x\",\"uidMappings\":[{}]}]",
      "mounts 0: uidMappings 0: 'containerID' is missing" },
    { "notify", "", ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "",
      "'SCMP_ACT_NOTIFY'" },
    { "nobody to notify", "",
      ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"mkdir\"],"
      "\"action\":\"SCMP_ACT_NOTIFY\"}]}",
      "", "needs a listenerPath" },
    { "nobody to tell", "",
      ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerMetadata\":\"x\"}", "",
      "listenerMetadata needs" },
    { "no CPUs", ",\"execCPUAffinity\":{\"initial\":\"0-\"}", "", "",
      "execCPUAffinity.initial: '0-' is no list of numbers" },
    { "CPUs that go back", ",\"execCPUAffinity\":{\"final\":\"3-1\"}", "", "",
      "execCPUAffinity.final: '3-1'" },
    { "a CPU too far", ",\"execCPUAffinity\":{\"final\":\"8192\"}", "", "", "below 8192" },
    { "CPUs and a comma", ",\"execCPUAffinity\":{\"final\":\"1,\"}", "", "", "'1,'" },
    { "no policy", "", ",\"memoryPolicy\":{\"nodes\":\"0\"}", "", "needs a mode" },
    { "unknown policy", "", ",\"memoryPolicy\":{\"mode\":\"MPOL_X\"}", "", "MPOL_X" },
    { "unknown flag of a policy", "",
      ",\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0\",\"flags\":[\"MPOL_F_X\"]}", "",
      "MPOL_F_X" },
    { "a node too far", "", ",\"memoryPolicy\":{\"mode\":\"MPOL_BIND\",\"nodes\":\"0,1024\"}", "",
      "below 1024" },
    { "devices without namespace", "", ",\"netDevices\":{\"eth9\":{}}", "",
      "need a 'network' namespace" },
    { "another system", "", "", ",\"windows\":{\"a\":1}", "'windows' cannot be applied" },
    { "capability", ",\"capabilities\":{\"bounding\":[\"CAP_FLY\"]}", "", "",
      "'CAP_FLY' is unknown" },
    { "soft above hard", ",\"rlimits\":[{\"type\":\"RLIMIT_CPU\",\"soft\":2,\"hard\":1}]", "", "",
      "soft 2 is above" },
    { "environment", ",\"env\":[\"A\"]", "", "", "'A' is not NAME=VALUE" },
    { "host's setting", "", ",\"sysctl\":{\"kernel.panic\":\"1\"}", "",
      "not separate for a container" },
    { "setting without namespace", "", ",\"sysctl\":{\"net.a\":\"1\"}", "",
      "needs a 'network' namespace" },
    { "setting by a trick", "", ",\"sysctl\":{\"net../kernel\":\"1\"}", "", "is not a name" },
    { "host's name", "", "", ",\"hostname\":\"a\"", "private 'uts' namespace" },
    { "maps without namespace", "",
      ",\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]", "", "need a new 'user'" },
    { "clocks", "", ",\"timeOffsets\":{\"boottime\":{\"secs\":1}}", "", "need a 'time' namespace" },
    { "cgroup v1", "", ",\"resources\":{\"memory\":{\"swappiness\":10}}", "",
      "memory.swappiness cannot be applied" },
    { "a file of cgroup's own", "", ",\"resources\":{\"unified\":{\"cgroup.procs\":\"1\"}}", "",
      "'cgroup.procs'" },
    { "a file elsewhere", "", ",\"resources\":{\"unified\":{\"../a.b\":\"1\"}}", "", "'../a.b'" },
    { "propagation", "", ",\"rootfsPropagation\":\"up\"", "", "'up' is unknown" },
    { "relative mask", "", ",\"maskedPaths\":[\"proc\"]", "", "is not absolute" },
    { "unknown is left out", "", "", ",\"x\":1", "" },
};

TEST(oci_refused)
{
    log_set_level(LOG_LEVEL_ERROR); /* unknown fields are told of */
    for_each_row(row, refusals) {
        struct oci s;
        struct err e = {};
        int r;

        ROW(row);
        r = parse(&s, row->process, row->os, row->top, &e);
        CHECK_EQ(r < 0, *row->error != 0);
        CHECK_HAS(e.text, row->error);
        oci_fini(&s);
    }
}

TEST(oci_ambient)
{
    static const char text[] =
        ",\"capabilities\":{\"permitted\":[\"CAP_KILL\",\"CAP_CHOWN\"],\"inheritable\":["
        "\"CAP_CHOWN\",\"CAP_SETUID\"],\"ambient\":[\"CAP_CHOWN\",\"CAP_KILL\",\"CAP_SETUID\"]}";
    struct oci s;
    struct caps caps;
    struct err e = {};

    log_set_level(LOG_LEVEL_ERROR);
    CHECK_OK(parse(&s, text, "", "", &e), &e);
    CHECK_OK(caps_parse(&s.process.capabilities, &caps, &e), &e);
    CHECK_EQ(caps.ambient, 1ull << CAP_CHOWN);
    CHECK_EQ(caps.left_out, 1ull << CAP_KILL | 1ull << CAP_SETUID);
    oci_fini(&s);
}

TEST(oci_ranges)
{
    const char *at = "0-3,7,9-10";
    u32 first, last;

    CHECK(oci_range_next(&at, &first, &last) && first == 0 && last == 3);
    CHECK(oci_range_next(&at, &first, &last) && first == 7 && last == 7);
    CHECK(oci_range_next(&at, &first, &last) && first == 9 && last == 10);
    CHECK(!oci_range_next(&at, &first, &last) && !*at);
}

TEST(oci_destinations)
{
    static const struct {
        const char *why, *text, *path;
    } rows[] = {
        { "absolute", "/a/b", "/a/b" },    { "relative", "a", "/a" },
        { "the root", "/", "/" },          { "slashes", "//proc//", "/proc" },
        { "a dot", "/./proc/.", "/proc" }, { "up", "/a/../proc/x/..", "/proc" },
        { "up and out", "../..", "/" },
    };

    for_each_row(row, rows) {
        AUTO(free) char *mounts = str_new(",\"mounts\":[{\"destination\":\"%s\"}]", row->text);
        struct oci s;
        struct err e = {};

        ROW(row);
        CHECK_OK(parse(&s, "", "", mounts, &e), &e);
        CHECK_STR(((struct oci_mount *)s.mounts.items)->destination, row->path);
        oci_fini(&s);
    }
}

/* Of 1.3 a limit of no process is one; before, engines meant none by it. */
TEST(oci_versions)
{
    static const struct {
        const char *why;
        bool follows;
    } rows[] = {
        { "1.0.2-dev", false }, { "1.2.1", false }, { "1.3.0", true }, { "1.10.0", true }
    };

    for_each_row(row, rows) {
        AUTO(free) char *text = text_of("", ",\"resources\":{\"pids\":{\"limit\":0}}", "");
        AUTO(free)
        char *changed = str_new("{\"ociVersion\":\"%s\"%s", row->why, strchr(text, ','));
        struct oci s;
        struct err e = {};

        ROW(row);
        CHECK_OK(oci_parse(&s, changed, strlen(changed), &e), &e);
        CHECK_EQ(oci_follows(&s, 3), row->follows);
        CHECK_EQ(s.os.resources.pids.limit == 0, row->follows);
        oci_fini(&s);
    }
}

TEST(oci_deep_and_large)
{
    struct oci s;
    struct err e = {};
    char *deep = xnew_n(char, 200001);

    memset(deep, '[', 200000);
    CHECK(oci_parse(&s, deep, 200000, &e) < 0);
    CHECK_HAS(e.text, "nested deeper");
    CHECK(oci_parse(&s, deep, OCI_TEXT_MAX + 1ull, &e) < 0);
    CHECK_HAS(e.text, "at most");
    free(deep);
}

TEST(mount_options)
{
    static char words[][16] = { "ro", "rrw", "rslave", "rbind", "noatime" }, where[] = "/x";
    static char size[] = "size=1", remount[] = "remount", copy_up[] = "tmpcopyup",
                idmap[] = "ridmap";
    char *texts[] = { words[0], words[1], words[2], words[3], words[4] };
    struct oci_mount m = { .destination = where, .options = { texts, 5 } };
    struct mount_plan p;
    struct err e = {};
    bool rec;

    CHECK_OK(mount_plan_make(&p, &m, &e), &e);
    CHECK(p.bind && p.recursive && p.rec_propagation);
    CHECK_EQ(p.propagation, MS_SLAVE);
    CHECK_EQ(p.set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
    CHECK_EQ(p.rec_clear, MOUNT_ATTR_RDONLY);
    mount_plan_fini(&p);
    texts[0] = size;
    CHECK(mount_plan_make(&p, &m, &e) < 0);
    CHECK_HAS(e.text, "'size=1'");
    texts[0] = remount;
    CHECK_OK(mount_plan_make(&p, &m, &e), &e);
    mount_plan_fini(&p);
    texts[0] = copy_up;
    CHECK(mount_plan_make(&p, &m, &e) == -EINVAL);
    CHECK_HAS(e.text, "'tmpcopyup' of '/x'");
    texts[0] = idmap;
    CHECK_OK(mount_plan_make(&p, &m, &e), &e);
    CHECK(p.idmap && p.rec_idmap);
    mount_plan_fini(&p);
    texts[3] = texts[0];
    CHECK(mount_plan_make(&p, &m, &e) == -EINVAL);
    CHECK_HAS(e.text, "only bind mounts");
    texts[0] = remount;
    texts[3] = texts[1];
    CHECK(mount_plan_make(&p, &m, &e) == -ENOTSUP);
    CHECK_EQ(mount_propagation("rshared", &rec), MS_SHARED);
    CHECK(rec);
    CHECK_EQ(mount_propagation("ro", &rec), 0);
}
