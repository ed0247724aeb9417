/*
 * net/net_test.c: backends of network cards: sockets, a tap where one may be made, the user-mode network, and connections for a
 * jailed process.
 */
#include "net/dial.h"
#include "net/pair.h"
#include "net/patch.h"
#include "net/tap.h"
#include "net/user.h"
#include "net/within.h"
#include "testlib/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static u32 n_readable;

static void count_readable(void *, u16)
{
    n_readable++;
}

static const struct net_sink counting = { .readable = count_readable };

static void turn(struct loop *l)
{
    uv_run(&l->uv, UV_RUN_NOWAIT);
}

/* ---- sockets and taps ---- */

TEST(socket_carries_frames)
{
    struct net_backend *b;
    struct loop l;
    struct err e = {};
    u8 frame[NET_HDR + 60] = { [NET_HDR] = 0xaa, [NET_HDR + 59] = 0x55 }, got[200];
    struct iovec parts[] = { { frame, 20 }, { frame + 20, sizeof(frame) - 20 } };
    struct iovec room[] = { { got, 7 }, { got + 7, sizeof(got) - 7 } };
    int pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
    CHECK_OK(tap_given(pair[0], &b, &e), &e);
    CHECK_EQ(b->pairs, 1);
    CHECK_EQ(b->offloads, 0);
    CHECK_EQ(loop_init(&l, "test"), 0);
    CHECK_EQ(net_start(b, &l, &counting), 0);
    CHECK_EQ(net_offloads(b, 0), 0);
    CHECK_EQ(net_offloads(b, NET_CSUM), -ENOTSUP);
    CHECK_EQ(net_recv(b, 0, room, 2), -EAGAIN);

    CHECK_EQ(net_send(b, 0, parts, 2), sizeof(frame));
    CHECK_EQ(read(pair[1], got, sizeof(got)), sizeof(frame));
    CHECK_MEM(got, frame, sizeof(frame));

    CHECK_EQ(write(pair[1], frame, sizeof(frame)), sizeof(frame));
    n_readable = 0;
    turn(&l);
    CHECK_EQ(n_readable, 0); /* nobody watches */
    net_watch(b, 0, true);
    turn(&l);
    CHECK_EQ(n_readable, 1);
    memset(got, 0, sizeof(got));
    CHECK_EQ(net_recv(b, 0, room, 2), sizeof(frame));
    CHECK_MEM(got, frame, sizeof(frame));

    close(pair[1]); /* readable for ever: must be unwatched */
    turn(&l);
    CHECK_EQ(net_recv(b, 0, room, 2), -EAGAIN);
    n_readable = 0;
    turn(&l);
    net_watch(b, 0, true);
    turn(&l);
    CHECK_EQ(n_readable, 0);
    CHECK(net_send(b, 0, parts, 2) < 0);
    net_stop(b);
    loop_fini(&l);
    net_free(b);
}

TEST(given_fd_must_be_right)
{
    struct net_backend *b = NULL;
    struct err e = {};
    int pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_EQ(tap_given(pair[0], &b, &e), -EINVAL);
    CHECK_HAS(e.text, "packet borders");
    e = (struct err){};
    CHECK_EQ(tap_given(999, &b, &e), -EBADF);
    CHECK(!b);
    close(pair[0]);
    close(pair[1]);
}

TEST(tap_names_are_checked)
{
    struct net_backend *b = NULL;
    struct err e = {};

    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        test_skip("no /dev/net/tun");
    CHECK_EQ(tap_open("a-name-that-is-too-long", 1, &b, &e), -EINVAL);
    CHECK_HAS(e.text, "at most 15");
    e = (struct err){};
    CHECK(tap_open("lo", 1, &b, &e) < 0);
    CHECK_HAS(e.text, "tap 'lo'");
    CHECK(!b);
}

TEST(tap_opens_several_queues)
{
    struct net_backend *b = NULL;
    struct err e = {};
    struct loop l;
    int r;

    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        test_skip("no /dev/net/tun");
    r = tap_open("socletest%d", 4, &b, &e);
    if (r == -EPERM || r == -EOPNOTSUPP)
        test_skip("no right to make a tap interface");
    CHECK_OK(r, &e);
    CHECK_EQ(b->pairs, 4);
    CHECK(b->offloads & NET_TSO4);
    CHECK_EQ(loop_init(&l, "test"), 0);
    CHECK_EQ(net_start(b, &l, &counting), 0);
    CHECK_EQ(net_offloads(b, NET_CSUM | NET_TSO4), 0);
    CHECK_EQ(net_use_pairs(b, 3), 0);
    CHECK_EQ(net_use_pairs(b, 1), 0);
    net_stop(b);
    loop_fini(&l);
    net_free(b);
}

