/*
 * box/mount.c: options of mounts as a table, and the calls of the mount API.
 */
#include "box/mount.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <sys/mount.h> cannot be had together with <linux/mount.h>. */
enum { PRIVATE = 1 << 18, SLAVE = 1 << 19, SHARED = 1 << 20, UNBINDABLE = 1 << 17 };

enum effect { ATTR = 1, PROPAGATION, BIND, IDMAP, FLAG, DEFAULT, NOTHING };

#define ATIME MOUNT_ATTR__ATIME

/* clang-format off */
static const struct option {
    const char *name;
    enum effect effect;
    u64 set, clear; /* MOUNT_ATTR_*; of PROPAGATION the kind; of BIND whether it is recursive */
    bool rec;       /* "r" before the name does it for the whole tree */
    size_t flag;    /* of FLAG: which of the plan */
} options[] = {
    { "ro",            ATTR, MOUNT_ATTR_RDONLY,      0,                       true },
    { "rw",            ATTR, 0,                      MOUNT_ATTR_RDONLY,       true },
    { "nosuid",        ATTR, MOUNT_ATTR_NOSUID,      0,                       true },
    { "suid",          ATTR, 0,                      MOUNT_ATTR_NOSUID,       true },
    { "nodev",         ATTR, MOUNT_ATTR_NODEV,       0,                       true },
    { "dev",           ATTR, 0,                      MOUNT_ATTR_NODEV,        true },
    { "noexec",        ATTR, MOUNT_ATTR_NOEXEC,      0,                       true },
    { "exec",          ATTR, 0,                      MOUNT_ATTR_NOEXEC,       true },
    { "nosymfollow",   ATTR, MOUNT_ATTR_NOSYMFOLLOW, 0,                       true },
    { "symfollow",     ATTR, 0,                      MOUNT_ATTR_NOSYMFOLLOW,  true },
    { "nodiratime",    ATTR, MOUNT_ATTR_NODIRATIME,  0,                       true },
    { "diratime",      ATTR, 0,                      MOUNT_ATTR_NODIRATIME,   true },
    { "noatime",       ATTR, MOUNT_ATTR_NOATIME,     ATIME,                   true },
    { "atime",         ATTR, MOUNT_ATTR_RELATIME,    ATIME,                   true },
    { "relatime",      ATTR, MOUNT_ATTR_RELATIME,    ATIME,                   true },
    { "norelatime",    ATTR, MOUNT_ATTR_STRICTATIME, ATIME,                   true },
    { "strictatime",   ATTR, MOUNT_ATTR_STRICTATIME, ATIME,                   true },
    { "nostrictatime", ATTR, MOUNT_ATTR_RELATIME,    ATIME,                   true },
    { "private",       PROPAGATION, PRIVATE,         0,                       true },
    { "slave",         PROPAGATION, SLAVE,           0,                       true },
    { "shared",        PROPAGATION, SHARED,          0,                       true },
    { "unbindable",    PROPAGATION, UNBINDABLE,      0,                       true },
    { "bind",          BIND, 0,                      0,                       true },
    { "defaults",      NOTHING, 0,                   0,                       false },
    { "idmap",         IDMAP, 0,                     0,                       true },
    { "remount",       FLAG, 0, 0, false, offsetof(struct mount_plan, remount) },
    { "tmpcopyup",     FLAG, 0, 0, false, offsetof(struct mount_plan, copy_up) },
    { "copy-symlink",  FLAG, 0, 0, false, offsetof(struct mount_plan, copy_link) },
    { "src-nofollow",  FLAG, 0, 0, false, offsetof(struct mount_plan, src_nofollow) },
    { "dest-nofollow", FLAG, 0, 0, false, offsetof(struct mount_plan, dest_nofollow) },
    { "silent",        NOTHING, 0,                   0,                       false },
    { "loud",          NOTHING, 0,                   0,                       false },
    { "async",         DEFAULT, 0,                   0,                       false },
    { "nomand",        DEFAULT, 0,                   0,                       false },
    { "nolazytime",    DEFAULT, 0,                   0,                       false },
};
/* clang-format on */

