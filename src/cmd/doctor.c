/*
 * cmd/doctor.c: `socle doctor`: what this host has of what machines want, and what to do about the rest.  A check is a row, and tries
 * what a machine would do, as the user who asks, rather than reading what is said to be possible: a second at most for all.
 */
#include "cmd/more.h"
#include "cpu/cpu.h"
#include "host/cgroup.h"
#include "host/guard.h"
#include "host/host.h"
#include "host/network.h"
#include "jail/jail.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum state {
    DOCTOR_OK,
    DOCTOR_NOTE, /* machines run, but slower, with less room, or behind fewer walls */
    DOCTOR_BAD,  /* something will fail */
};
static const char *const state_words[] = { "ok", "note", "bad" };

struct finding {
    const char *what;
    enum state state;
    char found[400];
    char advice[400]; /* "": nothing is to be done */
};

#define MEMORY_LOW (512 * MiB)
#define SPACE_LOW  (2 * GiB)
enum { FILES_LOW = 4096 };

typedef void check_fn(const char *dir, struct finding *ret);

[[gnu::format(printf, 3, 4)]] static void found(struct finding *f, enum state state,
                                                const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(f->found, sizeof(f->found), fmt, args);
    va_end(args);
    f->state = state;
}

[[gnu::format(printf, 2, 3)]] static void advise(struct finding *f, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(f->advice, sizeof(f->advice), fmt, args);
    va_end(args);
}

/* "12.3 GiB" */
static const char *size_text(u64 bytes, char ret[24])
{
    str_fmt(ret, 24, "%llu.%llu GiB", bytes / GiB, bytes % GiB * 10 / GiB);
    return ret;
}

/* Is the word one of the flags of the host's first CPU? */
static bool has_flag(const char *flag)
{
    AUTO(fd) int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    AUTO(free) char *word = str_new(" %s ", flag);
    char text[8192] = "", *line;
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    text[max(n, (ssize_t)0)] = 0;
    line = strstr(text, "\nflags");
    if (!line)
        return false;
    line[1 + strcspn(line + 1, "\n")] = ' '; /* the last flag has a space behind it, too */
    return strstr(line, word) != NULL;
}

static void check_kvm(const char *dir [[maybe_unused]], struct finding *ret)
{
    AUTO(fd) int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    const int err = errno;
    const bool intel = has_flag("vmx"), amd = has_flag("svm");

    if (fd >= 0) {
        found(ret, DOCTOR_OK, "/dev/kvm can be opened");
        return;
    }
    found(ret, DOCTOR_NOTE, "/dev/kvm: %s; the CPU %s", strerror(err),
          intel || amd ? "has virtualization" : "offers no virtualization");
    if (err == EACCES || err == EPERM)
        advise(ret, "join the group that owns it: `sudo adduser $USER kvm`, then log in anew");
    else if (intel || amd)
        advise(ret, "load its module: `sudo modprobe kvm_%s`", intel ? "intel" : "amd");
    else
        advise(ret, "switch VT-x or AMD-V on in the firmware; of a virtual host, allow nesting");
}

static void check_engine(const char *dir [[maybe_unused]], struct finding *ret)
{
    const struct cpu_pick pick = { .name = "auto", .jit = true };
    char why[300] = "";
    struct err e = {};
    const struct engine *en = cpu_engine_pick(&pick, why, sizeof(why), &e);

    if (!en)
        found(ret, DOCTOR_BAD, "%s", e.text);
    else
        found(ret, strcmp(cpu_engine_name(en), "kvm") == 0 ? DOCTOR_OK : DOCTOR_NOTE,
              "machines get '%s': %s", cpu_engine_name(en), why);
}

