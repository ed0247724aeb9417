/*
 * vm/gdb.c: the debugger's socket, and when the guest stops and goes on for it.
 *   (1) Packets are done in state STOPPED only; what comes earlier waits in `in`.
 *   (2) Whoever else pauses the machine does not stop it for gdb: the guest runs when neither holds it.
 *   (3) The client is hostile: it can do anything to its guest, and nothing to us.
 */
#include "base/clock.h"
#include "vm/gdb_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNSENT_MAX = 8 * 1024 * 1024 };

static void serve(struct gdb *g);

/* The client is gone; what it set is taken back by gdb_detach. */
static void client_close(struct gdb *g)
{
    loop_fd_close(&g->watch);
    fd_close(&g->fd);
    strbuf_fini(&g->out);
    strbuf_fini(&g->last);
    g->out_sent = g->in_len = g->in_at = 0;
    g->reader.at = GDB_OUTSIDE;
    g->no_ack = g->phys = g->owes_stop = g->says_swbreak = g->says_hwbreak = false;
}

static void client_lost(struct gdb *g)
{
    client_close(g);
    gdb_detach(g);
}

static void flush(struct gdb *g)
{
    while (g->out_sent < g->out.len) {
        ssize_t n = send(g->fd, g->out.text + g->out_sent, g->out.len - g->out_sent,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            loop_fd_events(&g->watch, UV_READABLE | UV_WRITABLE);
            return;
        }
        if (n < 0)
            return; /* reading tells, too, and closes */
        g->out_sent += (size_t)n;
    }
    g->out.len = g->out_sent = 0;
    loop_fd_events(&g->watch, UV_READABLE);
}

void gdb_send(struct gdb *g, const void *data, size_t len)
{
    if (g->fd < 0)
        return;
    g->last.len = 0;
    gdb_packet_add(&g->last, data, len);
    if (g->out.len - g->out_sent < UNSENT_MAX)
        strbuf_add_mem(&g->out, g->last.text, g->last.len);
    flush(g);
}

/* All vCPUs are parked. */
static void on_stopped(struct vm *vm, void *arg)
{
    struct gdb *g = arg;

    if (vm->state == RUN_ENDED)
        return;
    gdb_points_clear(g);
    g->regs_of = -1;
    if (g->fd < 0 || g->state != GDB_STOPPING) { /* it left while we were about to stop */
        g->state = GDB_IDLE;
        run_debug_go(vm, 0);
        return;
    }
    g->state = GDB_STOPPED;
    g->cpu = g->stop_cpu;
    if (g->owes_stop) {
        g->owes_stop = false;
        gdb_tell_stop(g);
    }
    serve(g);
    if (g->fd >= 0)
        flush(g); /* on_client may have stopped reading */
}

static void stop(struct gdb *g, u32 signal, u32 cpu, bool hit)
{
    g->signal = signal;
    g->stop_cpu = cpu;
    g->stop_is_hit = hit;
    g->state = GDB_STOPPING;
    if (g->vm->state == RUN_ENDED)
        return; /* gdb_close tells how */
    if (run_debug_stop(g->vm, on_stopped, g) < 0)
        log_warn("debugger: the machine is %s", run_state_name(g->vm->state));
}

void gdb_hit(struct gdb *g, u64 hits)
{
    if (g->state == GDB_RUNNING)
        stop(g, GDB_SIGTRAP, (u32)__builtin_ctzll(hits), true);
    else if (g->state == GDB_IDLE)
        run_debug_stop(g->vm, on_stopped, g); /* it holds for nobody: let it go on */
}

bool gdb_crash(struct gdb *g, u32 cpu)
{
    if (!g || g->state != GDB_RUNNING || g->fd < 0)
        return false;
    stop(g, GDB_SIGABRT, cpu, false);
    return true;
}

/* One vCPU alone is to step, and it waits to be started by another: it would never come back. */
static bool step_is_idle(struct gdb *g, u64 frozen, u64 steps)
{
    const struct vcpu_state *s;
    u32 cpu = (u32)__builtin_ctzll(steps | 1ull << 63);

    if (!is_pow2(steps) || (frozen | steps) != cpu_mask(g->vm->cpu))
        return false;
    g->cpu = cpu;
    s = gdb_regs(g);
    if (!s || (s->run_state != VCPU_WAIT_SIPI && s->run_state != VCPU_INIT_RECEIVED))
        return false;
    g->signal = GDB_SIGTRAP;
    g->stop_cpu = cpu;
    g->stop_is_hit = false;
    return true;
}

void gdb_go(struct gdb *g, u64 frozen, u64 steps)
{
    struct err e = {};

    if (step_is_idle(g, frozen, steps)) {
        gdb_tell_stop(g);
        return;
    }
    if (gdb_points_apply(g, steps, &e) < 0) {
        log_warn("debugger: %s", e.text);
        gdb_points_clear(g);
        gdb_send(g, "E16", 3);
        return;
    }
    g->owes_stop = true;
    g->state = GDB_RUNNING;
    run_debug_go(g->vm, frozen);
}

