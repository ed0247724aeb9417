/*
 * host/agent_text.h: what a guest agent says: lines of JSON, by a guest that may be hostile.
 * (QEMU, "QEMU Guest Agent Protocol Reference": guest-sync-delimited, guest-exec, guest-exec-status)
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

/* What text of JSON would be when it is parsed: no fewer values than jansson makes of it (an empty list of three bytes needs a hundred), and how
 * deep they are in each other.  Of any bytes. */
struct agent_extent {
    size_t values;
    u32 depth;
};
struct agent_extent agent_measure(const char *line, size_t len);

/* What "return" of an answer is, a new reference.  NULL with `e`: -EREMOTEIO: the agent refused, with its words, without control characters;
 * -EBADMSG: it is no answer; -E2BIG: it has more than AGENT_VALUES_MAX values or AGENT_DEPTH_MAX levels (host/agent_memory.h). */
json_t *agent_answer(const char *line, size_t len, struct err *e);

/* A request as a line of text, with its end; `arguments` is consumed, NULL: none.  Owned; NULL: it is not UTF-8. */
char *agent_request(const char *command, json_t *arguments);

/* Of guest-exec: the number of the process.  -EBADMSG. */
int agent_exec_pid(const json_t *ret, s64 *ret_pid, struct err *e);

/* Of guest-exec-status. */
struct agent_status {
    bool exited;
    int status;            /* 0 to 255: as a shell has it: 128 and a signal's number */
    const char *out, *err; /* base64; borrowed; "" when there is none */
    size_t out_len, err_len;
    bool out_is_cut, err_is_cut; /* the agent keeps 16 MiB */
};
int agent_exec_status(const json_t *ret, struct agent_status *s, struct err *e);

/* Bytes in base64, piece by piece: `take` gets at most AGENT_PIECE of them at a time.  -EBADMSG: it is no base64, what came before was given. */
enum { AGENT_PIECE = 48 * 1024 };
int agent_decode(const char *text, size_t len, int (*take)(void *arg, const u8 *p, size_t n),
                 void *arg);
/* Owned. */
char *agent_encode(const void *p, size_t len);