static void check_memory(const char *dir [[maybe_unused]], struct finding *ret)
{
    struct guard_host h;
    struct err e = {};
    char total[24], left[24], group[24];
    u64 room;

    if (guard_read_host(&h, &e) < 0) {
        found(ret, DOCTOR_BAD, "%s", e.text);
        return;
    }
    room = guard_room(&h, NULL, 0);
    found(ret, room < MEMORY_LOW ? DOCTOR_BAD : DOCTOR_OK,
          "%s, %s available; one machine may have %s", size_text(h.total, total),
          size_text(h.available, left), size_text(room, group));
    if (ret->state != DOCTOR_OK)
        advise(ret, "%s",
               h.group_left < h.available ? "raise the limit of our control group"
                                          : "end what takes it");
}

static bool has_word(const char *text, const char *word)
{
    const char *at = strstr(text, word);
    const size_t len = strlen(word);

    return at && (at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\n' || !at[len]);
}

static void check_limits(const char *dir [[maybe_unused]], struct finding *ret)
{
    static const char *const wanted[] = { "cpu", "cpuset", "io", "memory" };
    const char *top = cgroup_top();
    AUTO(strbuf) struct strbuf missing = {};
    char text[256] = "";

    if (!top) {
        found(ret, DOCTOR_NOTE,
              "no control groups of version 2 are mounted: machines have no limits");
        advise(ret, "start the host with `systemd.unified_cgroup_hierarchy=1`");
        return;
    }
    cgroup_controllers(top, text, sizeof(text));
    for_each_row(w, wanted)
        if (!has_word(text, *w))
            strbuf_add(&missing, "%s%s", missing.len ? ", " : "", *w);
    if (!missing.len) {
        found(ret, DOCTOR_OK, "control groups in %s", top);
        return;
    }
    found(ret, DOCTOR_NOTE, "control groups in %s lack: %s", top, missing.text);
    advise(ret, "limits of these kinds are not kept; start the host with `cgroup_no_v1=all`");
}

/* The child's: what it could give up. */
static void try_jail(int fd)
{
    const struct jail_cfg cfg = { .userns_ok = true };
    AUTO(strbuf) struct strbuf text = {};
    struct jail_report report = {};
    struct err e = {};
    u8 state = DOCTOR_OK;

    if (jail_enter(&cfg, &report, &e) < 0) {
        state = DOCTOR_BAD;
        strbuf_add(&text, "%s", e.text);
    } else {
        for (u32 i = 0; i < JAIL_STEPS; i++)
            if (report.code[i] < 0)
                state = DOCTOR_NOTE;
        jail_report_text(&report, &text);
    }
    (void)fd_write_all(fd, &state, 1);
    (void)fd_write_all(fd, text.text, text.len);
    _exit(0);
}

static void check_jail(const char *dir [[maybe_unused]], struct finding *ret)
{
    AUTO(fd) int from = -1;
    int ends[2];
    char text[sizeof(ret->found)] = "";
    size_t n = 0;
    ssize_t got;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
        found(ret, DOCTOR_BAD, "no child can be made: %s", strerror(errno));
        return;
    }
    if (pid == 0)
        try_jail(ends[1]);
    close(ends[1]);
    from = ends[0];
    while (n < sizeof(text) - 1 && (got = read(from, text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)got;
    waitpid(pid, NULL, 0);
    if (!n) {
        found(ret, DOCTOR_BAD, "the child ended without a word");
        return;
    }
    found(ret, (enum state)text[0], "%s", text + 1);
    if (ret->state != DOCTOR_OK)
        advise(ret, "machines run with fewer walls around them; user namespaces want "
                    "kernel.unprivileged_userns_clone=1, where there is such a setting, and "
                    "user.max_user_namespaces above 0; Landlock wants a kernel from 5.13 on with "
                    "lsm=landlock");
}

static void check_uring(const char *dir [[maybe_unused]], struct finding *ret)
{
    struct io_uring_params p = {};
    AUTO(fd) int fd = (int)syscall(SYS_io_uring_setup, 8, &p);

    if (fd >= 0) {
        found(ret, DOCTOR_OK, "io_uring");
        return;
    }
    found(ret, DOCTOR_NOTE, "io_uring: %s; disks use threads", strerror(errno));
    advise(ret,
           "allow it, where there is such a setting: `sudo sysctl kernel.io_uring_disabled=0`");
}

/* A tap of the host's is made, and goes with the descriptor. */
static int try_tap(void)
{
    AUTO(fd) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };

    return fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 ? -errno : 0;
}

static void check_networks(const char *dir [[maybe_unused]], struct finding *ret)
{
    const char *names = network_names_program();
    int r;

    if (geteuid() != 0) {
        found(ret, DOCTOR_OK,
              "of their own, behind this user; networks that machines share are root's to make");
        return;
    }
    r = try_tap();
    if (r >= 0 && names) {
        found(ret, DOCTOR_OK, "taps, and addresses and names by %s", names);
        return;
    }
    found(ret, DOCTOR_NOTE, "shared networks cannot be made: %s",
          r < 0 ? strerror(-r) : "dnsmasq is missing");
    advise(ret, "%s",
           r < 0 ? "load the module: `modprobe tun`"
                 : "install it: `apt-get install dnsmasq-base`");
}

static void check_space(const char *dir, struct finding *ret)
{
    AUTO(free) char *at = xdup(dir);
    struct statvfs fs;
    char left[24], total[24];
    u64 bytes;

    while (statvfs(at, &fs) < 0 && strrchr(at, '/') > at) /* it is made at the first start */
        *strrchr(at, '/') = 0;
    if (statvfs(at, &fs) < 0) {
        found(ret, DOCTOR_BAD, "'%s': %s", at, strerror(errno));
        return;
    }
    bytes = (u64)fs.f_bavail * fs.f_frsize;
    found(ret, bytes < SPACE_LOW || !fs.f_favail ? DOCTOR_BAD : DOCTOR_OK,
          "%s of %s left in '%.100s'", size_text(bytes, left),
          size_text((u64)fs.f_blocks * fs.f_frsize, total), at);
    if (ret->state != DOCTOR_OK)
        advise(ret, "delete what nobody needs, or choose another folder with --dir");
}

static void check_files(const char *dir [[maybe_unused]], struct finding *ret)
{
    struct rlimit lim = {};

    getrlimit(RLIMIT_NOFILE, &lim);
    found(ret, lim.rlim_max < FILES_LOW ? DOCTOR_NOTE : DOCTOR_OK,
          "a process may have %llu open files", (u64)lim.rlim_max);
    if (ret->state != DOCTOR_OK)
        advise(ret,
               "allow %d: a machine and a console take some each (LimitNOFILE=, or "
               "/etc/security/limits.conf)",
               FILES_LOW);
}

/* clang-format off */
static const struct {
    const char *what;
    check_fn *check; /* `dir`: where machines have their files */
} checks[] = {
    { "virtualization", check_kvm },
    { "engine",         check_engine },
    { "memory",         check_memory },
    { "limits",         check_limits },
    { "jail",           check_jail },
    { "disks",          check_uring },
    { "networks",       check_networks },
    { "space",          check_space },
    { "files",          check_files },
};
/* clang-format on */

/* What is to be done stands below what was found. */
static void print_finding(const struct finding *f)
{
    printf("%-15s %-5s %s\n", f->what, state_words[f->state], f->found);
    if (f->advice[0])
        printf("%-15s %-5s -> %s\n", "", "", f->advice);
}

int verb_doctor(struct verb *v, struct err *e)
{
    AUTO(free) char *dir = v->dir ? xdup(v->dir) : host_default_dir();
    json_t *j = json_array();
    u32 bad = 0;

    for_each_row(row, checks) {
        struct finding f = { .what = row->what };

        row->check(dir ? dir : "/", &f);
        bad += f.state == DOCTOR_BAD;
        if (v->output == VERB_TABLE)
            print_finding(&f);
        json_array_append_new(j, json_pack("{s:s, s:s, s:s, s:s}", "what", f.what, "state",
                                           state_words[f.state], "found", f.found, "advice",
                                           f.advice));
    }
    if (v->output != VERB_TABLE)
        verb_print(v, j);
    json_decref(j);
    return bad ? err_set(e, -ENOTSUP, "%u of %zu checks went badly", bad, ARRAY_LEN(checks)) : 0;
}
