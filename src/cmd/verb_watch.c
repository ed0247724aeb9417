/*
 * cmd/verb_watch.c: --watch: what a command shows is shown anew whenever something has changed.
 */
#include "cmd/verb.h"

#include <stdio.h>
#include <unistd.h>

struct watch {
    struct verb *v;
    int (*fn)(struct verb *v, struct err *e);
    struct rest events;
    bool screen;
    struct err *e;
};

static int show(struct watch *w)
{
    int r;

    if (w->screen)
        printf("\033[H\033[J"); /* to the first place, and nothing is below it */
    r = w->fn(w->v, w->e);
    return r >= 0 && fflush(stdout) != 0 ? err_errno(w->e, "write to standard output") : r;
}

/* Of events that came together the last one is enough. */
static int on_event(void *arg, const json_t *event [[maybe_unused]])
{
    struct watch *w = arg;
    const char *rest = w->events.got.text + w->events.at;

    return rest[strspn(rest, "\r\n")] ? 0 : show(w);
}

int verb_watch(struct verb *v, int (*fn)(struct verb *v, struct err *e), struct err *e)
{
    struct watch w = { v, fn, { .fd = -1 }, isatty(STDOUT_FILENO), e };
    json_t *server = verb_ask(v, "GET", "/1.0", NULL, e);
    const u64 since = (u64)json_integer_value(json_object_get(server, "revision"));
    int r = server ? rest_open(&w.events, v->dir, v->host, e) : e->code;

    json_decref(server);
    if (r >= 0 && w.screen)
        printf("\033[2J");
    if (r >= 0)
        r = show(&w);
    if (r >= 0)
        r = rest_follow(&w.events, since, on_event, &w, e);
    rest_close(&w.events);
    return r;
}
