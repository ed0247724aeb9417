/*
 * os/stats.c: counters of a container, from its control group and its network namespace.
 */
#include "os/stats.h"

#include "os/os.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXT_MAX = 1024 * 1024, DEPTH_MAX = 8 };

/* Owned; NULL: it cannot be read. */
static char *read_text(const char *path)
{
    return fd_read_virtual(path, TEXT_MAX);
}

/* The container's; owned, NULL: there is none. */
static char *group_folder(const struct os *o)
{
    static const char *const tops[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };

    for_each_row(top, tops) {
        AUTO(free) char *path = o->spec->cgroup ? str_new("%s/%s", *top, o->spec->cgroup) : NULL;

        if (path && access(path, R_OK) == 0)
            return TAKE(path);
    }
    return NULL;
}

static char *group_text(const struct os *o, const char *name)
{
    AUTO(free) char *folder = group_folder(o);
    AUTO(free) char *path = folder ? str_new("%s/%s", folder, name) : NULL;

    return path ? read_text(path) : NULL;
}

/* The number at *at, past spaces, which is left behind it; 0: there is none. */
static u64 take_number(const char **at)
{
    char digits[24] = "";
    size_t n;
    u64 v;

    *at += strspn(*at, " \t");
    n = strspn(*at, "0123456789");
    if (n == 0 || n >= sizeof(digits))
        return 0;
    memcpy(digits, *at, n);
    *at += n;
    return str_u64(digits, &v) < 0 ? 0 : v;
}

static u64 number_of(const char *text)
{
    return take_number(&text);
}

static u64 number_after(const char *text, const char *word)
{
    const char *at = strstr(text, word);

    return at ? number_of(at + strlen(word)) : 0;
}

/* ---- without controllers: its processes, one by one ---- */

static u64 resident_of(u64 pid)
{
    char path[64];
    AUTO(free) char *text = NULL;
    const char *second;

    str_fmt(path, sizeof(path), "/proc/%llu/statm", pid);
    text = read_text(path);
    second = text ? strchr(text, ' ') : NULL;
    return second ? number_of(second) * (u64)sysconf(_SC_PAGESIZE) : 0;
}

/* Of a group and those below it, which the container makes: as deep as we care.  Shared pages are counted for each that has them. */
static u64 resident_below(const char *folder, u32 depth)
{
    AUTO(free) char *procs = str_new("%s/cgroup.procs", folder), *text = read_text(procs);
    DIR *d = depth < DEPTH_MAX ? opendir(folder) : NULL;
    char *rest = text, *line;
    struct dirent *de;
    u64 sum = 0;

    while ((line = strsep(&rest, "\n")))
        if (*line)
            sum += resident_of(number_of(line));
    while (d && (de = readdir(d))) {
        AUTO(free) char *below = str_new("%s/%s", folder, de->d_name);

        if (de->d_type == DT_DIR && de->d_name[0] != '.')
            sum += resident_below(below, depth + 1);
    }
    if (d)
        closedir(d);
    return sum;
}

static u64 resident_of_all(const struct os *o)
{
    AUTO(free) char *folder = group_folder(o);

    return folder ? resident_below(folder, 0) : 0;
}

static void add_usage(const struct os *o, json_t *j)
{
    AUTO(free) char *cpu = group_text(o, "cpu.stat"), *memory = group_text(o, "memory.current");
    const u64 bytes = memory ? number_of(memory) : resident_of_all(o);

    if (cpu)
        json_object_set_new(j, "cpu_ns",
                            json_integer((json_int_t)(number_after(cpu, "usage_usec ") * 1000)));
    if (bytes)
        json_object_set_new(j, "memory", json_integer((json_int_t)bytes));
}

/* "8:0 rbytes=… wbytes=… rios=… wios=…", a line for each device. */
static void add_disks(const struct os *o, json_t *devices)
{
    AUTO(free) char *text = group_text(o, "io.stat");
    u64 read = 0, written = 0, reads = 0, writes = 0;
    char *rest = text, *line;

    if (!text)
        return;
    while ((line = strsep(&rest, "\n"))) {
        read += number_after(line, "rbytes=");
        written += number_after(line, "wbytes=");
        reads += number_after(line, "rios=");
        writes += number_after(line, "wios=");
    }
    json_object_set_new(devices, "disk",
                        json_pack("{s:I, s:I, s:I, s:I}", "read_bytes", (json_int_t)read,
                                  "written_bytes", (json_int_t)written, "reads", (json_int_t)reads,
                                  "writes", (json_int_t)writes));
}

/* What follows the colon of "  eth0: bytes packets errs drop fifo frame compressed multicast  bytes packets …" (proc_net(5)). */
static json_t *card_json(const char *at)
{
    enum { RX_BYTES, RX_FRAMES, TX_BYTES = 8, TX_FRAMES, FIELDS };
    u64 v[FIELDS];

    for (u32 i = 0; i < FIELDS; i++)
        v[i] = take_number(&at);
    return json_pack("{s:I, s:I, s:I, s:I}", "rx_bytes", (json_int_t)v[RX_BYTES], "rx_frames",
                     (json_int_t)v[RX_FRAMES], "tx_bytes", (json_int_t)v[TX_BYTES], "tx_frames",
                     (json_int_t)v[TX_FRAMES]);
}

static void add_cards(const struct os *o, json_t *devices)
{
    char path[64];
    AUTO(free) char *text = NULL;

    str_fmt(path, sizeof(path), "/proc/%d/net/dev", o->pid);
    text = o->pid ? read_text(path) : NULL;
    for (u32 i = 0; text && i < o->spec->nets.n; i++) {
        char card[16], name[16];
        const char *at;

        str_fmt(card, sizeof(card), "eth%u:", i);
        str_fmt(name, sizeof(name), "net%u", i);
        at = strstr(text, card);
        if (at)
            json_object_set_new(devices, name, card_json(at + strlen(card)));
    }
}

json_t *os_stats(const struct os *o)
{
    json_t *devices = json_object(), *j = json_pack("{s:o}", "devices", devices);

    add_usage(o, j);
    add_disks(o, devices);
    add_cards(o, devices);
    return j;
}
