/*
 * disk/foreign.h: the formats of others, which are read and not written.  Private to disk/.
 * A parser finds the image as file 0 of an empty layout and fills in the rest.  What it does not understand, or what could not be
 * read exactly, it refuses with a message; on failure the caller calls layout_fini.  -ENOTSUP: a sound image that we lack
 * something for; -EBADMSG: the image contradicts itself or the format.
 */
#pragma once

#include "disk/format.h"
#include "disk/layout.h"

int vdi_parse(struct layout *l, struct err *e);
int vhd_parse(struct layout *l, struct err *e);
int vhdx_parse(struct layout *l, struct err *e);
/* `open`: how extents in files of their own are opened. */
int vmdk_parse(struct layout *l, layout_open_fn open, void *arg, struct err *e);

struct foreign {
    struct disk disk;
    struct layout layout;
};

/* foreign_io.c, the queue's part of struct disk_ops. */
int foreign_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                       struct err *e);
void foreign_queue_close(struct disk_queue *q);
void foreign_submit(struct disk_queue *q, struct disk_req *r);
void foreign_kick(struct disk_queue *q);
void foreign_wait(struct disk_queue *q);

/*
 * Rows of disk/format.h.  A fixed vhd is never probed: all that marks it is at its end, where a guest can write; it is opened by
 * name.
 */
extern const struct disk_format vdi_format, vhd_format, vhdx_format, vmdk_format;
