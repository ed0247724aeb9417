/*
 * disk/lock.c: two programs do not write to one image.
 */
#include "disk/lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static void close_file(FILE *f)
{
    if (f)
        fclose(f);
}
AUTO_DEFINE(file, FILE *, close_file)

static void close_dir(DIR *d)
{
    if (d)
        closedir(d);
}
AUTO_DEFINE(dir, DIR *, close_dir)

struct holder {
    u64 pid; /* 0: not found */
    char name[32];
};

/* Does the text of a /proc/PID/fdinfo file speak of an OFD lock? */
static bool info_has_lock(const char *path)
{
    AUTO(file) FILE *f = fopen(path, "re");
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (str_starts(line, "lock:") && strstr(line, "OFDLCK"))
            return true;
    return false;
}

/* Has this process the file `st` open and locked? */
static bool process_has(const char *pid, const struct stat *st)
{
    char path[600];
    AUTO(dir) DIR *fds = NULL;
    struct dirent *d;

    str_fmt(path, sizeof(path), "/proc/%s/fd", pid);
    fds = opendir(path);
    while (fds && (d = readdir(fds))) {
        struct stat other;

        if (d->d_name[0] == '.' || fstatat(dirfd(fds), d->d_name, &other, 0) < 0 ||
            other.st_dev != st->st_dev || other.st_ino != st->st_ino)
            continue;
        str_fmt(path, sizeof(path), "/proc/%s/fdinfo/%s", pid, d->d_name);
        if (info_has_lock(path))
            return true;
    }
    return false;
}

static void process_name(const char *pid, char *name, size_t size)
{
    char path[300];
    AUTO(file) FILE *f = NULL;

    name[0] = 0;
    str_fmt(path, sizeof(path), "/proc/%s/comm", pid);
    f = fopen(path, "re");
    if (f && fgets(name, (int)size, f))
        name[strcspn(name, "\n")] = 0;
}

/* F_OFD_GETLK says -1 for the holder's pid, so /proc is asked.  Others' processes may not be visible. */
static void find_holder(int fd, struct holder *ret)
{
    AUTO(dir) DIR *proc = opendir("/proc");
    struct stat st;
    struct dirent *d;

    *ret = (struct holder){};
    if (!proc || fstat(fd, &st) < 0)
        return;
    while ((d = readdir(proc))) {
        u64 pid;

        if (str_u64(d->d_name, &pid) < 0 || !process_has(d->d_name, &st))
            continue;
        ret->pid = pid;
        process_name(d->d_name, ret->name, sizeof(ret->name));
        return;
    }
}

int lock_image(int fd, bool write, const char *name, struct err *e)
{
    struct flock l = { .l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET };
    const char *how = write ? "in use" : "being written";
    struct holder h;

    if (fcntl(fd, F_OFD_SETLK, &l) == 0)
        return 0;
    if (errno != EAGAIN && errno != EACCES) {
        log_warn("disk '%s': cannot be locked here (%s): keep other programs away from it", name,
                 strerror(errno));
        return 0;
    }
    find_holder(fd, &h);
    if (h.pid)
        return err_set(e, -EAGAIN, "disk '%s' is %s by process %llu (%s)", name, how, h.pid,
                       h.name);
    return err_set(e, -EAGAIN, "disk '%s' is %s by another process", name, how);
}
