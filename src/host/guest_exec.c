/*
 * host/guest_exec.c: a program in a machine: its input is sent as a whole, then its end is asked for again and again; the agent has what it
 * wrote only then.
 */
#include "base/clock.h"
#include "host/agent.h"
#include "host/guest.h"
#include "os/bundle.h"
#include "os/copy.h"

#include <stdlib.h>

enum {
    INPUT_MAX = 4 * 1024 * 1024,
    LOOK_MS_FIRST = 20,
    LOOK_MS_MAX = 500,
    SILENT_SECONDS = 60, /* that the agent may be gone while the program runs */
};

/* What the client asks for. */
struct order {
    struct os_program program;
    struct strbuf input;
    bool begun, ended; /* what to run, all of its input is there */
};

static void order_fini(struct order *o)
{
    conf_fini(os_program_fields, &o->program);
    strbuf_fini(&o->input);
}

/* ---- what to run ---- */

static int check_program(const struct guest_run *g, const struct os_program *p, struct err *e)
{
    if (p->terminal)
        return err_set(e, -EOPNOTSUPP,
                       "a program in a machine has no terminal; its console is one: "
                       "`socle console %.63s`",
                       g->name);
    if (p->cwd || p->user)
        return err_set(e, -EOPNOTSUPP,
                       "'%s' is of containers: a guest's agent runs programs as it runs itself",
                       p->cwd ? "cwd" : "user");
    if (p->command.n == 0)
        return err_set(e, -EINVAL, "'command' is missing");
    return 0;
}

static int take_frame(const struct guest_run *g, struct order *o, u8 kind, const u8 *data,
                      size_t len, struct err *e)
{
    int r;

    if (!o->begun && kind == OS_FRAME_RUN) {
        o->begun = true;
        r = conf_parse_text(os_program_fields, &o->program, (const char *)data, len, e);
        return r < 0 ? r : check_program(g, &o->program, e);
    }
    if (!o->begun || (kind != OS_FRAME_IN && kind != OS_FRAME_SIZE))
        return err_set(e, -EPROTO, "a frame of kind %u and %zu bytes is not expected", kind, len);
    if (kind != OS_FRAME_IN)
        return 0;
    if (len > INPUT_MAX - o->input.len)
        return err_set(e, -EFBIG,
                       "its input has more than %d bytes, which go to a guest as a whole",
                       INPUT_MAX);
    strbuf_add_mem(&o->input, data, len);
    o->ended = len == 0;
    return 0;
}

static int read_order(const struct guest_run *g, struct order *o, struct err *e)
{
    struct copy_in in = { .fd = g->fd };
    const u8 *data;
    size_t len;
    int r = 0;

    while (r >= 0 && !o->ended) {
        r = copy_next(&in, &data, &len, e);
        if (r >= 0)
            r = take_frame(g, o, (u8)r, data, len, e);
    }
    copy_in_fini(&in);
    return r;
}

/* ---- its life ---- */

static json_t *strings(const struct field_strs *s, u32 from)
{
    json_t *list = json_array();

    for (u32 i = from; i < s->n; i++)
        json_array_append_new(list, json_string(s->items[i]));
    return list;
}

static int start(struct guest_run *g, const struct order *o, s64 *ret_pid, struct err *e)
{
    const struct os_program *p = &o->program;
    json_t *arguments = json_pack("{s:s, s:o, s:b}", "path", p->command.items[0], "arg",
                                  strings(&p->command, 1), "capture-output", true),
           *ret;
    int r;

    if (p->env.n)
        json_object_set_new(arguments, "env", strings(&p->env, 0));
    if (o->input.len) {
        AUTO(free) char *input = agent_encode(o->input.text, o->input.len);

        json_object_set_new(arguments, "input-data", json_string(input));
    }
    ret = guest_ask(g, "guest-exec", arguments, e);
    r = ret ? agent_exec_pid(ret, ret_pid, e) : e->code;
    json_decref(ret);
    return r;
}

/* May the agent come back, with what it knew?  It is asked once more then. */
static bool is_silence(const struct guest_run *g, u64 *heard_ns, int code)
{
    const enum host_state state = guest_state(g);

    if (state == HOST_PAUSED)
        *heard_ns = clock_mono_ns();
    return (code == -ETIMEDOUT || code == -ENOTCONN) && state != HOST_OFF &&
           clock_mono_ns() - *heard_ns < SILENT_SECONDS * NSEC_PER_SEC;
}

/* *ret: the answer, which `s` borrows from; a new reference. */
static int wait_for_end(struct guest_run *g, s64 pid, json_t **ret, struct agent_status *s,
                        struct err *e)
{
    u64 heard_ns = clock_mono_ns();
    int ms = LOOK_MS_FIRST, r = 0;
    struct err why = {};

    while (r >= 0 && !guest_is_alone(g, ms)) {
        json_t *j =
            guest_ask(g, "guest-exec-status", json_pack("{s:I}", "pid", (json_int_t)pid), &why);

        ms = min(2 * ms, LOOK_MS_MAX);
        if (j) {
            heard_ns = clock_mono_ns();
            r = agent_exec_status(j, s, e);
        } else if (!is_silence(g, &heard_ns, why.code)) {
            r = err_set(e, -EREMOTEIO, "the program was started, and is lost: %s", why.text);
        }
        if (j && r >= 0 && s->exited) {
            *ret = j;
            return 0;
        }
        json_decref(j);
    }
    return r < 0 ? r : err_set(e, -ECANCELED, "its client is gone");
}

static int say_out(void *arg, const u8 *p, size_t n)
{
    return guest_say(arg, OS_FRAME_OUT, p, n);
}

static int say_err(void *arg, const u8 *p, size_t n)
{
    return guest_say(arg, OS_FRAME_ERR, p, n);
}

static int tell_end(struct guest_run *g, const struct agent_status *s, struct err *e)
{
    static const char cut[] = "socle: the guest agent kept only the first 16 MiB of the output\n";
    const u8 status[4] = { 0, 0, 0, (u8)s->status };
    int r = agent_decode(s->out, s->out_len, say_out, g);

    if (r >= 0)
        r = agent_decode(s->err, s->err_len, say_err, g);
    if (r >= 0 && (s->out_is_cut || s->err_is_cut))
        r = guest_say(g, OS_FRAME_ERR, cut, strlen(cut));
    if (r >= 0)
        r = guest_say(g, OS_FRAME_END, status, sizeof(status));
    return r < 0 ? err_set(e, r, "the guest agent's output is not base64") : r;
}

static int run(struct guest_run *g, struct err *e)
{
    struct agent_status s;
    struct order o = {};
    json_t *ret = NULL;
    s64 pid = 0;
    int r = read_order(g, &o, e);

    if (r >= 0)
        r = start(g, &o, &pid, e);
    order_fini(&o);
    if (r >= 0)
        r = wait_for_end(g, pid, &ret, &s, e);
    if (r >= 0)
        r = tell_end(g, &s, e);
    json_decref(ret);
    return r;
}

int guest_exec(struct host *h, const char *id, int *ret_fd, struct err *e)
{
    return guest_begin(h, id, run, ret_fd, e);
}
