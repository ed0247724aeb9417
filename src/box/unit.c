/*
 * box/unit.c: names and properties of a container's scope unit.  What systemd is told here, cgroup_apply writes once more: systemd rounds,
 * and does not know all; and what only cgroup_apply wrote, systemd would undo whenever it reads its units anew.
 */
#include "box/unit.h"

#include "box/cgroup.h"

#include <stdlib.h>

enum { QUOTA_STEP_US = 10000, USEC = 1000000, PERIOD_US = 100000 };

void unit_fini(struct unit *u)
{
    free(u->name);
    free(u->slice);
    *u = (struct unit){};
}

static bool word_ok(const char *word, const char *end)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
    const size_t len = strlen(word), tail = strlen(end);

    return len > tail && len <= UNIT_NAME_MAX && strspn(word, letters) == len &&
           strcmp(word + len - tail, end) == 0;
}

bool unit_name_ok(const char *name)
{
    return word_ok(name, ".scope") && name[0] != '.';
}

/* "a-b.slice" is below "a.slice", so no part may be empty; "-.slice" is the root. */
static bool slice_ok(const char *slice)
{
    if (strcmp(slice, "-.slice") == 0)
        return true;
    return word_ok(slice, ".slice") && slice[0] != '-' && slice[0] != '.' && !strstr(slice, "--") &&
           !strstr(slice, "-.slice");
}

static void split(struct unit *u, const char *path, size_t slice_len)
{
    const char *prefix = path + slice_len + 1, *name = strchr(prefix, ':') + 1;
    const int prefix_len = (int)(name - 1 - prefix);

    if (slice_len)
        u->slice = str_new("%.*s", (int)slice_len, path);
    u->name =
        prefix_len ? str_new("%.*s-%s.scope", prefix_len, prefix, name) : str_new("%s.scope", name);
}

int unit_parse(struct unit *ret, const char *cgroups_path, const char *id, bool user, struct err *e)
{
    const char *path = cgroups_path && *cgroups_path ? cgroups_path : NULL;
    const size_t len = path ? strcspn(path, ":") : 0;
    struct unit u = {};
    int r = 0;

    if (path && (!path[len] || !strchr(path + len + 1, ':')))
        return err_set(e, -EINVAL,
                       "linux.cgroupsPath: '%.80s' is not SLICE:PREFIX:NAME, as --systemd-cgroup "
                       "wants it",
                       path);
    if (path)
        split(&u, path, len);
    else
        u.name = str_new("socle-box-%s.scope", id);
    if (!u.slice)
        u.slice = xdup(user ? "user.slice" : "system.slice");
    if (!slice_ok(u.slice))
        r = err_set(e, -EINVAL, "linux.cgroupsPath: '%.80s' is no name of a slice", u.slice);
    else if (!unit_name_ok(u.name))
        r = err_set(e, -EINVAL, "linux.cgroupsPath: '%.80s' is no name of a scope", u.name);
    if (r < 0)
        unit_fini(&u);
    else
        *ret = u;
    return r;
}

/* A number that D-Bus has as u64; -1 is its "infinity". */
static void set(json_t *p, const char *name, s64 value)
{
    json_object_set_new(p, name, json_pack("[s, I]", "t", (json_int_t)value));
}

static void set_flag(json_t *p, const char *name, bool on)
{
    json_object_set_new(p, name, json_pack("[s, b]", "b", on));
}

static void set_text(json_t *p, const char *name, const char *text)
{
    json_object_set_new(p, name, json_pack("[s, s]", "s", text));
}

/* A list of CPUs or nodes, as a bit each. */
static int set_mask(json_t *p, const char *name, const char *list, const char *field, struct err *e)
{
    u8 mask[OCI_CPUS_MAX / 8] = {};
    const char *at = list;
    u32 first, last, used = 0;
    json_t *bytes;

    while (oci_range_next(&at, &first, &last)) {
        for (u32 i = first; i <= last; i++)
            mask[i / 8] |= (u8)(1u << i % 8);
        used = max(used, last / 8 + 1);
    }
    if (*at || !used)
        return err_set(e, -EINVAL, "%s: '%.60s' is no list of numbers below %d", field, list,
                       OCI_CPUS_MAX);
    bytes = json_array();
    for (u32 i = 0; i < used; i++)
        json_array_append_new(bytes, json_integer(mask[i]));
    json_object_set_new(p, name, json_pack("[s, o]", "ay", bytes));
    return 0;
}

/* systemd has it by the second and in whole per cent, and what is below the scope needs no less. */
static void set_quota(json_t *p, s64 quota, s64 period)
{
    s64 each;

    period = period > 0 ? period : PERIOD_US;
    if (quota <= 0 || quota > INT64_MAX / USEC) {
        set(p, "CPUQuotaPerSecUSec", -1);
    } else {
        each = quota * USEC / period;
        set(p, "CPUQuotaPerSecUSec", (each + QUOTA_STEP_US - 1) / QUOTA_STEP_US * QUOTA_STEP_US);
    }
    set(p, "CPUQuotaPeriodUSec", period);
}

