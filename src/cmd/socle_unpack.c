/*
 * cmd/socle_unpack.c: the program `socle-unpack`: images into a pool of layers, by a process that has given up all else (layer/work.h).
 * It tells in lines of JSON on stdout: {"done":N,"total":N} while it works; at the end {"image":{…}}, {"removed":N} or {"fetched":N}, or {"error":"…"}
 * and status 1.
 */
#include "base/base.h"

#include "base/clock.h"
#include "cmd/opt.h"
#include "layer/work.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STATUS_FAILED = 1, STATUS_USAGE = 2 };

#define TELL_EVERY_NS (100 * NSEC_PER_MSEC)

/* clang-format off */
static const struct opt opts[] = {
    { "pool",             work_cfg_fields, 0, "pool",             "DIR",  0 },
    { "source",           work_cfg_fields, 0, "source",           "FILE", 0 },
    { "tag",              work_cfg_fields, 0, "tag",              NULL,   0 },
    { "remove",           work_cfg_fields, 0, "remove",           NULL,   0 },
    { "clean",            work_cfg_fields, 0, "clean",            NULL,   0 },
    { "credentials",      work_cfg_fields, 0, "credentials",      "FILE", 0 },
    { "insecure",         work_cfg_fields, 0, "insecure",         NULL,   0 },
    { "fetch",            work_cfg_fields, 0, "fetch",            NULL,   0 },
    { "into",             work_cfg_fields, 0, "into",             "DIR",  0 },
    { "most",             work_cfg_fields, 0, "most",             NULL,   0 },
    { "allow-devices",    work_cfg_fields, 0, "allow_devices",    NULL,   0 },
    { "force-user-xattr", work_cfg_fields, 0, "force_user_xattr", NULL,   0 },
    {},
};
/* clang-format on */

static struct watch watch;

static void on_term(int sig)
{
    (void)sig;
    watch.canceled = 1;
}

/* One line; takes the reference. */
static int print(json_t *j)
{
    AUTO(free) char *text = json_dumps(j, JSON_COMPACT);
    AUTO(free) char *line = NULL;

    must(text);
    json_decref(j);
    line = str_new("%s\n", text);
    return fd_write_all(STDOUT_FILENO, line, strlen(line));
}

static void tell(struct watch *w)
{
    const u64 now = clock_mono_ns();

    if (!w->total || now < w->told_ns + TELL_EVERY_NS || w->canceled)
        return;
    w->told_ns = now;
    if (print(json_pack("{s:I, s:I}", "done", (json_int_t)min(w->done, w->total), "total",
                        (json_int_t)w->total)) < 0)
        w->canceled = 1; /* nobody listens any more */
}

static int show_help(void)
{
    AUTO(strbuf) struct strbuf out = {};

    strbuf_add(&out, "usage: socle-unpack --pool DIR --source PATH [--tag NAME] [OPTION]…\n"
                     "       socle-unpack --pool DIR --remove LAYER\n"
                     "       socle-unpack --pool DIR --clean\n"
                     "       socle-unpack --fetch URL --into DIR [OPTION]…\n"
                     "Import an image into a pool of layers; socled starts it.\n\nOptions:\n");
    opt_help(opts, &out);
    return fd_write_all(STDOUT_FILENO, out.text, out.len) < 0 ? STATUS_FAILED : 0;
}

static int report(int r, struct work_result *res, const struct err *e)
{
    json_t *j;

    if (r < 0) {
        log_error("%s", e->text);
        j = json_pack("{s:s}", "error", e->text);
        if (!j) /* a name in it is no UTF-8 */
            j = json_pack("{s:s}", "error", "the image is refused; why is on stderr");
    } else if (res->fetched) {
        j = json_pack("{s:I}", "fetched", (json_int_t)res->fetched);
    } else if (res->has_image) {
        j = json_pack("{s:o}", "image", conf_print(import_image_fields, &res->image));
    } else {
        j = json_pack("{s:I}", "removed", (json_int_t)res->removed);
    }
    must(j);
    return print(j) < 0 || r < 0 ? STATUS_FAILED : 0;
}

static void set_signals(void)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN }, stop = { .sa_handler = on_term };

    sigaction(SIGPIPE, &ignore, NULL);
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
}

int main(int argc, char **argv)
{
    struct work_cfg cfg;
    struct work_result res = {};
    struct opt_args args = {};
    struct err e = {};
    int r, status;

    log_set_name("socle-unpack");
    set_signals();
    conf_defaults(work_cfg_fields, &cfg);
    r = opt_parse(opts, &cfg, argc - 1, argv + 1, &args, &e);
    if (r == 0 && args.n)
        r = err_set(&e, -EINVAL, "'%.80s' is no option", args.arg[0]);
    if (r == 1) {
        status = show_help();
    } else if (r < 0) {
        fprintf(stderr, "socle-unpack: %s\n", e.text);
        status = STATUS_USAGE;
    } else {
        watch.tell = tell;
        r = work_run(&cfg, &watch, &res, &e);
        status = report(r, &res, &e);
    }
    work_result_fini(&res);
    conf_fini(work_cfg_fields, &cfg);
    return status;
}
