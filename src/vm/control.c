/*
 * vm/control.c: the control socket: one JSON object a line in, one a line out.
 *     {"cmd": "status", "id": 1, …}   →   {"id": 1, "ok": true, "result": …}   or   {"id": 1, "ok": false, "error": "…"}
 * Clients are hostile: lines, clients and unsent answers are bounded; a client that breaks a bound is dropped.
 *   (1) Requests of one client are answered in order; the next line is looked at when the last was answered.
 *   (2) A request that needs parked vCPUs (inspect, reset) is answered later; its client may be gone by then.
 */
#include "base/clock.h"
#include "base/trace.h"
#include "dev/virtio/balloon.h"
#include "vm/control_internal.h"
#include "vm/profile.h"
#include "vm/save.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    UNSENT_MAX = 8 * 1024 * 1024,
    PROFILE_SECONDS = 5,
    POWER_SECONDS_MAX = 24 * 3600,
    TRACE_RECORDS_MAX = 50000, /* lines of one answer; at 150 bytes they fit UNSENT_MAX */
};

static const struct field request_fields[] = {
    FIELD_STR(request, cmd, "which command", .required = true),
    FIELD_STR(request, device, "name of a device, or vcpuN"),
    FIELD_STR(request, action,
              "power: button or off; trace: list, set or dump; suspend: save or end"),
    FIELD_STR(request, pattern, "trace: which points", .sdflt = "*"),
    FIELD_BYTES(request, bytes, "balloon: memory that the guest shall keep"),
    FIELD_INT(request, seconds,
              "profile: how long; power: that a guest has to obey the button; 0: as usual"),
    FIELD_BOOL(request, on, "trace: turn the points on", .dflt = 1),
    FIELD_STR(request, mode, "snapshot: full, base, diff or disks", .sdflt = "full"),
    FIELD_STR(request, file, "snapshot: the name that the file will have", .sdflt = ""),
    FIELD_STR(request, disk, "restore: the disk beside which the snapshot is kept"),
    FIELD_STR(request, snapshot, "restore: to which its disks are brought back before"),
    FIELD_INT(request, inode, "merge: the image's file"),
    FIELD_LIST(request, overlays, control_overlay_fields, request_overlay, SPEC_DISKS_MAX,
               "snapshot: in which files disks go on"),
    {},
};

void control_drop_files(struct client *cl)
{
    for (u32 i = 0; i < cl->n_files; i++)
        fd_close(&cl->files[i]);
    cl->n_files = 0;
}

static void client_close(struct client *cl)
{
    loop_fd_close(&cl->watch);
    fd_close(&cl->fd);
    control_drop_files(cl);
    control_save_gone(cl);
    strbuf_fini(&cl->out);
    json_decref(cl->id);
    cl->id = NULL;
    cl->waiting = false;
    cl->in_len = cl->out_sent = 0;
}

static void client_send(struct client *cl)
{
    while (cl->out_sent < cl->out.len) {
        ssize_t n = send(cl->fd, cl->out.text + cl->out_sent, cl->out.len - cl->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            loop_fd_events(&cl->watch, UV_READABLE | UV_WRITABLE);
            return;
        }
        if (n < 0) {
            client_close(cl);
            return;
        }
        cl->out_sent += (size_t)n;
    }
    cl->out.len = cl->out_sent = 0;
    loop_fd_events(&cl->watch, UV_READABLE);
}

static void answer_text(struct client *cl, bool ok, const char *result)
{
    char *id = cl->id ? json_dumps(cl->id, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

    strbuf_add(&cl->out, "{\"id\": %s, \"ok\": %s, \"%s\": %s}\n", id ? id : "null",
               ok ? "true" : "false", ok ? "result" : "error", result);
    free(id);
    json_decref(cl->id);
    cl->id = NULL;
    cl->waiting = false;
    if (cl->out.len - cl->out_sent > UNSENT_MAX)
        client_close(cl);
    else
        client_send(cl);
}

void control_answer(struct client *cl, const char *result_json)
{
    answer_text(cl, true, result_json);
}

void control_answer_error(struct client *cl, const char *text)
{
    json_t *s = json_string(text);
    char *quoted = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;

    answer_text(cl, false, quoted ? quoted : "\"unprintable\"");
    free(quoted);
    json_decref(s);
}

void control_event(struct client *cl, json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT);

    strbuf_add(&cl->out, "%s\n", text ? text : "{}");
    free(text);
    json_decref(event);
    client_send(cl);
}