static const struct option *find(const char *name, bool *ret_rec)
{
    for_each_row(o, options) {
        *ret_rec = false;
        if (strcmp(name, o->name) == 0)
            return o;
        *ret_rec = o->rec && name[0] == 'r';
        if (*ret_rec && strcmp(name + 1, o->name) == 0)
            return o;
    }
    return NULL;
}

const char *mount_option_name(unsigned i)
{
    static char recursive[32];

    if (i >= 2 * ARRAY_LEN(options))
        return NULL;
    if (i % 2 && !options[i / 2].rec)
        return "";
    str_fmt(recursive, sizeof(recursive), "%s%s", i % 2 ? "r" : "", options[i / 2].name);
    return recursive;
}

u64 mount_propagation(const char *word, bool *ret_rec)
{
    const struct option *o = word ? find(word, ret_rec) : NULL;

    return o && o->effect == PROPAGATION ? o->set : 0;
}

static void apply(struct mount_plan *p, const struct option *o, bool rec)
{
    switch (o->effect) {
    case ATTR: /* a later option takes back what an earlier one said */
        *(rec ? &p->rec_clear : &p->clear) =
            (*(rec ? &p->rec_clear : &p->clear) & ~o->set) | o->clear;
        *(rec ? &p->rec_set : &p->set) = (*(rec ? &p->rec_set : &p->set) & ~o->clear) | o->set;
        break;
    case PROPAGATION:
        p->propagation = o->set;
        p->rec_propagation = rec;
        break;
    case BIND:
        p->bind = true;
        p->recursive = rec;
        break;
    case IDMAP:
        p->idmap = true;
        p->rec_idmap = rec;
        break;
    case FLAG:
        *(bool *)((u8 *)p + o->flag) = true;
        break;
    case DEFAULT:
    case NOTHING:
        break;
    }
}

int mount_plan_make(struct mount_plan *p, const struct oci_mount *m, struct err *e)
{
    const bool typed_bind = m->type && strcmp(m->type, "bind") == 0;
    int r = 0;

    *p = (struct mount_plan){ .bind = typed_bind };
    p->data.items = m->options.n ? xnew_n(char *, m->options.n) : NULL;
    for (u32 i = 0; i < m->options.n; i++) {
        bool rec;
        const struct option *o = find(m->options.items[i], &rec);

        if (o)
            apply(p, o, rec);
        /* What a new file system does by default may undo what an option before said; a copy has no such. */
        if (!o || (o->effect == DEFAULT && !p->bind))
            p->data.items[p->data.n++] = m->options.items[i];
    }
    p->idmap |= m->uidMappings.n || m->gidMappings.n;
    if (p->bind && p->data.n)
        r = err_set(e, -EINVAL, "mounts: option '%.40s' of bind mount '%.80s' is unknown",
                    p->data.items[0], m->destination);
    else if (p->idmap && !p->bind)
        r = err_set(e, -EINVAL, "mounts: '%.80s' is idmapped, and only bind mounts can be",
                    m->destination);
    else if (p->remount && !p->bind)
        r = err_set(e, -ENOTSUP, "mounts: option 'remount' of '%.80s' is for bind mounts only",
                    m->destination);
    else if (p->copy_up && (!m->type || strcmp(m->type, "tmpfs") != 0 || p->bind))
        r = err_set(e, -EINVAL, "mounts: option 'tmpcopyup' of '%.80s' is for a tmpfs only",
                    m->destination);
    if (r < 0)
        mount_plan_fini(p);
    return r;
}

void mount_plan_fini(struct mount_plan *p)
{
    free(p->data.items);
    p->data = (struct field_strs){};
}

int mount_clone(int dir, const char *path, int flags)
{
    long fd = syscall(SYS_open_tree, dir, path,
                      OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (unsigned)flags |
                          (*path ? 0 : AT_EMPTY_PATH));

    return fd < 0 ? -errno : (int)fd;
}

