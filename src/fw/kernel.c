/*
 * fw/kernel.c: direct boot of a kernel file.
 * A bzImage is not run as such: the vmlinux inside is unpacked here, where it is quick and kept for the next time, and entered
 * by the boot protocol of its width.  Only when its payload is of a kind that we cannot unpack does it unpack itself in the guest.
 *   (1) Where the vmlinux of a bzImage is: in `unpacked` (heap), or else in `cached` (a file), or else to be unpacked again.
 *   (2) `unpacked` lives from kernel_open to the end of the first kernel_load: a running VM does not keep 50 MB for a reset.
 *   (3) The initrd lies above everything that the kernel uses before it looks at the memory map.
 */
#include "fw/kernel.h"

#include "fw/bzimage.h"
#include "fw/elf.h"
#include "fw/kernel_cache.h"
#include "fw/layout.h"
#include "fw/multiboot.h"
#include "fw/pvh.h"
#include "fw/unpack.h"
#include "fw/zeropage.h"

#include <stdlib.h>

enum { HEAD_SIZE = MULTIBOOT_SEARCH, NAME_SIZE = 128 };

struct kernel {
    const struct kind *kind;
    char name[NAME_SIZE], initrd_name[NAME_SIZE], kind_text[64];
    char *cmdline, *cache_dir; /* owned; cache_dir may be NULL */
    struct image file, initrd;
    struct stat st; /* of the kernel file: the key of its cache entry */
    u64 unpack_max;

    struct bzimage bz;
    struct multiboot mb;
    struct elf elf; /* of the file, or of the vmlinux in the bzImage */
    u8 *unpacked;   /* see (1); owned */
    u64 unpacked_len;
    struct image cached; /* fd -1: none */
};

/* What a load found out for the entry. */
struct loaded {
    u64 end;        /* (3) */
    u64 initrd_max; /* highest address of the initrd's last byte */
};

/* ---- the vmlinux inside a bzImage ---- */

static struct image unpacked_image(const struct kernel *k)
{
    return (struct image){ .mem = k->unpacked, .fd = -1, .size = k->unpacked_len };
}

/* Owned copy of the payload. */
static int read_payload(const struct kernel *k, u8 **ret, struct err *e)
{
    AUTO(free) u8 *packed = try_new(u8, k->bz.payload_len, k->unpack_max);
    int r;

    if (!packed)
        return err_set(e, -ENOMEM, "no memory for its payload of %llu bytes: at most %llu",
                       k->bz.payload_len, k->unpack_max);
    r = image_read(&k->file, k->bz.payload_at, packed, k->bz.payload_len, "payload", e);
    if (r == 0)
        *ret = TAKE(packed);
    return r;
}

/* Fills k->unpacked and k->elf. */
static int unpack_payload(struct kernel *k, struct err *e)
{
    AUTO(free) u8 *packed = NULL;
    AUTO(free) u8 *out = NULL;
    u64 len = k->bz.payload_len, out_len;
    int r;

    if (len < 8)
        return err_set(e, -EBADMSG, "damaged: its payload has %llu bytes", len);
    r = read_payload(k, &packed, e);
    if (r < 0)
        return r;
    out_len = le_load(packed + len - 4,
                      4); /* Linux, scripts/Makefile.lib, size_append; gzip has it by itself */
    out = try_new(u8, out_len, k->unpack_max);
    if (!out)
        return err_set(e, out_len > k->unpack_max || out_len == 0 ? -EBADMSG : -ENOMEM,
                       "its payload says that it unpacks to %llu bytes: allowed are 1 to %llu",
                       out_len, k->unpack_max);
    r = unpack(packed, len, out, out_len, e);
    if (r == 0)
        r = elf_parse(&(struct image){ .mem = out, .fd = -1, .size = out_len }, &k->elf, e);
    if (r < 0)
        return r;
    k->unpacked = TAKE(out);
    k->unpacked_len = out_len;
    return 0;
}

/* Is the payload in a format that we unpack? */
static int payload_format(const struct kernel *k, const char **ret, struct err *e)
{
    u8 magic[8] = {};
    u64 len = min(k->bz.payload_len, (u64)sizeof(magic));
    int r = image_read(&k->file, k->bz.payload_at, magic, len, "payload", e);

    if (r == 0)
        *ret = unpack_format(magic, len);
    return r;
}

static int open_payload(struct kernel *k, struct err *e)
{
    int r;

    if (k->cache_dir && kernel_cache_open(k->cache_dir, &k->st, &k->cached, &k->elf))
        return 0;
    r = unpack_payload(k, e);
    if (r < 0 || !k->cache_dir)
        return r;
    struct image im = unpacked_image(k);
    /* Opened now although the bytes are at hand: a jailed process that resets cannot open it any more. */
    if (kernel_cache_save(k->cache_dir, &k->st, &im))
        kernel_cache_open(k->cache_dir, &k->st, &k->cached, &k->elf);
    return 0;
}

