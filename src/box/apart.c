/*
 * box/apart.c: what of config.json a machine is given, and how socle-box-vm is started.
 */
#include "box/apart.h"

#include "box/term.h"
#include "box/vm_guest.h"
#include "box/vm_machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The machine has less than the control group allows: socle-vm itself, its folders' servers and the pages of files are in there, too. */
enum { BESIDE_MIB = 96, LEAST_MIB = 192, USUAL_MIB = 512, CPUS_MAX = 64 };

/*
 * Another program of ours: what the environment names, beside the one that was started, or where it is installed.  Owned.  /proc/self/exe is
 * the sealed copy (box/sealed.h), which has no neighbours.
 */
static char *find(const struct box_global *g, const char *name, const char *variable)
{
    const char *named = getenv(variable), *slash = g->self ? strrchr(g->self, '/') : NULL;
    AUTO(free) char *beside = NULL;

    if (named && *named)
        return xdup(named);
    beside = slash ? str_new("%.*s/%s", (int)(slash - g->self), g->self, name) : NULL;
    return beside && access(beside, X_OK) == 0 ? TAKE(beside)
                                               : str_new("%s/%s", SOCLE_LIBEXEC, name);
}

/* ---- the specification ---- */

/* File systems of a kernel, and what is in them: the guest has its own. */
static bool is_kernels(const struct oci_mount *m)
{
    static const char *const places[] = { "/proc", "/sys", "/dev" };

    for_each_row(place, places) {
        const size_t len = strlen(*place);

        if (strncmp(m->destination, *place, len) == 0 &&
            (m->destination[len] == 0 || m->destination[len] == '/'))
            return true;
    }
    return false;
}

/* Those go to the end of the list, where oci_fini finds them again (apart_restore). */
static void leave_out_mounts(struct making *m)
{
    struct oci_mount *list = m->spec.mounts.items;
    AUTO(free) struct oci_mount *all = xnew_n(struct oci_mount, m->spec.mounts.n + 1);
    u32 n = 0, last = m->spec.mounts.n;

    m->n_mounts = m->spec.mounts.n;
    for (u32 i = 0; i < m->n_mounts; i++)
        all[is_kernels(&list[i]) ? --last : n++] = list[i];
    if (m->n_mounts)
        memcpy(list, all, m->n_mounts * sizeof(*all));
    m->spec.mounts.n = n;
}

static int check(const struct making *m, struct err *e)
{
    const struct oci *spec = &m->spec;
    const struct {
        bool bad;
        const char *what;
    } rows[] = {
        { spec->hooks.kind[HOOK_START_CONTAINER].n > 0, "hooks.startContainer" },
        { spec->os.devices.n > 0, "linux.devices" },
        { spec->os.netDevices.n > 0, "linux.netDevices" },
        { oci_ns(spec, NS_USER), "a 'user' namespace" },
        { oci_ns(spec, NS_TIME), "a 'time' namespace" },
        { box_filter_asks(&spec->os.seccomp), "SCMP_ACT_NOTIFY" },
        { m->opts->preserve_fds > 0, "--preserve-fds" },
        { spec->process.apparmorProfile && *spec->process.apparmorProfile,
          "process.apparmorProfile" },
        { spec->process.selinuxLabel && *spec->process.selinuxLabel, "process.selinuxLabel" },
    };

    for_each_row(row, rows) {
        if (row->bad) {
            return err_set(e, -ENOTSUP, "--isolate vm: %s cannot be applied in a machine",
                           row->what);
        }
    }
    if (geteuid() != 0)
        return err_set(e, -EPERM, "--isolate vm: only root may run containers as machines");
    return 0;
}

static int size_machine(struct making *m, struct err *e)
{
    const s64 limit = m->spec.os.resources.memory.limit, least = (s64)LEAST_MIB * MiB;
    const s64 quota = m->spec.os.resources.cpu.quota, period = m->spec.os.resources.cpu.period;

    if (limit > 0 && limit < least) {
        return err_set(e, -EINVAL,
                       "--isolate vm: linux.resources.memory.limit %lld is too little for a "
                       "machine; it needs %lld",
                       limit, least);
    }
    m->vm_memory =
        limit > 0 ? ((u64)limit - BESIDE_MIB * MiB) / (2 * MiB) * (2 * MiB) : USUAL_MIB * MiB;
    m->vm_cpus = 1;
    if (quota > 0 && period > 0)
        m->vm_cpus = (u32)min(max((quota + period - 1) / period, 1ll), (s64)CPUS_MAX);
    return 0;
}

/* The container's state, from the root: who works with it has another working directory.  Owned; NULL with `e`. */
static char *folder_of(const char *root, const char *id, struct err *e)
{
    AUTO(free) char *whole = realpath(root, NULL);

    if (!whole)
        err_errno(e, "--root '%.120s'", root);
    return whole ? str_new("%s/%s", whole, id) : NULL;
}

