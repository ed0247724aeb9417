/*
 * host/guest_files.c: files into a machine and out of it, piece by piece, in the frames of os/copy.h: single ones, as the guest's agent knows
 * no folders, owners and modes.
 */
#include "host/agent.h"
#include "host/guest.h"
#include "os/files.h"

#include <stdlib.h>
#include <string.h>

enum { MODE = 0644 };

/* ---- a file in the guest ---- */

/* Its handle there, or a negative errno. */
static int open_file(struct guest_run *g, const char *path, const char *mode, s64 *ret,
                     struct err *e)
{
    json_t *j =
        guest_ask(g, "guest-file-open", json_pack("{s:s, s:s}", "path", path, "mode", mode), e);
    const bool ok = json_is_integer(j);

    if (ok)
        *ret = json_integer_value(j);
    else if (j)
        err_set(e, -EBADMSG, "the guest agent gives no handle of '%.80s'", path);
    json_decref(j);
    return ok ? 0 : e->code;
}

/* What is not closed well may not be written. */
static int close_file(struct guest_run *g, s64 handle, struct err *e)
{
    json_t *j =
        guest_ask(g, "guest-file-close", json_pack("{s:I}", "handle", (json_int_t)handle), e);
    const int r = j ? 0 : e->code;

    json_decref(j);
    return r;
}

/* After `r`: what went wrong before is what is told. */
static int close_after(struct guest_run *g, s64 handle, int r, struct err *e)
{
    struct err last = {};

    return close_file(g, handle, r < 0 ? &last : e) < 0 && r >= 0 ? e->code : r;
}

static int write_file(struct guest_run *g, s64 handle, const u8 *data, size_t len, struct err *e)
{
    AUTO(free) char *text = agent_encode(data, len);
    json_t *j =
        guest_ask(g, "guest-file-write",
                  json_pack("{s:I, s:s}", "handle", (json_int_t)handle, "buf-b64", text), e);
    const bool all = json_integer_value(json_object_get(j, "count")) == (json_int_t)len;

    if (j && !all)
        err_set(e, -EIO, "the guest agent wrote less than it was given: its disk may be full");
    json_decref(j);
    return j && all ? 0 : e->code;
}

/* ---- pull ---- */

struct piece {
    struct guest_run *g;
    size_t n;
};

static int say_data(void *arg, const u8 *p, size_t n)
{
    struct piece *piece = arg;

    piece->n += n;
    return guest_say(piece->g, COPY_DATA, p, n);
}

/* 1: there is more.  Who says so, and gives nothing, would have us ask for ever. */
static int read_piece(struct guest_run *g, s64 handle, struct err *e)
{
    struct piece piece = { g, 0 };
    json_t *j = guest_ask(
               g, "guest-file-read",
               json_pack("{s:I, s:i}", "handle", (json_int_t)handle, "count", AGENT_READ_MAX), e),
           *text = json_object_get(j, "buf-b64");
    const bool more = json_is_false(json_object_get(j, "eof"));
    int r = j ? 0 : e->code;

    if (json_is_string(text))
        r = agent_decode(json_string_value(text), json_string_length(text), say_data, &piece);
    if (j && (r < 0 || (more && piece.n == 0)))
        r = err_set(e, r < 0 ? r : -EBADMSG, "what the guest agent reads is no file's contents");
    json_decref(j);
    return r < 0 ? r : more;
}

static int pull_one(struct guest_run *g, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    const struct copy_entry entry = { COPY_FILE, MODE, slash ? slash + 1 : path, "" };
    AUTO(strbuf) struct strbuf head = {};
    s64 handle;
    int r = open_file(g, path, "rb", &handle, e);

    if (r < 0)
        return r;
    copy_entry_add(&head, &entry);
    r = guest_say(g, COPY_ENTRY, head.text, head.len);
    while (r == 0 && (r = read_piece(g, handle, e)) > 0)
        r = 0;
    return close_after(g, handle, r, e);
}

