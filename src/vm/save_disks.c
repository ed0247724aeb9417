/*
 * vm/save_disks.c: the disks of a machine whose state is saved.
 *   (1) A state without overlays knows a disk by the file's size and last change while the guest stood still.
 *   (2) With an overlay, the file below is the disk of that instant for ever.  Its mark is taken when all of it is written: mapping tables
 *       that were in memory only are, after the guest went on.  Then `size` is the disk's, for the file may be packed again.
 */
#include "vm/save_disks.h"

#include "dev/virtio/blk.h"
#include "disk/format.h"
#include "disk/overlay.h"

#include <fcntl.h>
#include <stdlib.h>

static struct device *find(struct vm *vm, u32 i)
{
    char name[DEVICE_NAME_MAX];

    str_fmt(name, sizeof(name), "disk%u", i);
    for (u32 k = 0; k < vm->n_devices; k++)
        if (strcmp(vm->devices[k]->name, name) == 0)
            return vm->devices[k];
    return NULL;
}

int save_disks_open(struct save_disks *s, struct vm *vm, struct err *e)
{
    for (u32 i = 0; i < vm->spec->disks.n; i++) {
        struct save_disk *d = &s->disk[i];
        int r = diskmark_open(spec_disk(vm->spec, i)->file, &d->mark, e);

        if (r < 0)
            return r;
        d->frozen.fd = -1;
        d->dev = find(vm, i);
        must(d->dev);
        s->n++;
    }
    return 0;
}

void save_disks_forget(struct save_disks *s)
{
    for (u32 i = 0; i < s->n; i++)
        diskmark_close(&s->disk[i].frozen);
    s->taken = false;
}

void save_disks_close(struct save_disks *s)
{
    save_disks_forget(s);
    for (u32 i = 0; i < s->n; i++)
        diskmark_close(&s->disk[i].mark);
}

bool save_disks_any(const struct save_disks *s)
{
    for (u32 i = 0; i < s->n; i++)
        if (s->disk[i].frozen.path)
            return true;
    return false;
}

static int prepare(struct save_disks *s, struct save_overlay *o, struct err *e)
{
    struct blk_overlay b = { TAKE_FD(o->fd), TAKE_FD(o->lock_fd), o->image };
    struct save_disk *d = o->disk < s->n ? &s->disk[o->disk] : NULL;
    AUTO(fd) int mark = fcntl(b.fd, F_DUPFD_CLOEXEC, 0);
    int r = 0;

    if (!d || d->frozen.path)
        r = err_set(e, -EINVAL, "disk %u: the machine has %u, and each goes on in one overlay",
                    o->disk, s->n);
    else if (mark < 0)
        r = err_errno(e, "overlay of disk %u", o->disk);
    if (r < 0) {
        fd_close(&b.fd);
        fd_close(&b.lock_fd);
        return r;
    }
    r = blk_overlay_prepare(d->dev, &b, e);
    if (r < 0)
        return r;
    d->frozen = (struct diskmark){ TAKE_FD(mark), xdup(o->image) };
    return 0;
}

int save_disks_prepare(struct save_disks *s, struct save_overlay *list, u32 n, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < n && r == 0; i++)
        r = prepare(s, &list[i], e);
    for (u32 i = 0; i < n; i++) { /* those after one that failed */
        fd_close(&list[i].fd);
        fd_close(&list[i].lock_fd);
    }
    for (u32 i = 0; i < s->n && n && r == 0; i++)
        if (!s->disk[i].frozen.path && !blk_disk(s->disk[i].dev)->readonly)
            r = err_set(e, -EINVAL, "disk %u is written to, and has no overlay", i);
    if (r < 0)
        save_disks_done(s, false);
    return r;
}

/* From here on `mark` is of the overlay, and `frozen` of what is below. */
void save_disks_take(struct save_disks *s)
{
    for (u32 i = 0; i < s->n; i++) {
        struct save_disk *d = &s->disk[i];
        int fd = d->mark.fd;

        if (!d->frozen.path)
            continue;
        blk_overlay_take(d->dev);
        d->mark.fd = d->frozen.fd;
        d->frozen.fd = fd;
    }
    s->taken = save_disks_any(s);
}

int save_disks_seal(struct save_disks *s, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < s->n && r == 0; i++)
        r = s->disk[i].frozen.path && s->taken ? blk_overlay_seal(s->disk[i].dev, e)
                                               : diskmark_sync(&s->disk[i].mark, e);
    return r;
}

void save_disks_done(struct save_disks *s, bool sealed)
{
    for (u32 i = 0; i < s->n; i++) {
        struct save_disk *d = &s->disk[i];

        if (!d->frozen.path)
            continue;
        if (s->taken)
            blk_overlay_done(d->dev, sealed);
        else
            blk_overlay_drop(d->dev);
    }
    if (!sealed)
        save_disks_forget(s);
}

static int describe(const struct save_disk *d, json_t *list, struct err *e)
{
    struct state_disk now = {};
    int r = diskmark_get(d->frozen.path ? &d->frozen : &d->mark, &now, e);
    json_t *j;

    if (r < 0)
        return r;
    if (d->frozen.path)
        now.size = blk_disk(d->dev)->size;
    j = json_pack("{s:I, s:I}", "size", (json_int_t)now.size, "mtime_ns", (json_int_t)now.mtime_ns);
    if (d->frozen.path)
        json_object_set_new(j, "image", json_string(d->frozen.path));
    json_array_append_new(list, j);
    return 0;
}

json_t *save_disks_describe(const struct save_disks *s, struct err *e)
{
    json_t *list = json_array();

    for (u32 i = 0; i < s->n; i++)
        if (describe(&s->disk[i], list, e) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* Is what the guest sees an overlay over `image` that nobody wrote to? */
static int check_overlay(const struct save_disk *d, const struct diskmark *image,
                         const struct state_disk *want, struct err *e)
{
    const struct disk *now = blk_disk(d->dev);
    struct overlay_file below = {};
    struct state_disk is = {};
    int r = diskmark_get(image, &is, e);

    if (r < 0)
        return r;
    if (now->size != want->size)
        return err_set(e, -ESTALE, "disk '%s' has %llu bytes; the saved state knows it with %llu",
                       d->mark.path, now->size, want->size);
    is.size = want->size;
    r = diskmark_compare(image->path, &is, want, e);
    if (r < 0)
        return r;
    if (!overlay_is_empty(now) || !now->backing || overlay_file(now->backing, &below) < 0 ||
        !diskmark_is(image, below.dev, below.ino))
        return err_set(
            e, -ESTALE,
            "disk '%.80s' is not as it was at the snapshot: `socle snapshot restore` brings "
            "it back, and loses what was written since",
            d->mark.path);
    return 0;
}

int save_disks_check(const struct save_disks *s, const struct state_meta *meta, struct err *e)
{
    must(meta->disks.n == s->n); /* restore_open saw to it */
    for (u32 i = 0; i < s->n; i++) {
        const struct state_disk *want = state_meta_disk(meta, i);
        AUTO(free)
        char *path = want->image ? disk_path_beside(s->disk[i].mark.path, want->image) : NULL;
        struct diskmark image = { .fd = -1 };
        int r = path ? diskmark_open(path, &image, e) : diskmark_check(&s->disk[i].mark, want, e);

        if (r >= 0 && path)
            r = check_overlay(&s->disk[i], &image, want, e);
        diskmark_close(&image);
        if (r < 0)
            return r;
    }
    return 0;
}