void gdb_detach(struct gdb *g)
{
    g->n_points = 0;
    g->debug = (struct cpu_debug){};
    if (g->state == GDB_STOPPED) {
        g->state = GDB_IDLE;
        run_debug_go(g->vm, 0);
    } else if (g->state == GDB_RUNNING && g->vm->state != RUN_ENDED) {
        stop(g, GDB_SIGINT, 0, false); /* the vCPUs still have the points */
    }
}

static void on_packet(struct gdb *g)
{
    if (!g->no_ack)
        strbuf_add_mem(&g->out, "+", 1);
    gdb_command(g, g->reader.data, g->reader.len);
    if (g->fd >= 0)
        flush(g);
}

static void on_token(struct gdb *g, enum gdb_token token)
{
    switch (token) {
    case GDB_PACKET:
        if (g->state == GDB_STOPPED)
            on_packet(g);
        return;
    case GDB_BREAK:
        if (g->state == GDB_RUNNING)
            stop(g, GDB_SIGINT, 0, false);
        return;
    case GDB_NAK:
        if (g->last.len && g->out.len - g->out_sent < UNSENT_MAX)
            strbuf_add_mem(&g->out, g->last.text, g->last.len);
        flush(g);
        return;
    case GDB_GARBLED:
        if (!g->no_ack)
            strbuf_add_mem(&g->out, "-", 1);
        flush(g);
        return;
    case GDB_TOO_LONG:
        log_warn("debugger: a packet of more than %d bytes; the connection is closed",
                 GDB_PACKET_MAX);
        client_lost(g);
        return;
    case GDB_ACK:
    case GDB_NOTHING:
        return;
    }
}

/* Does what was received, as far as the state allows. */
static void serve(struct gdb *g)
{
    while (g->fd >= 0 && g->state != GDB_STOPPING && g->in_at < g->in_len)
        on_token(g, gdb_packet_feed(&g->reader, (u8)g->in[g->in_at++]));
    if (g->in_at == g->in_len)
        g->in_at = g->in_len = 0;
}

static void on_client(struct loop_fd *f, int events)
{
    struct gdb *g = f->arg;
    ssize_t n;

    if (events & UV_WRITABLE)
        flush(g);
    if (!(events & UV_READABLE))
        return;
    if (g->in_len == sizeof(g->in)) { /* it sends more while it waits */
        loop_fd_events(&g->watch, 0);
        return;
    }
    n = recv(g->fd, g->in + g->in_len, sizeof(g->in) - g->in_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        log_info("debugger: the client left");
        client_lost(g);
        return;
    }
    g->in_len += (size_t)n;
    serve(g);
}

int gdb_attach(struct gdb *g, int fd)
{
    int r;

    if (g->fd >= 0 || g->state != GDB_IDLE || g->vm->state == RUN_ENDED)
        return -EBUSY;
    r = loop_fd_open(&g->vm->loop, &g->watch, fd, UV_READABLE, on_client, g);
    if (r < 0)
        return r;
    g->fd = fd;
    g->cpu_go = -1;
    log_info("debugger: a client; the guest stops for it");
    stop(g, GDB_SIGTRAP, 0, false);
    return 0;
}

static void on_connect(struct loop_fd *f, int events [[maybe_unused]])
{
    struct gdb *g = f->arg;
    int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* fails on a unix socket */
    if (gdb_attach(g, fd) < 0)
        close(fd);
}

static int listen_tcp(const char *port, struct err *e)
{
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int one = 1;
    u64 number;

    if (str_u64(port, &number) < 0 || number < 1 || number > UINT16_MAX)
        return err_set(e, -EINVAL, "port '%.20s': allowed are 1 to 65535", port);
    at.sin_port = htons((u16)number);
    if (fd < 0)
        return err_errno(e, "make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
        return err_errno(e, "listen at 127.0.0.1:%llu", number);
    return TAKE_FD(fd);
}

int gdb_open(struct vm *vm, const char *where, struct gdb **ret, struct err *e)
{
    struct gdb *g = xnew(struct gdb);
    int r = 0;

    *ret = g;
    *g = (struct gdb){ .vm = vm, .listener = -1, .fd = -1, .regs_of = -1, .cpu_go = -1 };
    g->regs = xnew(struct vcpu_state);
    if (!where)
        return 0;
    g->listener = r = str_starts(where, "tcp:") ? listen_tcp(where + 4, e)
                                                : control_listen(where + strlen("unix:"), 1, e);
    if (r >= 0)
        r = loop_fd_open(&vm->loop, &g->listen_watch, g->listener, UV_READABLE, on_connect, g);
    return r < 0 ? err_wrap(e, "debugger's socket") : 0;
}

void gdb_close(struct gdb *g)
{
    char text[8];

    if (!g)
        return;
    if (g->fd >= 0 && g->owes_stop && g->vm->state == RUN_ENDED) {
        bool crash = g->vm->result.end == VM_END_CRASH;
        str_fmt(text, sizeof(text), "%c%02x", crash ? 'X' : 'W',
                crash ? GDB_SIGABRT : g->vm->result.status & 0xff);
        gdb_send(g, text, strlen(text));
    }
    client_close(g);
    loop_fd_close(&g->listen_watch);
    fd_close(&g->listener);
    free(g->regs);
    free(g);
}
