/*
 * cmd/verb_top.c: `socle top`: asks once a second, and shows it on the whole screen, or once.
 */
#include "base/clock.h"
#include "cmd/more.h"
#include "cmd/top.h"

#include <curses.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BEAT_MS = 1000, ONCE_MS = 100, ONCE_SECONDS = 10 };

struct top {
    json_t *host, *list; /* host NULL: it is not ours to see */
    char key;
    u32 first; /* of the machines that are shown */
};

static void top_fini(struct top *t)
{
    json_decref(t->host);
    json_decref(t->list);
    t->host = t->list = NULL;
}

static int ask(struct verb *v, struct top *t, struct err *e)
{
    struct err ignored = {};

    top_fini(t);
    t->list = verb_all(v, "/1.0/metrics/instances", e);
    if (!t->list)
        return e->code;
    t->host = verb_ask(v, "GET", "/1.0/metrics/host", NULL,
                       &ignored); /* who has grants alone is refused */
    (void)top_sort(t->list, t->key);
    return 0;
}

/* ---- once ---- */

static u64 at_of(const json_t *of)
{
    return (u64)json_integer_value(json_object_get(of, "at"));
}

/* Of all, what was measured since somebody looks. */
static u64 oldest(const struct top *t)
{
    u64 at = t->host ? at_of(t->host) : ~0ull;
    const json_t *row;
    size_t i;

    json_array_foreach(t->list, i, row)
    {
        const char *state = json_string_value(json_object_get(row, "state"));

        if (state && strcmp(state, "running") == 0)
            at = min(at, at_of(row));
    }
    return at;
}

static int once(struct verb *v, struct top *t, struct err *e)
{
    const u64 begun = clock_real_ns() / NSEC_PER_SEC,
              limit = clock_mono_ns() + ONCE_SECONDS * NSEC_PER_SEC;
    AUTO(strbuf) struct strbuf out = {};
    int r = ask(v, t, e);

    while (r >= 0 && oldest(t) <= begun && clock_mono_ns() < limit) {
        poll(NULL, 0, ONCE_MS);
        r = ask(v, t, e);
    }
    if (r < 0)
        return r;
    if (v->output != VERB_TABLE) {
        json_t *j = json_pack("{s:O*, s:O}", "host", t->host, "instances", t->list);

        verb_print(v, j);
        json_decref(j);
        return 0;
    }
    top_lines(t->host, t->list, &out);
    return printf("%s", out.text) < 0 ? err_set(e, -EIO, "standard output takes nothing") : 0;
}

/* ---- the screen ---- */

static u32 lines_of(const char *text)
{
    u32 n = 0;

    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* One line, as far as the screen goes. */
static void draw_line(int y, const char *line, size_t len)
{
    if (y == TOP_HEAD - 1)
        attron(A_REVERSE);
    mvaddnstr(y, 0, line, (int)min(len, (size_t)max(COLS, 0)));
    attroff(A_REVERSE);
}

static void draw(struct top *t)
{
    AUTO(strbuf) struct strbuf out = {}, keys = {};
    const u32 room = LINES > TOP_HEAD + 1 ? (u32)LINES - TOP_HEAD - 1 : 0;
    u32 n, line = 0;
    int y = 0;

    top_lines(t->host, t->list, &out);
    n = lines_of(out.text) - TOP_HEAD;
    t->first = min(t->first, n > room ? n - room : 0);
    erase();
    for (const char *p = out.text; *p && y < LINES - 1; line++) {
        const size_t len = strcspn(p, "\n");

        if (line < TOP_HEAD || line >= TOP_HEAD + t->first)
            draw_line(y++, p, len);
        p += len + 1;
    }
    strbuf_add(&keys, "q ends; sorted by: ");
    top_keys(&keys);
    draw_line(LINES - 1, keys.text, keys.len);
    refresh();
}

/* False: it is enough. */
static bool on_key(struct top *t, int key)
{
    switch (key) {
    case 'q':
        return false;
    case KEY_UP:
        t->first -= t->first > 0;
        break;
    case KEY_DOWN:
        t->first++;
        break;
    case KEY_PPAGE:
        t->first -= min(t->first, (u32)max(LINES, 0));
        break;
    case KEY_NPAGE:
        t->first += (u32)max(LINES, 0);
        break;
    default:
        if (key > 0 && key < 128 && top_sort(t->list, (char)key)) {
            t->key = (char)key;
            t->first = 0;
        }
    }
    return true;
}

/* getch says the same when nobody pressed a key and when nobody can any more. */
static bool is_gone(void)
{
    struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };

    return poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR | POLLNVAL);
}

/* Keys are answered at once; a second after it was asked it is asked again.  curses turns SIGWINCH into a key. */
static int watch(struct verb *v, struct top *t, struct err *e)
{
    u64 due = 0;
    int r = 0;

    for (bool more = true; more && r >= 0;) {
        const u64 now = clock_mono_ns();
        int key;

        if (now >= due) {
            r = ask(v, t, e);
            due = now + BEAT_MS * NSEC_PER_MSEC;
        }
        if (r < 0)
            break;
        draw(t);
        timeout((int)((due - min(due, clock_mono_ns())) / NSEC_PER_MSEC) + 1);
        key = getch();
        if (key == ERR && is_gone())
            return err_set(e, -EIO, "the terminal is gone");
        more = on_key(t, key);
    }
    return r;
}

static int on_screen(struct verb *v, struct top *t, struct err *e)
{
    SCREEN *screen;
    int r;

    setlocale(LC_CTYPE, "");
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return err_set(e, -ENOTTY, "terminal '%.40s' has no screen; --once needs none",
                       getenv("TERM") ? getenv("TERM") : "");
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    curs_set(0);
    r = watch(v, t, e);
    endwin();
    delscreen(screen);
    return r;
}

int verb_top(struct verb *v, struct err *e)
{
    struct top t = { .key = 'c' };
    const bool screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    int r = screen && !v->once && v->output == VERB_TABLE ? on_screen(v, &t, e) : once(v, &t, e);

    top_fini(&t);
    return r;
}
