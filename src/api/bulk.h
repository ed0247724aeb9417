/*
 * api/bulk.h: bodies of requests and of answers that are files: they go straight from the connection to the file and back, whatever their
 * size.
 *   (1) The loop's thread neither reads nor writes a file: one piece of each body at a time is on a worker's.
 *   (2) The other side waits: a client that sends is not read while BULK_WAITS bytes wait for the disk, and a file is read when the
 *       connection has taken the piece before.
 *   (3) What is written is also sent on to the disk, so that an upload does not fill the page cache, and machines' disks do not wait for
 *       what it holds there.
 */
#pragma once

#include "base/base.h"

struct client;
struct server;
struct bulk;

enum {
    BULK_PIECE = 128 * 1024,  /* of an answer */
    BULK_WAITS = 1024 * 1024, /* of a body, and one more that is being written */
    BULK_SWALLOWED =
        16 * 1024 *
        1024, /* of a body that is refused, so that the client gets to read the answer */
    BULK_WINDOW = 16 * 1024 * 1024, /* that is not on the disk yet, at most twice that */
};

/* The answer of its route takes bytes: they come. */
void bulk_take(struct client *c);
int bulk_on_body(struct client *c, const void *data, size_t len);
int bulk_on_body_end(struct client *c);
/* The answer of its route gives bytes: its head is sent. */
int bulk_give(struct client *c);
/* 1: all was sent; 0: not yet; negative: the connection ends. */
int bulk_write(struct client *c);
/* The client goes away. */
void bulk_leave(struct client *c);
/* Waits until no worker is at it. */
void bulk_end_all(struct server *s);