void control_answer_json(struct client *cl, json_t *result)
{
    char *text = json_dumps(result, JSON_ENCODE_ANY | JSON_COMPACT);

    control_answer(cl, text ? text : "null");
    free(text);
    json_decref(result);
}

/* Commands.  0: answered, or will be; negative: answered from `e`. */

static int cmd_status(struct client *cl, const struct request *rq [[maybe_unused]],
                      struct err *e [[maybe_unused]])
{
    const struct vm *vm = cl->c->vm;
    const char *reason =
        vm->debug_paused && !vm->user_paused ? "held by the debugger" : vm->pause_why;

    char saving[80] = "";
    u64 done = 0, total = 0;

    if (vm->save)
        save_progress(vm->save, saving, sizeof(saving), &done, &total);
    control_answer_json(
        cl, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:b, s:s, s:I, s:I}", "name",
                      vm->spec->name, "state", run_state_name(vm->state), "reason", reason,
                      "engine", cpu_engine_name(vm->engine), "engine_reason", vm->engine_why,
                      "cpus", (json_int_t)vm->spec->cpus, "memory", (json_int_t)vm->spec->memory,
                      "uptime_ms", (json_int_t)((clock_mono_ns() - vm->started_ns) / NSEC_PER_MSEC),
                      "jailed", vm->confined, "saving", saving, "saving_done", (json_int_t)done,
                      "saving_total", (json_int_t)total));
    return 0;
}

static int cmd_resume(struct client *cl, const struct request *rq [[maybe_unused]],
                      struct err *e [[maybe_unused]])
{
    run_resume(cl->c->vm);
    control_answer(cl, "null");
    return 0;
}

static int cmd_power(struct client *cl, const struct request *rq, struct err *e)
{
    const char *how = rq->action ? rq->action : "button";
    bool off = strcmp(how, "off") == 0;

    if (!off && strcmp(how, "button") != 0)
        return err_set(e, -EINVAL, "power action '%s': allowed are 'button' and 'off'", how);
    control_answer(cl, "null");
    if (off)
        run_end(cl->c->vm, VM_END_POWEROFF, 0, NULL);
    else
        run_shutdown(cl->c->vm,
                     rq->seconds ? min(rq->seconds, (u64)POWER_SECONDS_MAX) : RUN_GRACE_SECONDS);
    return 0;
}

struct later *control_later(struct client *cl, const char *device)
{
    struct later *l = xnew(struct later);

    *l = (struct later){ .cl = cl, .serial = cl->serial };
    str_copy(l->device, sizeof(l->device), device ? device : "");
    cl->waiting = true;
    return l;
}

struct client *control_later_client(const struct later *l)
{
    return l->cl->fd >= 0 && l->cl->serial == l->serial ? l->cl : NULL;
}

static void done_null(struct vm *vm [[maybe_unused]], void *arg)
{
    AUTO(free) struct later *l = arg;
    struct client *cl = control_later_client(l);

    if (!cl)
        return;
    control_answer(cl, "null");
    control_serve(cl);
}

/* Runs `fn` with parked vCPUs; the request is answered from there. */
static int defer(struct client *cl, const char *device, void (*fn)(struct vm *, void *),
                 struct err *e)
{
    struct later *l = control_later(cl, device);
    int r = run_parked(cl->c->vm, fn, l);

    if (r >= 0)
        return 0;
    free(l);
    return err_set(e, r, "the machine is %s", run_state_name(cl->c->vm->state));
}

static int cmd_pause(struct client *cl, const struct request *rq [[maybe_unused]], struct err *e)
{
    run_pause(cl->c->vm, "asked for");
    return defer(cl, NULL, done_null, e);
}

static int cmd_reset(struct client *cl, const struct request *rq [[maybe_unused]], struct err *e)
{
    int r = cl->c->vm->saving ? -EBUSY : run_reset(cl->c->vm);

    if (r < 0)
        return err_set(e, r, "the machine is %s",
                       cl->c->vm->saving ? "being saved" : run_state_name(cl->c->vm->state));
    return defer(cl, NULL, done_null, e);
}

static void do_inspect(struct vm *vm, void *arg)
{
    AUTO(free) struct later *l = arg;
    struct client *cl = control_later_client(l);
    struct strbuf out = {};

    if (!cl)
        return;
    if (inspect_print(vm, l->device, &out))
        control_answer(cl, out.text);
    else
        control_answer_error(cl, "there is no such device: 'inspect' without a name lists all");
    strbuf_fini(&out);
    control_serve(cl);
}

