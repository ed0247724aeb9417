/*
 * cmd/socle_os.c: the process of one instance of kind os.  Started by socled as socle-vm is (host/spawn.h says what they promise).
 */
#include "base/base.h"

#include "base/exit_status.h"
#include "cmd/spec_fd.h"
#include "layer/ids.h"
#include "os/os.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* An ordinary user becomes user 0 of a namespace, with the numbers that its layers were unpacked with. */
static int become_root(struct err *e)
{
    struct ids ids;
    bool single;

    if (geteuid() == 0)
        return 0;
    ids_find(&ids);
    return ids_enter(&ids, &single, e);
}

/* A directory with all that is in it, of whatever owner, for socled (host/os_snap.c).  Not to return. */
static int copy(const char *from, const char *to, struct err *e)
{
    if (become_root(e) < 0)
        return e->code;
    execlp("cp", "cp", "-a", "--reflink=auto", "-T", "--", from, to, NULL);
    return err_errno(e, "run cp");
}

int main(int argc, char **argv)
{
    AUTO(free) char *text = NULL;
    struct os_spec spec = {};
    struct err e = {};
    size_t len;
    int r;

    log_set_name("socle-os");
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    if (argc == 4 && strcmp(argv[1], "--copy") == 0) {
        (void)copy(argv[2], argv[3], &e);
        log_error("%s", e.text);
        return EXIT_STATUS_START;
    }
    r = spec_fd_read(argc, argv, &text, &len, &e);
    if (r == -EINVAL) {
        fprintf(stderr, "usage: socle-os --spec-fd N\n(it is started by socled)\n");
        return EXIT_STATUS_USAGE;
    }
    if (r >= 0)
        r = os_spec_parse(&spec, text, len, &e);
    if (r >= 0)
        r = become_root(&e);
    if (r >= 0)
        r = os_run(&spec, &e);
    if (r < 0)
        log_error("%s", e.text);
    os_spec_fini(&spec);
    return r < 0 ? EXIT_STATUS_START : r;
}
