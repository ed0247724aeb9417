/*
 * box/criu.c: directories of images, and the program that asks CRIU.
 */
#include "box/criu.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char default_path[] = "checkpoint"; /* here, as for other runtimes */

/* With those above it.  They have all that the container's memory has: for nobody else. */
static int make_dirs(const char *path)
{
    AUTO(free) char *text = xdup(path);

    for (char *at = text + (*text == '/');; at++) {
        const char end = *at;

        if (end != '/' && end)
            continue;
        *at = 0;
        if (*text && mkdir(text, 0700) < 0 && errno != EEXIST)
            return -errno;
        *at = end;
        if (!end)
            return 0;
    }
}

static int open_dir(const char *path, const char *option, bool make, struct err *e)
{
    int r = make ? make_dirs(path) : 0;
    int fd = r < 0 ? r : open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);

    if (r < 0)
        return err_code(e, r, "%s: make '%.120s'", option, path);
    return fd < 0 ? err_errno(e, "%s: open '%.120s'", option, path) : fd;
}

int criu_dirs_open(struct criu_dirs *d, const struct box_criu *o, bool make, struct err *e)
{
    const char *images = o->image_path ? o->image_path : default_path;

    *d = (struct criu_dirs){ .images = -1, .work = -1 };
    d->images = open_dir(images, "--image-path", make, e);
    if (d->images < 0)
        return d->images;
    d->work_path = o->work_path ? o->work_path : images;
    d->work = open_dir(d->work_path, "--work-path", true, e);
    return min(d->work, 0);
}

void criu_dirs_close(struct criu_dirs *d)
{
    fd_close(&d->images);
    fd_close(&d->work);
}

static char *program(void)
{
    const char *named = getenv("SOCLE_BOX_CRIU");

    return xdup(named && *named ? named : SOCLE_LIBEXEC "/socle-box-criu");
}

static int pass_on(int fd)
{
    return fd >= 0 && fcntl(fd, F_SETFD, 0) < 0 ? -errno : 0;
}

int criu_exec(const struct criu_call *c, struct err *e)
{
    const u32 n = c->words->n;
    AUTO(free) char *path = program();
    AUTO(free) char *verb = xdup(c->verb);
    AUTO(free) char *asker = str_new("%d", c->sync);
    AUTO(free) char *terminal = str_new("%d", c->console);
    AUTO(free) char **argv = xnew_n(char *, n + 5);
    int r = pass_on(c->sync);

    argv[0] = path;
    argv[1] = verb;
    argv[2] = asker;
    argv[3] = terminal;
    memcpy(argv + 4, c->words->items, n * sizeof(*argv));
    if (r == 0)
        r = pass_on(c->console);
    for (unsigned i = 0; i < c->n_fds && r == 0; i++)
        r = pass_on(c->fds[i]);
    if (r < 0)
        return err_code(e, r, "pass a descriptor on");
    execv(path, argv);
    return err_errno(e, "start '%.160s'", path);
}

bool criu_log_error(const char *log, char *ret, size_t size)
{
    static const char word[] = " Error (", noise[] = "exited, status=";

    for (const char *at = log; (at = strstr(at, word));) {
        const char *text = strstr(at, "): ");
        size_t len;

        at += strlen(word);
        if (!text)
            return false;
        text += strlen("): ");
        len = strcspn(text, "\n");
        if (strncmp(text, noise, strlen(noise)) == 0)
            continue; /* of a program that was only tried */
        len = min(len, size - 1);
        memcpy(ret, text, len);
        ret[len] = 0;
        return true;
    }
    return false;
}

int criu_failed(const struct criu_dirs *d, const char *log, struct err *e)
{
    AUTO(fd) int fd = openat(d->work, log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO(strbuf) struct strbuf text = {};
    AUTO(free) char *all = NULL;
    struct err why = *e;
    char found[100];
    size_t len;

    if (fd < 0)
        return e->code; /* it did not come so far */
    if (str_starts(why.text, "criu: ") && fd_read_whole(fd, CRIU_LOG_MAX, &all, &len) == 0)
        strbuf_add_mem(&text, all, len);
    if (text.text && criu_log_error(text.text, found, sizeof(found)))
        return err_set(e, why.code, "criu: %s (log: '%.100s/%s')", found, d->work_path, log);
    return err_set(e, why.code, "%.110s (log: '%.100s/%s')", why.text, d->work_path, log);
}
