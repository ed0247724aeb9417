/*
 * vm/state_rig.h: a whole small machine that runs in this process, its control socket's other end, and files for its state: for tests.
 * Its guest counts in a register and in memory for ever; when the two differ, it ends the machine with status 7.
 */
#pragma once

#include "vm/machine.h"
#include "vm/statefile.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RIG_COUNTER = 0x200000, RIG_NOTE = 0x210000, RIG_PAGES = 0x220000 };

/* Multiboot 0.6.96, 3.1: a header with addresses, loaded at 1 MiB.  Then 32-bit code. */
/* clang-format off */
static const u8 rig_payload[] = {
    0x02, 0xb0, 0xad, 0x1b, 0x00, 0x00, 0x01, 0x00, 0xfe, 0x4f, 0x51, 0xe4, /* magic, flags, checksum */
    0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, /* header at, load at, to the file's end */
    0x00, 0x00, 0x00, 0x00, 0x20, 0x00, 0x10, 0x00,                         /* no bss, entry */
    0x31, 0xed,                                                             /*    xor ebp, ebp */
    0xc7, 0x05, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,             /*    mov dword [RIG_COUNTER], 0 */
    0x45,                                                                   /* 1: inc ebp */
    0xff, 0x05, 0x00, 0x00, 0x20, 0x00,                                     /*    inc dword [RIG_COUNTER] */
    0x39, 0x2d, 0x00, 0x00, 0x20, 0x00,                                     /*    cmp [RIG_COUNTER], ebp */
    0x75, 0x02,                                                             /*    jne 2f */
    0xeb, 0xef,                                                             /*    jmp 1b */
    0xb8, 0x03, 0x00, 0x00, 0x00,                                           /* 2: mov eax, 3 */
    0xe7, 0xf4,                                                             /*    out 0xf4, eax */
    0xf4,                                                                   /*    hlt */
};
/* clang-format on */

struct state_rig {
    struct vm_spec spec;
    struct vm *vm;
    pthread_t thread;
    bool runs;
    int control; /* our end */
    struct vm_result result;
};

/* The text is JSON members, without braces: "\"memory\": …".  Not yet running. */
static inline int state_rig_new(struct state_rig *r, const char *members, struct err *e)
{
    int pair[2], res;
    char *text;

    *r = (struct state_rig){ .control = -1 };
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = 20 },
               sizeof(struct timeval));
    r->control = pair[0];
    text =
        str_new("{\"console\": {\"backend\": \"none\"}, \"control_fd\": %d, %s}", pair[1], members);
    res = spec_parse(&r->spec, text, strlen(text), e);
    free(text);
    if (res >= 0)
        res = vm_new(&r->spec, &r->vm, e);
    if (res < 0)
        close(pair[1]); /* else the machine's */
    return res;
}

static inline void *state_rig_main(void *arg)
{
    struct state_rig *r = arg;
    struct err e = {};

    if (vm_run(r->vm, &r->result, &e) < 0)
        log_error("%s", e.text);
    if (r->result.end != VM_END_POWEROFF && r->result.end != VM_END_SUSPENDED)
        log_error("the machine ended (%d) with %u: %s", r->result.end, r->result.status,
                  r->result.why);
    shutdown(r->control, SHUT_RDWR); /* whoever waits for an answer gets none */
    return NULL;
}

static inline void state_rig_run(struct state_rig *r)
{
    must(pthread_create(&r->thread, NULL, state_rig_main, r) == 0);
    r->runs = true;
}

/* Sends a line with files. */
static inline void state_rig_send_files(struct state_rig *r, const char *line, const int *files,
                                        u32 n)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(8 * sizeof(int))];
    } c = { .head = { .cmsg_len = CMSG_LEN(n * sizeof(int)),
                      .cmsg_level = SOL_SOCKET,
                      .cmsg_type = SCM_RIGHTS } };
    char *text = str_new("%s\n", line);
    struct iovec iov = { text, strlen(text) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    must(n <= 8);
    if (n) {
        memcpy(CMSG_DATA(&c.head), files, n * sizeof(int));
        m.msg_control = &c;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    must(sendmsg(r->control, &m, MSG_NOSIGNAL) == (ssize_t)iov.iov_len);
    free(text);
}

/* The same with one file (-1: none). */
static inline void state_rig_send(struct state_rig *r, const char *line, int file)
{
    state_rig_send_files(r, line, &file, file >= 0);
}

/* The next line of an answer, without its end; "" when the machine hangs up. */
static inline void state_rig_answer(struct state_rig *r, char *line, size_t size)
{
    size_t n = 0;

    for (ssize_t got; n + 1 < size; n += got == 1) {
        got = recv(r->control, line + n, 1, 0);
        if (got == 0 || (got < 0 && errno != EINTR) || (got == 1 && line[n] == '\n'))
            break;
    }
    line[n] = 0;
}

/* The machine ends by itself, or by being switched off. */
static inline enum vm_end state_rig_join(struct state_rig *r)
{
    pthread_join(r->thread, NULL);
    r->runs = false;
    return r->result.end;
}

static inline void state_rig_free(struct state_rig *r)
{
    if (r->runs) {
        state_rig_send(r, "{\"cmd\": \"power\", \"action\": \"off\"}", -1);
        state_rig_join(r);
    }
    vm_free(r->vm);
    spec_fini(&r->spec);
    fd_close(&r->control);
    *r = (struct state_rig){ .control = -1 };
}

static inline u32 state_rig_counter(const struct state_rig *r)
{
    u32 v = 0;

    must(mem_read(r->vm->mem, RIG_COUNTER, &v, sizeof(v)) == 0);
    return v;
}
