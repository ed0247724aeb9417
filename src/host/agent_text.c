/*
 * host/agent_text.c: see agent_text.h.
 */
#include "host/agent_text.h"

#include "host/agent_memory.h"

#include <sodium.h>
#include <stdlib.h>

/* For a terminal of ours: what a guest says about itself moves no cursor. */
static void copy_plain(char *to, size_t size, const char *from)
{
    size_t n = 0;

    for (; *from && n + 1 < size; from++) {
        const u8 c = (u8)*from;

        to[n++] = c < 0x20 || c == 0x7f ? ' ' : *from;
        if (c >= 0x80 && c < 0xa0 && n >= 2 && (u8)to[n - 2] == 0xc2) /* U+0080 to U+009F */
            to[n - 2] = to[n - 1] = ' ';
    }
    to[n] = 0;
}

/* Behind a string that begins at `at`. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at < end ? at + 1 : end;
}

/* Each value but the first of a list or an object has a comma before it. */
struct agent_extent agent_measure(const char *line, size_t len)
{
    struct agent_extent x = { 1, 0 };
    const char *at = line, *end = line + len;
    u32 depth = 0;

    while (at < end) {
        const char c = *at;

        x.values += c == ',' || c == '[' || c == '{';
        depth += c == '[' || c == '{';
        x.depth = max(x.depth, depth);
        depth -= (c == ']' || c == '}') && depth;
        at = c == '"' ? skip_string(at, end) : at + 1;
    }
    return x;
}

static int check_extent(const char *line, size_t len, struct err *e)
{
    const struct agent_extent x = agent_measure(line, len);

    if (x.values > AGENT_VALUES_MAX)
        return err_set(e, -E2BIG, "the guest agent's answer has %zu values; %d are allowed",
                       x.values, AGENT_VALUES_MAX);
    if (x.depth > AGENT_DEPTH_MAX)
        return err_set(e, -E2BIG, "the guest agent's answer is %u levels deep; %d are allowed",
                       x.depth, AGENT_DEPTH_MAX);
    return 0;
}

json_t *agent_answer(const char *line, size_t len, struct err *e)
{
    json_t *j = NULL, *ret;
    const json_t *error;
    const char *desc;
    char plain[200];

    if (check_extent(line, len, e) < 0)
        return NULL;
    j = json_loadb(line, len, 0, NULL);
    ret = json_object_get(j, "return");
    error = json_object_get(j, "error");
    desc = json_string_value(json_object_get(error, "desc"));

    json_incref(ret);
    if (json_is_object(error) && !ret) {
        copy_plain(plain, sizeof(plain), desc ? desc : "it does not say why");
        err_set(e, -EREMOTEIO, "the guest agent refuses: %s", plain);
    } else if (!ret) {
        err_set(e, -EBADMSG, "what the guest agent says is no answer");
    }
    json_decref(j);
    return ret;
}

char *agent_request(const char *command, json_t *arguments)
{
    json_t *j = json_pack("{s:s}", "execute", command);
    char *text, *line = NULL;

    if (arguments)
        json_object_set_new(j, "arguments", arguments);
    text = json_dumps(j, JSON_COMPACT);
    if (text)
        line = str_new("%s\n", text);
    free(text);
    json_decref(j);
    return line;
}

int agent_exec_pid(const json_t *ret, s64 *ret_pid, struct err *e)
{
    const json_t *pid = json_object_get(ret, "pid");

    if (!json_is_integer(pid))
        return err_set(e, -EBADMSG, "the guest agent does not say which process it started");
    *ret_pid = json_integer_value(pid);
    return 0;
}

static int status_of(const json_t *ret, struct err *e)
{
    const json_t *code = json_object_get(ret, "exitcode"), *signal = json_object_get(ret, "signal");
    json_int_t v;

    if (json_is_integer(signal)) {
        v = json_integer_value(signal);
        return v >= 0 && v <= 127 ? 128 + (int)v : 255;
    }
    if (!json_is_integer(code))
        return err_set(e, -EBADMSG, "the guest agent does not say how the program ended");
    v = json_integer_value(code);
    return v >= 0 && v <= 255 ? (int)v : 255; /* Windows has more of them, and 256 is no success */
}

static void text_of(const json_t *ret, const char *name, const char **text, size_t *len)
{
    const json_t *j = json_object_get(ret, name);

    *text = json_is_string(j) ? json_string_value(j) : "";
    *len = json_is_string(j) ? json_string_length(j) : 0;
}

int agent_exec_status(const json_t *ret, struct agent_status *s, struct err *e)
{
    const json_t *exited = json_object_get(ret, "exited");

    *s = (struct agent_status){ .out = "", .err = "" };
    if (!json_is_boolean(exited))
        return err_set(e, -EBADMSG, "the guest agent does not say whether the program ended");
    s->exited = json_is_true(exited);
    if (!s->exited)
        return 0;
    s->status = status_of(ret, e);
    text_of(ret, "out-data", &s->out, &s->out_len);
    text_of(ret, "err-data", &s->err, &s->err_len);
    s->out_is_cut = json_is_true(json_object_get(ret, "out-truncated"));
    s->err_is_cut = json_is_true(json_object_get(ret, "err-truncated"));
    return s->status < 0 ? s->status : 0;
}

int agent_decode(const char *text, size_t len, int (*take)(void *arg, const u8 *p, size_t n),
                 void *arg)
{
    enum { CHARS = AGENT_PIECE / 3 * 4 };
    AUTO(free) u8 *piece = xnew_n(u8, AGENT_PIECE);
    int r = 0;

    while (len && r >= 0) {
        const size_t some = min(len, (size_t)CHARS);
        size_t n;

        if (sodium_base642bin(piece, AGENT_PIECE, text, some, NULL, &n, NULL,
                              sodium_base64_VARIANT_ORIGINAL) != 0)
            return -EBADMSG;
        r = n ? take(arg, piece, n) : 0;
        text += some;
        len -= some;
    }
    return r;
}

char *agent_encode(const void *p, size_t len)
{
    const size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    char *text = xnew_n(char, room);

    return sodium_bin2base64(text, room, p, len, sodium_base64_VARIANT_ORIGINAL);
}