/* ---- user network ---- */

TEST(forward_rules)
{
    /* clang-format off */
    static const struct {
        const char *why, *rule;
        int r;
        bool udp;
        const char *host;
        u16 host_port, guest_port;
    } rows[] = {
        { "short form",      "tcp:2222:22",            0,       false, "127.0.0.1", 2222,  22 },
        { "with an address", "udp:0.0.0.0:53:5353",    0,       true,  "0.0.0.0",   53,    5353 },
        { "highest port",    "tcp:65535:65535",        0,       false, "127.0.0.1", 65535, 65535 },
        { "no protocol",     "2222:22",                -EINVAL, 0, "", 0, 0 },
        { "other protocol",  "icmp:1:1",               -EINVAL, 0, "", 0, 0 },
        { "port 0",          "tcp:0:22",               -EINVAL, 0, "", 0, 0 },
        { "port too high",   "tcp:65536:22",           -EINVAL, 0, "", 0, 0 },
        { "one port",        "tcp:22",                 -EINVAL, 0, "", 0, 0 },
        { "empty port",      "tcp::22",                -EINVAL, 0, "", 0, 0 },
        { "bad address",     "tcp:1.2.3:22:22",        -EINVAL, 0, "", 0, 0 },
        { "too many parts",  "tcp:1.2.3.4:5:22:22",    -EINVAL, 0, "", 0, 0 },
        { "nothing",         "",                       -EINVAL, 0, "", 0, 0 },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct user_forward f = {};
        struct err e = {};

        ROW(row);
        CHECK_EQ(user_forward_parse(row->rule, &f, &e), row->r);
        if (row->r < 0)
            continue;
        CHECK_EQ(f.udp, row->udp);
        CHECK_EQ(f.host.s_addr, inet_addr(row->host));
        CHECK_EQ(f.host_port, row->host_port);
        CHECK_EQ(f.guest_port, row->guest_port);
    }
    test_row(NULL);
}

enum { DHCP_LEN = 14 + 20 + 8 + 240 + 8, DHCP_OPTIONS = 14 + 20 + 8 + 240 };

/* An Ethernet frame with a DHCPDISCOVER (RFC 2131); the IP header's checksum is computed here, UDP's is 0: none. */
static void make_discover(u8 *f)
{
    static const u8 ip[] = {
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255
    };
    static const u8 options[] = { 53, 1, 1, 255 }; /* message type: discover; end */
    u16 ip_len = htons(DHCP_LEN - 14), udp_len = htons(DHCP_LEN - 34), sum16;
    u32 sum = 0;

    memset(f, 0, DHCP_LEN);
    memset(f, 0xff, 6);
    memcpy(f + 6, (u8[]){ 0x52, 0x54, 0, 1, 2, 3 }, 6);
    f[12] = 8; /* IPv4 */
    memcpy(f + 14, ip, sizeof(ip));
    memcpy(f + 16, &ip_len, 2);
    for (u32 i = 0; i < 20; i += 2)
        sum += (u32)f[14 + i] << 8 | f[15 + i];
    sum16 = htons((u16) ~((sum & 0xffff) + (sum >> 16)));
    memcpy(f + 24, &sum16, 2);
    f[35] = 68;
    f[37] = 67;
    memcpy(f + 38, &udp_len, 2);
    f[42] = f[43] = 1; /* request, Ethernet */
    f[44] = 6;
    memcpy(f + 46, (u8[]){ 1, 2, 3, 4 }, 4); /* transaction */
    memcpy(f + 42 + 28, f + 6, 6);
    memcpy(f + 42 + 236, (u8[]){ 99, 130, 83, 99 }, 4); /* cookie */
    memcpy(f + DHCP_OPTIONS, options, sizeof(options));
}

