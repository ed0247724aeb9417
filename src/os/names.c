/*
 * os/names.c: writes hostname, hosts and resolv.conf.
 */
#include "os/names.h"

#include "box/path.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const os_name_files[3] = { "hostname", "hosts", "resolv.conf" };

static int write_file(const struct os_spec *s, const char *name, const struct strbuf *text,
                      struct err *e)
{
    AUTO(free) char *path = str_new("%s/%s", s->folder, name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : fd_write_all(fd, text->text ? text->text : "", text->len);

    if (r >= 0 &&
        fchmod(fd, 0644) < 0) /* whatever our umask says: others read it in the container */
        r = -errno;

    return r < 0 ? err_code(e, r, "write '%s'", path) : 0;
}

/* A clone of a system is not to be taken for the original: systemd makes itself an id of container_uuid when it finds none (machine-id(5)). */
static int renew_identity(const struct os_spec *s, struct err *e)
{
    AUTO(free) char *mark = str_new("%s/fresh", s->folder), *path = str_new("%s/root", s->folder);
    AUTO(fd) int root = -1;
    AUTO(fd) int id = -1;

    if (access(mark, F_OK) < 0)
        return 0;
    root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    id = root < 0 ? -1 : path_open(root, "/etc/machine-id", O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
    if (id >= 0 && ftruncate(id, 0) < 0)
        return err_errno(e, "its /etc/machine-id");
    return unlink(mark) < 0 ? err_errno(e, "remove '%s'", mark) : 0;
}

int os_names_write(const struct os_spec *s, struct err *e)
{
    AUTO(strbuf) struct strbuf hostname = {};
    AUTO(strbuf) struct strbuf hosts = {};
    AUTO(strbuf) struct strbuf resolver = {};
    int r;

    strbuf_add(&hostname, "%s\n", s->name);
    strbuf_add(&hosts, "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n");
    for (u32 i = 0; i < s->nets.n; i++) {
        const char *address = os_net(s, i)->address;

        if (address)
            strbuf_add(&hosts, "%.*s %s\n", (int)strcspn(address, "/"), address, s->name);
    }
    if (s->domain)
        strbuf_add(&resolver, "search %s\n", s->domain);
    if (s->dns)
        strbuf_add(&resolver, "nameserver %s\n", s->dns);
    r = renew_identity(s, e);
    if (r >= 0)
        r = write_file(s, os_name_files[0], &hostname, e);
    if (r >= 0)
        r = write_file(s, os_name_files[1], &hosts, e);
    return r < 0 ? r : write_file(s, os_name_files[2], &resolver, e);
}
