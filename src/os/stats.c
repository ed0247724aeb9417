/*
 * os/stats.c: counters of a container, from its control group and its network namespace.
 */
#include "os/stats.h"

#include "base/proc.h"
#include "os/os.h"

#include <stdlib.h>
#include <unistd.h>

enum { TEXT_MAX = 1024 * 1024 };

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

/* 0: there is none. */
static u64 number_after(const char *text, const char *word)
{
    u64 v;

    (void)str_u64_after(text, word, &v);
    return v;
}

static void add_usage(const struct os *o, json_t *j)
{
    AUTO(free) char *cpu = group_text(o, "cpu.stat"), *memory = group_text(o, "memory.current");
    const u64 bytes = memory ? number_after(memory, "") : proc_below((u32)getpid());

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
    u64 v[FIELDS] = {};

    (void)str_take_u64s(at, v, FIELDS);
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
