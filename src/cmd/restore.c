/*
 * cmd/restore.c: the machine that `socle run --restore FILE` means.
 * The file says what the guest has seen, and no option may contradict it; what the host provides comes from the command line.
 */
#include "cmd/restore.h"

#include "cmd/command.h"
#include "host/again.h"
#include "vm/statefile.h"

#include <stdlib.h>
#include <sys/random.h>

/* Options that say what the host provides, or how the program behaves. */
static const char *const allowed[] = { "restore",      "name",    "disk",      "net",
                                       "console",      "control", "gdb",       "vsock",
                                       "engine",       "uuid",    "cache-dir", "timeout",
                                       "no-jail",      "verbose", "prealloc",  "jit",
                                       "engine-check", "agent" };

void restore_options(struct strbuf *out)
{
    for (u32 i = 1; i < ARRAY_LEN(allowed); i++)
        strbuf_add(out, "%s --%s", i > 1 ? "," : "", allowed[i]);
}

static bool is_allowed(const char *name)
{
    for_each_row(a, allowed)
        if (strcmp(*a, name) == 0)
            return true;
    return false;
}

static bool given(const struct opt_args *args, const char *name)
{
    for (const struct opt *o = run_opts; o->name; o++)
        if (strcmp(o->name, name) == 0)
            return args->seen >> (o - run_opts) & 1;
    return false;
}

static int check_args(const struct opt_args *args, struct err *e)
{
    for (const struct opt *o = run_opts; o->name; o++)
        if (args->seen >> (o - run_opts) & 1 && !is_allowed(o->name))
            return err_set(e, -EINVAL,
                           "--%s and --restore: the saved state says what the machine is", o->name);
    if (args->n)
        return err_set(e, -EINVAL, "'%.80s': with --restore, disks are given by --disk",
                       args->arg[0]);
    return 0;
}

static int take_host(struct vm_spec *s, struct vm_spec *said, const struct opt_args *args,
                     struct err *e)
{
    if (given(args, "vsock") && said->vsock.cid != s->vsock.cid)
        return err_set(e, -EINVAL, "--vsock: 'cid' is %u; the saved machine has %u",
                       said->vsock.cid, s->vsock.cid);
    if (given(args, "agent") && !s->agent)
        return err_set(e, -EINVAL, "--agent: the saved machine has no port for a guest agent");
    if (given(args, "vsock"))
        again_move(&s->vsock.path, &said->vsock.path);
    again_take_process(s, said);
    if (given(args, "engine"))
        s->engine = said->engine;
    if (given(args, "name"))
        again_move(&s->name, &said->name);
    if (said->uuid)
        again_move(&s->uuid, &said->uuid);
    return 0;
}

/* A clone is another machine: its name and UUID are nobody else's, unless they were given. */
static void set_apart(struct vm_spec *s, const struct opt_args *args)
{
    u8 r[16];
    char *was = s->name;

    must(getrandom(r, sizeof(r), 0) == sizeof(r));
    if (!given(args, "name")) {
        s->name = str_new("%.56s-%02x%02x%02x", was, r[0], r[1], r[2]);
        free(was);
    }
    if (given(args, "uuid"))
        return;
    free(s->uuid); /* RFC 9562: version 4, variant 10 */
    s->uuid = str_new("%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x",
                      r[0], r[1], r[2], r[3], r[4], r[5], r[6] & 15, r[7], r[8] & 15, r[9], r[10],
                      r[11], r[12], r[13], r[14], r[15]);
}

int restore_complete(struct run *run, const struct opt_args *args, struct err *e)
{
    AUTO(statefile) struct statefile *f = NULL;
    struct vm_spec said = run->spec, *s = &run->spec;
    int r = check_args(args, e);

    if (r >= 0)
        r = statefile_open(said.restore.file, &f, e);
    if (r < 0)
        return r;
    *s = f->meta.spec; /* a shallow move each way: both are freed once */
    f->meta.spec = (struct vm_spec){};
    r = again_take_disks(s, &said, e);
    if (r >= 0)
        r = again_take_nets(s, &said, e);
    if (r >= 0)
        r = take_host(s, &said, args, e);
    if (r >= 0 && s->restore.clone)
        set_apart(s, args);
    spec_fini(&said);
    return r < 0 ? r : spec_check(s, e);
}

int restore_again(struct run *run, const char *file, struct err *e)
{
    AUTO(statefile) struct statefile *f = NULL;
    struct vm_spec was = run->spec;
    int r = statefile_open(file, &f, e);

    if (r < 0)
        return r;
    free(was.restore.file);
    was.restore = (struct vm_restore){ .file = xdup(file) };
    was.gdb.wait = false;
    run->spec = f->meta.spec; /* a shallow move each way, as above */
    f->meta.spec = (struct vm_spec){};
    r = again_merge(&run->spec, &was, e);
    spec_fini(&was);
    return r;
}
