/*
 * vm/control_internal.h: the parts of the control socket: control.c (clients, lines, most commands), control_save.c (those that take files).
 */
#pragma once

#include "conf/conf.h"
#include "vm/machine.h"

enum {
    LINE_MAX_BYTES = 64 * 1024,
    CLIENTS_MAX = 16,
    FILES_MAX =
        1 +
        2 * SPEC_DISKS_MAX, /* of a snapshot: the state, an overlay and its lock for each disk */
};

struct client {
    struct control *c;
    int fd; /* -1: the slot is free */
    struct loop_fd watch;
    char in[LINE_MAX_BYTES];
    size_t in_len;
    struct strbuf out;
    size_t out_sent;
    json_t *id;           /* of the request under way */
    int files[FILES_MAX]; /* that came with the last bytes and no request has used yet */
    u32 n_files;
    bool waiting; /* for its answer */
    bool saving;  /* it asked for the save that is under way, or for the suspend that was done */
    bool serving; /* in serve_lines: an answer given there does not look at the next line itself */
    u64 serial;   /* of the connection: an answer for an older one in this slot is thrown away */
};

struct control {
    struct vm *vm;
    int fd;
    struct loop_fd watch;
    u64 serials;
    struct client *clients[CLIENTS_MAX];
    struct client *starter; /* one of them: who started the machine; NULL: nobody */
};

/* Arguments of all commands; each uses its own. */
struct request {
    char *cmd;
    char *device, *action, *pattern;
    u64 bytes, seconds, inode;
    bool on;
    char *mode, *file, *disk, *snapshot;
    struct field_list overlays; /* struct request_overlay */
};
struct request_overlay {
    u32 disk;
    char *image;
};
extern const struct field control_overlay_fields[];

/* What a deferred answer remembers. */
struct later {
    struct client *cl;
    u64 serial;
    char device[DEVICE_NAME_MAX];
};

/* Answers the request under way. */
void control_answer(struct client *cl, const char *result_json);
void control_answer_json(struct client *cl, json_t *result);
void control_answer_error(struct client *cl, const char *text);
/* A line that answers no request; the reference is taken over. */
void control_event(struct client *cl, json_t *event);
/* The request will be answered later, whoever is there then.  Owned. */
struct later *control_later(struct client *cl, const char *device);
/* The client of a deferred answer, or NULL when it left. */
struct client *control_later_client(const struct later *l);
/* After a deferred answer: goes on with what the client sent meanwhile. */
void control_serve(struct client *cl);

/* control_save.c */
int control_suspend(struct client *cl, const struct request *rq, struct err *e);
int control_snapshot(struct client *cl, const struct request *rq, struct err *e);
int control_record_pages(struct client *cl, const struct request *rq, struct err *e);
int control_restore(struct client *cl, const struct request *rq, struct err *e);
int control_disks(struct client *cl, const struct request *rq, struct err *e);
int control_merge(struct client *cl, const struct request *rq, struct err *e);
/* Closes what was handed in and not taken. */
void control_drop_files(struct client *cl);
/* The client goes: what it asked for is cancelled, and what it suspended goes on. */
void control_save_gone(struct client *cl);
