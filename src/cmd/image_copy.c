/*
 * cmd/image_copy.c: `socle image convert, clone, compare, bench`: what reads or writes all of an image.
 */
#include "cmd/image.h"
#include "disk/format.h"

#include <stdio.h>
#include <stdlib.h>

static int convert(struct job *j, void *arg, struct err *e)
{
    return job_convert(j, arg, e);
}

static int do_convert(struct image *im, const char *what, struct err *e)
{
    struct job_convert c = {
        .from = image_ref_of(im, 0),
        .to = image_new_of(im, 1, im->size),
        .compress = im->compress,
        .threads = im->threads,
    };

    c.from.format = im->from_format;
    c.from.snapshot = im->snapshot;
    if (c.to.cfg.backing) {
        struct job_new over = c.to; /* the size is the source's */
        int r = image_look_below(&over, e);

        if (r < 0)
            return r;
        c.to.cfg.backing_format = over.cfg.backing_format;
    }
    return image_job(im, what, convert, &c, e);
}

int image_do_convert(struct image *im, struct err *e)
{
    return do_convert(im, "convert", e);
}

static int create(struct job *j, void *arg, struct err *e)
{
    return job_create(j, arg, e);
}

/* How the new image at `target` will find `source`: beside it by name, else by its whole path. */
static char *path_from(const char *target, const char *source)
{
    const char *a = strrchr(target, '/'), *b = strrchr(source, '/');
    size_t len = b ? (size_t)(b - source) : 0;

    if (a ? b && (size_t)(a - target) == len && memcmp(target, source, len) == 0 : !b)
        return xdup(b ? b + 1 : source);
    return realpath(source, NULL);
}

/* An overlay whose name does not say raw is qcow2: nothing else has a backing file. */
int image_do_clone(struct image *im, struct err *e)
{
    struct job_new to = image_new_of(im, 1, 0);
    struct job_image from = image_ref_of(im, 0);
    AUTO(disk) struct disk *d = NULL;
    AUTO(free) char *path = NULL;
    int r;

    if (im->full)
        return do_convert(im, "clone", e);
    if (im->to == IMAGE_TO_RAW || im->to == IMAGE_TO_VMDK)
        return err_set(e, -EINVAL, "a %s image has no backing file; --full copies",
                       im->to == IMAGE_TO_RAW ? "raw" : "vmdk");
    from.format = im->from_format;
    r = job_open_image(&from, true, &d, e);
    if (r < 0)
        return r;
    path = path_from(to.file, from.file);
    if (!path)
        return err_errno(e, "path of '%s'", from.file);
    to.qcow2 = true;
    to.vmdk = false; /* whatever its name says */
    to.cfg.size = d->size;
    to.cfg.backing = path;
    to.cfg.backing_format = d->ops->format;
    return image_job(im, "clone", create, &to, e);
}

static int compare(struct job *j, void *arg, struct err *e)
{
    return job_compare(j, arg, e);
}

int image_do_compare(struct image *im, struct err *e)
{
    struct job_compare c = { .a = image_ref_of(im, 0),
                             .b = image_ref_of(im, 1),
                             .strict = im->strict };
    int r;

    c.b.format = im->from_format;
    r = image_job(im, "compare", compare, &c, e);
    if (r == 0)
        printf("they read the same\n");
    else if (r == 1 && c.sizes)
        printf("they have different sizes\n");
    else if (r == 1)
        printf("they differ at byte %llu\n", c.differs_at);
    return r;
}

static int bench(struct job *j, void *arg, struct err *e)
{
    return job_bench(j, arg, e);
}

static int print_bench(const struct image *im, const struct job_bench *b, struct err *e)
{
    double seconds = (double)b->ns / 1e9, bytes = (double)b->count * b->block;
    double mean_us = (double)b->latency_ns_sum / (double)b->count / 1e3;

    if (im->json) {
        json_t *j = json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "requests", (json_int_t)b->count,
                              "seconds", seconds, "iops", (double)b->count / seconds,
                              "bytes-per-second", bytes / seconds, "latency-mean-us", mean_us,
                              "latency-max-us", (double)b->latency_ns_max / 1e3);

        return image_print_json(j, e);
    }
    printf("%llu %s of %u bytes, %u under way, in %.3f s\n", b->count,
           b->write ? "writes" : "reads", b->block, b->depth, seconds);
    printf("%.0f a second, %.1f MiB/s; latency %.0f us on average, %.0f us at most\n",
           (double)b->count / seconds, bytes / seconds / (double)MiB, mean_us,
           (double)b->latency_ns_max / 1e3);
    return 0;
}

int image_do_bench(struct image *im, struct err *e)
{
    struct job_bench b = {
        .image = image_ref_of(im, 0),
        .write = im->write,
        .random = im->random,
        .depth = im->depth,
        .block = (u32)im->block,
        .count = im->count,
        .offset = im->offset,
        .step = im->step,
        .flush_every = im->flush_every,
        .pattern = (u8)im->pattern,
    };
    int r = image_job(im, "bench", bench, &b, e);

    return r ? r : print_bench(im, &b, e);
}
