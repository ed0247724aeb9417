/*
 * os/user.c: reads /etc/passwd and /etc/group of a container (passwd(5), group(5)).
 * The files are the container's own: opened inside its root only, bounded, and never believed to be well-formed.
 */
#include "os/user.h"

#include "box/path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIELDS = 7 };

/* Owned text; "" when there is no such file. */
static int read_file(int root, const char *path, char **ret, struct err *e)
{
    AUTO(fd) int fd = path_open(root, path, O_RDONLY | O_NONBLOCK);
    struct stat st;
    size_t len;
    int r;

    if (fd == -ENOENT || fd == -ENOTDIR) {
        *ret = xdup("");
        return 0;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_code(e, fd < 0 ? fd : -errno, "its '%s'", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "its '%s' is no regular file", path);
    if (st.st_size == 0) {
        *ret = xdup("");
        return 0;
    }
    r = fd_read_whole(fd, OS_ACCOUNTS_MAX, ret, &len);
    return r < 0 ? err_code(e, r, "its '%s' (1 to %d bytes)", path, OS_ACCOUNTS_MAX) : 0;
}

/* Takes the next line apart, in place; false: there is none.  *ret_n: how many fields it has. */
static bool next_line(char **rest, char *fields[FIELDS], u32 *ret_n)
{
    char *line = strsep(rest, "\n");

    *ret_n = 0;
    while (line && *ret_n < FIELDS)
        fields[(*ret_n)++] = strsep(&line, ":");
    return *ret_n > 0;
}

static bool number(const char *s, u32 *ret)
{
    u64 v;

    if (str_u64(s, &v) < 0 || v >= UINT32_MAX)
        return false;
    *ret = (u32)v;
    return true;
}

/* The account with that name or number. */
static bool find_account(char *text, const char *who, struct os_user *u)
{
    char *f[FIELDS];
    u32 n, id = UINT32_MAX, uid, gid;

    (void)number(who, &id);
    while (next_line(&text, f, &n)) {
        if (n < 6 || !number(f[2], &uid) || !number(f[3], &gid))
            continue;
        if (id == UINT32_MAX ? strcmp(f[0], who) != 0 : uid != id)
            continue;
        u->uid = uid;
        u->gid = gid;
        (void)str_copy(u->home, sizeof(u->home), f[5]);
        return true;
    }
    u->uid = id;
    u->gid = id == UINT32_MAX ? 0 : id;
    return id != UINT32_MAX;
}

static bool has_member(char *members, const char *name)
{
    char *one;

    while ((one = strsep(&members, ",")))
        if (*name && strcmp(one, name) == 0)
            return true;
    return false;
}

/* The group of that name; or with `user` all groups that it is in. */
static bool find_group(char *text, const char *group, const char *user, struct os_user *u)
{
    char *f[FIELDS];
    u32 n, gid;
    bool found = false;

    while (next_line(&text, f, &n)) {
        if (n < 3 || !number(f[2], &gid))
            continue;
        if (group && strcmp(f[0], group) == 0) {
            u->gid = gid;
            return true;
        }
        if (!group && n > 3 && u->n_groups < OS_GROUPS_MAX && has_member(f[3], user))
            u->groups[u->n_groups++] = gid;
        found = !group;
    }
    return found;
}

static int take_group(char *text, const char *group, const char *user, struct os_user *u,
                      struct err *e)
{
    if (group && number(group, &u->gid))
        return 0;
    return find_group(text, group, user, u) || !group
               ? 0
               : err_set(e, -ENOENT, "there is no group '%.40s' in it", group);
}

int os_user_in(char *passwd, char *groups, const char *who, struct os_user *ret, struct err *e)
{
    AUTO(free) char *name = xdup(who && *who ? who : "0");
    char *group = strchr(name, ':');

    *ret = (struct os_user){ .home = "/" };
    if (group)
        *group++ = 0;
    if (!find_account(passwd, name, ret))
        return err_set(e, -ENOENT, "there is no user '%.40s' in it", name);
    if (!ret->home[0])
        str_copy(ret->home, sizeof(ret->home), "/");
    return take_group(groups, group, name, ret, e);
}

int os_user_find(int root, const char *who, struct os_user *ret, struct err *e)
{
    AUTO(free) char *passwd = NULL;
    AUTO(free) char *groups = NULL;
    int r = read_file(root, "/etc/passwd", &passwd, e);

    if (r >= 0)
        r = read_file(root, "/etc/group", &groups, e);
    return r < 0 ? r : os_user_in(passwd, groups, who, ret, e);
}
