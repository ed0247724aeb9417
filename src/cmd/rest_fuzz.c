/*
 * cmd/rest_fuzz.c: whatever a server answers, the client comes to an end: JSON, a text, events, or an error that says something; and the
 * frames of a WebSocket lie within what came.
 * Input: a byte: how many bytes come at a time; then what the server sends.
 */
#include "cmd/rest.h"

#include "cmd/more.h"
#include "cmd/ws.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

struct source {
    const u8 *p;
    size_t left, step;
};

static int open_source(struct rest *r, struct err *e [[maybe_unused]])
{
    r->fd = 1;
    return 0;
}

static int send_nowhere(struct rest *, const char *, size_t)
{
    return 0;
}

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static ssize_t recv_source(struct rest *r, void *buf, size_t size)
{
    struct source *s = r->conn;
    const size_t n = min_of(min_of(s->left, s->step), size);

    memcpy(buf, s->p, n);
    s->p += n;
    s->left -= n;
    return (ssize_t)n;
}

static int wait_not(struct rest *, int)
{
    return 1;
}

static void close_source(struct rest *r)
{
    r->fd = -1;
}

static const struct rest_link source_link = { open_source, send_nowhere, recv_source, wait_not,
                                              close_source };

static int on_event(void *arg, const json_t *event)
{
    must(event);
    return ++*(u32 *)arg > 1000 ? -EIO : 0;
}

static void parse_frames(const u8 *data, size_t size)
{
    struct ws_frame f;
    ssize_t n;

    while (size && (n = ws_parse(data, size, &f)) > 0) {
        must((size_t)n <= size && f.data >= data && f.len <= (size_t)(data + n - f.data));
        must(f.opcode < 8 || f.len < 126);
        data += n;
        size -= (size_t)n;
    }
}

FUZZ(rest)
{
    for (u32 what = 0; what < 3 && size; what++) {
        struct source s = { data + 1, size - 1, (size_t)data[0] + 1 };
        struct rest r = { .link = &source_link, .fd = -1, .conn = &s };
        struct err e = {};
        size_t len = 0;
        u32 events = 0;

        if (what == 0) {
            json_t *j =
                rest_ask(&r, &(struct rest_request){ .method = "GET", .path = "/" }, NULL, &e);

            must(j || e.text[0]);
            json_decref(j);
        } else if (what == 1) {
            char *text = rest_text(&r, "/", &len, &e);

            must(text ? len < size : e.text[0] != 0);
            free(text);
        } else {
            must(rest_follow(&r, 0, on_event, &events, &e) < 0);
        }
        rest_close(&r);
    }
    if (size)
        parse_frames(data + 1, size - 1);
}