static int cpu(json_t *p, const struct oci_resources *r, struct err *e)
{
    int ret = 0;

    if (r->cpu.idle == 1)
        set(p, "CPUWeight", 0); /* what systemd calls "idle" */
    else if (r->cpu.shares > 0)
        set(p, "CPUWeight", cgroup_weight_of_shares(r->cpu.shares));
    if ((r->cpu.quota != BOX_UNSET && r->cpu.quota != 0) || r->cpu.period > 0)
        set_quota(p, r->cpu.quota, r->cpu.period);
    if (r->cpu.cpus && *r->cpu.cpus)
        ret = set_mask(p, "AllowedCPUs", r->cpu.cpus, "linux.resources.cpu.cpus", e);
    if (ret == 0 && r->cpu.mems && *r->cpu.mems)
        ret = set_mask(p, "AllowedMemoryNodes", r->cpu.mems, "linux.resources.cpu.mems", e);
    return ret;
}

/* The swap of v1 includes memory, v2's does not; cgroup_apply refuses what is contradictory. */
static void memory(json_t *p, const struct oci_resources *r)
{
    const s64 limit = r->memory.limit, swap = r->memory.swap;

    if (limit != BOX_UNSET && limit != 0)
        set(p, "MemoryMax", max(limit, -1ll));
    if (swap == -1 || (swap > 0 && limit != BOX_UNSET))
        set(p, "MemorySwapMax", swap < 0 || limit < 0 ? -1 : swap - limit);
    if (r->memory.reservation != BOX_UNSET && r->memory.reservation != 0)
        set(p, "MemoryLow", max(r->memory.reservation, -1ll));
}

/* "max", or a number; cgroup_apply tells what is wrong with another text. */
static bool take_limit(const char *text, size_t len, s64 *ret)
{
    AUTO(free) char *word = str_new("%.*s", (int)len, text);
    u64 v;

    *ret = -1;
    if (strcmp(word, "max") == 0)
        return true;
    if (str_u64(word, &v) < 0 || v > INT64_MAX)
        return false;
    *ret = (s64)v;
    return true;
}

static void unified_quota(json_t *p, const char *text)
{
    const size_t len = strcspn(text, " ");
    s64 quota, period = PERIOD_US;

    if (take_limit(text, len, &quota) &&
        (!text[len] || take_limit(text + len + 1, strlen(text + len + 1), &period)))
        set_quota(p, quota, period);
}

/* Files of the cgroup that systemd writes, too. */
static int unified(json_t *p, const struct oci_resources *r, struct err *e)
{
    static const struct {
        const char *file, *property;
    } rows[] = {
        { "cpu.weight", "CPUWeight" }, { "memory.min", "MemoryMin" },
        { "memory.low", "MemoryLow" }, { "memory.high", "MemoryHigh" },
        { "memory.max", "MemoryMax" }, { "memory.swap.max", "MemorySwapMax" },
        { "pids.max", "TasksMax" },
    };
    int ret = 0;

    for (u32 i = 0; i < r->unified.n && ret == 0; i++) {
        const char *file = r->unified.items[2 * i], *text = r->unified.items[2 * i + 1];
        s64 v;

        for_each_row(row, rows)
            if (strcmp(file, row->file) == 0 && take_limit(text, strlen(text), &v))
                set(p, row->property, v);
        if (strcmp(file, "cpu.max") == 0)
            unified_quota(p, text);
        else if (strcmp(file, "cpuset.cpus") == 0)
            ret = set_mask(p, "AllowedCPUs", text, "linux.resources.unified: 'cpuset.cpus'", e);
        else if (strcmp(file, "cpuset.mems") == 0)
            ret = set_mask(p, "AllowedMemoryNodes", text, "linux.resources.unified: 'cpuset.mems'",
                           e);
    }
    return ret;
}

static int add_limits(json_t *p, const struct oci_resources *r, struct err *e)
{
    int ret;

    memory(p, r);
    ret = cpu(p, r, e);
    if (r->blockIO.weight)
        set(p, "IOWeight", cgroup_weight_of_bfq(r->blockIO.weight));
    if (r->pids.limit != BOX_UNSET && r->pids.limit != 0) /* systemd knows no limit of none */
        set(p, "TasksMax", max(r->pids.limit, -1ll));
    return ret < 0 ? ret : unified(p, r, e);
}

int unit_limits(const struct oci_resources *r, json_t **ret, struct err *e)
{
    json_t *p = json_object();
    int ok = add_limits(p, r, e);

    if (ok < 0)
        json_decref(p);
    else
        *ret = p;
    return ok;
}

static int add_notes(json_t *p, const struct field_strs *notes, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < notes->n && r == 0; i++)
        if (str_starts(notes->items[2 * i], UNIT_NOTES))
            r = unit_note(notes->items[2 * i] + strlen(UNIT_NOTES), notes->items[2 * i + 1], p, e);
    return r;
}

int unit_properties(const struct oci *spec, const struct unit *u, const char *id, pid_t pid,
                    json_t **ret, struct err *e)
{
    static const char *const on[] = { "Delegate", "CPUAccounting", "MemoryAccounting",
                                      "IOAccounting", "TasksAccounting" };
    AUTO(free) char *text = str_new("Container %s", id);
    json_t *p = json_object();
    int r;

    set_text(p, "Description", text);
    set_text(p, "Slice", u->slice);
    for_each_row(name, on)
        set_flag(p, *name, true);
    set_flag(p, "DefaultDependencies", false);
    set_text(p, "CollectMode", "inactive-or-failed"); /* or the name stays taken */
    json_object_set_new(p, "PIDs", json_pack("[s, [i]]", "au", pid));
    r = add_limits(p, &spec->os.resources, e);
    if (r == 0)
        r = add_notes(p, &spec->annotations, e);
    if (r < 0)
        json_decref(p);
    else
        *ret = p;
    return r;
}
