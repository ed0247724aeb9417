/*
 * os/user_net.c: the process between a container's tap and libslirp.
 *   (1) libslirp takes apart what a hostile container sends, so it is alone: what it needs is opened first (forwarded ports, of which some
 *       want root), then the process keeps its descriptors, the host's network, and the system calls of role "io-net" (jail/jail_rows.c).
 *   (2) It ends with socle-os, however that ends.  The tap is socle-os's, too: a process that ended takes no card with it, and another one
 *       goes on with it (os/mend.h); connections that went through the first are lost.
 */
#include "os/user_net.h"

#include "jail/jail.h"
#include "net/patch.h"
#include "net/tap.h"
#include "net/user.h"
#include "os/child.h"

#include <fcntl.h>
#include <netinet/ether.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int os_user_net_open(struct os_user_net *u, const struct os_net *n, struct pair_place *p,
                     struct err *e)
{
    struct ether_addr mac;
    int r;

    *u = (struct os_user_net){ .tap = -1 };
    if (!ether_aton_r(n->mac, &mac))
        return err_set(e, -EINVAL, "'mac' is '%.40s'; six pairs of hex digits are needed", n->mac);
    r = pair_tap(p, mac.ether_addr_octet, &u->tap, e);
    return r < 0 ? err_wrap(e, "user network (--net none goes without)") : 0;
}

/* ---- in the process ---- */

static int open_user(const struct os_net *n, struct net_backend **ret, struct err *e)
{
    AUTO(free) struct user_forward *f = xnew_n(struct user_forward, n->forward.n + 1);
    const struct user_cfg cfg = { .forwards = f, .n_forwards = n->forward.n };
    int r = 0;

    for (u32 i = 0; i < n->forward.n && r >= 0; i++)
        r = user_forward_parse(n->forward.items[i], &f[i], e);
    return r < 0 ? r : user_open(&cfg, ret, e);
}

static int confine(struct err *e)
{
    const struct jail_cfg cfg = { .keep_net = true };
    struct jail_report report;
    int r = jail_enter(&cfg, &report, e);

    if (r < 0)
        return r;
    if (report.code[JAIL_ROOT] < 0 && report.code[JAIL_LANDLOCK] < 0)
        return err_set(e, -EPERM,
                       "this host allows neither an empty root nor Landlock: no user network here");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) /* not before: a change of user ends it */
        return err_errno(e, "end with socle-os");
    return jail_seccomp(JAIL_IO_NET, e);
}

static int plug(const struct os_net *n, int tap, struct patch *p, struct loop *l, struct err *e)
{
    struct net_backend *user, *card;
    int r = loop_init(l, "user-net");

    if (r < 0)
        return err_code(e, r, "make a loop");
    r = open_user(n, &user, e);
    if (r >= 0)
        r = tap_given(tap, &card, e);
    if (r < 0)
        return r;
    r = patch_plug(p, l, user, card);
    return r < 0 ? err_code(e, r, "watch the card") : confine(e);
}

struct serving {
    const struct os_net *net;
    int tap;
};

/* What is open, and is not freed, ends with the process. */
_Noreturn static void serve(void *arg, int said)
{
    const struct serving *s = arg;
    const int keep[] = { s->tap, said };
    struct patch *p = xnew(struct patch);
    struct err e = {};
    struct loop l;
    int r = os_child_settle(keep, ARRAY_LEN(keep), &e);

    if (r >= 0)
        r = plug(s->net, s->tap, p, &l, &e);
    e.code = r;
    if (write(said, &e, sizeof(e)) != sizeof(e) || r < 0)
        _exit(1);
    close(said);
    loop_run(&l);
    _exit(0);
}

/* ---- its parent ---- */

int os_user_net_start(struct os_user_net *u, const struct os_net *n, struct err *e)
{
    struct serving s = { n, u->tap };

    if (u->tap < 0 || u->pid)
        return 0;
    return os_child_start(&u->pid, serve, &s, e) < 0 ? err_wrap(e, "user network") : 0;
}

bool os_user_net_ended(struct os_user_net *u, pid_t pid, int status)
{
    if (pid != u->pid)
        return false;
    u->pid = 0;
    log_warn("the process of the user network ended (%s %d), and all connections with it; another "
             "one is started",
             WIFEXITED(status) ? "status" : "signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return true;
}

void os_user_net_close(struct os_user_net *u)
{
    if (u->pid > 0) {
        kill(u->pid, SIGKILL);
        (void)waitpid(u->pid, NULL, 0);
    }
    fd_close(&u->tap);
    u->pid = 0;
}
