/*
 * jail/jail_gen.c: runs while Socle is built: compiles the rows of jail_rows.c to one BPF program a
 * role, with libseccomp, and writes them and the names of all system calls to stdout as C
 * (jail_bpf.inc, for jail_seccomp.c).
 */
#include "jail/jail_rows.h"

#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAMES_MAX = 512 };

static struct scmp_arg_cmp compare(const struct jail_cond *c)
{
    struct scmp_arg_cmp cmp = { .arg = c->arg, .datum_a = c->value };

    switch (c->op) {
    case JAIL_BELOW:
        cmp.op = SCMP_CMP_LT;
        break;
    case JAIL_LACKS:
    case JAIL_HAS:
        cmp.op = SCMP_CMP_MASKED_EQ;
        cmp.datum_b = c->op == JAIL_HAS ? c->value : 0;
        break;
    default:
        cmp.op = SCMP_CMP_EQ;
    }
    return cmp;
}

static int add_row(scmp_filter_ctx ctx, const struct jail_row *row, unsigned index)
{
    struct scmp_arg_cmp cmp = compare(&row->cond);
    int r;

    r = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, row->nr, row->cond.op != JAIL_ANY, &cmp);
    if (r == -EEXIST) /* a row before allows it whatever its arguments are */
        return 0;
    if (r < 0)
        return r;
    return seccomp_syscall_priority(ctx, row->nr, (u8)(index < 255 ? 255 - index : 0));
}

static int add_rows(scmp_filter_ctx ctx, enum jail_role role, struct err *e)
{
    bool seen[NAMES_MAX] = {};
    unsigned n;
    const struct jail_row *rows = jail_rows(&n);

    for (unsigned i = 0; i < n; i++) {
        int r;

        if (!(rows[i].roles & (1u << role)))
            continue;
        must(rows[i].nr < NAMES_MAX);
        /* a call's place is that of its first row */
        r = add_row(ctx, &rows[i], seen[rows[i].nr] ? 255 : i);
        seen[rows[i].nr] = true;
        if (r < 0)
            return err_code(e, r, "row '%s' of role '%s'", rows[i].name, jail_role_name(role));
    }
    return 0;
}

/* libseccomp writes programs to an fd only. */
static int write_filter(scmp_filter_ctx ctx, enum jail_role role, struct err *e)
{
    AUTO(fd) int fd = memfd_create("bpf", MFD_CLOEXEC);
    struct sock_filter ins;
    int r;

    if (fd < 0)
        return err_errno(e, "memfd");
    r = seccomp_export_bpf(ctx, fd);
    if (r < 0)
        return err_code(e, r, "export role '%s'", jail_role_name(role));
    printf("static const struct sock_filter filter_%u[] = { /* %s */\n", role,
           jail_role_name(role));
    for (u64 at = 0; fd_pread_all(fd, &ins, sizeof(ins), at) == 0; at += sizeof(ins))
        printf("    { 0x%02x, %u, %u, 0x%08x },\n", ins.code, ins.jt, ins.jf, ins.k);
    printf("};\n");
    return 0;
}

static int compile(enum jail_role role, struct err *e)
{
    /* Not KILL: the handler of SIGSYS ends the process as surely, and says which call it was. */
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
    int r;

    if (!ctx)
        return err_set(e, -ENOMEM, "seccomp_init");
    r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r < 0)
        err_code(e, r, "action for other architectures");
    else
        r = add_rows(ctx, role, e);
    if (r >= 0)
        r = write_filter(ctx, role, e);
    seccomp_release(ctx);
    return r;
}

/*
 * One string, names by number, each with its NUL: an array of pointers would cost relocations at
 * every start.
 */
static void write_names(void)
{
    printf("static const char syscall_names[] =\n");
    for (int nr = 0; nr < NAMES_MAX; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, nr);

        printf("    \"%s\\0\"\n", name ? name : "");
        free(name);
    }
    printf(";\nenum { SYSCALL_NAMES = %d };\n", NAMES_MAX);
}

int main(void)
{
    struct err e = {};

    printf("/* jail/jail_bpf.inc: made by jail_gen.c from jail_rows.c */\n#include "
           "\"jail/jail_rows.h\"\n\n");
    for (unsigned role = 0; role < JAIL_ROLES; role++) {
        if (compile(role, &e) < 0) {
            fprintf(stderr, "jail_gen: %s\n", e.text);
            return 1;
        }
    }
    printf("static const struct {\n    const struct sock_filter *ins;\n    unsigned n;\n} "
           "filters[] = {\n");
    for (unsigned role = 0; role < JAIL_ROLES; role++)
        printf("    { filter_%u, ARRAY_LEN(filter_%u) },\n", role, role);
    printf("};\n");
    write_names();
    return fflush(stdout) == 0 ? 0 : 1;
}