static int cmd_inspect(struct client *cl, const struct request *rq, struct err *e)
{
    if (rq->device && strlen(rq->device) >= DEVICE_NAME_MAX)
        return err_set(e, -EINVAL, "device name of %zu bytes: at most %d are allowed",
                       strlen(rq->device), DEVICE_NAME_MAX - 1);
    return defer(cl, rq->device, do_inspect, e);
}

static void put_stat(void *arg, const char *name, u64 value)
{
    json_object_set_new(arg, name, json_integer((json_int_t)value));
}

static int cmd_stats(struct client *cl, const struct request *rq [[maybe_unused]],
                     struct err *e [[maybe_unused]])
{
    struct vm *vm = cl->c->vm;
    json_t *result = json_object(), *cpus = json_object(), *devices = json_object();

    for (u32 i = 0; i < cpu_count(vm->cpu); i++) {
        json_t *exits = json_object();
        char name[16];

        str_fmt(name, sizeof(name), "vcpu%u", i);
        for (u32 row = 0; row < CPU_EXIT_KINDS; row++)
            if (cpu_exit_name(vm->cpu, row))
                put_stat(exits, cpu_exit_name(vm->cpu, row), cpu_vcpu(vm->cpu, i)->exits[row]);
        json_object_set_new(cpus, name, exits);
    }
    for (u32 i = 0; i < vm->n_devices; i++) {
        struct device *d = vm->devices[i];
        json_t *counters = json_object();

        if (d->def->stats)
            d->def->stats(d, put_stat, counters);
        json_object_set_new(devices, d->name, counters);
    }
    json_object_set_new(result, "exits", cpus);
    json_object_set_new(result, "devices", devices);
    control_answer_json(cl, result);
    return 0;
}

/* Of each vCPU; empty where the engine translates nothing. */
static int cmd_jit(struct client *cl, const struct request *rq [[maybe_unused]],
                   struct err *e [[maybe_unused]])
{
    struct vm *vm = cl->c->vm;
    json_t *result = json_object();

    for (u32 i = 0; i < cpu_count(vm->cpu); i++) {
        json_t *counters = json_object();
        const char *row;
        char name[16];
        u64 n;

        str_fmt(name, sizeof(name), "vcpu%u", i);
        for (u32 k = 0; (row = cpu_jit_stat(cpu_vcpu(vm->cpu, i), k, &n)); k++)
            put_stat(counters, row, n);
        json_object_set_new(result, name, counters);
    }
    control_answer_json(cl, result);
    return 0;
}

static void do_perf_map(struct vm *vm, void *arg)
{
    AUTO(free) struct later *l = arg;
    struct client *cl = control_later_client(l);
    AUTO(strbuf) struct strbuf out = {};

    if (!cl)
        return;
    cpu_jit_map(vm->cpu, &out);
    control_answer_json(cl, json_string(out.text ? out.text : ""));
    control_serve(cl);
}

static int cmd_perf_map(struct client *cl, const struct request *rq [[maybe_unused]], struct err *e)
{
    return defer(cl, NULL, do_perf_map, e);
}

static int cmd_balloon(struct client *cl, const struct request *rq, struct err *e)
{
    struct vm *vm = cl->c->vm;

    for (u32 i = 0; i < vm->n_devices; i++) {
        if (strcmp(vm->devices[i]->def->name, "virtio-balloon") != 0)
            continue;
        if (rq->bytes > vm->spec->memory)
            return err_set(e, -EINVAL, "balloon: %llu bytes, the guest has %llu", rq->bytes,
                           vm->spec->memory);
        balloon_set_target(vm->devices[i], rq->bytes);
        control_answer(cl, "null");
        return 0;
    }
    return err_set(e, -ENOENT, "this machine has no balloon");
}

/* A point that the engine never records is neither on nor off. */
struct points {
    const struct engine *engine;
    const char *pattern; /* those of `list` all match */
    json_t *list;
    u32 seen, unseen;
};

static void put_point(void *arg, const struct trace_point *p)
{
    struct points *to = arg;
    bool sees = cpu_trace_sees(to->engine, p->name);

    if (to->list)
        json_object_set_new(to->list, p->name,
                            sees ? json_boolean(atomic_load(&p->on)) : json_null());
    if (!to->pattern || fnmatch(to->pattern, p->name, 0) != 0)
        return;
    to->seen += sees;
    to->unseen += !sees;
}