static int pull(struct guest_run *g, const struct os_files_ask *a, struct err *e)
{
    static const u8 none_left_out[4];
    int r = 0;

    for (u32 i = 0; i < a->paths.n && r >= 0; i++)
        r = pull_one(g, a->paths.items[i], e);
    return r < 0 ? r : guest_say(g, COPY_DONE, none_left_out, sizeof(none_left_out));
}

/* ---- push ---- */

struct pushed {
    const struct os_files_ask *ask;
    s64 handle;
    bool open;
};

static int end_one(struct guest_run *g, struct pushed *p, struct err *e)
{
    const bool was = p->open;

    p->open = false;
    return was ? close_file(g, p->handle, e) : 0;
}

static int begin_one(struct guest_run *g, struct pushed *p, const u8 *data, size_t len,
                     struct err *e)
{
    const char *path = p->ask->paths.items[0];
    AUTO(free) char *target = NULL;
    struct copy_entry entry;
    int r = end_one(g, p, e);

    if (r < 0)
        return r;
    if (copy_entry_parse(data, len, &entry) < 0)
        return err_set(e, -EBADMSG, "a name that cannot be one");
    if (entry.kind != COPY_FILE)
        return err_set(e, -EOPNOTSUPP, "'%.80s' is no file; a guest's agent takes only files",
                       entry.name);
    target = p->ask->into ? str_new("%s/%s", path, entry.name) : xdup(path);
    r = open_file(g, target, "wb", &p->handle, e);
    p->open = r >= 0;
    return r;
}

static int push(struct guest_run *g, struct copy_in *in, const struct os_files_ask *a,
                struct err *e)
{
    struct pushed p = { .ask = a };
    const u8 *data;
    size_t len;
    int r;

    while ((r = copy_next(in, &data, &len, e)) >= 0 && r != COPY_DONE) {
        if (r == COPY_ENTRY)
            r = begin_one(g, &p, data, len, e);
        else if (r == COPY_DATA && p.open)
            r = len ? write_file(g, p.handle, data, len, e) : 0;
        else
            r = err_set(e, -EPROTO, "a frame of kind %d is not expected", r);
        if (r < 0)
            break;
    }
    if (p.open)
        r = close_after(g, p.handle, r, e);
    return r < 0 ? r : guest_say(g, OS_FRAME_END, NULL, 0);
}

/* ---- both ---- */

static int check_ask(const struct os_files_ask *a, struct err *e)
{
    if (a->paths.n == 0 || (a->push && a->paths.n > 1))
        return err_set(e, -EINVAL, "'paths' has %u elements", a->paths.n);
    if (a->recursive || a->create || a->uid >= 0 || a->gid >= 0 || a->mode >= 0)
        return err_set(e, -EOPNOTSUPP,
                       "folders, owners and modes are of containers; a guest's agent copies single "
                       "files, as the user that it is");
    return 0;
}

static int run(struct guest_run *g, struct err *e)
{
    struct copy_in in = { .fd = g->fd };
    struct os_files_ask ask = {};
    const u8 *data;
    size_t len;
    int r = copy_next(&in, &data, &len, e);

    if (r > OS_FRAME_RUN)
        r = err_set(e, -EPROTO, "the first frame is of kind %d; what is wanted is expected", r);
    if (r >= 0)
        r = conf_parse_text(os_files_fields, &ask, (const char *)data, len, e);
    if (r >= 0)
        r = check_ask(&ask, e);
    if (r >= 0)
        r = ask.push ? push(g, &in, &ask, e) : pull(g, &ask, e);
    conf_fini(os_files_fields, &ask);
    copy_in_fini(&in);
    return r;
}

int guest_files(struct host *h, const char *id, int *ret_fd, struct err *e)
{
    return guest_begin(h, id, run, ret_fd, e);
}