/* From the cache; -ESTALE: it cannot be read as it was written. */
static int load_cached(struct kernel *k, const struct kernel_target *t, struct err *e)
{
    int r = elf_load(&k->elf, &k->cached, &(struct image_to){ t->m, t->ram_is_zero }, e);

    if (r == 0 || r == -ENOMEM)
        return r;
    log_warn("kernel '%s': its unpacked form in '%s' is damaged and will be made again", k->name,
             k->cache_dir);
    kernel_cache_drop(k->cache_dir, &k->st);
    fd_close(&k->cached.fd);
    return -ESTALE;
}

static int load_payload(struct kernel *k, const struct kernel_target *t, struct loaded *ret,
                        struct err *e)
{
    int r = -ESTALE;

    if (!k->unpacked && k->cached.fd >= 0)
        r = load_cached(k, t, e);
    if (r == -ESTALE) {
        /* What the damaged form left is overwritten, but its zeroes may be elsewhere. */
        bool clean = t->ram_is_zero && k->unpacked;

        r = k->unpacked ? 0 : unpack_payload(k, e);
        struct image im = unpacked_image(k);
        if (r == 0)
            r = elf_load(&k->elf, &im, &(struct image_to){ t->m, clean }, e);
        free(TAKE(k->unpacked));
    }
    *ret = (struct loaded){ k->elf.end, k->bz.initrd_max };
    return r;
}

/* ---- each kind: open, load, boot ---- */

static int boot_linux64(struct kernel *k, u64 rip, const struct entry_args *a,
                        struct kernel_entry *ret, struct err *e)
{
    int r = zeropage_write(a, k->bz.hdr_len ? &k->bz : NULL, e);

    if (r == 0)
        r = entry_long64(a->m, rip, ret, e);
    ret->rsi = LAYOUT_ZERO_PAGE;
    return r;
}

static int boot_linux32(struct kernel *k, u64 rip, const struct entry_args *a,
                        struct kernel_entry *ret, struct err *e)
{
    int r = zeropage_write(a, &k->bz, e);

    if (r == 0)
        r = entry_prot32(a->m, rip, ret, e);
    ret->rsi = LAYOUT_ZERO_PAGE;
    return r;
}

static int boot_vmlinux(struct kernel *k, const struct entry_args *a, struct kernel_entry *ret,
                        struct err *e)
{
    return boot_linux64(k, k->elf.entry, a, ret, e);
}

static int boot_vmlinux32(struct kernel *k, const struct entry_args *a, struct kernel_entry *ret,
                          struct err *e)
{
    return boot_linux32(k, k->elf.entry, a, ret, e);
}

/* The bzImage's own code unpacks it; it moves itself out of its own way. */
static int load_self_unpacking(struct kernel *k, const struct kernel_target *t, struct loaded *ret,
                               struct err *e)
{
    const struct image_to to = { t->m, t->ram_is_zero };
    const struct bzimage *bz = &k->bz;
    const struct image_part part = { bz->kernel_at, bz->kernel_len, LAYOUT_HIGH_LOAD,
                                     bz->kernel_len, "kernel" };

    if (!mem_at(t->m, LAYOUT_HIGH_LOAD, bz->needs_end - LAYOUT_HIGH_LOAD))
        return err_set(
            e, -ENOMEM,
            "unpacks itself into memory up to 0x%llx, the guest has %llu MiB: give it more",
            bz->needs_end, mem_size(t->m) / MiB);
    *ret = (struct loaded){ bz->needs_end, bz->initrd_max };
    return image_load(&k->file, &part, &to, e);
}

static int boot_self_unpacking(struct kernel *k, const struct entry_args *a,
                               struct kernel_entry *ret, struct err *e)
{
    if (k->bz.entry_64)
        return boot_linux64(k, LAYOUT_HIGH_LOAD + 0x200, a, ret, e);
    return boot_linux32(k, LAYOUT_HIGH_LOAD, a, ret, e);
}

static int load_elf(struct kernel *k, const struct kernel_target *t, struct loaded *ret,
                    struct err *e)
{
    const struct image_to to = { t->m, t->ram_is_zero };

    *ret = (struct loaded){ k->elf.end, k->elf.pvh_entry ? UINT32_MAX : ZEROPAGE_INITRD_MAX };
    return elf_load(&k->elf, &k->file, &to, e);
}

static int boot_pvh(struct kernel *k, const struct entry_args *a, struct kernel_entry *ret,
                    struct err *e)
{
    int r = pvh_write(a, e);

