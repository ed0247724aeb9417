/*
 * host/network_names.c: dnsmasq gives a network's machines addresses and names.
 *   (1) It runs while its log is locked, as a machine does (host/process.c): the lock is in the open file that is its stderr.
 *   (2) It reads one file, at start, before it gives up root; what changes is written there, and it is started again.  Leases are kept.
 *   (3) Its pid is in a file of its own making, and believed only of a process whose command line names our file.
 */
#include "host/host.h"
#include "host/newfile.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    WAIT_MS = 10000, /* until it serves, or has ended */
    BUSY_MS = 1000,
    LOG_KEPT = 256 * 1024,
    TEXT_MAX = 8 * 1024 * 1024, /* 65,533 machines of about 120 bytes */
};

const char *network_names_program(void)
{
    static const char *const places[] = { "/usr/sbin/dnsmasq", "/usr/bin/dnsmasq",
                                          "/usr/local/sbin/dnsmasq", "/sbin/dnsmasq" };

    for_each_row(p, places)
        if (access(*p, X_OK) == 0)
            return *p;
    return NULL;
}

/* ---- what it reads ---- */

/* A machine's name as DNS takes it: what is neither letter nor digit becomes '-', the last one goes. */
static void host_name(const char *name, char ret[64])
{
    size_t n = 0;

    for (const char *p = name; *p && n < 63; p++)
        ret[n++] = strchr("._", *p) ? '-' : *p;
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = 0;
}

static void add_machines(struct host *h, const struct network *net, struct strbuf *b)
{
    for (u32 i = 0; i < h->n; i++) {
        const struct vm_spec *s = &h->list[i]->cfg.spec;
        bool named = false; /* the first of its cards has the name */
        char name[64];

        host_name(s->name, name);
        for (u32 k = 0; k < s->nets.n; k++) {
            const struct vm_net *card = spec_net(s, k);

            if (!card->network || strcmp(card->network, net->cfg.name) != 0 || !card->address)
                continue;
            strbuf_add(b, "dhcp-host=%s,%s%s%s\n", card->mac, card->address, named ? "" : ",",
                       named ? "" : name);
            if (!named)
                strbuf_add(b, "host-record=%s,%s.%s,%s\n", name, name, net->cfg.domain,
                           card->address);
            named = true;
        }
    }
}

char *network_names_text_locked(struct host *h, const struct network *net, const char *folder)
{
    const struct network_cfg *c = &net->cfg;
    const struct cidr v4 = network_v4(c), v6 = network_v6(c);
    const struct cidr range = cidr_network(&v4), range6 = cidr_network(&v6),
                      mask = cidr_with_v4(&v4, cidr_v4_mask(&v4));
    char first[CIDR_TEXT], bits[CIDR_TEXT], first6[CIDR_TEXT];
    struct strbuf b = {};

    cidr_address(&range, first);
    cidr_address(&mask, bits);
    strbuf_add(&b,
               "# Written by socled for network '%s'; changes are lost.\n"
               "interface=%s\nexcept-interface=lo\nbind-interfaces\nno-hosts\n"
               "domain=%s\nlocal=/%s/\nexpand-hosts\ndomain-needed\nbogus-priv\n"
               "dhcp-authoritative\ndhcp-range=%s,static,%s,1h\ndhcp-no-override\n"
               "dhcp-leasefile=%s/leases\npid-file=%s/pid\nuser=nobody\nlog-facility=-\n"
               "quiet-dhcp\nquiet-dhcp6\nquiet-ra\n",
               c->name, c->name, c->domain, c->domain, first, bits, folder, folder);
    if (v6.family) {
        cidr_address(&range6, first6);
        strbuf_add(&b, "enable-ra\ndhcp-range=%s,ra-names,64,1h\n", first6);
    }
    if (c->kind == NETWORK_ISOLATED)
        strbuf_add(&b, "no-resolv\ndhcp-option=3\n"); /* no router: there is no way out */
    add_machines(h, net, &b);
    return b.text;
}

/* ---- its process ---- */

static int open_log(const char *folder, struct err *e)
{
    AUTO(free) char *path = str_new("%s/log", folder);
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : err_errno(e, "lock '%s'", path);
    if (fstat(fd, &st) == 0 && st.st_size > LOG_KEPT && ftruncate(fd, 0) < 0)
        return err_errno(e, "shorten '%s'", path);
    return TAKE_FD(fd);
}

static bool is_running(const char *folder)
{
    AUTO(fd) int fd = open_log(folder, NULL);

    return fd == -EBUSY;
}

static char *read_file(const char *folder, const char *name)
{
    AUTO(free) char *path = str_new("%s/%s", folder, name);
    AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    size_t len;

    if (fd < 0 || fd_read_whole(fd, TEXT_MAX, &text, &len) < 0)
        return NULL;
    return str_new("%.*s", (int)len, text);
}

