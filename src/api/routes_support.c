/*
 * api/routes_support.c: the support bundle: what somebody who shall help has to know, in one JSON object.
 * What is not named here is not in it: members are allowed one by one, because a new field may be a secret.  What people write freely
 * (notes, command lines, kernel parameters, what cloud-init is told, consoles) is left out.
 */
#include "api/routes.h"
#include "host/guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LOG_BYTES = 16 * 1024, INSTANCES_LOGGED = 200, AUDIT_ROWS = 200 };

/* The end of a file as lines, which are whole; of what may hold a secret, none. */
static json_t *log_end(const char *path)
{
    AUTO(free) char *text = xnew_n(char, LOG_BYTES + 1);
    AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    json_t *list = json_array();
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    const off_t from = end > LOG_BYTES ? end - LOG_BYTES : 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, text, LOG_BYTES, from);
    char *rest = text;

    text[max(n, (ssize_t)0)] = 0;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        const bool torn = from > 0 && line == text;

        if (*line && !torn && !strstr(line, "setup code"))
            json_array_append_new(list, json_string(line));
    }
    return list;
}

static json_t *os_name(void)
{
    AUTO(free) char *text = xnew_n(char, 4097);
    AUTO(fd) int fd = open("/etc/os-release", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, text, 4096);
    json_t *name;
    const char *at;

    text[max(n, (ssize_t)0)] = 0;
    at = strstr(text, "PRETTY_NAME=\"");
    name = at ? json_stringn(at + 13, strcspn(at + 13, "\"\n")) : NULL;
    return name ? name : json_string("");
}

static json_t *host_facts(const struct host *h, struct err *e)
{
    struct guard_host memory;
    struct statvfs space = {};
    struct utsname name = {};
    double load[3] = {};

    if (guard_read_host(&memory, e) < 0)
        return NULL;
    (void)uname(&name);
    (void)getloadavg(load, 3);
    (void)statvfs(h->dir, &space);
    return json_pack(
        "{s:o, s:s, s:s, s:i, s:[f, f, f], s:I, s:I, s:I, s:I, s:b, s:b}", "os", os_name(),
        "kernel", name.release, "machine", name.machine, "cpus", (int)sysconf(_SC_NPROCESSORS_ONLN),
        "load", load[0], load[1], load[2], "memory", (json_int_t)memory.total, "memory_available",
        (json_int_t)memory.available, "space", (json_int_t)(space.f_blocks * space.f_frsize),
        "space_free", (json_int_t)(space.f_bavail * space.f_frsize), "kvm",
        access("/dev/kvm", R_OK | W_OK) == 0, "cgroup_v2",
        access("/sys/fs/cgroup/cgroup.controllers", R_OK) == 0);
}

static json_t *only(json_t *of, const char *const *names)
{
    json_t *some = json_object();

    for (; *names; names++)
        if (json_object_get(of, *names))
            json_object_set(some, *names, json_object_get(of, *names));
    json_decref(of);
    return some;
}

static json_t *instance_locked(const struct host *h, const struct instance *i, bool logged)
{
    static const char *const names[] = {
        "name",   "kind",  "image",    "cpus",      "memory",    "engine",    "disks",    "nets",
        "shares", "vsock", "balloon",  "rng",       "irqchip",   "hugepages", "prealloc", "restart",
        "limits", "tags",  "template", "autostart", "protected", NULL,
    };
    json_t *j = only(conf_show(instance_fields(), &i->cfg), names);
    AUTO(free) char *folder = host_folder(h, i), *log = str_new("%s/vm.log", folder);

    json_object_update_new(j, json_pack("{s:s, s:s, s:I, s:i, s:i}", "id", i->id, "state",
                                        host_state_words[i->run.state], "since",
                                        (json_int_t)i->run.since, "pid", (int)i->run.pid,
                                        "restarts", (int)i->run.restarts));
    if (i->run.why)
        json_object_set_new(j, "why", json_string(i->run.why));
    if (logged)
        json_object_set_new(j, "log", log_end(log));
    return j;
}

static json_t *records_locked(struct host *h)
{
    json_t *instances = json_array(), *networks = json_array(), *tasks = json_array();

    for (u32 i = 0; i < h->n; i++)
        json_array_append_new(instances, instance_locked(h, h->list[i], i < INSTANCES_LOGGED));
    for (u32 i = 0; i < h->nets.n; i++)
        json_array_append_new(networks, network_print_locked(h->nets.list[i]));
    for (const struct task *t = h->tasks; t; t = t->next)
        json_array_append_new(tasks, task_print_locked(t));
    return json_pack("{s:o, s:o, s:o}", "instances", instances, "networks", networks, "tasks",
                     tasks);
}

static json_t *images(const struct host *h)
{
    static const char *const names[] = { "name", "initrd", "disk", "created", NULL };
    json_t *all = images_list(h->images), *list = json_array(), *image;
    size_t i;

    json_array_foreach(all, i, image) json_array_append_new(list, only(json_incref(image), names));
    json_decref(all);
    return list;
}

static json_t *users(const struct access *a)
{
    json_t *list = json_array();

    for (const struct user *u = a->users; u; u = u->next)
        json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:b, s:b}", "name", u->name, "role",
                                              access_roles[u->rec.role], "disabled",
                                              u->rec.disabled, "password", u->rec.password != NULL,
                                              "totp", u->rec.totp != NULL));
    return list;
}

static int get_support(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    const struct access *a = c->rq->access;
    AUTO(free) char *log = str_new("%s/socled.log", h->dir);
    json_t *facts = host_facts(h, e), *j;
    bool more;

    if (!facts)
        return e->code;
    host_lock(h);
    j = records_locked(h);
    json_object_update_new(j, json_pack("{s:s, s:s, s:I}", "version", SOCLE_VERSION, "dir", h->dir,
                                        "revision", (json_int_t)store_revision(h->store)));
    host_unlock(h);
    json_object_update_new(
        j, json_pack("{s:o, s:o, s:o}", "host", facts, "images", images(h), "log", log_end(log)));
    if (a)
        json_object_update_new(
            j, json_pack("{s:I, s:s, s:s, s:o, s:o}", "made", (json_int_t)a->now(), "listen",
                         a->listen, "fingerprint", a->fingerprint, "users", users(a), "audit",
                         audit_list(&a->audit, ~0ull, AUDIT_ROWS, &more)));
    api_answer_json(c, j);
    return 0;
}

/* clang-format off */
static const struct api_schema schemas[] = { {} };

static const struct api_route routes[] = {
    { "GET", "/1.0/support", API_ADMIN, 200, NULL, 0, NULL, NULL, false, get_support,
      "Collect what somebody who shall help has to know: facts of the host, records without secrets, tasks, and the last lines of logs" },
    {},
};
/* clang-format on */

const struct api_part api_part_support = { "Support", routes, schemas };