static int trace_set(struct client *cl, const struct request *rq, struct err *e)
{
    struct points n = { .engine = cl->c->vm->engine, .pattern = rq->pattern };

    trace_list(put_point, &n);
    if (n.unseen && !n.seen)
        return err_set(e, -EOPNOTSUPP, "engine '%s' does not see what '%.60s' records",
                       cpu_engine_name(n.engine), rq->pattern);
    trace_enable(rq->pattern, rq->on);
    control_answer_json(cl, json_integer(n.seen));
    return 0;
}

static int trace_show(struct client *cl, const struct request *rq [[maybe_unused]],
                      struct err *e [[maybe_unused]])
{
    struct points all = { .engine = cl->c->vm->engine, .list = json_object() };

    trace_list(put_point, &all);
    control_answer_json(cl, all.list);
    return 0;
}

static int trace_print(struct client *cl, const struct request *rq [[maybe_unused]],
                       struct err *e [[maybe_unused]])
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    must(f);
    trace_dump(f, TRACE_RECORDS_MAX);
    fclose(f);
    control_answer_json(cl, json_stringn(text, len));
    free(text);
    return 0;
}

static int cmd_trace(struct client *cl, const struct request *rq, struct err *e)
{
    static const struct {
        const char *action;
        int (*fn)(struct client *cl, const struct request *rq, struct err *e);
    } actions[] = { { "list", trace_show }, { "set", trace_set }, { "dump", trace_print } };
    const char *action = rq->action ? rq->action : "list";

    for_each_row(a, actions)
        if (strcmp(a->action, action) == 0)
            return a->fn(cl, rq, e);
    return err_set(e, -EINVAL, "trace action '%s': allowed are 'list', 'set' and 'dump'", action);
}

static void profile_answer(struct vm *vm, const char *json, void *arg)
{
    AUTO(free) struct later *l = arg;
    struct client *cl = control_later_client(l);

    if (!cl)
        return;
    if (json)
        control_answer(cl, json);
    else
        control_answer_error(cl, "the machine ended");
    if (vm->state != RUN_ENDED)
        control_serve(cl);
}

static int cmd_profile(struct client *cl, const struct request *rq, struct err *e)
{
    struct later *l = control_later(cl, NULL);
    int r = profile_start(cl->c->vm->profile, rq->seconds ? rq->seconds : PROFILE_SECONDS,
                          profile_answer, l, e);

    if (r >= 0)
        return 0;
    free(l);
    return r;
}

static int cmd_nmi(struct client *cl, const struct request *rq [[maybe_unused]], struct err *e)
{
    int r = cpu_nmi(cpu_vcpu(cl->c->vm->cpu, 0));

    if (r < 0)
        return err_code(e, r, "NMI");
    control_answer(cl, "null");
    return 0;
}

/* clang-format off */
static const struct command {
    const char *name;
    int (*fn)(struct client *cl, const struct request *rq, struct err *e);
} commands[] = {
    { "status",  cmd_status },
    { "pause",   cmd_pause },
    { "resume",  cmd_resume },
    { "reset",   cmd_reset },
    { "power",   cmd_power },
    { "inspect", cmd_inspect },
    { "stats",   cmd_stats },
    { "jit",     cmd_jit },
    { "perf-map", cmd_perf_map },
    { "balloon", cmd_balloon },
    { "trace",   cmd_trace },
    { "profile", cmd_profile },
    { "nmi",     cmd_nmi },
    { "suspend", control_suspend },
    { "snapshot", control_snapshot },
    { "disks",   control_disks },
    { "merge",   control_merge },
    { "restore", control_restore },
    { "record-pages", control_record_pages },
};
/* clang-format on */

static int dispatch(struct client *cl, const struct request *rq, struct err *e)
{
    for_each_row(c, commands)
        if (strcmp(c->name, rq->cmd) == 0)
            return c->fn(cl, rq, e);
    return err_set(e, -EINVAL, "there is no command '%.40s'", rq->cmd);
}

static void on_line(struct client *cl, const char *line, size_t len)
{
    json_t *root = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    struct request rq = {};
    struct err e = {};
    int r;

    if (!json_is_object(root)) {
        control_answer_error(cl, "a request is one JSON object on one line");
        control_drop_files(cl);
        json_decref(root);
        return;
    }
    cl->id = json_incref(json_object_get(root, "id"));
    json_object_del(root, "id");
    r = conf_parse(request_fields, &rq, root, &e);
    if (r >= 0)
        r = dispatch(cl, &rq, &e);
    if (r < 0)
        control_answer_error(cl, e.text);
    control_drop_files(cl);
    conf_fini(request_fields, &rq);
    json_decref(root);
}