/* Has a process our file in its command line?  That is words with a NUL after each. */
static bool reads_our_file(u64 pid, const char *folder)
{
    AUTO(free) char *path = str_new("/proc/%llu/cmdline", pid);
    AUTO(free) char *want = str_new("--conf-file=%s/conf", folder);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[4096];
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

    return n > 0 && memmem(text, (size_t)n, want, strlen(want) + 1);
}

/* Its pidfd; -1: nobody knows it. */
static int find_process(const char *folder)
{
    AUTO(free) char *text = read_file(folder, "pid");
    AUTO(fd) int pidfd = -1;
    u64 pid;

    if (!text)
        return -1;
    text[strcspn(text, "\n")] = 0;
    if (str_u64(text, &pid) < 0 || pid == 0 || pid > INT32_MAX)
        return -1;
    pidfd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    return pidfd >= 0 && reads_our_file(pid, folder) ? TAKE_FD(pidfd) : -1;
}

void network_names_stop(const char *folder)
{
    AUTO(fd) int pidfd = is_running(folder) ? find_process(folder) : -1;
    struct pollfd p = { .fd = pidfd, .events = POLLIN };

    if (pidfd < 0)
        return;
    syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
    if (poll(&p, 1, WAIT_MS) > 0)
        return;
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    (void)poll(&p, 1, WAIT_MS);
}

/* In the child of a child, so that whoever is init waits for it. */
_Noreturn static void become(const char *program, char *option, int log)
{
    char *const argv[] = { (char[]){ "dnsmasq" }, (char[]){ "--keep-in-foreground" }, option,
                           NULL };
    AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    sigset_t none;

    setsid();
    if (null >= 0) {
        dup2(null, STDIN_FILENO);  /* tidy: allow banned: it must survive execve */
        dup2(null, STDOUT_FILENO); /* tidy: allow banned: it must survive execve */
    }
    dup2(log, STDERR_FILENO); /* tidy: allow banned: it must survive execve */
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(program, argv);
    _exit(127);
}

/* It serves when it has written its pid; it has failed when its log is free. */
static int wait_ready(const char *folder, struct err *e)
{
    AUTO(free) char *said = NULL;
    const char *line;

    for (u32 ms = 0; ms < WAIT_MS && is_running(folder); ms += 5) {
        AUTO(fd) int pidfd = find_process(folder);

        if (pidfd >= 0)
            return 0;
        poll(NULL, 0, 5);
    }
    said = read_file(folder, "log");
    if (said && *said)
        said[strlen(said) - 1] = 0;
    line = said ? strrchr(said, '\n') : NULL;
    return err_set(e, -EIO, "dnsmasq does not serve: %.160s", line ? line + 1 : said ? said : "");
}

static int start(const char *folder, struct err *e)
{
    AUTO(free) char *option = str_new("--conf-file=%s/conf", folder);
    AUTO(free) char *pid_file = str_new("%s/pid", folder);
    const char *program = network_names_program();
    AUTO(fd) int log = -EBUSY;
    pid_t child;

    if (!program)
        return err_set(e, -ENOENT, "dnsmasq is missing (Debian: package dnsmasq-base)");
    for (u32 ms = 0; ms < BUSY_MS && log == -EBUSY; ms += 5) { /* another's fork until its execve */
        log = open_log(folder, e);
        if (log == -EBUSY)
            poll(NULL, 0, 5);
    }
    if (log < 0)
        return log == -EBUSY ? err_set(e, log, "another dnsmasq holds '%s/log'", folder) : log;
    unlink(pid_file);
    child = fork();
    if (child < 0)
        return err_errno(e, "start a process");
    if (child == 0) {
        if (fork() == 0)
            become(program, option, log);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    fd_close(&log);
    return wait_ready(folder, e);
}

static int write_conf(const char *folder, const char *text, struct err *e)
{
    AUTO(free) char *path = str_new("%s/conf", folder);
    struct newfile f;
    int r = newfile_open(&f, path, e);

    if (r >= 0 && (r = fd_write_all(f.fd, text, strlen(text))) < 0)
        err_code(e, r, "write '%s'", path);
    if (r >= 0)
        r = newfile_keep(&f, e);
    newfile_fini(&f);
    return r;
}

int network_names_run(const char *folder, const char *text, struct err *e)
{
    AUTO(free) char *was = read_file(folder, "conf");
    const bool same = was && strcmp(was, text) == 0;
    int r;

    if (same && is_running(folder))
        return 0;
    network_names_stop(folder);
    r = same ? 0 : write_conf(folder, text, e);
    return r < 0 ? r : start(folder, e);
}
