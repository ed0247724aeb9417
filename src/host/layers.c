/*
 * host/layers.c: asks socle-unpack for layers, and to remove them.
 * It says what it does in lines of JSON: {"done", "total"} now and then, and {"image"}, {"removed"} or {"error"} at its end.
 */
#include "host/layers.h"

#include "base/clock.h"
#include "host/spawn.h"
#include "layer/import.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 12, TICK_MS = 100, SAID_MAX = 16 * 1024 * 1024 };

/* A conversation with socle-unpack. */
struct unpacking {
    struct job *job;
    const char *words[WORDS_MAX];
    u32 n;
    pid_t pid;
    int out;
    struct strbuf said;
    json_t *end; /* the last line that is no progress */
};

static void say(struct unpacking *u, const char *option, const char *value)
{
    must(u->n + 2 < WORDS_MAX);
    u->words[u->n++] = option;
    if (value)
        u->words[u->n++] = value;
}

static int start(struct unpacking *u, struct err *e)
{
    AUTO(free) char *program = spawn_find("socle-unpack", "SOCLE_UNPACK");
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none;
    int fds[2], r;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    sigemptyset(&none);
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, fds[1], STDOUT_FILENO);
    r = posix_spawn(&u->pid, program, &files, &how, (char *const *)(uintptr_t)u->words, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    close(fds[1]);
    u->out = fds[0];
    return r ? err_code(e, -r, "start '%s'", program) : 0;
}

static void take_line(struct unpacking *u, const char *line, size_t len)
{
    json_t *j = json_loadb(line, len, 0, NULL);
    const json_t *done = json_object_get(j, "done");

    if (done) {
        job_total(u->job, (u64)json_integer_value(json_object_get(j, "total")));
        atomic_store(&u->job->done, (u64)json_integer_value(done));
        json_decref(j);
    } else if (j) {
        json_decref(u->end);
        u->end = j;
    }
}

/* False: it has closed its end, or says too much. */
static bool listen_to(struct unpacking *u)
{
    char buf[16384];
    ssize_t n = read(u->out, buf, sizeof(buf));
    const char *eol;

    if (n <= 0)
        return n < 0 && errno == EINTR;
    strbuf_add_mem(&u->said, buf, (size_t)n);
    while (u->said.len && (eol = memchr(u->said.text, '\n', u->said.len))) {
        const size_t len = (size_t)(eol - u->said.text);

        take_line(u, u->said.text, len);
        memmove(u->said.text, eol + 1, u->said.len - len - 1);
        u->said.len -= len + 1;
    }
    return u->said.len < SAID_MAX;
}

