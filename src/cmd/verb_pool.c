/*
 * cmd/verb_pool.c: `socle pool import`: images made of files.
 */
#include "cmd/more.h"
#include "host/guess.h"
#include "layer/registry.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char there[] = "host:"; /* before a path of the machine on which socled is */

/* The file becomes the part of the source that it looks like. */
static int take_file(struct image_source *s, const char *file, struct err *e)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *head = xnew_n(char, GUESS_BYTES);
    const char *part;
    struct stat st;
    ssize_t n;
    char **to;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, "open '%s'", file);
    n = S_ISDIR(st.st_mode) ? 0 : pread(fd, head, GUESS_BYTES, 0);
    if (n < 0)
        return err_errno(e, "read '%s'", file);
    part = S_ISDIR(st.st_mode) ? "rootfs" : guess_part(head, (size_t)n);
    if (!part)
        return err_set(e, -EINVAL,
                       "what '%s' is cannot be seen: --disk, --iso, --kernel or --rootfs says it",
                       file);
    to = guess_member(s, part);
    if (*to)
        return err_set(e, -EINVAL, "'%s' is a second one beside '%s'", file, *to);
    *to = xdup(file);
    return 0;
}

/* ---- import ---- */

/* Of this machine: sent there, or a path from the root. */
static int settle(struct verb *v, char **file, struct err *e)
{
    AUTO(free) char *name = NULL;

    if (!*file)
        return 0;
    if (v->host && str_starts(*file, there)) {
        char *rest = xdup(*file + strlen(there));

        free(*file);
        *file = rest;
        return 0;
    }
    if (!v->host) {
        verb_from_root(v, file);
        return 0;
    }
    name = TAKE(*file);
    return transfer_upload(&v->rest, name, file, e);
}

static bool is_registrys(const char *rootfs)
{
    return access(rootfs, F_OK) < 0 && registry_is_ref(rootfs);
}

static int take_argument(struct image_source *s, const char *arg, struct err *e)
{
    if (!str_starts(arg, "http://") && !str_starts(arg, "https://"))
        return take_file(s, arg, e);
    s->url = xdup(arg);
    return 0;
}

int verb_import(struct verb *v, struct err *e)
{
    struct image_source *s = &v->source;
    char **files[] = { &s->kernel, &s->initrd, &s->disk, &s->iso, &s->rootfs };
    json_t *body;
    int r = v->args.n > 1 ? take_argument(s, v->args.arg[1], e) : 0;

    for_each_row(file, files)
        if (r >= 0 && !(*file == &s->rootfs && s->rootfs && is_registrys(s->rootfs)))
            r = settle(v, *file, e);
    if (r < 0)
        return r;
    body = json_pack("{s:s, s:o}", "name", v->args.arg[0], "source",
                     conf_print(image_source_fields, s));
    if (!body)
        return err_set(e, -EINVAL, "the name is not UTF-8");
    r = verb_task(v, "POST", "/1.0/images", body, e);
    json_decref(body);
    return r;
}