    if (r == 0)
        r = entry_prot32(a->m, k->elf.pvh_entry, ret, e);
    ret->rbx = LAYOUT_INFO;
    return r;
}

static int load_multiboot(struct kernel *k, const struct kernel_target *t, struct loaded *ret,
                          struct err *e)
{
    const struct image_to to = { t->m, t->ram_is_zero };
    const struct image_part *p = &k->mb.load;

    *ret = (struct loaded){ k->mb.by_header ? p->gpa + p->memsz : k->elf.end, UINT32_MAX };
    if (k->mb.by_header)
        return image_load(&k->file, p, &to, e);
    return elf_load(&k->elf, &k->file, &to, e);
}

static int boot_multiboot(struct kernel *k, const struct entry_args *a, struct kernel_entry *ret,
                          struct err *e)
{
    int r = multiboot_write(a, e);

    if (r == 0)
        r = entry_prot32(a->m, k->mb.by_header ? k->mb.entry : k->elf.entry, ret, e);
    ret->rax = MULTIBOOT_EAX;
    ret->rbx = LAYOUT_INFO;
    return r;
}

static const struct kind {
    const char *name, *how;
    int (*load)(struct kernel *k, const struct kernel_target *t, struct loaded *ret, struct err *e);
    int (*boot)(struct kernel *k, const struct entry_args *a, struct kernel_entry *ret,
                struct err *e);
} kind_packed = { "bzImage", "Linux 64-bit boot protocol, unpacked by the host", load_payload,
                  boot_vmlinux },
  kind_self_unpacking = { "bzImage", "Linux boot protocol, unpacks itself", load_self_unpacking,
                          boot_self_unpacking },
  kind_packed32 = { "bzImage", "Linux 32-bit boot protocol, unpacked by the host", load_payload,
                    boot_vmlinux32 },
  kind_vmlinux = { "ELF", "Linux 64-bit boot protocol", load_elf, boot_vmlinux },
  kind_pvh = { "ELF", "PVH", load_elf, boot_pvh },
  kind_multiboot = { "Multiboot", "Multiboot 1", load_multiboot, boot_multiboot };

/* ---- open ---- */

static int open_bzimage(struct kernel *k, struct err *e)
{
    const char *format = NULL;
    int r = bzimage_parse(&k->file, &k->bz, e);

    if (r == 0)
        r = payload_format(k, &format, e);
    if (r == 0 && format)
        r = open_payload(k, e);
    if (r < 0)
        return r;
    k->kind = !format ? &kind_self_unpacking : k->elf.is_64 ? &kind_packed : &kind_packed32;
    str_fmt(k->kind_text, sizeof(k->kind_text), "%s (%s)", k->kind->name,
            format ? format : "packed in an unknown format");
    return 0;
}

static int open_multiboot(struct kernel *k, bool is_elf, struct err *e)
{
    int r = multiboot_parse(&k->file, &k->mb, e);

    k->kind = &kind_multiboot;
    if (r < 0 || k->mb.by_header)
        return r;
    if (!is_elf)
        return err_set(e, -ENOEXEC, "has a Multiboot header without addresses, and is no ELF file");
    return elf_parse(&k->file, &k->elf, e);
}

static int open_elf(struct kernel *k, struct err *e)
{
    int r = elf_parse(&k->file, &k->elf, e);

    if (r < 0)
        return r;
    k->kind = k->elf.pvh_entry ? &kind_pvh : &kind_vmlinux;
    if (k->elf.is_64 || k->elf.pvh_entry)
        return 0;
    return err_set(e, -ENOEXEC,
                   "is a 32-bit ELF file with neither a PVH note nor a Multiboot header");
}

/* An ELF64 with a Multiboot header is a Linux or PVH kernel: Multiboot 1 knows only ELF32. */
static int recognise(struct kernel *k, struct err *e)
{
    u8 head[HEAD_SIZE] = {};
    u64 len = min(k->file.size, (u64)sizeof(head));
    int r = image_read(&k->file, 0, head, len, "first bytes", e);
    bool is_elf;

    if (r < 0)
        return r;
    is_elf = elf_is(head, len);
    if (bzimage_is(head, len))
        return open_bzimage(k, e);
    if (multiboot_is(head, len) && !(is_elf && elf_is_64(head, len)))
        r = open_multiboot(k, is_elf, e);
    else if (is_elf)
        r = open_elf(k, e);
    else
        return err_set(e, -ENOEXEC, "not a kernel: neither bzImage, ELF nor Multiboot");
    str_copy(k->kind_text, sizeof(k->kind_text), r == 0 ? k->kind->name : "");
    return r;
}

static struct kernel *new_kernel(const char *cmdline)
{
    struct kernel *k = xnew(struct kernel);

