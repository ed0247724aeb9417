/*
 * os/view.c: the texts (proc(5); Linux, Documentation/filesystems/proc.rst).  Programs look for names, and free, top and uptime for those
 * that are here; what a container has none of is 0.
 */
#include "os/view.h"

#include "base/clock.h"

#include <math.h>
#include <unistd.h>

enum { USEC_PER_SEC = 1000000 };

const char *const view_paths[VIEW_FILES] = {
    [VIEW_MEMINFO] = "/proc/meminfo",
    [VIEW_CPUINFO] = "/proc/cpuinfo",
    [VIEW_STAT] = "/proc/stat",
    [VIEW_UPTIME] = "/proc/uptime",
    [VIEW_LOADAVG] = "/proc/loadavg",
    [VIEW_SWAPS] = "/proc/swaps",
    [VIEW_ONLINE] = "/sys/devices/system/cpu/online",
};

/* Its swap, if the host gives it any, is the host's: none is shown. */
static void print_meminfo(const struct view *v, struct strbuf *out)
{
    const u64 used = min(v->used, v->memory), free = v->memory - used;
    const u64 cached = min(v->cached, used), shared = min(v->shared, used - cached);
    const struct {
        const char *name;
        u64 bytes;
    } rows[] = {
        { "MemTotal", v->memory },
        { "MemFree", free },
        { "MemAvailable", free + cached },
        { "Buffers", 0 },
        { "Cached", cached + shared },
        { "SwapCached", 0 },
        { "Active", used - cached },
        { "Inactive", cached },
        { "Active(anon)", used - cached },
        { "Inactive(anon)", 0 },
        { "Active(file)", 0 },
        { "Inactive(file)", cached },
        { "Unevictable", 0 },
        { "Mlocked", 0 },
        { "SwapTotal", 0 },
        { "SwapFree", 0 },
        { "Dirty", 0 },
        { "Writeback", 0 },
        { "AnonPages", used - cached - shared },
        { "Mapped", 0 },
        { "Shmem", shared },
        { "Slab", 0 },
        { "SReclaimable", 0 },
        { "SUnreclaim", 0 },
    };

    for_each_row(row, rows)
        strbuf_add(out, "%s:%*llu kB\n", row->name, 23 - (int)strlen(row->name), row->bytes / KiB);
}

/* The first of the host's, a paragraph each. */
static void print_cpuinfo(const struct view *v, struct strbuf *out)
{
    const char *at = v->host_cpuinfo, *end;
    u32 n = 0;

    for (; *at && n < v->cpus; n++, at = end) {
        end = strstr(at, "\n\n");
        end = end ? end + 2 : at + strlen(at);
        strbuf_add_mem(out, at, (size_t)(end - at));
    }
}

static u64 ticks(u64 us)
{
    return us / (USEC_PER_SEC / (u64)sysconf(_SC_CLK_TCK));
}

static u64 idle_us(const struct view *v)
{
    const u64 all = v->up_ns / 1000 * v->cpus, used = v->user_us + v->system_us;

    return all > used ? all - used : 0;
}

static void print_cpu_line(const struct view *v, u64 by, struct strbuf *out)
{
    strbuf_add(out, " %llu 0 %llu %llu 0 0 0 0 0 0\n", ticks(v->user_us / by),
               ticks(v->system_us / by), ticks(idle_us(v) / by));
}

/* What ran on which CPU is not known: each has its share. */
static void print_stat(const struct view *v, struct strbuf *out)
{
    strbuf_add(out, "cpu ");
    print_cpu_line(v, 1, out);
    for (u32 i = 0; i < v->cpus; i++) {
        strbuf_add(out, "cpu%u", i);
        print_cpu_line(v, v->cpus, out);
    }
    strbuf_add(out,
               "intr 0\nctxt 0\nbtime %llu\nprocesses %u\nprocs_running 1\nprocs_blocked 0\n"
               "softirq 0 0 0 0 0 0 0 0 0 0 0\n",
               v->now_s - v->up_ns / NSEC_PER_SEC, v->tasks);
}

static void print_hundredths(u64 us, const char *after, struct strbuf *out)
{
    strbuf_add(out, "%llu.%02llu%s", us / USEC_PER_SEC, us / 10000 % 100, after);
}

static void print_uptime(const struct view *v, struct strbuf *out)
{
    print_hundredths(v->up_ns / 1000, " ", out);
    print_hundredths(idle_us(v), "\n", out);
}

static void print_loadavg(const struct view *v, struct strbuf *out)
{
    for_each_row(load, v->load)
        strbuf_add(out, "%.2f ", *load);
    strbuf_add(out, "1/%u %u\n", v->tasks, v->tasks);
}

static void print_swaps(const struct view *v [[maybe_unused]], struct strbuf *out)
{
    strbuf_add(out, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n");
}

static void print_online(const struct view *v, struct strbuf *out)
{
    strbuf_add(out, v->cpus > 1 ? "0-%u\n" : "%u\n", v->cpus - 1);
}

void view_print(enum view_file f, const struct view *v, struct strbuf *out)
{
    static void (*const print[VIEW_FILES])(const struct view *v, struct strbuf *out) = {
        [VIEW_MEMINFO] = print_meminfo, [VIEW_CPUINFO] = print_cpuinfo, [VIEW_STAT] = print_stat,
        [VIEW_UPTIME] = print_uptime,   [VIEW_LOADAVG] = print_loadavg, [VIEW_SWAPS] = print_swaps,
        [VIEW_ONLINE] = print_online,
    };

    print[f](v, out);
}

/* As the kernel's, in one step for the whole time (kernel/sched/loadavg.c). */
void view_load(double load[3], double busy, u64 ns)
{
    static const double minutes[3] = { 1, 5, 15 };

    for (u32 i = 0; i < 3; i++) {
        const double keep = exp(-(double)ns / (minutes[i] * 60 * (double)NSEC_PER_SEC));

        load[i] = load[i] * keep + busy * (1 - keep);
    }
}
