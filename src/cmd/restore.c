/*
 * cmd/restore.c: the machine that `socle run --restore FILE` means.
 * The file says what the guest has seen, and no option may contradict it; what the host provides comes from the command line.
 */
#include "cmd/restore.h"

#include "cmd/command.h"
#include "vm/statefile.h"

#include <stdlib.h>
#include <sys/random.h>

/* Options that say what the host provides, or how the program behaves. */
static const char *const allowed[] = { "restore",   "name",        "disk",    "net",     "console",
                                       "control",   "gdb",         "vsock",   "engine",  "uuid",
                                       "cache-dir", "timeout",     "no-jail", "verbose", "prealloc",
                                       "jit",       "engine-check" };

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

/* The string moves; what was there is freed. */
static void move(char **to, char **from)
{
    free(*to);
    *to = TAKE(*from);
}

static void random_bytes(u8 *p, size_t n)
{
    must(getrandom(p, n, 0) == (ssize_t)n);
}

static int take_disks(struct vm_spec *s, struct vm_spec *said, struct err *e)
{
    if (said->disks.n && said->disks.n != s->disks.n)
        return err_set(e, -EINVAL, "--disk is given %u times; the saved machine has %u disks",
                       said->disks.n, s->disks.n);
    for (u32 i = 0; i < said->disks.n; i++) {
        move(&spec_disk(s, i)->file, &spec_disk(said, i)->file);
        spec_disk(s, i)->cache = spec_disk(said, i)->cache;
    }
    return 0;
}

/* Of a card that was given: its host's side, and its address if there is one. */
static void take_net(struct vm_net *to, struct vm_net *from)
{
    struct field_list forward = to->forward;

    to->kind = from->kind;
    move(&to->tap, &from->tap);
    if (from->mac)
        move(&to->mac, &from->mac);
    to->forward = from->forward;
    from->forward = forward; /* freed with the rest */
}

/* A clone's card gets an address that nobody else has, unless it was given. */
static int take_nets(struct vm_spec *s, struct vm_spec *said, struct err *e)
{
    if (said->nets.n && said->nets.n != s->nets.n)
        return err_set(e, -EINVAL, "--net is given %u times; the saved machine has %u cards",
                       said->nets.n, s->nets.n);
    for (u32 i = 0; i < s->nets.n; i++) {
        bool own = said->nets.n && spec_net(said, i)->mac;
        u8 r[3];

        if (said->nets.n)
            take_net(spec_net(s, i), spec_net(said, i));
        if (own || !said->restore.clone)
            continue;
        random_bytes(r, sizeof(r));
        free(spec_net(s, i)->mac);
        spec_net(s, i)->mac = str_new("52:54:00:%02x:%02x:%02x", r[0], r[1], r[2]);
    }
    return 0;
}

/* What is of this process and not of the machine comes from the command line whether it was given or not. */
static void take_process(struct vm_spec *s, struct vm_spec *said)
{
    move(&s->console.backend, &said->console.backend);
    move(&s->control, &said->control);
    move(&s->gdb.listen, &said->gdb.listen);
    move(&s->cache_dir, &said->cache_dir);
    move(&s->restore.file, &said->restore.file);
    s->gdb.wait = said->gdb.wait;
    s->restore.clone = said->restore.clone;
    s->restore.force = said->restore.force;
    s->no_jail = said->no_jail;
    s->verbose = said->verbose;
    s->prealloc = said->prealloc;
    s->jit = said->jit;
    s->engine_check = said->engine_check;
}

static int take_host(struct vm_spec *s, struct vm_spec *said, const struct opt_args *args,
                     struct err *e)
{
    if (given(args, "vsock") && said->vsock.cid != s->vsock.cid)
        return err_set(e, -EINVAL, "--vsock: 'cid' is %u; the saved machine has %u",
                       said->vsock.cid, s->vsock.cid);
    if (given(args, "vsock"))
        move(&s->vsock.path, &said->vsock.path);
    take_process(s, said);
    if (given(args, "engine"))
        s->engine = said->engine;
    if (given(args, "name"))
        move(&s->name, &said->name);
    if (said->uuid)
        move(&s->uuid, &said->uuid);
    return 0;
}

/* A clone is another machine: its name and UUID are nobody else's, unless they were given. */
static void set_apart(struct vm_spec *s, const struct opt_args *args)
{
    u8 r[16];
    char *was = s->name;

    random_bytes(r, sizeof(r));
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
    r = take_disks(s, &said, e);
    if (r >= 0)
        r = take_nets(s, &said, e);
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
    struct vm_spec was = run->spec, *s = &run->spec;
    int r = statefile_open(file, &f, e);

    if (r < 0)
        return r;
    free(was.restore.file);
    was.restore = (struct vm_restore){ .file = xdup(file) };
    was.gdb.wait = false;
    *s = f->meta.spec; /* a shallow move each way, as above */
    f->meta.spec = (struct vm_spec){};
    r = take_disks(s, &was, e);
    if (r >= 0)
        r = take_nets(s, &was, e);
    if (r >= 0) {
        take_process(s, &was);
        move(&s->name, &was.name);
        move(&s->uuid, &was.uuid);
        move(&s->vsock.path, &was.vsock.path);
        s->engine = was.engine;
    }
    spec_fini(&was);
    return r < 0 ? r : spec_check(s, e);
}
