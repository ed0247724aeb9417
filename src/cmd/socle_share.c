/*
 * cmd/socle_share.c: the program `socle-share`: serves one folder of the host to one machine, which starts it with a link as descriptor 3
 * (share/link.h).  It gives up all but the folder before it looks at a request.
 */
#include "base/base.h"

#include "cmd/opt.h"
#include "conf/conf.h"
#include "jail/jail.h"
#include "share/link.h"

#include <cap-ng.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATUS_FAILED = 1, STATUS_USAGE = 2 };
enum { LINK = 3, FILES_SPARE = 32, FILES_MAX = 1 << 20 };

struct server {
    char *dir;
    u32 handles;
    bool readonly, no_jail;
};

static const struct field fields[] = {
    FIELD_STR(server, dir, "the folder", .required = true, .metavar = "DIR"),
    FIELD_INT(server, handles, "files and folders that the guest may have open", .dflt = 1024,
              .min = 1, .max = SHARE_HANDLES_MAX),
    FIELD_BOOL(server, readonly, "nothing in it may be changed"),
    FIELD_BOOL(server, no_jail, "for debugging only: the process keeps its rights"),
    {},
};

static const struct opt opts[] = {
    { "dir", fields, 0, "dir", "DIR", 0 },
    { "handles", fields, 0, "handles", NULL, 0 },
    { "readonly", fields, 0, "readonly", NULL, 0 },
    { "no-jail", fields, 0, "no_jail", NULL, 0 },
    {},
};

/* What it takes to make files for others, and to open what the guest's kernel lets its programs open. */
static const unsigned keep[] = { CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
                                 CAP_SETFCAP, CAP_SETGID,       CAP_SETUID };

/* As root: the ids of files change and the capabilities stay.  False: files belong to who we are. */
static bool take_ids(u64 *ret_caps)
{
    const unsigned bits = SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED;
    bool all = true;

    *ret_caps = 0;
    for_each_row(c, keep) {
        const bool root = geteuid() == 0, has = root && capng_have_capability(CAPNG_PERMITTED, *c);

        if (has || (!root && *c <= CAP_FSETID)) /* of a user namespace: for files of who we are */
            *ret_caps |= 1ull << *c;
        all = all && has;
    }
    return all && setgroups(0, NULL) == 0 && prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) == 0;
}

static u32 files_limit(void)
{
    struct rlimit r = {};

    getrlimit(RLIMIT_NOFILE, &r);
    return (u32)min((u64)r.rlim_max, (u64)FILES_MAX);
}

static int confine(const struct server *s, struct jail_root *root, bool *ret_ids, struct err *e)
{
    struct jail_cfg cfg = {
        .userns_ok = true, .keep_ids = true, .root = root, .files_max = files_limit()
    };
    struct jail_report report;
    AUTO(strbuf) struct strbuf text = {};
    int r;

    *ret_ids = take_ids(&cfg.keep_caps);
    if (s->no_jail) {
        root->dir = open(s->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        root->fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    } else {
        r = jail_enter(&cfg, &report, e);
        if (r < 0)
            return r;
        jail_report_text(&report, &text);
        log_info("jail: %s", text.text);
    }
    if (root->dir < 0)
        return err_set(e, -ENOENT, "it cannot be opened");
    return root->fds < 0 || fchdir(root->fds) < 0
               ? err_errno(e, "open /proc/self/fd, where there must be a /proc")
               : 0;
}

static int serve(const struct server *s, struct err *e)
{
    struct jail_root root = { .path = s->dir, .readonly = s->readonly, .dir = -1, .fds = -1 };
    struct share_cfg cfg = { .readonly = s->readonly };
    AUTO(share) struct share *share = NULL;
    struct stat st;
    int r;

    if (stat(s->dir, &st) < 0) /* before the jail, where the reason is known best */
        return err_errno(e, "look at it");
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -ENOTDIR, "it is not a folder");
    r = confine(s, &root, &cfg.ids, e);
    if (r < 0)
        return r;
    umask(0); /* the guest's kernel has applied its programs' */
    cfg.root = root.dir;
    cfg.fds = root.fds;
    cfg.files_max = files_limit() - FILES_SPARE;
    cfg.handles_max = min(s->handles, cfg.files_max / 2);
    r = share_open(&cfg, &share, e);
    if (r >= 0 && !s->no_jail)
        r = jail_seccomp(JAIL_SHARE, e);
    if (r >= 0)
        r = share_tell(LINK, NULL);
    return r < 0 ? r : share_run(share, LINK);
}

/* It ends with its machine, which may still want what it has written on the disk. */
static void ignore_signals(void)
{
    static const int signals[] = { SIGPIPE, SIGINT, SIGTERM, SIGHUP };
    const struct sigaction ignore = { .sa_handler = SIG_IGN };

    for_each_row(sig, signals)
        sigaction(*sig, &ignore, NULL);
}

int main(int argc, char **argv)
{
    struct server s;
    struct opt_args args = {};
    struct err e = {};
    int r;

    log_set_name("socle-share");
    conf_defaults(fields, &s);
    r = opt_parse(opts, &s, argc - 1, argv + 1, &args, &e);
    if (r != 0 || !s.dir || args.n) {
        fprintf(stderr, "usage: socle-share --dir DIR [--handles N] [--readonly]\n(it is started "
                        "by socle-vm)\n");
        return STATUS_USAGE;
    }
    ignore_signals();
    r = jail_close_fds(&(int){ LINK }, 1, &e);
    if (r >= 0)
        r = serve(&s, &e);
    if (r < 0)
        share_tell(LINK, &e);
    conf_fini(fields, &s);
    return r < 0 ? STATUS_FAILED : 0;
}
