/*
 * dev/virtio/vsock_internal.h: what the two halves of the virtio socket device share: vsock.c, the device and its queues;
 * vsock_conn.c, the connections.
 *   (1) Connections, their fds and buffers belong to the I/O thread.
 *   (2) The guest is owed packets: a reset for each entry of `resets`, and what the bits in a connection's `owe` say.  They are sent
 *       as it gives receive buffers; no more of its packets are taken while VSOCK_RESETS_MANY resets wait.
 *   (3) No memory is allocated for a guest: VSOCK_CONNS_MAX connections, each with VSOCK_BUF bytes that the guest may send ahead.
 */
#pragma once

#include "base/loop.h"
#include "dev/virtio/vdev.h"
#include "dev/virtio/vsock.h"

enum { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

enum {
    VSOCK_CID_HOST = 2,
    VSOCK_CID_MIN = 3,
    VSOCK_CONNS_MAX = 1024,
    VSOCK_BUCKETS = 1024,    /* a power of two */
    VSOCK_BUF = 64 * 1024,   /* bytes of a connection that wait for the host's program */
    VSOCK_RESETS_MANY = 128, /* resets that wait before the guest is not listened to */
    VSOCK_RESETS_MAX = VSOCK_RESETS_MANY + VSOCK_CONNS_MAX, /* each connection can end */
    VSOCK_LINE_MAX = 32,                                    /* "CONNECT 4294967295\n" */
    VSOCK_BUDGET = 64,                                      /* packets of one turn */
};

/* Section 5.10.6 */
struct vsock_hdr {
    le64 src_cid, dst_cid;
    le32 src_port, dst_port, len;
    le16 type, op;
    le32 flags, buf_alloc, fwd_cnt;
};
static_assert(sizeof(struct vsock_hdr) == 44);

enum { VSOCK_STREAM = 1 };
enum vsock_op {
    VSOCK_OP_REQUEST = 1,
    VSOCK_OP_RESPONSE,
    VSOCK_OP_RST,
    VSOCK_OP_SHUTDOWN,
    VSOCK_OP_RW,
    VSOCK_OP_CREDIT_UPDATE,
    VSOCK_OP_CREDIT_REQUEST,
};
enum { VSOCK_SHUT_RECV = 1, VSOCK_SHUT_SEND = 2, VSOCK_SHUT_BOTH = 3 };

/*
 *   free ─host connects─> greeting ─"CONNECT P"─> asked ─RESPONSE─> open
 *   free ─REQUEST─> dialling ─connected─> open ─SHUTDOWN of both, data left─> closing
 *   any ─RST, error, all done─> free
 */
enum vsock_conn_state {
    CONN_FREE,
    CONN_GREETING, /* a program of the host is saying where to */
    CONN_ASKED,    /* the guest was asked (or will be: OWE_REQUEST) */
    CONN_DIALLING, /* the host's socket is being connected to */
    CONN_OPEN,
    CONN_CLOSING, /* the guest is done; what it sent is on its way to the program */
};

/* In the order in which they are sent. */
enum {
    OWE_REQUEST = 1 << 0,
    OWE_RESPONSE = 1 << 1,
    OWE_CREDIT_UPDATE = 1 << 2,
    OWE_CREDIT_REQUEST = 1 << 3,
    OWE_SHUTDOWN = 1 << 4, /* the host's program will send no more */
};

struct vsock_conn {
    enum vsock_conn_state state;
    u32 life;   /* counts the connections that this slot had */
    u16 next;   /* in its bucket or the free list: index + 1 */
    bool owing; /* is in the list of those that owe */
    u16 next_owing;
    u8 owe;
    bool host_eof; /* the program sends no more */
    bool buffered; /* its buffer was touched */
    u8 guest_shut; /* VSOCK_SHUT_x that the guest said */
    u32 host_port, guest_port;
    int fd;
    struct loop_fd watch;
    u32 sent, peer_alloc,
        peer_fwd;      /* to the guest: bytes, its room, how many of them it has used up */
    u32 fwd, told_fwd; /* from the guest: bytes that the program got, that we said so of */
    u32 buf_at, buf_len;
    u8 line_len;
    char line[VSOCK_LINE_MAX];
};

#define VSOCK_STATE(F, S) F(S, VAL, u32, live, "connections that the guest takes part in")
STATE_STRUCT(vsock_state, VSOCK_STATE);

#define VSOCK_STATS(X) X(rx_packets) X(rx_bytes) X(tx_packets) X(tx_bytes) X(opened) X(refused)
#define X(name)        STAT_##name,
enum vsock_stat { VSOCK_STATS(X) STATS };
#undef X

struct vsock {
    struct vdev v;
    struct vsock_state st; /* of the I/O thread while active, else guarded by dev.lock */
    struct loop loop;      /* the one I/O thread */
    int listener;          /* at PATH; host fd, -1 */
    int dial;              /* net/dial.h; host fd, -1 */
    struct loop_fd kicks[VSOCK_QUEUES], listen_watch, dial_watch;
    atomic_ullong stats[STATS]; /* written by the I/O thread only */

