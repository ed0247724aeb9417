/*
 * disk/job_resize.c: a disk of another size, in place.
 * Formats refuse to cut off data.  When that is allowed, what lies after the new end becomes zeroes first: should the host die
 * between the two, the image is valid and has its old size.
 */
#include "disk/job.h"

enum { PIECE = 256 * 1024 * 1024 };

/* What the disk reads as from `at` on becomes zeroes, on stable storage. */
static int clear_end(struct job *j, struct disk *d, u64 at, struct err *e)
{
    AUTO(disk_sync) struct disk_sync *s = NULL;
    int r = disk_sync_open(d, &s, e);

    if (r < 0)
        return r;
    job_total(j, d->size - at);
    for (u64 len; at < d->size; at += len) {
        len = min(d->size - at, (u64)PIECE);
        r = job_check(j, e);
        if (r < 0)
            return r;
        r = disk_zero(s, len, at, true);
        if (r < 0)
            return err_code(e, r, "clear '%s' at %llu", d->name, at);
        job_add(j, len);
    }
    r = disk_flush(s);
    return r < 0 ? err_code(e, r, "flush '%s'", d->name) : 0;
}

int job_resize(struct job *j, const struct job_resize *jr, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    u64 size = jr->size;
    int r = job_open_image(&jr->image, false, &d, e);

    if (r < 0)
        return r;
    if (jr->grow && !add_ok(&size, size, d->size))
        return err_set(e, -EINVAL, "'%s' has %llu bytes; %llu more are too many", d->name, d->size,
                       jr->size);
    if (size < d->size && !jr->shrink)
        return err_set(
            e, -ERANGE,
            "'%s' has %llu bytes: what lies after %llu would be lost; --shrink allows it", d->name,
            d->size, size);
    r = disk_resize(d, size, e);
    if (r != -ENOTEMPTY)
        return r;
    r = clear_end(j, d, size, e);
    return r < 0 ? r : disk_resize(d, size, e);
}
