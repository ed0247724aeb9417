/*
 * host/metrics_read.c: counters and gauges of the host and of a machine, from Linux and from the machine itself; and what they mean.
 */
#include "base/clock.h"
#include "base/proc.h"
#include "host/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXT_MAX = 256 * 1024 };

/* clang-format off */
const struct metric_row metric_rows[METRICS] = {
    [METRIC_CPU]         = { "cpu",         "CPU time, in thousandths of a CPU", .per = -1, .scale = 1000, .collected = "cpu_seconds_total", .collected_scale = 1e-9 },
    [METRIC_STEAL]       = { "steal",       "time that its CPUs could have run and did not get, in thousandths of a CPU", .per = -1, .scale = 1000,
                             .collected = "steal_seconds_total", .collected_scale = 1e-9 },
    [METRIC_MEMORY]      = { "memory",      "bytes of memory in use", .is_gauge = true, .per = -1, .scale = 1, .collected = "memory_bytes", .collected_scale = 1 },
    [METRIC_BALLOON]     = { "balloon",     "bytes that the guest gave back by its balloon", .is_gauge = true, .no_host = true, .per = -1, .scale = 1,
                             .collected = "balloon_bytes", .collected_scale = 1 },
    [METRIC_READ_BYTES]  = { "read_bytes",  "bytes read of disks, a second", .per = -1, .scale = 1e9, .collected = "disk_read_bytes_total", .collected_scale = 1 },
    [METRIC_WRITE_BYTES] = { "write_bytes", "bytes written to disks, a second", .per = -1, .scale = 1e9, .collected = "disk_written_bytes_total", .collected_scale = 1 },
    [METRIC_READS]       = { "reads",       "reads of disks, a second", .per = -1, .scale = 1e9, .collected = "disk_reads_total", .collected_scale = 1 },
    [METRIC_WRITES]      = { "writes",      "writes to disks, a second", .per = -1, .scale = 1e9, .collected = "disk_writes_total", .collected_scale = 1 },
    [METRIC_READ_US]     = { "read_us",     "microseconds that a read took", .per = METRIC_READS, .scale = 1e-3, .collected = "disk_read_seconds_total", .collected_scale = 1e-9 },
    [METRIC_WRITE_US]    = { "write_us",    "microseconds that a write took", .per = METRIC_WRITES, .scale = 1e-3, .collected = "disk_write_seconds_total", .collected_scale = 1e-9 },
    [METRIC_IN_BYTES]    = { "in_bytes",    "bytes that its network cards received, a second", .per = -1, .scale = 1e9, .collected = "net_in_bytes_total", .collected_scale = 1 },
    [METRIC_OUT_BYTES]   = { "out_bytes",   "bytes that its network cards sent, a second", .per = -1, .scale = 1e9, .collected = "net_out_bytes_total", .collected_scale = 1 },
    [METRIC_IN_FRAMES]   = { "in_frames",   "frames that its network cards received, a second", .per = -1, .scale = 1e9, .collected = "net_in_frames_total", .collected_scale = 1 },
    [METRIC_OUT_FRAMES]  = { "out_frames",  "frames that its network cards sent, a second", .per = -1, .scale = 1e9, .collected = "net_out_frames_total", .collected_scale = 1 },
    [METRIC_EXITS]       = { "exits",       "exits of its virtual CPUs, a second", .no_host = true, .per = -1, .scale = 1e9, .collected = "exits_total", .collected_scale = 1 },
};
/* clang-format on */

static void add(struct metric_sample *s, enum metric m, u64 v)
{
    s->have |= 1u << m;
    s->raw[m] += v;
}