    /* I/O thread, from here on: all of it is rebuilt or dropped by activate and reset. */
    bool active;           /* host: between activate and deactivate */
    bool broken;           /* host, rebuilt by activate: the guest is at fault, nothing is served */
    bool starved;          /* rebuilt: no receive buffers; a kick will come */
    bool tx_held;          /* rebuilt: too many resets wait */
    bool reset_owed;       /* rebuilt: the guest must hear that its connections are gone */
    u64 cid;               /* derived from the configuration */
    u32 next_port;         /* host: of the next program that connects */
    u32 n_live;            /* counter of connections that are neither free nor greeting */
    u32 n_used;            /* counter of those that are not free */
    u32 n_fresh;           /* host: slots from here on were never used */
    u16 free;              /* host: first of the free list: index + 1 */
    u16 owing, *owing_end; /* list of those that owe: index + 1 */
    u16 buckets[VSOCK_BUCKETS];
    struct {
        u32 host_port, guest_port;
    } resets[VSOCK_RESETS_MAX];
    u32 first_reset, n_resets; /* host */
    struct chain chain;        /* scratch */
    struct vsock_conn *conns;
    u8 *bufs; /* VSOCK_BUF for each connection, untouched ones cost nothing */
};

static inline void vsock_count(struct vsock *s, enum vsock_stat i, u64 by)
{
    u64 v = atomic_load_explicit(&s->stats[i], memory_order_relaxed);

    atomic_store_explicit(&s->stats[i], v + by, memory_order_relaxed);
}

/* All on the I/O thread. */

/* vsock.c */
void vsock_fail(struct vsock *s, const char *why);
/* Pops a receive buffer with room behind the header into s->chain.  False: there is none now. */
bool vsock_buffer(struct vsock *s);
/* Gives s->chain back with a packet of `c` whose `len` bytes of data were written behind the header already. */
void vsock_send(struct vsock *s, struct vsock_conn *c, enum vsock_op op, u32 flags, u32 len);
/* Sends what the guest is owed, as far as it has buffers. */
void vsock_pump(struct vsock *s);

/* vsock_conn.c */
/* The packet `h`, of which s->chain's out part from its 44th byte on holds the data. */
void vsock_packet(struct vsock *s, const struct vsock_hdr *h);
/* Sends one packet that `c` owes.  False: no buffer. */
bool vsock_pay(struct vsock *s, struct vsock_conn *c);
/* Events of fds. */
void vsock_on_listener(struct loop_fd *f, int events);
void vsock_on_dial(struct loop_fd *f, int events);
/* Watches what each fd is to be watched for now. */
void vsock_watch_all(struct vsock *s);
/* Ends all connections without a word. */
void vsock_drop_all(struct vsock *s);
