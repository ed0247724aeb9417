/*
 * cmd/socle_box.c: the program `socle-box`, an OCI runtime: reads its command line, and tells errors as engines expect them.
 */
#include "base/base.h"

#include "box/sealed.h"
#include "box/state.h"
#include "cmd/box_opts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_FAILED = 1, STATUS_EXEC_FAILED = 255 };

static int print(struct strbuf *out)
{
    int r = fd_write_all(STDOUT_FILENO, out->text, out->len);

    strbuf_fini(out);
    return r < 0 ? STATUS_FAILED : 0;
}

static int show_help(void)
{
    struct strbuf out = {};

    strbuf_add(&out, "usage: socle-box [OPTION]… COMMAND [OPTION]… [ARGUMENT]…\n"
                     "Run containers of the Open Container Initiative.\n\nOptions:\n");
    opt_help(box_global_opts, &out);
    strbuf_add(&out, "\nCommands:\n");
    for (const struct box_command *c = box_commands; c->name; c++)
        strbuf_add(&out, "  %-10s  %s\n", c->name, c->doc);
    strbuf_add(&out, "\n`socle-box COMMAND --help` says more.\n");
    return print(&out);
}

static int show_command(const struct box_command *c)
{
    struct strbuf out = {};

    strbuf_add(&out, "usage: socle-box %s %s\n%s\n", c->name, c->usage, c->doc);
    if (c->opts[0].name) {
        strbuf_add(&out, "\nOptions:\n");
        opt_help(c->opts, &out);
    }
    return print(&out);
}

/* To the log of an engine: one object a line, or text. */
static void write_log(const struct box_global *g, const char *message)
{
    AUTO(fd) int fd = g->log ? open(g->log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    AUTO(free) char *line = NULL;
    AUTO(free) char *json_text = NULL;
    time_t now = time(NULL);
    struct tm tm;
    char stamp[32];
    json_t *json;

    if (fd < 0)
        return;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);
    json = json_pack("{s:s, s:s, s:s}", "level", "error", "msg", message, "time", stamp);
    json_text = g->log_format == 1 && json ? json_dumps(json, JSON_COMPACT) : NULL;
    line = json_text ? str_new("%s\n", json_text)
                     : str_new("time=\"%s\" level=error msg=\"%s\"\n", stamp, message);
    json_decref(json);
    (void)!write(fd, line, strlen(line)); /* stderr has it, too */
}

/* Descriptors 0 to 2 are what they are called; what else we inherited is passed on only when asked for. */
static bool tidy_files(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO && fcntl(fd, F_SETFD, 0) == 0);
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

static int run(const struct box_command *c, struct box_args *a, int argc, char **argv,
               struct err *e)
{
    int used, r = box_parse(c->opts, a, argc, argv, &used, e);

    if (r == 1)
        return show_command(c);
    if (r == 0 && ((unsigned)(argc - used) < c->min_args || (unsigned)(argc - used) > c->max_args))
        r = err_set(e, -EINVAL, "usage: socle-box %s %s", c->name, c->usage);
    if (r < 0)
        return r;
    if (!a->global.root)
        a->global.root = box_default_root();
    return c->run(a, argc - used, argv + used, e);
}

static const struct box_command *find(const char *name)
{
    for (const struct box_command *c = box_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

int main(int argc, char **argv)
{
    const struct box_command *c = NULL;
    struct box_args a;
    struct err e = {};
    int used, r;

    log_set_name("socle-box");
    if (!tidy_files())
        return STATUS_FAILED;
    box_args_init(&a);
    a.global.self = argc > 0 ? argv[0] : NULL;
    r = box_parse(box_global_opts, &a, argc - 1, argv + 1, &used, &e);
    if (a.global.debug)
        log_set_level(LOG_LEVEL_DEBUG);
    if (r == 1 || (r == 0 && a.global.version)) {
        r = r == 1 ? show_help() : box_version_print();
        box_args_fini(&a);
        return r;
    }
    if (r == 0 && (used == argc - 1 || !(c = find(argv[used + 1]))))
        r = err_set(&e, -EINVAL, "a command is needed; `socle-box --help` lists them");
    if (r == 0 && c && c->enters)
        r = sealed_reexec(argv, &e);
    if (r == 0 && c)
        r = run(c, &a, argc - used - 2, argv + used + 2, &e);
    if (r < 0) {
        log_error("%s", e.text);
        write_log(&a.global, e.text);
        r = c && strcmp(c->name, "exec") == 0 ? STATUS_EXEC_FAILED : STATUS_FAILED;
    }
    box_args_fini(&a);
    return r;
}