static int set_attr(int fd, bool recursive, u64 set, u64 clear, u64 propagation)
{
    struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };

    return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
                   sizeof(attr)) < 0
               ? -errno
               : 0;
}

int mount_change(int fd, const struct mount_plan *p)
{
    /* What a copy inherited from the host must not lead back there: private unless it is asked for. */
    int r = set_attr(fd, true, p->rec_set, p->rec_clear, PRIVATE * (p->propagation == 0));

    if (r == 0 && (p->set || p->clear))
        r = set_attr(fd, false, p->set, p->clear, 0);
    if (r == 0 && p->propagation)
        r = set_attr(fd, p->rec_propagation, 0, 0, p->propagation);
    return r;
}

int mount_idmap(int fd, int user, bool recursive)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (u64)user };

    return syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr,
                   sizeof(attr)) < 0
               ? -errno
               : 0;
}

/* Its line of mountinfo: "ID PARENT DEV ROOT PATH OPTIONS [TAG]… - TYPE SOURCE OPTIONS" (proc(5)). */
void mount_type_of(int dir, const char *path, char type[32])
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    AUTO(free) char *line = NULL;
    char want[32] = "", *at;
    struct statx st;
    size_t size = 0;

    type[0] = 0;
    if (!mounts)
        return;
    if (statx(dir, path, 0, STATX_MNT_ID, &st) == 0 && (st.stx_mask & STATX_MNT_ID))
        str_fmt(want, sizeof(want), "%llu ", st.stx_mnt_id);
    while (*want && getline(&line, &size, mounts) > 0) {
        at = str_starts(line, want) ? strstr(line, " - ") : NULL;
        if (!at)
            continue;
        at += strlen(" - ");
        str_fmt(type, 32, "%.*s", (int)min(strcspn(at, " \n"), (size_t)31), at);
        break;
    }
    fclose(mounts);
}

/* What the kernel wrote about the last failure, without its "e ". */
static void fs_message(int fs, char text[128])
{
    ssize_t n = read(fs, text, 127);

    text[max(n, (ssize_t)0)] = 0;
    text[strcspn(text, "\n")] = 0;
}

static int fs_set(int fs, const char *option)
{
    char key[64];
    size_t len = strcspn(option, "=");

    if (len >= sizeof(key))
        return -EINVAL;
    memcpy(key, option, len);
    key[len] = 0;
    if (option[len])
        return syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, option + len + 1, 0) < 0 ? -errno
                                                                                            : 0;
    return syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0) < 0 ? -errno : 0;
}

int mount_new(const char *type, const char *source, const struct mount_plan *p, u64 late,
              struct err *e)
{
    AUTO(fd) int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    char why[128] = "";
    long fd;
    int r = 0;

    if (fs < 0)
        return err_errno(e, "mount: file system '%.40s'", type);
    if (source && *source)
        r = syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", source, 0) < 0 ? -errno : 0;
    for (u32 i = 0; i < p->data.n && r == 0; i++) {
        r = fs_set(fs, p->data.items[i]);
        if (r < 0) {
            fs_message(fs, why);
            return err_code(e, r, "mount: option '%.60s' of '%.40s' (%s)", p->data.items[i], type,
                            why);
        }
    }
    if (r == 0 && p->label &&
        syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "context", p->label, 0) < 0)
        return err_errno(e, "linux.mountLabel: '%.80s' of '%.40s'", p->label, type);
    if (r == 0 && syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        r = -errno;
        fs_message(fs, why);
    }
    if (r < 0)
        return err_code(e, r, "mount: make '%.40s'%s%s", type, *why ? " " : "", why);
    fd = syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, (p->set | p->rec_set) & ~late);
    return fd < 0 ? err_errno(e, "mount: make '%.40s'", type) : (int)fd;
}

int mount_attach(int fd, int target)
{
    return syscall(SYS_move_mount, fd, "", target, "",
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
               ? -errno
               : 0;
}