TEST(user_network_offers_an_address)
{
    u8 frame[NET_HDR + DHCP_LEN] = {}, got[2048];
    struct iovec out = { frame, sizeof(frame) };
    struct iovec in[] = { { got, NET_HDR }, { got + NET_HDR, sizeof(got) - NET_HDR } };
    struct net_backend *b;
    struct loop l;
    struct err e = {};
    ssize_t r = 0;

    CHECK_OK(user_open(&(struct user_cfg){}, &b, &e), &e);
    CHECK_EQ(loop_init(&l, "test"), 0);
    CHECK_EQ(net_start(b, &l, &counting), 0);
    net_watch(b, 0, true);
    make_discover(frame + NET_HDR);
    n_readable = 0;
    memset(got, 0xee, sizeof(got));
    CHECK_EQ(net_send(b, 0, &out, 1), sizeof(frame));
    turn(&l);
    CHECK(n_readable > 0);
    r = net_recv(b, 0, in, 2);
    CHECK(r > NET_HDR + DHCP_OPTIONS);
    CHECK_MEM(got, "\0\0\0\0\0\0\0\0\0\0\xee\xee",
              NET_HDR);             /* the number of buffers is the card's */
    CHECK_EQ(got[NET_HDR + 42], 2); /* reply */
    CHECK_MEM(got + NET_HDR + 42 + 4, "\1\2\3\4", 4);
    CHECK_MEM(got + NET_HDR + 42 + 16, "\x0a\0\2\x0f", 4);  /* 10.0.2.15 */
    CHECK_MEM(got + NET_HDR + DHCP_OPTIONS, "\x35\1\2", 3); /* offer */
    CHECK_EQ(net_recv(b, 0, in, 2), -EAGAIN);
    for (u32 i = 0; i < 4; i++)
        turn(&l);
    CHECK(uv_backend_timeout(&l.uv) != 0); /* nothing to do: the loop sleeps */
    net_stop(b);
    loop_fini(&l);
    net_free(b);
}

/* A guest that sends and never reads fills the queue and no more. */
TEST(user_network_drops_what_is_too_much)
{
    u8 frame[NET_HDR + DHCP_LEN] = {}, got[2048];
    struct iovec out = { frame, sizeof(frame) }, in = { got, sizeof(got) };
    struct net_backend *b;
    struct err e = {};
    u32 n = 0;

    CHECK_OK(user_open(&(struct user_cfg){}, &b, &e), &e);
    make_discover(frame + NET_HDR);
    for (u32 i = 0; i < 300; i++)
        net_send(b, 0, &out, 1);
    while (net_recv(b, 0, &in, 1) > 0)
        n++;
    CHECK(n > 0 && n < 300);
    CHECK_EQ(n + atomic_load(&b->dropped), 300);
    net_send(b, 0, &out, 1);
    CHECK(net_recv(b, 0, &in, 1) > 0); /* goes on */
    net_free(b);
}

TEST(user_network_takes_any_frame)
{
    static u8 big[NET_HDR + 65536 + 1];
    u64 seed = 1;
    struct net_backend *b;
    struct err e = {};

    CHECK_OK(user_open(&(struct user_cfg){ .isolated = true }, &b, &e), &e);
    for (u32 len = 0; len < 100; len++) {
        struct iovec out = { big, len };

        for (u32 i = 0; i < len; i++)
            big[i] = (u8)test_rand(&seed);
        CHECK_EQ(net_send(b, 0, &out, 1), len < NET_HDR ? -EMSGSIZE : (int)len);
    }
    CHECK_EQ(net_send(b, 0, &(struct iovec){ big, sizeof(big) - 1 }, 1), sizeof(big) - 1);
    CHECK_EQ(net_send(b, 0, &(struct iovec){ big, sizeof(big) }, 1), -EMSGSIZE);
    net_free(b);
}

/* ---- cables and namespaces ---- */

