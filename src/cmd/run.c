/*
 * cmd/run.c: `socle run`: makes a machine's description of the command line, and runs it in the foreground.
 */
#include "cmd/run.h"

#include "base/exit_status.h"
#include "cmd/command.h"
#include "cmd/relay.h"
#include "cmd/restore.h"
#include "host/spawn.h"
#include "host/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct field run_fields[] = {
    FIELD_INT(run, timeout, "stop the machine after so many SECONDS; 0: never", .max = 10000000,
              .metavar = "SECONDS"),
    {},
};

#define SPEC(opt_name, member, ...)                                               \
    {                                                                             \
        opt_name, spec_fields, offsetof(struct run, spec), #member, ##__VA_ARGS__ \
    }
#define RUN(opt_name, member)                \
    {                                        \
        opt_name, run_fields, 0, #member, "" \
    }

/* clang-format off */
const struct opt run_opts[] = {
    SPEC("engine", engine),
    SPEC("jit", jit),
    SPEC("engine-check", engine_check),
    SPEC("cpus", cpus),
    SPEC("memory", memory, "512M 1G 2G 4G 8G"),
    SPEC("kernel", kernel, "FILE"),
    SPEC("initrd", initrd, "FILE"),
    SPEC("append", append),
    SPEC("disk", disks, "FILE"),
    SPEC("net", nets, "user none tap="),
    SPEC("share", shares),
    SPEC("console", console, "stdio pty none unix: file:"),
    SPEC("name", name),
    SPEC("control", control, "FILE"),
    SPEC("gdb", gdb, "unix: tcp:"),
    SPEC("vsock", vsock),
    SPEC("agent", agent, "unix: none"),
    SPEC("hugepages", hugepages),
    SPEC("prealloc", prealloc),
    SPEC("balloon", balloon),
    SPEC("rng", rng),
    SPEC("cpu-model", cpu_model),
    SPEC("irqchip", irqchip),
    SPEC("hpet", hpet),
    SPEC("uuid", uuid),
    SPEC("restore", restore, "FILE"),
    SPEC("testdev", testdev),
    SPEC("cache-dir", cache_dir, "DIR"),
    RUN("timeout", timeout),
    SPEC("uid", uid),
    SPEC("no-jail", no_jail),
    SPEC("verbose", verbose),
    {},
};
/* clang-format on */

void run_more(struct strbuf *out)
{
    strbuf_add(out, "With --restore the state says what the machine is; besides, one may give");
    restore_options(out);
    strbuf_add(out, ".  Disks and cards are then given all or none, in their order: only what the "
                    "host provides is taken from them.\n");
    strbuf_add(out, "DISK is the first disk, and the kernel is told root=/dev/vda unless --append "
                    "names a root.\n"
                    "Without --net there is one user network; without console= in --append the "
                    "kernel is told it.\n"
                    "A comma inside a value of a list is written twice; a value with '=' is given "
                    "by name (file=a=b).\n"
                    "\nKeys, when the terminal is the console:\n");
    relay_help("  ", out);
    strbuf_add(out, "\nExit status:\n");
#define X(name, value, doc) strbuf_add(out, "  %-4d  %s\n", value, doc);
    EXIT_STATUS_LIST(X)
#undef X
    strbuf_add(out, "  odd   the guest's own, 2 × value + 1, by the debug exit port 0xf4\n");
}

static const struct field *spec_field(const char *name)
{
    const struct opt o = { .table = spec_fields, .field = name };

    return opt_field(&o);
}

/* The DISK argument goes before the disks of the options. */
static int add_first_disk(struct vm_spec *s, const char *text, struct err *e)
{
    struct vm_disk last;
    int r = conf_set(spec_field("disks"), s, text, e);

    if (r < 0) {
        err_wrap(e, "DISK");
        return r;
    }
    last = *spec_disk(s, s->disks.n - 1);
    memmove(spec_disk(s, 1), spec_disk(s, 0), (s->disks.n - 1) * sizeof(last));
    *spec_disk(s, 0) = last;
    return 0;
}

static int complete_spec(struct run *run, const struct opt_args *args, struct err *e)
{
    struct vm_spec *s = &run->spec;
    int r = 0;

    if (args->n > 1)
        return err_set(e, -EINVAL, "'%.60s' and '%.60s': one DISK is allowed (--disk adds more)",
                       args->arg[0], args->arg[1]);
    if (args->n == 1 && !s->kernel)
        return err_set(e, -EINVAL,
                       "'%.80s': booting from a disk's own loader needs firmware, which this "
                       "version does not have; give --kernel FILE",
                       args->arg[0]);
    if (!s->kernel)
        return err_set(e, -EINVAL, "nothing to boot: give --kernel FILE");
    if (args->n == 1)
        r = add_first_disk(s, args->arg[0], e);
    if (r >= 0 && s->nets.n == 0)
        r = conf_set(spec_field("nets"), s, "user", e);
    if (r >= 0)
        r = spec_complete_append(s, args->n == 1, e);
    return r < 0 ? r : spec_check(s, e);
}