    k->file.fd = k->initrd.fd = k->cached.fd = -1;
    k->cmdline = xdup(cmdline ? cmdline : "");
    k->unpack_max = KERNEL_UNPACK_MAX;
    return k;
}

void kernel_free(struct kernel *k)
{
    if (!k)
        return;
    fd_close(&k->file.fd);
    fd_close(&k->initrd.fd);
    fd_close(&k->cached.fd);
    free(k->unpacked);
    free(k->cmdline);
    free(k->cache_dir);
    free(k);
}

/* The last part of a path, cut to fit. */
static void set_name(char name[NAME_SIZE], const char *path)
{
    const char *slash = strrchr(path, '/');

    (void)str_fmt(name, NAME_SIZE, "%.*s", NAME_SIZE - 1, slash ? slash + 1 : path);
}

static int open_initrd(struct kernel *k, const char *path, struct err *e)
{
    int r = image_open(path, &k->initrd, e);

    if (r == 0 && k->initrd.size == 0)
        r = err_set(e, -ENODATA, "is empty");
    return r < 0 ? err_wrap(e, "initrd '%s'", path) : 0;
}

int kernel_open(const struct kernel_cfg *cfg, struct kernel **ret, struct err *e)
{
    AUTO(kernel) struct kernel *k = new_kernel(cfg->cmdline);
    int r;

    k->cache_dir = cfg->cache_dir ? xdup(cfg->cache_dir) : NULL;
    set_name(k->name, cfg->kernel);
    r = image_open(cfg->kernel, &k->file, e);
    if (r == 0 && fstat(k->file.fd, &k->st) < 0)
        r = err_set(e, -errno, "%s", strerror(errno));
    if (r == 0)
        r = recognise(k, e);
    if (r < 0)
        return err_wrap(e, "kernel '%s'", cfg->kernel);
    if (cfg->initrd) {
        set_name(k->initrd_name, cfg->initrd);
        r = open_initrd(k, cfg->initrd, e);
    }
    if (r == 0)
        *ret = TAKE(k);
    return r;
}

int kernel_open_image(const struct image *kernel, const struct image *initrd, const char *cmdline,
                      u64 unpack_max, struct kernel **ret, struct err *e)
{
    AUTO(kernel) struct kernel *k = new_kernel(cmdline);
    int r;

    must(kernel->mem && (initrd->mem || initrd->size == 0));
    set_name(k->name, "image");
    k->unpack_max = unpack_max;
    k->file = *kernel;
    k->file.fd = -1;
    k->initrd = *initrd;
    k->initrd.fd = -1;
    r = recognise(k, e);
    if (r == 0)
        *ret = TAKE(k);
    return r;
}

const char *kernel_kind(const struct kernel *k)
{
    return k->kind_text;
}

/* ---- load ---- */

/* As high as it may be, on a page of its own. */
static int load_initrd(const struct kernel *k, const struct kernel_target *t,
                       const struct loaded *l, u64 *ret_gpa, struct err *e)
{
    u64 size = k->initrd.size, from = 0, top = e820_low_end(t->map, l->initrd_max + 1, &from), gpa;

    from = max(from, l->end);
    if (top < size || align_down(top - size, (u64)MEM_PAGE) < from)
        return err_set(
            e, -ENOMEM,
            "no RAM for its %llu MiB between 0x%llx and 0x%llx: give the guest more memory",
            (size + MiB - 1) / MiB, from, top);
    gpa = align_down(top - size, (u64)MEM_PAGE);
    *ret_gpa = gpa;
    return image_load(&k->initrd, &(struct image_part){ 0, size, gpa, size, "content" },
                      &(struct image_to){ t->m, t->ram_is_zero }, e);
}

int kernel_load(struct kernel *k, const struct kernel_target *t, struct kernel_entry *ret,
                struct err *e)
{
    struct entry_args a = {
        .m = t->m, .map = t->map, .rsdp = t->rsdp, .name = k->name, .cmdline = k->cmdline
    };
    struct kernel_entry entry = {};
    struct loaded l = {};
    int r = k->kind->load(k, t, &l, e);

    if (r < 0)
        return err_wrap(e, "kernel '%s'", k->name);
    if (k->initrd.size > 0) {
        a.initrd_name = k->initrd_name;
        a.initrd_size = k->initrd.size;
        r = load_initrd(k, t, &l, &a.initrd_gpa, e);
        if (r < 0)
            return err_wrap(e, "initrd '%s'", k->initrd_name);
    }
    r = k->kind->boot(k, &a, &entry, e);
    if (r < 0)
        return err_wrap(e, "kernel '%s'", k->name);
    entry.how = k->kind->how;
    *ret = entry;
    return 0;
}