/* Looks at whole lines; stops while an answer is under way. */
void control_serve(struct client *cl)
{
    char *end;

    if (cl->serving)
        return;
    cl->serving = true;

    while (cl->fd >= 0 && !cl->waiting && (end = memchr(cl->in, '\n', cl->in_len))) {
        size_t len = (size_t)(end - cl->in);
        AUTO(free) char *line = xdup_mem(cl->in, len);

        cl->in_len -= len + 1;
        memmove(cl->in, end + 1, cl->in_len);
        on_line(cl, line, len);
    }
    cl->serving = false;
    if (cl->fd >= 0 && cl->in_len == sizeof(cl->in) && !cl->waiting) {
        control_answer_error(cl, "a line is too long");
        if (cl->fd >= 0)
            client_close(cl);
    }
}

/* Bytes, and files that come with them, for the next request; more than are of use to any are closed. */
static ssize_t receive(struct client *cl)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(FILES_MAX *
                             sizeof(int))]; /* what does not fit is closed by the kernel */
    } control;
    struct iovec iov = { cl->in + cl->in_len, sizeof(cl->in) - cl->in_len };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t n = recvmsg(cl->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
        return n;
    for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int fd;

        memcpy(&fd, CMSG_DATA(c) + at, sizeof(int));
        if (cl->n_files < FILES_MAX)
            cl->files[cl->n_files++] = fd;
        else
            close(fd);
    }
    return n;
}

static void on_client(struct loop_fd *f, int events)
{
    struct client *cl = f->arg;

    if (events & UV_WRITABLE)
        client_send(cl);
    if (cl->fd < 0 || !(events & UV_READABLE))
        return;
    if (cl->in_len < sizeof(cl->in)) {
        ssize_t n = receive(cl);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            client_close(cl);
            return;
        }
        cl->in_len += (size_t)n;
    } else {
        loop_fd_events(&cl->watch, 0); /* it sends more while it waits for an answer */
    }
    control_serve(cl);
}

static int client_add(struct control *c, int fd)
{
    for_each_row(slot, c->clients) {
        struct client *cl = *slot;
        int r;

        if (!cl) {
            cl = *slot = xnew(struct client);
            cl->fd = -1;
        }
        if (cl->fd >= 0)
            continue;
        cl->c = c;
        cl->serial = ++c->serials;
        r = loop_fd_open(&c->vm->loop, &cl->watch, fd, UV_READABLE, on_client, cl);
        if (r < 0)
            return r;
        cl->fd = fd;
        return 0;
    }
    return -EUSERS;
}

static void on_connect(struct loop_fd *f, int events [[maybe_unused]])
{
    struct control *c = f->arg;
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd >= 0 && client_add(c, fd) < 0)
        close(fd);
}

int control_listen(const char *path, int backlog, struct err *e)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;
    mode_t old;
    int r;

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(sa.sun_path, sizeof(sa.sun_path), path))
        return err_set(e, -ENAMETOOLONG, "socket '%s': longer than %zu bytes", path,
                       sizeof(sa.sun_path) - 1);
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return err_set(e, -EEXIST, "socket '%s': something else has that name", path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return err_set(e, -EADDRINUSE, "socket '%s': another machine listens there", path);
    unlink(path); /* what a dead machine left */
    old = umask(0177);
    r = bind(fd, (struct sockaddr *)&sa, sizeof(sa));
    umask(old);
    if (r < 0 || listen(fd, backlog) < 0)
        return err_errno(e, "socket '%s'", path);
    return TAKE_FD(fd);
}

int control_open(struct vm *vm, const char *path, struct control **ret, struct err *e)
{
    struct control *c = xnew(struct control);
    int r = 0;

    *c = (struct control){ .vm = vm, .fd = -1 };
    *ret = c;
    if (path) {
        c->fd = r = control_listen(path, CLIENTS_MAX, e);
        if (r >= 0)
            r = loop_fd_open(&vm->loop, &c->watch, c->fd, UV_READABLE, on_connect, c);
    }
    if (r >= 0 && vm->spec->control_fd)
        r = client_add(c, (int)vm->spec->control_fd);
    c->starter = r >= 0 && vm->spec->control_fd ? c->clients[0] : NULL;
    return r < 0 ? err_wrap(e, "control socket") : 0;
}

void control_close(struct control *c)
{
    if (!c)
        return;
    for_each_row(slot, c->clients)
        if (*slot) {
            client_close(*slot);
            free(*slot);
        }
    loop_fd_close(&c->watch);
    fd_close(&c->fd);
    free(c);
}