/* To its end, which a cancelled job brings about; then what it says of it. */
static int converse(struct unpacking *u, struct err *e)
{
    struct pollfd p = { .fd = u->out, .events = POLLIN };
    const char *error;
    bool told = false;
    int status = 0;

    do {
        if (!told && job_check(u->job, NULL) < 0) {
            kill(u->pid, SIGTERM);
            told = true;
        }
    } while (poll(&p, 1, TICK_MS) <= 0 || listen_to(u));
    while (waitpid(u->pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (told && status)
        return job_check(u->job, e);
    error = json_string_value(json_object_get(u->end, "error"));
    if (error)
        return err_set(e, -EIO, "%s", error);
    if (WIFSIGNALED(status))
        return err_set(e, -EIO, "socle-unpack was ended by signal %d", WTERMSIG(status));
    return status ? err_set(e, -EIO, "socle-unpack ended with status %d (socled's log says why)",
                            WEXITSTATUS(status))
                  : 0;
}

static int run(struct unpacking *u, struct err *e)
{
    int r = start(u, e);

    return r < 0 ? r : converse(u, e);
}

static void unpacking_init(struct unpacking *u, struct job *j, const char *pool)
{
    *u = (struct unpacking){ .job = j, .out = -1 };
    say(u, "socle-unpack", NULL);
    say(u, "--pool", pool);
}

static void unpacking_fini(struct unpacking *u)
{
    fd_close(&u->out);
    strbuf_fini(&u->said);
    json_decref(u->end);
}

static char *pool_path(const struct host *h)
{
    return str_new("%s/layers", h->dir);
}

/* ---- import ---- */

static int add_all(const struct field *f, void *to, const struct field_strs *from, struct err *e)
{
    for (u32 i = 0; i < from->n; i++)
        if (!conf_strs_add(f, to, from->items[i]))
            return err_set(e, -E2BIG, "the image's '%s' has more than %u elements", f->name,
                           f->list_max);
    return 0;
}

static const struct field *program_field(size_t at)
{
    return conf_field_at(image_program_fields, at);
}

static char *text_or_null(const char *s)
{
    return s && *s ? xdup(s) : NULL;
}

/* image-spec, config.md: what is run is Entrypoint, then Cmd. */
static int take_program(const struct manifest_run *from, struct image_program *to, struct err *e)
{
    const struct field *command = program_field(offsetof(struct image_program, command));
    const struct field *env = program_field(offsetof(struct image_program, env));
    int r = add_all(command, to, &from->Entrypoint, e);

    if (r >= 0)
        r = add_all(command, to, &from->Cmd, e);
    if (r >= 0)
        r = add_all(env, to, &from->Env, e);
    to->cwd = text_or_null(from->WorkingDir);
    to->user = text_or_null(from->User);
    to->stop_signal = text_or_null(from->StopSignal);
    return r;
}

static int take_image(const json_t *j, struct image_cfg *ret, struct err *e)
{
    const struct field *layers =
        conf_field_at(image_cfg_fields, offsetof(struct image_cfg, layers));
    struct import_image image = {};
    int r = conf_parse(import_image_fields, &image, j, e);

    for (u32 i = 0; i < image.layers.n && r >= 0; i++) {
        const struct import_layer *l = (struct import_layer *)image.layers.items + i;

        if (!conf_strs_add(layers, ret, l->name))
            r = err_set(e, -E2BIG, "the image has more than %u layers", layers->list_max);
    }
    if (r >= 0)
        r = take_program(&image.config, &ret->program, e);
    ret->bytes = image.bytes;
    ret->created = clock_real_ns() / NSEC_PER_SEC;
    conf_fini(import_image_fields, &image);
    return r < 0 ? r : ret->layers.n ? 0 : err_set(e, -EINVAL, "the image has no layer");
}

int layers_import(struct job *j, const struct host *h, const struct image_source *from,
                  struct image_cfg *ret, struct err *e)
{
    AUTO(free) char *pool = pool_path(h);
    struct unpacking u;
    const json_t *image;
    int r;

    conf_defaults(image_cfg_fields, ret);
    unpacking_init(&u, j, pool);
    say(&u, "--source", from->rootfs);
    if (from->tag)
        say(&u, "--tag", from->tag);
    r = run(&u, e);
    image = json_object_get(u.end, "image");
    if (r >= 0)
        r = image ? take_image(image, ret, e)
                  : err_set(e, -EPROTO, "socle-unpack says nothing of the image");
    unpacking_fini(&u);
    return r;
}

/* ---- fetch ---- */

int layers_fetch(struct job *j, const struct layers_fetching *f, struct err *e)
{
    AUTO(free) char *most = str_new("%llu", f->most);
    struct unpacking u = { .job = j, .out = -1 };
    int r;

    say(&u, "socle-unpack", NULL);
    say(&u, "--fetch", f->url);
    say(&u, "--into", f->folder);
    say(&u, "--most", most);
    if (f->plain)
        say(&u, "--insecure", NULL);
    r = run(&u, e);
    unpacking_fini(&u);
    return r;
}

/* ---- remove ---- */

static int clean(struct job *j, const struct host *h, struct err *e)
{
    AUTO(free) char *pool = pool_path(h);
    struct unpacking u;
    int r;

    if (access(pool, F_OK) < 0)
        return 0;
    unpacking_init(&u, j, pool);
    say(&u, "--clean", NULL);
    r = run(&u, e);
    unpacking_fini(&u);
    return r;
}

/* Takes its name from it; clean does the rest. */
static int set_aside(const struct host *h, const char *folder, const char *name, struct err *e)
{
    AUTO(free) char *from = str_new("%s/%s", folder, name);
    AUTO(free) char *to = str_new("%s/layers/.new-%016llx", h->dir, clock_mono_ns());

    return rename(from, to) < 0 && errno != ENOENT ? err_errno(e, "move '%s' away", from) : 0;
}

int layers_sweep(struct job *j, const struct host *h, struct err *e)
{
    AUTO(free) char *pool = pool_path(h);
    json_t *used = images_layers(h->images, e);
    DIR *d = used ? opendir(pool) : NULL;
    int r = used ? 0 : e->code;
    struct dirent *de;

    while (d && r >= 0 && (de = readdir(d)))
        if (str_starts(de->d_name, "sha256-") && !json_object_get(used, de->d_name))
            r = set_aside(h, pool, de->d_name, e);
    if (d)
        closedir(d);
    json_decref(used);
    return r < 0 ? r : clean(j, h, e);
}

int layers_remove_tree(struct job *j, const struct host *h, const char *folder, const char *name,
                       struct err *e)
{
    AUTO(free) char *path = str_new("%s/%s", folder, name), *pool = pool_path(h);
    struct stat st;
    int r;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "remove '%s'", path);
    if (mkdir(pool, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", pool);
    r = set_aside(h, folder, name, e);
    return r < 0 ? r : clean(j, h, e);
}

int layers_paths(const struct host *h, const struct image_cfg *image, const struct field *f,
                 void *to, struct err *e)
{
    for (u32 i = 0; i < image->layers.n; i++) {
        AUTO(free) char *path = str_new("%s/layers/%s", h->dir, image->layers.items[i]);

        if (!conf_strs_add(f, to, path))
            return err_set(e, -E2BIG, "more than %u layers", f->list_max);
    }
    return 0;
}
