/*
 * box/cgroup_dev.c: the device rules of a cgroup v2, which has no file for them, as a BPF program (BPF_PROG_TYPE_CGROUP_DEVICE).
 * The last rule that says something of an access decides; so the program looks at them from the last to the first, after those
 * devices that every container has.
 */
#include "box/cgroup.h"

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    INS_MAX = 8192,
    INS_EACH = 10,
    INS_OURS = 200
}; /* a rule has at most INS_EACH, what is ours at most INS_OURS */

/* What the specification promises to every container, and its terminals. */
static const struct {
    int type; /* as rule_words */
    s64 major, minor;
} always[] = {
    { 1, 1, 3 }, { 1, 1, 5 }, { 1, 1, 7 }, { 1, 1, 8 },
    { 1, 1, 9 }, { 1, 5, 0 }, { 1, 5, 2 }, { 1, 136, -1 },
};

struct prog {
    u32 n, room;
    u64 ins[]; /* no more than the rules need: each page of it costs a small container's start */
};

static struct prog *new_prog(u32 room)
{
    struct prog *p = alloc_x(1, sizeof(*p) + room * sizeof(p->ins[0]));

    p->room = room;
    return p;
}

static void put(struct prog *p, u8 code, u8 dst, u8 src, s16 off, s32 imm)
{
    must(p->n < p->room);
    /* struct bpf_insn, whose bit fields -Wconversion does not like */
    p->ins[p->n++] = code | (u64)(dst | src << 4) << 8 | (u64)(u16)off << 16 | (u64)(u32)imm << 32;
}

#define LOAD(dst, member)                                                                          \
    put(p, BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_1, offsetof(struct bpf_cgroup_dev_ctx, member), \
        0)
#define ALU(op, dst, value) put(p, BPF_ALU | (op) | BPF_K, dst, 0, 0, (s32)(value))
/* Jumps over `skip` instructions when the register is not `value`. */
#define SKIP_UNLESS(dst, value, skip) put(p, BPF_JMP | BPF_JNE | BPF_K, dst, 0, skip, (s32)(value))

enum {
    TYPE = BPF_REG_2,
    ACCESS = BPF_REG_3,
    MAJOR = BPF_REG_4,
    MINOR = BPF_REG_5,
    WORK = BPF_REG_6
};

static void begin(struct prog *p)
{
    LOAD(TYPE, access_type);
    put(p, BPF_ALU | BPF_MOV | BPF_X, ACCESS, TYPE, 0, 0);
    ALU(BPF_AND, TYPE, 0xffff);
    ALU(BPF_RSH, ACCESS, 16);
    LOAD(MAJOR, major);
    LOAD(MINOR, minor);
}

static void give(struct prog *p, bool allow)
{
    put(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow);
    put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

static u32 access_bits(const char *text)
{
    u32 bits = 0;

    if (!text || !*text)
        return BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD;
    for (; *text; text++)
        bits |= *text == 'r'   ? BPF_DEVCG_ACC_READ
                : *text == 'w' ? BPF_DEVCG_ACC_WRITE
                               : BPF_DEVCG_ACC_MKNOD;
    return bits;
}

/* An allowed rule must cover all that is wanted; a forbidding one forbids each part. */
static void add_rule(struct prog *p, const struct oci_rule *r)
{
    const bool any_kind = r->type == 0 || r->type == 3;
    const u32 access = access_bits(r->access);
    const bool all = access == access_bits(NULL);
    s16 left = (s16)(2 + 3 * !all + (r->minor >= 0) + (r->major >= 0) + !any_kind);

    if (!any_kind)
        SKIP_UNLESS(TYPE, r->type == 1 ? BPF_DEVCG_DEV_CHAR : BPF_DEVCG_DEV_BLOCK, --left);
    if (r->major >= 0)
        SKIP_UNLESS(MAJOR, r->major, --left);
    if (r->minor >= 0)
        SKIP_UNLESS(MINOR, r->minor, --left);
    if (!all) {
        put(p, BPF_ALU | BPF_MOV | BPF_X, WORK, ACCESS, 0, 0);
        ALU(BPF_AND, WORK, r->allow ? ~access : access);
        put(p, BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K, WORK, 0, 2, 0);
    }
    give(p, r->allow);
}

static bool is_for_all(const struct oci_rule *r)
{
    return (r->type == 0 || r->type == 3) && r->major < 0 && r->minor < 0 &&
           access_bits(r->access) == access_bits(NULL);
}

static int load(const struct prog *p)
{
    static const char license[] = "Apache-2.0";
    union bpf_attr attr = {
        .prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
        .insns = (uintptr_t)p->ins,
        .insn_cnt = p->n,
        .license = (uintptr_t)license,
    };
    long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

    return fd < 0 ? -errno : (int)fd;
}

int cgroup_devices(const struct cgroup *g, const struct field_list *rules, struct err *e)
{
    const struct oci_rule *rule = rules->items;
    AUTO(free) struct prog *p = NULL;
    bool everything = false;
    AUTO(fd) int fd = -1;
    union bpf_attr attr = { .attach_type = BPF_CGROUP_DEVICE, .attach_flags = BPF_F_ALLOW_MULTI };

    static_assert(OCI_RULES_MAX * INS_EACH > INS_MAX, "the check below is needed");
    if (!rules->n)
        return 0;
    if (rules->n > (INS_MAX - INS_OURS) / INS_EACH)
        return err_set(e, -EINVAL, "linux.resources.devices has %u rules; at most %u are allowed",
                       rules->n, (INS_MAX - INS_OURS) / INS_EACH);
    p = new_prog(INS_OURS + rules->n * INS_EACH);
    begin(p);
    for_each_row(a, always) {
        struct oci_rule r = {
            .allow = true, .type = a->type, .major = a->major, .minor = a->minor
        };

        add_rule(p, &r);
    }
    for (u32 i = rules->n; i-- > 0 && !everything;) {
        add_rule(p, &rule[i]);
        everything = is_for_all(&rule[i]);
    }
    if (!everything) /* the kernel refuses code that cannot be reached */
        give(p, true);
    fd = load(p);
    if (fd < 0)
        return err_code(e, fd, "linux.resources.devices: load the program");
    attr.target_fd = (u32)g->fd;
    attr.attach_bpf_fd = (u32)fd;
    if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0)
        return err_errno(e, "linux.resources.devices: attach the program to '%s'", g->path);
    return 0;
}
