/*
 * box/cgroup_res.c: the specification's resources as what is written to which file of a cgroup.
 */
#include "box/cgroup.h"
#include "box/path.h"

#include <fcntl.h>
#include <unistd.h>

/* Writes, and says which field it was when the kernel will not. */
static int put(const struct cgroup *g, const char *file, const char *text, const char *field,
               struct err *e)
{
    int r = path_write(g->fd, file, text);

    if (r == -ENOENT && (strcmp(text, "max") == 0 || str_starts(text, "max ")))
        return 0; /* without the controller there is no limit */
    if (r == -ENOENT || r == -EACCES)
        return err_set(e, r, "%s: cgroup '%s' has no '%s': the controller is not available", field,
                       g->path, file);
    return r < 0 ? err_code(e, r, "%s: write '%s' to '%s'", field, text, file) : 0;
}

/* "max" for -1. */
static void limit_text(s64 v, char text[24])
{
    if (v < 0)
        str_copy(text, 24, "max");
    else
        str_fmt(text, 24, "%lld", v);
}

s64 cgroup_weight_of_shares(s64 shares)
{
    shares = min(max(shares, 2ll), 262144ll);
    return 1 + (shares - 2) * 9999 / 262142;
}

/* The swap of v1 includes memory, v2's does not. */
static int swap_text(const struct oci_resources *r, char text[24], struct err *e)
{
    if (r->memory.swap > 0 && r->memory.limit == BOX_UNSET)
        return err_set(e, -EINVAL, "linux.resources.memory.swap needs memory.limit");
    if (r->memory.swap < 0 || r->memory.limit < 0)
        limit_text(-1, text);
    else
        limit_text(r->memory.swap - r->memory.limit, text);
    return 0;
}

static int apply_memory(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    char text[24], now[32];
    u64 used = 0;
    int ret = 0;

    if (r->memory.checkBeforeUpdate && r->memory.limit > 0 &&
        path_read(g->fd, "memory.current", now, sizeof(now)) > 0) {
        now[strcspn(now, "\n")] = 0;
        if (str_u64(now, &used) == 0 && used > (u64)r->memory.limit)
            return err_set(e, -EBUSY, "linux.resources.memory.limit %lld is below the use of %llu",
                           r->memory.limit, used);
    }
    if (r->memory.swap > 0 || r->memory.swap == -1) {
        ret = swap_text(r, text, e);
        if (ret == 0)
            ret = put(g, "memory.swap.max", text, "linux.resources.memory.swap", e);
    }
    if (ret == 0 && r->memory.limit != BOX_UNSET && r->memory.limit != 0) {
        limit_text(r->memory.limit, text);
        ret = put(g, "memory.max", text, "linux.resources.memory.limit", e);
    }
    if (ret == 0 && r->memory.reservation != BOX_UNSET && r->memory.reservation != 0) {
        limit_text(r->memory.reservation, text);
        ret = put(g, "memory.low", text, "linux.resources.memory.reservation", e);
    }
    return ret;
}

/* cgroup v1's default, which engines ask for always: without the controller all have the same share. */
static bool is_everyones(const struct cgroup *g, s64 shares)
{
    return shares == 1024 && faccessat(g->fd, "cpu.weight", F_OK, 0) < 0;
}

static int apply_cpu(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    char text[64], quota[24];
    int ret = 0;

    if (r->cpu.idle != BOX_UNSET) {
        str_fmt(text, sizeof(text), "%lld", r->cpu.idle);
        ret = put(g, "cpu.idle", text, "linux.resources.cpu.idle", e);
    }
    if (ret == 0 && r->cpu.shares > 0 && r->cpu.idle != 1 && !is_everyones(g, r->cpu.shares)) {
        str_fmt(text, sizeof(text), "%lld", cgroup_weight_of_shares(r->cpu.shares));
        ret = put(g, "cpu.weight", text, "linux.resources.cpu.shares", e);
    }
    if (ret == 0 && ((r->cpu.quota != BOX_UNSET && r->cpu.quota != 0) || r->cpu.period > 0)) {
        limit_text(r->cpu.quota > 0 ? r->cpu.quota : -1, quota);
        str_fmt(text, sizeof(text), "%s %lld", quota, r->cpu.period > 0 ? r->cpu.period : 100000ll);
        ret = put(g, "cpu.max", text, "linux.resources.cpu.quota", e);
    }
    if (ret == 0 && r->cpu.burst != BOX_UNSET) {
        str_fmt(text, sizeof(text), "%lld", r->cpu.burst);
        ret = put(g, "cpu.max.burst", text, "linux.resources.cpu.burst", e);
    }
    if (ret == 0 && r->cpu.cpus && *r->cpu.cpus)
        ret = put(g, "cpuset.cpus", r->cpu.cpus, "linux.resources.cpu.cpus", e);
    if (ret == 0 && r->cpu.mems && *r->cpu.mems)
        ret = put(g, "cpuset.mems", r->cpu.mems, "linux.resources.cpu.mems", e);
    return ret;
}