int apart_prepare(struct making *m, const struct box_global *g, struct err *e)
{
    int r;

    if (g->isolate == APART_NONE)
        return 0;
    r = check(m, e);
    if (r == 0)
        r = size_machine(m, e);
    if (r < 0)
        return r;
    leave_out_mounts(m);
    m->apart = true;
    m->state.isolate = xdup("vm");
    m->vm_dir = folder_of(g->root, m->dir.id, e);
    if (!m->vm_dir)
        return e->code;
    m->vm_program = find(g, "socle-box-vm", "SOCLE_BOX_VM");
    m->vm_socle = find(g, "socle-vm", "SOCLE_VM");
    m->vm_kernel = xdup(g->isolate_kernel ? g->isolate_kernel : SOCLE_LIBEXEC "/isolate/vmlinux");
    m->vm_initrd = xdup(g->isolate_initrd ? g->isolate_initrd : SOCLE_LIBEXEC "/isolate/initrd");
    if (access(m->vm_kernel, R_OK) < 0)
        return err_errno(e, "--isolate-kernel '%.120s' (doc/box.md says how to make one)",
                         m->vm_kernel);
    if (access(m->vm_initrd, R_OK) < 0)
        return err_errno(e, "--isolate-initrd '%.120s' (doc/box.md says how to make one)",
                         m->vm_initrd);
    if (mkdirat(m->dir.fd, "root", 0700) < 0)
        return err_errno(e, "make a folder for the root file system");
    return 0;
}

/* ---- socle-box-vm ---- */

/* JSON of struct vm_process; owned. */
static char *question(const char *config, const struct oci_process *p)
{
    json_t *process = p ? conf_print(oci_process_fields, p) : NULL;
    AUTO(free) char *text = process ? json_dumps(process, JSON_COMPACT) : NULL;
    json_t *j = json_pack("{s:s, s:s*}", "config", config, "process", text);
    char *all = j ? json_dumps(j, JSON_COMPACT) : NULL;

    json_decref(process);
    json_decref(j);
    return all;
}

/* A file of it that its program reads; owned. */
static int text_file(const char *text, struct err *e)
{
    AUTO(fd) int fd = memfd_create("socle-box-vm", 0);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));

    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? err_code(e, r, "describe a process") : TAKE_FD(fd);
}

/* What the program is started with, beside descriptors 0 to 2. */
static int run_helper(const char *program, const char *verb, const char *text, const char *socket,
                      pid_t first, struct err *e)
{
    AUTO(free)
    char *path = xdup(program), *word = xdup(verb), *at = socket ? xdup(socket) : NULL;
    char number[16], pid[16],
        path_is[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *argv[] = { path, word, number, at, at ? pid : NULL, NULL };
    char *envp[] = { path_is, NULL };
    AUTO(fd) int fd = -1;
    int r = launch_close_inherited(0, e);

    if (r == 0)
        r = fd = text_file(text, e);
    if (r < 0)
        return r;
    str_fmt(number, sizeof(number), "%d", fd);
    str_fmt(pid, sizeof(pid), "%d", first);
    execve(path, argv, envp);
    return err_errno(e, "--isolate vm: start '%.120s'", path);
}

int apart_exec(struct making *m, struct err *e)
{
    AUTO(free) char *root = str_new("%s/root", m->vm_dir);
    AUTO(free) char *process = question(m->config_text, NULL);
    AUTO(free) char *text = NULL;
    const struct vm_machine machine = { .dir = m->vm_dir,
                                        .root = root,
                                        .program = m->vm_socle,
                                        .kernel = m->vm_kernel,
                                        .initrd = m->vm_initrd,
                                        .process = process,
                                        .memory = m->vm_memory,
                                        .cpus = m->vm_cpus };
    json_t *j = process ? conf_print(vm_machine_fields, &machine) : NULL;

    text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    json_decref(j);
    return text ? run_helper(m->vm_program, "machine", text, NULL, 0, e)
                : err_set(e, -EINVAL, "config.json is not UTF-8");
}

int apart_exec_other(const struct box_dir *d, const struct box_global *g, pid_t first,
                     const struct oci_process *p, struct err *e)
{
    AUTO(free) char *dir = folder_of(g->root, d->id, e);
    AUTO(free) char *program = find(g, "socle-box-vm", "SOCLE_BOX_VM");
    AUTO(free) char *socket = str_new("%s/vm", dir ? dir : "");
    AUTO(free) char *config = NULL;
    AUTO(free) char *text = NULL;
    AUTO(strbuf) struct strbuf whole = {};
    size_t len = 0;
    int r = dir ? box_dir_read(d, "config.json", OCI_TEXT_MAX, &config, &len) : e->code;

    if (r < 0)
        return err_code(e, r, "read the state of '%s'", d->id);
    strbuf_add_mem(&whole, config, len);
    text = question(whole.text, p);
    return text ? run_helper(program, "exec", text, socket, first, e)
                : err_set(e, -EINVAL, "the process is not UTF-8");
}
