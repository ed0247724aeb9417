/*
 * host/guard.c: the over-allocation guard: the rule, and where its figures come from.
 */
#include "host/guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

u64 guard_room(const struct guard_host *h, const struct guard_vm *vms, u32 n)
{
    const u64 reserve = max(512 * MiB, h->total / 20);
    u64 left = min(h->available > reserve ? h->available - reserve : 0, h->group_left),
        owed = GUARD_OVERHEAD;

    for (u32 i = 0; i < n; i++) {
        const u64 may = vms[i].memory + GUARD_OVERHEAD;

        owed += may > vms[i].resident ? may - vms[i].resident : 0;
    }
    return left > owed ? left - owed : 0;
}

int guard_check(const struct guard_host *h, const struct guard_vm *vms, u32 n, const char *name,
                u64 memory, struct err *e)
{
    const u64 room = guard_room(h, vms, n);

    if (memory <= room)
        return 0;
    return err_set(
        e, -ENOMEM,
        "not enough memory to start '%s' with %lluM: with what %u running machines may still take, "
        "%lluM would fit; stop others, give it less, or use --force",
        name, memory / MiB, n, room / MiB);
}

/* The first bytes of a file of /proc or /sys; false: it is not there. */
static bool read_text(const char *path, char *buf, size_t size)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

    buf[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The number after a name; ~0: there is none. */
static u64 number_after(const char *text, const char *name)
{
    u64 v;

    return str_u64_after(text, name, &v) ? v : ~0ull;
}

/* Of cgroup v2, the one that we are in, and the machines with us. */
static u64 group_left(void)
{
    char own[4096], text[64];
    AUTO(free) char *max_path = NULL, *now_path = NULL;
    char *path;
    size_t len;
    u64 most, now;

    if (!read_text("/proc/self/cgroup", own, sizeof(own)) || !(path = strstr(own, "0::")))
        return ~0ull;
    path += 3;
    path[strcspn(path, "\n")] = 0;
    len = strlen(path);
    if (len > 7 && strcmp(path + len - 7, "/socled") == 0)
        path[len - 7] = 0; /* where we moved from (host/cgroup.c): machines are there, too */
    max_path = str_new("/sys/fs/cgroup%s/memory.max", path);
    now_path = str_new("/sys/fs/cgroup%s/memory.current", path);
    if (!read_text(max_path, text, sizeof(text)) || (most = number_after(text, "")) == ~0ull)
        return ~0ull; /* "max" */
    now = read_text(now_path, text, sizeof(text)) ? number_after(text, "") : 0;
    return most > now ? most - now : 0;
}

int guard_read_host(struct guard_host *ret, struct err *e)
{
    char text[4096];
    u64 total, available;

    if (!read_text("/proc/meminfo", text, sizeof(text)))
        return err_errno(e, "read /proc/meminfo");
    total = number_after(text, "MemTotal:");
    available = number_after(text, "MemAvailable:");
    if (total == ~0ull || available == ~0ull)
        return err_set(e, -EIO, "/proc/meminfo does not say what is available");
    *ret = (struct guard_host){ total * KiB, available * KiB, group_left() };
    return 0;
}
