/*
 * box/systemd.c: runs socle-box-systemd, and tells what it told.
 */
#include "box/systemd.h"

#include "box/child.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SAID_MAX = 1024 };

/* In a user namespace, what belongs to the host's root is nobody's; in a container with a systemd of its own, it is ours. */
bool systemd_is_users(void)
{
    struct stat st;

    return geteuid() != 0 || (stat("/run/systemd/system", &st) == 0 && st.st_uid != 0);
}

static char *program(void)
{
    const char *named = getenv("SOCLE_BOX_SYSTEMD");

    return xdup(named && *named ? named : SOCLE_LIBEXEC "/socle-box-systemd");
}

/* Up to the end; what is longer is read and left out. */
static void read_said(int fd, char text[SAID_MAX])
{
    size_t len = 0;
    char part[256];
    ssize_t n;

    while ((n = read(fd, part, sizeof(part))) != 0) {
        const size_t take = n > 0 ? min((size_t)n, SAID_MAX - 1 - len) : 0;

        if (n < 0 && errno != EINTR)
            break;
        memcpy(text + len, part, take);
        len += take;
    }
    text[len] = 0;
    text[strcspn(text, "\n")] = 0;
}

static int wait_for(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return status == 0 ? 0 : -EIO;
}

static int ask(const char *verb, const char *scope, const json_t *properties, struct err *e)
{
    AUTO(free) char *path = program();
    AUTO(free) char *text = properties ? json_dumps(properties, JSON_COMPACT) : NULL;
    AUTO(free) char *word = xdup(verb);
    AUTO(free) char *name = xdup(scope);
    char bus[8] = "system";
    char *argv[] = { path, bus, word, name, text, NULL };
    AUTO(fd) int ours = -1;
    int pipe_fds[2], r;
    char said[SAID_MAX];
    pid_t pid;

    if (systemd_is_users())
        str_copy(bus, sizeof(bus), "user");
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return err_errno(e, "make a pipe");
    ours = pipe_fds[0];
    r = child_start(path, argv, environ, pipe_fds[1], STDERR_FILENO, &pid);
    close(pipe_fds[1]);
    if (r < 0)
        return err_code(e, r, "--systemd-cgroup: start '%.160s'", path);
    read_said(ours, said);
    r = wait_for(pid);
    return r < 0 ? err_set(e, r, "systemd: %.200s", *said ? said : "its program failed") : 0;
}

/* The unit, and what it is to have. */
static int plan(const struct oci *spec, const char *id, pid_t pid, struct unit *ret,
                json_t **ret_properties, struct err *e)
{
    int r = unit_parse(ret, spec->os.cgroupsPath, id, systemd_is_users(), e);

    if (r < 0)
        return r;
    r = unit_properties(spec, ret, id, pid, ret_properties, e);
    if (r < 0)
        unit_fini(ret);
    return r;
}

int systemd_check(const struct oci *spec, const char *id, struct err *e)
{
    json_t *properties = NULL;
    struct unit u = {};
    int r = plan(spec, id, 1, &u, &properties, e);

    json_decref(properties);
    unit_fini(&u);
    return r;
}

int systemd_start(const struct oci *spec, const char *id, pid_t pid, struct cgroup *g,
                  char **ret_scope, struct err *e)
{
    json_t *properties = NULL;
    struct unit u = {};
    int r = plan(spec, id, pid, &u, &properties, e);

    if (r == 0)
        r = ask("start", u.name, properties, e);
    if (r == 0) {
        *ret_scope = xdup(u.name);
        r = cgroup_open_scope(g, pid, u.name, e);
    }
    json_decref(properties);
    unit_fini(&u);
    return r;
}

int systemd_set(const char *scope, const struct oci_resources *r, struct err *e)
{
    json_t *properties = NULL;
    int ret = unit_limits(r, &properties, e);

    if (ret == 0 && json_object_size(properties) > 0)
        ret = ask("set", scope, properties, e);
    json_decref(properties);
    return ret;
}

int systemd_stop(const char *scope, struct err *e)
{
    return ask("stop", scope, NULL, e);
}