TEST(patch_carries_frames_both_ways)
{
    struct patch *p = xnew(struct patch);
    u8 frame[NET_HDR + 60] = { [NET_HDR] = 0xaa, [NET_HDR + 59] = 0x55 }, got[200];
    int near[2], far[2];
    struct net_backend *a, *b;
    struct err e = {};
    struct loop l;

    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, near), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, far), 0);
    CHECK_OK(tap_given(near[0], &a, &e), &e);
    CHECK_OK(tap_given(far[0], &b, &e), &e);
    CHECK_EQ(loop_init(&l, "test"), 0);
    CHECK_EQ(patch_plug(p, &l, a, b), 0);
    for (u32 way = 0; way < 2; way++) {
        const int from = way ? far[1] : near[1], to = way ? near[1] : far[1];

        CHECK_EQ(write(from, frame, sizeof(frame)), sizeof(frame));
        CHECK_EQ(write(from, frame, NET_HDR), NET_HDR); /* a header alone is no frame */
        turn(&l);
        CHECK_EQ(recv(to, got, sizeof(got), MSG_DONTWAIT), sizeof(frame));
        CHECK_MEM(got, frame, sizeof(frame));
        CHECK(recv(to, got, sizeof(got), MSG_DONTWAIT) < 0);
    }
    patch_unplug(p);
    loop_fini(&l);
    net_free(a);
    net_free(b);
    close(near[1]);
    close(far[1]);
    free(p);
}

static int fail_there(void *arg, struct err *e)
{
    return err_set(e, *(int *)arg, "there");
}

/* A namespace of a child, in which there is nothing: what is done there is not done here. */
TEST(within_another_namespace)
{
    static const u8 mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
    struct pair_place p = { .name = "eth0" };
    struct links l = {};
    struct link k;
    struct err e = {};
    int fds[2], want = -ENOTTY, fd = -1, r;
    char path[64], byte;
    pid_t pid;

    CHECK_EQ(pipe(fds), 0);
    pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNET) == 0 && write(fds[1], "x", 1) == 1)
            pause();
        _exit(0);
    }
    close(fds[1]);
    r = (int)read(fds[0], &byte, 1);
    close(fds[0]);
    if (r != 1)
        test_skip("no right to make a network namespace");
    str_fmt(path, sizeof(path), "/proc/%d/ns/net", pid);
    p.ns = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(within(p.ns, fail_there, &want, &e), -ENOTTY);
    CHECK_HAS(e.text, "there");
    CHECK_OK(pair_loopback(p.ns, &e), &e);
    CHECK_EQ(cidr_parse("10.0.2.15/24", &p.address), 0);
    CHECK_EQ(cidr_parse("10.0.2.2", &p.gateway), 0);
    if (access("/dev/net/tun", R_OK | W_OK) == 0) {
        struct net_backend *b;

        CHECK_OK(pair_tap(&p, mac, &fd, &e), &e);
        CHECK_OK(tap_given(fd, &b, &e), &e);
        CHECK_OK(links_open(&l, &e), &e);
        CHECK(!links_find(&l, "eth0", &k) || memcmp(k.mac, mac, sizeof(mac)) != 0);
        links_close(&l);
        net_free(b);
    }
    close(p.ns);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* ---- dialling ---- */

static int listen_at(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    CHECK(str_copy(sa.sun_path, sizeof(sa.sun_path), path));
    CHECK_EQ(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    CHECK_EQ(listen(fd, 1), 0);
    return fd;
}

static void wait_answer(int fd, u64 *ret_cookie, int *ret_fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    CHECK_EQ(poll(&p, 1, 10000), 1);
    CHECK_EQ(dial_answer(fd, ret_cookie, ret_fd), 1);
}

TEST(dials_what_it_is_asked_for)
{
    char prefix[100], path[120], byte = 0;
    struct err e = {};
    u64 cookie = 0;
    int dial, listener, got, peer;

    str_fmt(prefix, sizeof(prefix), "%s/sock", test_dir());
    str_fmt(path, sizeof(path), "%s_4294967295", prefix);
    listener = listen_at(path);
    dial = dial_open(prefix, &e);
    CHECK_OK(dial, &e);
    CHECK_EQ(dial_answer(dial, &cookie, &got), 0);

    CHECK_EQ(dial_ask(dial, 0x1122334455667788, UINT32_MAX), 0);
    wait_answer(dial, &cookie, &got);
    CHECK_EQ(cookie, 0x1122334455667788);
    CHECK(got >= 0);
    peer = accept(listener, NULL, NULL);
    CHECK_EQ(write(got, "x", 1), 1);
    CHECK_EQ(read(peer, &byte, 1), 1);
    CHECK_EQ(byte, 'x');

    CHECK_EQ(dial_ask(dial, 7, 5), 0);
    wait_answer(dial, &cookie, &got);
    CHECK_EQ(cookie, 7);
    CHECK_EQ(got, -ENOENT);
    close(dial);
    close(listener);
    close(peer);
}
