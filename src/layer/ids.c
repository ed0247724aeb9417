/*
 * layer/ids.c: the ids of an ordinary user's images, and the user namespace that has them.
 * The maps are written by set-uid programs, from outside: a child that stays outside starts them when this process has the
 * namespace.
 */
#include "layer/ids.h"

#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_MAX = 1024 * 1024, MAPPER_MISSING = 2 };

/* "NAME:FIRST:N" in a line of our own. */
static bool parse_line(char *line, const char *name, u32 uid, struct ids_range *ret)
{
    char *first = strchr(line, ':'), *n = first ? strchr(first + 1, ':') : NULL;
    char number[16];
    u64 a, b;

    if (!n)
        return false;
    *first++ = 0;
    *n++ = 0;
    str_fmt(number, sizeof(number), "%u", uid);
    if (strcmp(line, number) != 0 && (!name || strcmp(line, name) != 0))
        return false;
    if (str_u64(first, &a) < 0 || str_u64(n, &b) < 0 || !a || !b || a + b < a || a + b > UINT32_MAX)
        return false;
    *ret = (struct ids_range){ (u32)a, (u32)b };
    return true;
}

struct ids_range ids_parse(const char *text, const char *name, u32 uid)
{
    AUTO(free) char *copy = xdup(text);
    struct ids_range r = {};

    for (char *line = copy, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (parse_line(line, name, uid, &r))
            break;
    }
    return r;
}

static struct ids_range read_range(const char *file, const char *name, u32 uid)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    AUTO(strbuf) struct strbuf whole = {};
    AUTO(free) char *text = NULL;
    size_t len;

    if (fd < 0 && errno != ENOENT)
        log_warn("'%s' cannot be read (%s): only the own id is used", file, strerror(errno));
    if (fd < 0 || fd_read_whole(fd, FILE_MAX, &text, &len) < 0)
        return (struct ids_range){};
    strbuf_add_mem(&whole, text, len); /* with a NUL */
    return ids_parse(whole.text, name, uid);
}

void ids_find(struct ids *ret)
{
    const struct passwd *pw = getpwuid(geteuid());
    const char *name = pw ? pw->pw_name : NULL;

    *ret = (struct ids){ .uid = geteuid(), .gid = getegid() };
    ret->sub[0] = read_range("/etc/subuid", name, ret->uid);
    ret->sub[1] = read_range("/etc/subgid", name, ret->uid);
    if (!ret->sub[0].n || !ret->sub[1].n)
        ret->sub[0] = ret->sub[1] = (struct ids_range){};
}

static int run_mapper(const char *program, pid_t pid, u32 own, const struct ids_range *sub)
{
    char numbers[4][16];
    char *argv[] = { (char *)(uintptr_t)program,
                     numbers[0],
                     (char[]){ "0" },
                     numbers[1],
                     (char[]){ "1" },
                     (char[]){ "1" },
                     numbers[2],
                     numbers[3],
                     NULL };
    const u32 values[] = { (u32)pid, own, sub->first, sub->n };
    pid_t child;
    int status, r;

    for (unsigned i = 0; i < ARRAY_LEN(values); i++)
        str_fmt(numbers[i], sizeof(numbers[i]), "%u", values[i]);
    r = posix_spawnp(&child, program, NULL, NULL, argv, environ);
    if (r)
        return r == ENOENT ? MAPPER_MISSING : 1;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return 1;
    return status ? 1 : 0;
}

/* The child: waits until `parent` has the namespace, and writes its maps. */
static _Noreturn void be_mapper(int wait_fd, pid_t parent, const struct ids *ids)
{
    char byte;
    int r = 1;

    if (read(wait_fd, &byte, 1) == 1)
        r = run_mapper("newgidmap", parent, ids->gid, &ids->sub[1]);
    if (r == 0)
        r = run_mapper("newuidmap", parent, ids->uid, &ids->sub[0]);
    _exit(r);
}

static int write_proc(const char *path, const char *text)
{
    AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

static int map_single(const struct ids *ids, struct err *e)
{
    char text[32];
    int r = write_proc("/proc/self/setgroups", "deny"); /* or gid_map is refused */

    str_fmt(text, sizeof(text), "0 %u 1", ids->gid);
    if (r == 0)
        r = write_proc("/proc/self/gid_map", text);
    str_fmt(text, sizeof(text), "0 %u 1", ids->uid);
    if (r == 0)
        r = write_proc("/proc/self/uid_map", text);
    return r < 0 ? err_code(e, r, "map the own id into a user namespace") : 0;
}

/* Makes the namespace while the child waits.  0; or MAPPER_MISSING. */
static int enter_mapped(const struct ids *ids, struct err *e)
{
    const pid_t self = getpid();
    int fds[2], status, r = 0;
    pid_t child;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, "pipe");
    child = fork();
    if (child == 0) {
        close(fds[1]);
        be_mapper(fds[0], self, ids);
    }
    close(fds[0]);
    if (child < 0)
        r = err_errno(e, "fork");
    else if (unshare(CLONE_NEWUSER) < 0)
        r = err_errno(e, "make a user namespace");
    else if (write(fds[1], "", 1) != 1)
        r = err_errno(e, "start newuidmap");
    close(fds[1]);
    if (child < 0)
        return r;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for newuidmap");
    if (r < 0 || !status)
        return r;
    if (WIFEXITED(status) && WEXITSTATUS(status) == MAPPER_MISSING)
        return MAPPER_MISSING;
    return err_set(e, -EPERM,
                   "newuidmap or newgidmap refused the ranges of /etc/subuid, /etc/subgid");
}

int ids_enter(const struct ids *ids, bool *ret_single, struct err *e)
{
    bool single = !ids->sub[0].n;
    int r;

    if (!single) {
        r = enter_mapped(ids, e);
        single = r == MAPPER_MISSING;
    } else {
        r = unshare(CLONE_NEWUSER) < 0 ? err_errno(e, "make a user namespace") : 0;
    }
    if (r >= 0 && single)
        r = map_single(ids, e);
    if (r >= 0 && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        r = err_errno(e, "become root of a user namespace");
    if (r >= 0)
        *ret_single = single;
    return r;
}

bool ids_is_initial(void)
{
    struct stat st;

    /* The initial one's inode number is fixed: PROC_USER_INIT_INO. */
    return stat("/proc/self/ns/user", &st) == 0 && st.st_ino == 0xEFFFFFFD;
}
