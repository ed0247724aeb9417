/*
 * box/seccomp.c: from the specification's words to libseccomp's calls.
 */
#include "box/seccomp.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As oci_seccomp_actions. */
static const struct {
    u32 action;
    bool takes_value; /* errnoRet */
} actions[] = {
    { SCMP_ACT_KILL_THREAD, false },  { SCMP_ACT_KILL_THREAD, false },
    { SCMP_ACT_KILL_PROCESS, false }, { SCMP_ACT_TRAP, false },
    { SCMP_ACT_ERRNO(0), true },      { SCMP_ACT_TRACE(0), true },
    { SCMP_ACT_ALLOW, false },        { SCMP_ACT_LOG, false },
    { SCMP_ACT_NOTIFY, false },
};
static_assert(ARRAY_LEN(actions) == OCI_NO_SECCOMP, "an action a word");

/* As oci_seccomp_ops. */
static const enum scmp_compare ops[] = { SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE,       SCMP_CMP_EQ,
                                         SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ };

/* `with`: what it is of no use without. */
static const struct {
    const char *name;
    u32 flag, with;
} flags[] = {
    { "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC, 0 },
    { "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG, 0 },
    { "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0 },
    { "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
      SECCOMP_FILTER_FLAG_NEW_LISTENER },
};

static u32 action_of(int word, s64 value)
{
    u32 dflt = actions[word].takes_value ? (word == 4 ? EPERM : 0) : 0;

    if (!actions[word].takes_value)
        return actions[word].action;
    return actions[word].action | (u32)(value == BOX_UNSET ? dflt : value);
}

static int add_arch(scmp_filter_ctx ctx, const char *word, struct err *e)
{
    char name[32] = "";
    u32 arch;
    int r;

    if (str_starts(word, "SCMP_ARCH_"))
        str_copy(name, sizeof(name), word + strlen("SCMP_ARCH_"));
    for (char *p = name; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    arch = *name ? seccomp_arch_resolve_name(name) : 0;
    if (!arch)
        return err_set(e, -EINVAL, "linux.seccomp.architectures: '%.40s' is unknown", word);
    r = seccomp_arch_add(ctx, arch);
    return r < 0 && r != -EEXIST ? err_code(e, r, "linux.seccomp: add '%s'", word) : 0;
}

const char *box_filter_flag(unsigned i, bool *ret)
{
    if (i >= ARRAY_LEN(flags))
        return NULL;
    /* The kernel looks at the flags before it reads the filter. */
    *ret = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags[i].flag | flags[i].with, NULL) < 0 &&
           errno == EFAULT;
    return flags[i].name;
}

static int add_flag(u32 *set, const char *word, struct err *e)
{
    for_each_row(f, flags) {
        if (strcmp(f->name, word) != 0)
            continue;
        if ((*set & f->with) == f->with)
            *set |= f->flag;
        return 0;
    }
    return err_set(e, -ENOTSUP, "linux.seccomp.flags: '%.60s' is not supported", word);
}

bool box_filter_asks(const struct oci_seccomp *spec)
{
    for_each_of(const struct oci_seccomp_rule, rule, &spec->syscalls)
    {
        if (rule->action == OCI_ACT_NOTIFY)
            return true;
    }
    return false;
}

/* One rule for one call; with several comparisons of one argument libseccomp wants a rule each. */
static int add_call(scmp_filter_ctx ctx, const struct oci_seccomp_rule *rule, u32 action, int nr)
{
    struct scmp_arg_cmp cmp[6];
    unsigned n = 0, seen = 0;
    bool twice = false;
    int r = 0;

    for_each_of(const struct oci_seccomp_arg, a, &rule->args)
    {
        twice |= seen & 1u << a->index;
        seen |= 1u << a->index;
        cmp[n++] = (struct scmp_arg_cmp){ a->index, ops[a->op], a->value, a->valueTwo };
    }
    if (!twice)
        return seccomp_rule_add_array(ctx, action, nr, n, cmp);
    for (unsigned i = 0; i < n && r == 0; i++)
        r = seccomp_rule_add_array(ctx, action, nr, 1, &cmp[i]);
    return r;
}

static int add_rule(scmp_filter_ctx ctx, const struct oci_seccomp *spec,
                    const struct oci_seccomp_rule *rule, struct err *e)
{
    const u32 action = action_of(rule->action, rule->errnoRet);
    int r;

    if (action == action_of(spec->defaultAction, spec->defaultErrnoRet))
        return 0; /* what happens anyway; libseccomp would refuse it */
    for (u32 i = 0; i < rule->names.n; i++) {
        int nr = seccomp_syscall_resolve_name(rule->names.items[i]);

        if (nr == __NR_SCMP_ERROR)
            continue;
        r = add_call(ctx, rule, action, nr);
        if (r < 0 && r != -EEXIST)
            return err_code(e, r, "linux.seccomp: rule of '%.40s'", rule->names.items[i]);
    }
    return 0;
}

static int fill(scmp_filter_ctx ctx, const struct oci_seccomp *spec, struct err *e)
{
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);

    if (r < 0)
        return err_code(e, r, "linux.seccomp");
    for (u32 i = 0; i < spec->architectures.n && r == 0; i++)
        r = add_arch(ctx, spec->architectures.items[i], e);
    for_each_of(const struct oci_seccomp_rule, rule, &spec->syscalls)
    {
        if (r == 0)
            r = add_rule(ctx, spec, rule, e);
    }
    return r;
}

/* What libseccomp would load.  By ourselves, because it knows not all flags, and does more than the one call. */
static int export(scmp_filter_ctx ctx, struct box_filter *f, struct err *e)
{
    AUTO(fd) int fd = memfd_create("seccomp", MFD_CLOEXEC);
    AUTO(free) char *code = NULL;
    size_t len;
    int r = fd < 0 ? -errno : seccomp_export_bpf(ctx, fd);

    if (r == 0)
        r = fd_read_whole(fd, BPF_MAXINSNS * sizeof(struct sock_filter), &code, &len);
    if (r == -EFBIG)
        return err_set(e, r, "linux.seccomp: the filter is longer than the %d steps of the kernel",
                       BPF_MAXINSNS);
    if (r < 0)
        return err_code(e, r, "linux.seccomp: make the filter");
    f->code = (struct sock_filter *)(void *)TAKE(code);
    f->n = (u16)(len / sizeof(struct sock_filter));
    return 0;
}

static int make(struct box_filter *f, const struct oci_seccomp *spec, struct err *e)
{
    scmp_filter_ctx ctx = seccomp_init(action_of(spec->defaultAction, spec->defaultErrnoRet));
    int r = 0;

    if (!ctx)
        return err_set(e, -ENOMEM, "linux.seccomp: no filter");
    f->flags = box_filter_asks(spec) ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
    for (u32 i = 0; i < spec->flags.n && r == 0; i++)
        r = add_flag(&f->flags, spec->flags.items[i], e);
    if ((f->flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) && (f->flags & SECCOMP_FILTER_FLAG_TSYNC))
        f->flags |= SECCOMP_FILTER_FLAG_TSYNC_ESRCH; /* else two results would be one number */
    if (r == 0)
        r = fill(ctx, spec, e);
    if (r == 0)
        r = export(ctx, f, e);
    seccomp_release(ctx);
    return r;
}

int box_filter_new(const struct oci_seccomp *spec, struct box_filter **ret, struct err *e)
{
    struct box_filter *f;
    int r;

    *ret = NULL;
    if (spec->defaultAction == OCI_NO_SECCOMP)
        return 0;
    f = xnew(struct box_filter);
    r = make(f, spec, e);
    if (r < 0)
        box_filter_free(f);
    else
        *ret = f;
    return r;
}

int box_filter_load(const struct box_filter *filter, struct err *e)
{
    const struct sock_fprog program = { filter->n, filter->code };
    long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program);

    return r < 0 ? err_errno(e, "load the seccomp filter, flags %#x", filter->flags) : (int)r;
}

void box_filter_free(struct box_filter *filter)
{
    if (filter)
        free(filter->code);
    free(filter);
}