int run_parse(struct run *ret, int argc, char **argv, struct err *e)
{
    struct opt_args args = {};
    int r;

    conf_defaults(run_fields, ret);
    conf_defaults(spec_fields, &ret->spec);
    r = opt_parse(run_opts, ret, argc, argv, &args, e);
    if (r != 0)
        return r;
    return ret->spec.restore.file ? restore_complete(ret, &args, e) : complete_spec(ret, &args, e);
}

void run_fini(struct run *run)
{
    spec_fini(&run->spec);
}

/* The folder that the user named for the cache, made when it is missing. */
static int make_cache(const char *dir, struct err *e)
{
    struct stat st;

    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "--cache-dir: make folder '%s'", dir);
    if (stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
        return err_set(e, -ENOTDIR, "--cache-dir: '%s' is not a folder", dir);
    return access(dir, W_OK | X_OK) < 0 ? err_errno(e, "--cache-dir: write to '%s'", dir) : 0;
}

/* Unpacked kernels go to the user's cache folder (XDG base directory specification), unless the user said where.  Without a
 * home there is none, and each start unpacks. */
static int choose_cache(struct vm_spec *s, struct err *e)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    AUTO(free) char *parent = NULL;

    if (s->cache_dir)
        return make_cache(s->cache_dir, e);
    if (base && base[0] == '/')
        parent = xdup(base);
    else if (home && home[0] == '/')
        parent = str_new("%s/.cache", home);
    else
        return 0;
    s->cache_dir = str_new("%s/socle", parent);
    mkdir(parent, 0700);
    mkdir(s->cache_dir, 0700);
    return 0;
}

/* One process, until it ends.  *ret_restore: as relay_run has it. */
static int run_once(struct run *run, json_t **ret_restore)
{
    const bool stdio = strcmp(run->spec.console.backend, "stdio") == 0;
    const struct spawn_how how = { .take_messages = stdio && isatty(STDIN_FILENO) };
    struct spawn vm;
    struct err e = {};
    int r = 0;

    relay_block_signals();
    for (u32 i = 0; i < run->spec.disks.n && r >= 0; i++)
        r = tree_usable(spec_disk(&run->spec, i)->file, &e);
    if (r >= 0)
        r = spawn_start(&run->spec, &how, &vm, &e);
    if (r < 0) {
        log_error("%s", e.text);
        return EXIT_STATUS_START;
    }
    r = relay_run(&vm, run->timeout, ret_restore);
    spawn_fini(&vm);
    if (run->spec.control && r != EXIT_STATUS_START)
        unlink(run->spec.control); /* the machine cannot: it was confined */
    if (run->spec.gdb.listen && str_starts(run->spec.gdb.listen, "unix:") && r != EXIT_STATUS_START)
        unlink(run->spec.gdb.listen + strlen("unix:"));
    return r;
}

/* What the machine was told to go on from.  Its disks are nobody's now. */
static int go_back(struct run *run, const json_t *to, struct err *e)
{
    const char *file = json_string_value(json_object_get(to, "file")),
               *disk = json_string_value(json_object_get(to, "disk")),
               *snapshot = json_string_value(json_object_get(to, "snapshot"));
    struct tree_file f = { .lock = -1 };
    int r = 0;

    if (!file)
        return err_set(e, -EBADMSG, "from which file is not said");
    if (disk && snapshot)
        r = tree_open(&f, disk, false, e);
    if (r >= 0 && disk && snapshot)
        r = tree_restore(&f, snapshot, e);
    tree_close(&f);
    return r < 0 ? r : restore_again(run, file, e);
}

static int run_machine(struct run *run)
{
    json_t *to = NULL;
    struct err e = {};
    int r = choose_cache(&run->spec, &e);

    if (r >= 0)
        r = run_once(run, &to);
    while (r == EXIT_STATUS_RESTORE && to) {
        r = go_back(run, to, &e);
        json_decref(TAKE(to));
        if (r >= 0)
            r = run_once(run, &to);
    }
    json_decref(to);
    if (r < 0) {
        log_error("%s", e.text);
        return EXIT_STATUS_START;
    }
    return r;
}

int run_main(int argc, char **argv)
{
    struct run run;
    struct err e = {};
    int r = run_parse(&run, argc, argv, &e);

    if (r < 0)
        r = command_usage_error("run", &e);
    else
        r = r == 1 ? command_help("run") : run_machine(&run);
    run_fini(&run);
    return r;
}