/* Of one, from two samples; NAN: one of them lacks it, or the counter began anew between them. */
static double value_of(enum metric m, const struct metric_sample *from,
                       const struct metric_sample *to)
{
    const struct metric_row *row = &metric_rows[m];
    const int per = row->per;
    double by = (double)(to->at_ns - from->at_ns);

    if (row->is_gauge)
        return to->have >> m & 1 ? (double)to->raw[m] * row->scale : (double)NAN;
    if (!(from->have & to->have & 1u << m) || to->raw[m] < from->raw[m])
        return (double)NAN;
    if (per >= 0 && to->raw[per] <= from->raw[per])
        return (double)NAN;
    if (per >= 0)
        by = (double)(to->raw[per] - from->raw[per]);
    return by > 0 ? (double)(to->raw[m] - from->raw[m]) * row->scale / by : (double)NAN;
}

void metrics_values(const struct metric_sample *from, const struct metric_sample *to,
                    double ret[METRICS])
{
    for (u32 m = 0; m < METRICS; m++)
        ret[m] = value_of((enum metric)m, from, to);
}

json_t *metrics_number(double value)
{
    if (isnan(value))
        return json_null();
    /* a machine may say that it counted anything */
    return json_integer(value < 9e18 ? (json_int_t)(value + 0.5) : INT64_MAX);
}

/* ---- Linux ---- */

/* A file of /proc or /sys; owned, NULL: it is not there. */
static char *read_file(const char *path)
{
    return fd_read_virtual(path, TEXT_MAX);
}

static u64 after(const char *text, const char *word)
{
    u64 v;

    (void)str_u64_after(text, word, &v);
    return v;
}

/* proc(5), /proc/stat: user nice system idle iowait irq softirq steal; the guests' are in the first two. */
static void read_cpus(struct metric_sample *ret)
{
    AUTO(free) char *text = read_file("/proc/stat");
    const u64 tick_ns = NSEC_PER_SEC / (u64)sysconf(_SC_CLK_TCK);
    u64 v[8];

    if (!text || !str_starts(text, "cpu ") || str_take_u64s(text + 4, v, 8) != 8)
        return;
    add(ret, METRIC_CPU, (v[0] + v[1] + v[2] + v[5] + v[6]) * tick_ns);
    add(ret, METRIC_STEAL, v[7] * tick_ns);
}

static void read_memory(struct metric_sample *ret)
{
    AUTO(free) char *text = read_file("/proc/meminfo");
    const u64 total = text ? after(text, "MemTotal:") : 0;
    const u64 available = text ? after(text, "MemAvailable:") : 0;

    if (total > available)
        add(ret, METRIC_MEMORY, (total - available) * KiB);
}

/* Each entry of a folder of /sys/class or /sys/block that is a device, not one made of others. */
static void each_device(const char *folder, void (*fn)(const char *path, struct metric_sample *ret),
                        struct metric_sample *ret)
{
    DIR *d = opendir(folder);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        AUTO(free) char *path = str_new("%s/%s", folder, de->d_name);
        AUTO(free) char *device = str_new("%s/device", path);

        if (de->d_name[0] != '.' && access(device, F_OK) == 0)
            fn(path, ret);
    }
    if (d)
        closedir(d);
}

/* Linux, Documentation/block/stat.rst: reads, merged, sectors of 512 bytes, milliseconds; the same of writes. */
static void read_disk(const char *folder, struct metric_sample *ret)
{
    AUTO(free) char *path = str_new("%s/stat", folder), *text = read_file(path);
    u64 v[8];

    if (!text || str_take_u64s(text, v, 8) != 8)
        return;
    add(ret, METRIC_READS, v[0]);
    add(ret, METRIC_READ_BYTES, v[2] * 512);
    add(ret, METRIC_READ_US, v[3] * NSEC_PER_MSEC);
    add(ret, METRIC_WRITES, v[4]);
    add(ret, METRIC_WRITE_BYTES, v[6] * 512);
    add(ret, METRIC_WRITE_US, v[7] * NSEC_PER_MSEC);
}