static int apply_throttles(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    const struct {
        const struct field_list *list;
        const char *key;
    } rows[] = {
        { &r->blockIO.throttleReadBpsDevice, "rbps" },
        { &r->blockIO.throttleWriteBpsDevice, "wbps" },
        { &r->blockIO.throttleReadIOPSDevice, "riops" },
        { &r->blockIO.throttleWriteIOPSDevice, "wiops" },
    };
    int ret = 0;

    for_each_row(row, rows) {
        for_each_of(const struct oci_throttle, t, row->list)
        {
            char text[96];

            str_fmt(text, sizeof(text), t->rate ? "%u:%u %s=%llu" : "%u:%u %s=max", t->major,
                    t->minor, row->key, t->rate);
            if (ret == 0)
                ret = put(g, "io.max", text, "linux.resources.blockIO.throttle…", e);
        }
    }
    return ret;
}

u32 cgroup_weight_of_bfq(u32 weight)
{
    return weight < 10 ? 1 : 1 + (weight - 10) * 9999 / 990;
}

/* BFQ's weight is v1's; where there is no BFQ, io.weight has its own scale. */
static int apply_weights(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    const u32 w = r->blockIO.weight;
    char text[64];
    int ret = 0;

    if (w) {
        str_fmt(text, sizeof(text), "%u", w);
        if (path_write(g->fd, "io.bfq.weight", text) < 0) {
            str_fmt(text, sizeof(text), "default %u", cgroup_weight_of_bfq(w));
            ret = put(g, "io.weight", text, "linux.resources.blockIO.weight", e);
        }
    }
    for_each_of(const struct oci_weight, d, &r->blockIO.weightDevice)
    {
        str_fmt(text, sizeof(text), "%u:%u %u", d->major, d->minor, d->weight);
        if (ret == 0)
            ret = put(g, "io.bfq.weight", text, "linux.resources.blockIO.weightDevice", e);
    }
    return ret;
}

static int apply_huge(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    int ret = 0;

    for_each_of(const struct oci_huge, h, &r->hugepageLimits)
    {
        char file[64], text[24];

        if (strspn(h->pageSize, "0123456789KMGB") != strlen(h->pageSize))
            return err_set(e, -EINVAL, "linux.resources.hugepageLimits: '%.20s' is no page size",
                           h->pageSize);
        str_fmt(text, sizeof(text), "%llu", h->limit);
        str_fmt(file, sizeof(file), "hugetlb.%s.max", h->pageSize);
        ret = put(g, file, text, "linux.resources.hugepageLimits", e);
        if (ret < 0)
            return ret;
        str_fmt(file, sizeof(file), "hugetlb.%s.rsvd.max", h->pageSize);
        ret = path_write(g->fd, file, text);
        if (ret < 0 && ret != -ENOENT) /* older kernels have no such file */
            return err_code(e, ret, "linux.resources.hugepageLimits: '%s'", file);
    }
    return 0;
}

static int apply_rdma(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    int ret = 0;

    for_each_of(const struct oci_rdma, d, &r->rdma)
    {
        char text[160], handles[24], objects[24];

        limit_text(d->hcaHandles, handles); /* BOX_UNSET is below zero: max */
        limit_text(d->hcaObjects, objects);
        if (!str_fmt(text, sizeof(text), "%s hca_handle=%s hca_object=%s", d->name, handles,
                     objects))
            return err_set(e, -EINVAL, "linux.resources.rdma: '%.40s' is too long", d->name);
        if (ret == 0)
            ret = put(g, "rdma.max", text, "linux.resources.rdma", e);
    }
    return ret;
}

static int apply_rest(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    char text[24];
    int ret = 0;

    if (r->pids.limit != BOX_UNSET) {
        limit_text(r->pids.limit, text);
        ret = put(g, "pids.max", text, "linux.resources.pids.limit", e);
    }
    for (u32 i = 0; i < r->unified.n && ret == 0; i++)
        ret = put(g, r->unified.items[2 * i], r->unified.items[2 * i + 1],
                  "linux.resources.unified", e);
    return ret;
}

int cgroup_apply(const struct cgroup *g, const struct oci_resources *r, struct err *e)
{
    int (*const parts[])(const struct cgroup *, const struct oci_resources *, struct err *) = {
        apply_memory, apply_cpu, apply_throttles, apply_weights, apply_huge, apply_rdma, apply_rest,
    };

    for_each_row(part, parts) {
        int ret = (*part)(g, r, e);

        if (ret < 0)
            return ret;
    }
    return 0;
}
