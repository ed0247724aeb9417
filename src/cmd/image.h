/*
 * cmd/image.h: the parts of `socle image`: image.c (options, the rows of its commands), image_info.c (what only reads),
 * image_change.c (what changes an image in place, or makes an empty one), image_copy.c (what reads all of it).
 */
#pragma once

#include "cmd/opt.h"
#include "disk/job.h"

/* What the options say, and the arguments. */
struct image {
    char *format, *from_format, *snapshot, *backing, *backing_format, *data_file;
    u64 size, cluster, block, count, offset, step;
    u32 version, refcount_bits, threads, depth, flush_every, pattern;
    int to, prealloc, compression, cache, engine, repair;
    bool lazy_refcounts, extended_l2, data_raw, compress, force, json, quiet, shrink, strict,
        unsafe, full, chain, write, random;
    struct opt_args args;
};

/* Formats of new images; AUTO: qcow2 when the file's name ends so, else raw. */
enum image_to { IMAGE_TO_AUTO, IMAGE_TO_RAW, IMAGE_TO_QCOW2, IMAGE_TO_VMDK };
enum image_repair { IMAGE_REPAIR_NONE, IMAGE_REPAIR_LEAKS, IMAGE_REPAIR_ALL };

enum {
    IMAGE_STATUS_FAILED = 1,
    IMAGE_STATUS_CORRUPT = 2,    /* check */
    IMAGE_STATUS_LEAKS = 3,      /* check */
    IMAGE_STATUS_UNCHECKED = 63, /* check: as qemu-img says it */
    IMAGE_STATUS_DIFFER = 1,     /* compare */
    IMAGE_STATUS_UNCOMPARED = 2, /* compare */
    IMAGE_STATUS_SIGNAL = 128,
};

/* Each does one command: an exit status, or a negative errno with the message. */
int image_do_create(struct image *im, struct err *e);
int image_do_info(struct image *im, struct err *e);
int image_do_check(struct image *im, struct err *e);
int image_do_convert(struct image *im, struct err *e);
int image_do_resize(struct image *im, struct err *e);
int image_do_snapshot(struct image *im, struct err *e);
int image_do_commit(struct image *im, struct err *e);
int image_do_rebase(struct image *im, struct err *e);
int image_do_clone(struct image *im, struct err *e);
int image_do_map(struct image *im, struct err *e);
int image_do_compare(struct image *im, struct err *e);
int image_do_measure(struct image *im, struct err *e);
int image_do_bench(struct image *im, struct err *e);

/* An image to be made over a backing file: is as large as that, unless it is told otherwise, and says its format. */
int image_look_below(struct job_new *to, struct err *e);
/* The image of argument `i`, as the options say that it is to be opened. */
struct job_image image_ref_of(const struct image *im, unsigned i);
/* The new image of argument `i`, of `size` bytes. */
struct job_new image_new_of(const struct image *im, unsigned i, u64 size);
/*
 * Runs a job, with its progress unless --quiet or --json.  0, a positive exit status after a signal, or a negative errno.  A
 * result of 1 is the job's own.
 */
int image_job(const struct image *im, const char *what,
              int (*fn)(struct job *j, void *arg, struct err *e), void *arg, struct err *e);
/* Prints and releases; 0, or a negative errno. */
int image_print_json(json_t *j, struct err *e);
/* "1.5 GiB" */
void image_add_size(struct strbuf *out, u64 bytes);