static void read_card(const char *folder, struct metric_sample *ret)
{
    static const struct {
        const char *name;
        enum metric to;
    } rows[] = {
        { "rx_bytes", METRIC_IN_BYTES },
        { "tx_bytes", METRIC_OUT_BYTES },
        { "rx_packets", METRIC_IN_FRAMES },
        { "tx_packets", METRIC_OUT_FRAMES },
    };

    for_each_row(row, rows) {
        AUTO(free) char *path = str_new("%s/statistics/%s", folder, row->name);
        AUTO(free) char *text = read_file(path);

        if (text)
            add(ret, row->to, after(text, ""));
    }
}

void metrics_read_host(struct metric_sample *ret)
{
    *ret = (struct metric_sample){ .at_ns = clock_mono_ns() };
    read_cpus(ret);
    read_memory(ret);
    each_device("/sys/block", read_disk, ret);
    each_device("/sys/class/net", read_card, ret);
}

/* sched-stats.rst: nanoseconds on a CPU, nanoseconds waiting for one.  Kernels that do not count have no such file. */
static void read_waiting(u32 pid, struct metric_sample *ret)
{
    AUTO(free) char *folder = str_new("/proc/%u/task", pid);
    DIR *d = opendir(folder);
    struct dirent *de;
    u64 v[2];

    while (d && (de = readdir(d))) {
        AUTO(free) char *path = str_new("%s/%s/schedstat", folder, de->d_name);
        AUTO(free) char *text = de->d_name[0] == '.' ? NULL : read_file(path);

        if (text && str_take_u64s(text, v, 2) == 2)
            add(ret, METRIC_STEAL, v[1]);
    }
    if (d)
        closedir(d);
}

void metrics_read_process(u32 pid, struct metric_sample *ret)
{
    const u64 bytes = proc_resident(pid);
    struct timespec t;
    clockid_t clock;

    if (clock_getcpuclockid((pid_t)pid, &clock) == 0 && clock_gettime(clock, &t) == 0)
        add(ret, METRIC_CPU, (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec);
    if (bytes)
        add(ret, METRIC_MEMORY, bytes);
    read_waiting(pid, ret);
}

/* ---- the machine ---- */

static u64 count_of(const json_t *counters, const char *name)
{
    const json_int_t v = json_integer_value(json_object_get(counters, name));

    return v > 0 ? (u64)v : 0;
}

/* Devices are called disk0, disk1, net0, … */
static void read_device(const char *name, const json_t *counters, struct metric_sample *ret)
{
    static const struct {
        const char *device, *counter;
        enum metric to;
    } rows[] = {
        { "disk", "reads", METRIC_READS },
        { "disk", "writes", METRIC_WRITES },
        { "disk", "read_bytes", METRIC_READ_BYTES },
        { "disk", "written_bytes", METRIC_WRITE_BYTES },
        { "disk", "read_ns", METRIC_READ_US },
        { "disk", "write_ns", METRIC_WRITE_US },
        { "net", "rx_bytes", METRIC_IN_BYTES },
        { "net", "tx_bytes", METRIC_OUT_BYTES },
        { "net", "rx_frames", METRIC_IN_FRAMES },
        { "net", "tx_frames", METRIC_OUT_FRAMES },
        { "balloon", "ballooned", METRIC_BALLOON },
    };

    for_each_row(row, rows)
        if (str_starts(name, row->device) && json_object_get(counters, row->counter))
            add(ret, row->to, count_of(counters, row->counter));
}

void metrics_read_stats(const json_t *stats, struct metric_sample *ret)
{
    json_t *devices = json_object_get(stats, "devices"), *cpus = json_object_get(stats, "exits");
    json_t *of, *n;
    const char *name, *kind;

    if (json_object_get(stats, "cpu_ns")) /* of containers, beside what socle-os itself uses */
        add(ret, METRIC_CPU, count_of(stats, "cpu_ns"));
    if (json_object_get(stats, "memory"))
        add(ret, METRIC_MEMORY, count_of(stats, "memory"));
    json_object_foreach(devices, name, of) read_device(name, of, ret);
    json_object_foreach(cpus, name, of) json_object_foreach(of, kind, n)
        add(ret, METRIC_EXITS, count_of(of, kind));
}
