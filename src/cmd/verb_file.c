/*
 * cmd/verb_file.c: `socle file push, pull`: files into an instance and out of it (os/files.h).
 * What comes out of one is made as if it came from an attacker: below the folder that was named, without links on the way, without
 * set-user-id.
 */
#include "cmd/verb.h"
#include "cmd/ws.h"
#include "os/files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct file_job {
    struct verb *v;
    const char **local; /* push: what is sent; pull: one, where it goes */
    u32 n_local;
};

/* "NAME:PATH": the path; NAME is left in `arg`, our copy. */
static char *cut_path(char *arg, struct err *e)
{
    char *colon = strchr(arg, ':');

    if (!colon || colon == arg || !colon[1]) {
        err_set(e, -EINVAL, "'%.80s' is not NAME:PATH, an instance and a path in it", arg);
        return NULL;
    }
    *colon = 0;
    return colon + 1;
}

static int take_mode(struct verb *v, struct err *e)
{
    const char *at = v->mode;
    s64 mode = 0;

    if (!at)
        return 0;
    for (; *at >= '0' && *at <= '7' && mode <= 07777; at++)
        mode = mode * 8 + (*at - '0');
    if (at == v->mode || *at || mode > 07777)
        return err_set(e, -EINVAL, "--mode is '%.20s'; an octal number up to 7777 is needed",
                       v->mode);
    v->files.mode = mode;
    return 0;
}

static int say_ask(int fd, const struct os_files_ask *a, struct err *e)
{
    json_t *j = conf_print(os_files_fields, a);
    AUTO(free) char *text = json_dumps(j, JSON_COMPACT);
    int r;

    json_decref(j);
    if (!text || strlen(text) > OS_FRAME_MAX)
        return err_set(e, -EINVAL, "the paths have more than %d bytes, or are not UTF-8",
                       OS_FRAME_MAX);
    r = copy_say(fd, OS_FRAME_RUN, text, strlen(text));
    return r < 0 ? err_code(e, r, "ask for it") : 0;
}

/* ---- push ---- */

/* "a/b/" is "b"; "." and "/" have no name. */
static int send_one(struct copy_from *f, const char *path, struct err *e)
{
    AUTO(free) char *own = xdup(path);
    AUTO(fd) int fd = -1;
    const char *name;
    size_t len = strlen(own);

    if (strcmp(path, "-") == 0)
        return copy_send_stream(f, STDIN_FILENO, "stdin", e);
    while (len > 1 && own[len - 1] == '/')
        own[--len] = 0;
    name = strrchr(own, '/');
    name = name ? name + 1 : own;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, -EINVAL, "'%.80s' has no name that it could have there", path);
    fd = open(own, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? err_errno(e, "open '%.120s'", path) : copy_send(f, fd, name, e);
}

static int push(int fd, void *arg, struct err *e)
{
    const struct file_job *job = arg;
    struct copy_from f = { .conn = fd, .listens = true, .recursive = job->v->files.recursive };
    struct copy_in in = { .fd = fd };
    struct err said = {};
    const u8 *data;
    size_t len;
    int r = say_ask(fd, &job->v->files, e), last;

    for (u32 i = 0; i < job->n_local && r >= 0; i++)
        r = send_one(&f, job->local[i], e);
    if (r >= 0)
        r = copy_say(fd, COPY_DONE, NULL, 0) < 0 ? -EPIPE : 0;
    if (r >= 0 || r == -EPIPE) { /* the other side says why, or that all is there */
        last = copy_next(&in, &data, &len, &said);
        if (last == OS_FRAME_END)
            r = 0;
        else
            r = err_set(e, last < 0 ? last : -EPROTO, "%s",
                        last < 0 ? said.text : "the answer is none");
    }
    if (r >= 0 && f.n_skipped)
        log_warn("%u left out: they are no files", f.n_skipped);
    copy_in_fini(&in);
    close(fd);
    return r;
}

static int begin(struct verb *v, const char *name, int (*fn)(int fd, void *arg, struct err *e),
                 struct file_job *job, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", name, "/files", e);
    int r = path ? rest_upgrade(&v->rest, path, e) : e->code;

    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    return r < 0 ? r : ws_run(&v->rest, fn, job, e);
}

static int add_path(struct verb *v, const char *path, struct err *e)
{
    const struct field *f = conf_field_at(os_files_fields, offsetof(struct os_files_ask, paths));

    return conf_strs_add(f, &v->files, path)
               ? 0
               : err_set(e, -E2BIG, "more than %u files", f->list_max);
}

int verb_file_push(struct verb *v, struct err *e)
{
    const u32 n = v->args.n - 1;
    struct file_job job = { v, v->args.arg, n };
    AUTO(free) char *name = xdup(v->args.arg[n]);
    const char *path = cut_path(name, e);
    int r = path ? take_mode(v, e) : e->code;

    if (r < 0)
        return r;
    v->files.push = true;
    v->files.into = n > 1 || path[strlen(path) - 1] == '/';
    r = add_path(v, path, e);
    return r < 0 ? r : begin(v, name, push, &job, e);
}

/* ---- pull ---- */

/* Where it goes: a folder that is there, or a name in one. */
static int open_target(const char *target, bool many, struct copy_to *t, struct err *e)
{
    AUTO(free) char *own = xdup(target);
    char *slash = strrchr(own, '/');

    t->dir = open(own, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (t->dir >= 0)
        return 0;
    if (many || (slash && !slash[1]))
        return err_errno(e, "folder '%.120s'", target);
    t->first = target + (slash ? slash + 1 - own : 0);
    if (slash)
        *slash = 0;
    t->dir = open(!slash ? "." : *own ? own : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return t->dir < 0 ? err_errno(e, "folder '%.120s'", slash ? own : ".") : 0;
}

static int pull(int fd, void *arg, struct err *e)
{
    const struct file_job *job = arg;
    const struct os_files_ask *a = &job->v->files;
    struct copy_in in = { .fd = fd };
    const mode_t mask = umask(0);
    struct copy_to t = { .in = &in, .dir = -1, .uid = -1, .gid = -1, .mode = -1, .out = -1 };
    int r = 0;

    umask(mask);
    t.mode_mask = 0777u & ~mask;
    if (strcmp(job->local[0], "-") == 0)
        t.out = STDOUT_FILENO;
    else
        r = open_target(job->local[0], a->paths.n > 1, &t, e);
    if (r >= 0)
        r = say_ask(fd, a, e);
    if (r >= 0)
        r = copy_receive(&t, e);
    fd_close(&t.dir);
    copy_in_fini(&in);
    close(fd);
    return r;
}

int verb_file_pull(struct verb *v, struct err *e)
{
    const u32 n = v->args.n - 1;
    struct file_job job = { v, &v->args.arg[n], 1 };
    AUTO(free) char *first = NULL;
    int r = 0;

    for (u32 i = 0; i < n && r >= 0; i++) {
        AUTO(free) char *name = xdup(v->args.arg[i]);
        const char *path = cut_path(name, e);

        r = path ? add_path(v, path, e) : e->code;
        if (r >= 0 && first && strcmp(first, name) != 0)
            r = err_set(e, -EINVAL, "'%.63s' and '%.63s': all files are of one instance", first,
                        name);
        if (!first)
            first = TAKE(name);
    }
    return r < 0 ? r : begin(v, first, pull, &job, e);
}
