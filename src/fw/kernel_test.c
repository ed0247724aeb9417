/*
 * fw/kernel_test.c: each kind of kernel from hand-made files, what is refused and how, the cache, and a real kernel.
 */
#include "fw/kernel.h"

#include "fw/layout.h"
#include "testlib/test.h"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum {
    FILE_MAX = 64 * 1024,
    SEG_AT = 0x1000,
    SEG_LEN = 0x2000,
    SEG_MEM = 0x5000,
    LOAD_AT = 0x1000000
};

/* ---- files ---- */

struct file {
    u8 bytes[FILE_MAX];
    size_t len;
};

/* An executable of one segment whose bytes are 0x90, with a PVH note when `pvh`. */
static struct file *elf64(u32 pvh)
{
    struct file *f = xnew(struct file);
    Elf64_Ehdr h = {
        .e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_entry = LOAD_AT + 0x10
    };
    Elf64_Phdr p[2] = {
        { .p_type = PT_LOAD,
          .p_offset = SEG_AT,
          .p_paddr = LOAD_AT,
          .p_filesz = SEG_LEN,
          .p_memsz = SEG_MEM },
        { .p_type = PT_NOTE, .p_offset = 0x800, .p_filesz = 40 },
    };
    const le32 notes[] = { le32_of(4), le32_of(4), le32_of(1),  le32_of(0x006e6558), le32_of(7),
                           le32_of(4), le32_of(4), le32_of(18), le32_of(0x006e6558), le32_of(pvh) };

    h.e_ident[EI_CLASS] = ELFCLASS64;
    h.e_ident[EI_DATA] = ELFDATA2LSB;
    h.e_phoff = sizeof(h);
    h.e_phentsize = sizeof(p[0]);
    h.e_phnum = pvh ? 2 : 1;
    memcpy(f->bytes, &h, sizeof(h));
    memcpy(f->bytes + sizeof(h), p, sizeof(p));
    memcpy(f->bytes + 0x800, notes, sizeof(notes));
    memset(f->bytes + SEG_AT, 0x90, SEG_LEN);
    f->len = SEG_AT + SEG_LEN;
    return f;
}

static struct file *elf32_multiboot(u32 flags)
{
    struct file *f = xnew(struct file);
    Elf32_Ehdr h = {
        .e_ident = ELFMAG, .e_type = ET_EXEC, .e_machine = EM_386, .e_entry = 0x400010
    };
    Elf32_Phdr p = { .p_type = PT_LOAD,
                     .p_offset = SEG_AT,
                     .p_paddr = 0x400000,
                     .p_filesz = SEG_LEN,
                     .p_memsz = SEG_MEM };

    h.e_ident[EI_CLASS] = ELFCLASS32;
    h.e_ident[EI_DATA] = ELFDATA2LSB;
    h.e_phoff = sizeof(h);
    h.e_phentsize = sizeof(p);
    h.e_phnum = 1;
    memcpy(f->bytes, &h, sizeof(h));
    memcpy(f->bytes + sizeof(h), &p, sizeof(p));
    memset(f->bytes + SEG_AT, 0x90, SEG_LEN);
    le_store(f->bytes + SEG_AT, 4, 0x1badb002);
    le_store(f->bytes + SEG_AT + 4, 4, flags);
    le_store(f->bytes + SEG_AT + 8, 4, (u32) - (0x1badb002 + flags));
    f->len = SEG_AT + SEG_LEN;
    return f;
}

/* No ELF: the header says where it goes. */
static struct file *multiboot_flat(void)
{
    struct file *f = xnew(struct file);
    const u32 flags = 1 << 16;
    const u32 words[] = { 0x1badb002, flags,   (u32) - (0x1badb002 + flags), 0x200040, 0x200000, 0,
                          0x204000,   0x200060 };

    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        le_store(f->bytes + 0x40 + 4 * i, 4, words[i]);
    f->len = 0x1000;
    return f;
}

/* A bzImage whose payload is `inner` packed by gzip, or the bytes of `odd`. */
static struct file *bzimage(const struct file *inner, const char *odd, u16 version)
{
    struct file *f = xnew(struct file);
    u8 *payload = f->bytes + 1024 + 0x100;
    size_t len = 4096;

    f->bytes[0x1f1] = 1;
    le_store(f->bytes + 0x1fe, 2, 0xaa55);
    f->bytes[0x201] = 0x66; /* the header ends at 0x268 */
    memcpy(f->bytes + 0x202, "HdrS", 4);
    le_store(f->bytes + 0x206, 2, version);
    f->bytes[0x211] = 1;
    le_store(f->bytes + 0x22c, 4, 0x7fffffff);
    le_store(f->bytes + 0x236, 2, 1);
    le_store(f->bytes + 0x238, 4, 30);
    le_store(f->bytes + 0x258, 8, LOAD_AT);
    le_store(f->bytes + 0x260, 4, 0x100000);
    if (inner) {
        z_stream z = { .next_out = payload, .avail_out = (uInt)(FILE_MAX - 2048) };

        z.next_in = (Bytef *)(uintptr_t)inner->bytes;
        z.avail_in = (uInt)inner->len;
        CHECK_EQ(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
        CHECK_EQ(deflate(&z, Z_FINISH), Z_STREAM_END);
        deflateEnd(&z);
        len = z.total_out;
    } else {
        memcpy(payload, odd, strlen(odd));
    }
    le_store(f->bytes + 0x248, 4, 0x100);
    le_store(f->bytes + 0x24c, 4, len);
    f->len = 1024 + 0x100 + len;
    return f;
}

static char *write_file(const char *name, const void *p, size_t len)
{
    char *path = str_new("%s/%s", test_dir(), name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(fd_write_all(fd, p, len), 0);
    return path;
}

/* ---- machine ---- */

struct machine {
    struct mem *m;
    struct e820 map;
    struct kernel_target target;
};

static void machine_init(struct machine *x, u64 size)
{
    struct err e;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = size }, &x->m, &e), &e);
    e820_init(&x->map, x->m);
    x->target = (struct kernel_target){ x->m, &x->map, 0xe0000, true };
}

static u64 word(const struct machine *x, u64 gpa, size_t len)
{
    const void *p = mem_at(x->m, gpa, len);

    CHECK(p);
    return le_load(p, len);
}

/* Opens and loads, from a file; the result of the step that failed. */
static int boot(struct machine *x, const struct file *f, const char *cmdline,
                struct kernel_entry *ret, struct err *e)
{
    AUTO(free) char *path = write_file("kernel", f->bytes, f->len);
    AUTO(free) char *initrd = write_file("initrd", "0707", 4);
    AUTO(kernel) struct kernel *k = NULL;
    int r = kernel_open(
        &(struct kernel_cfg){ .kernel = path, .initrd = initrd, .cmdline = cmdline }, &k, e);

    return r < 0 ? r : kernel_load(k, &x->target, ret, e);
}

/* ---- what each kind gets ---- */

static void check_zero_page(const struct machine *x, const char *cmdline)
{
    u64 initrd = word(x, LAYOUT_ZERO_PAGE + 0x218, 4);

    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x1fe, 2), 0xaa55);
    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x1ef, 1), 0); /* sentinel */
    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x210, 1), 0xff);
    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x070, 8), 0xe0000);
    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x1e8, 1), x->map.n);
    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x2d0 + 8, 8), LAYOUT_EBDA);
    CHECK_EQ(word(x, LAYOUT_ZERO_PAGE + 0x21c, 4), 4);
    CHECK_EQ(initrd, 64 * MiB - 4096);
    CHECK_EQ(word(x, initrd, 4), 0x37303730);
    CHECK_STR(mem_at(x->m, word(x, LAYOUT_ZERO_PAGE + 0x228, 4), 32), cmdline);
}

static void check_long64(const struct machine *x, const struct kernel_entry *k)
{
    CHECK_EQ(k->mode, KERNEL_LONG64);
    CHECK_EQ(k->rsi, LAYOUT_ZERO_PAGE);
    /* Walk to the last GiB's last page. */
    u64 pdpt = word(x, k->cr3, 8) & ~0xfffull, pd = word(x, pdpt + 3 * 8, 8) & ~0xfffull;
    CHECK_EQ(word(x, pd + 511 * 8, 8), (4 * GiB - 2 * MiB) | 0x83);
    CHECK_EQ(word(x, k->gdt_gpa + k->cs, 8), 0x00af9b000000ffff);
    CHECK_EQ(word(x, k->gdt_gpa + k->ds, 8), 0x00cf93000000ffff);
}

TEST(kernel_vmlinux)
{
    AUTO(free) struct file *f = elf64(0);
    struct kernel_entry k;
    struct machine x;
    struct err e;

    machine_init(&x, 64 * MiB);
    memset(mem_at_rw(x.m, LOAD_AT, SEG_MEM + 1), 0xcc, SEG_MEM + 1);
    x.target.ram_is_zero = false;
    CHECK_OK(boot(&x, f, "console=ttyS0", &k, &e), &e);
    CHECK_EQ(k.rip, LOAD_AT + 0x10);
    check_long64(&x, &k);
    check_zero_page(&x, "console=ttyS0");
    CHECK_EQ(word(&x, LOAD_AT + SEG_LEN - 1, 2), 0x0090);
    CHECK_EQ(word(&x, LOAD_AT + SEG_MEM - 1, 2), 0xcc00);
    mem_free(x.m);
}

/* Zeroes of a fresh guest cost no memory: the second page of the segment is not even allocated. */
/* RAM under a hole of the file, and under a page of zeroes of what was unpacked, is not touched. */
TEST(kernel_leaves_zeroes_alone)
{
    AUTO(free) struct file *f = elf64(0);
    AUTO(free) char *path = write_file("sparse", f->bytes, f->len);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);
    struct kernel_entry entry;

    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SEG_AT + MEM_PAGE, MEM_PAGE) < 0)
        test_skip("the file system of the test's folder knows no holes");
    memset(f->bytes + SEG_AT + MEM_PAGE, 0, MEM_PAGE);
    for (unsigned in_memory = 0; in_memory < 2; in_memory++) {
        const struct image im = { .mem = f->bytes, .size = f->len }, none = {};
        const struct kernel_cfg cfg = { .kernel = path };
        AUTO(kernel) struct kernel *k = NULL;
        struct machine x;
        struct err e;

        CHECK_OK(in_memory ? kernel_open_image(&im, &none, "", f->len, &k, &e)
                           : kernel_open(&cfg, &k, &e),
                 &e);
        machine_init(&x, 64 * MiB);
        mem_write(x.m, LOAD_AT + MEM_PAGE + 8, "Q", 1); /* not the zero that was promised */
        CHECK_OK(kernel_load(k, &x.target, &entry, &e), &e);
        CHECK_EQ(word(&x, LOAD_AT + MEM_PAGE - 4, 8), 0x90909090);
        CHECK_EQ(word(&x, LOAD_AT + MEM_PAGE + 8, 8), 'Q');
        mem_free(x.m);
    }
}

TEST(kernel_pvh)
{
    AUTO(free) struct file *f = elf64(LOAD_AT + 0x20);
    struct kernel_entry k;
    struct machine x;
    struct err e;

    machine_init(&x, 64 * MiB);
    CHECK_OK(boot(&x, f, "quiet", &k, &e), &e);
    CHECK_EQ(k.mode, KERNEL_PROT32);
    CHECK_EQ(k.rip, LOAD_AT + 0x20);
    CHECK_EQ(word(&x, k.gdt_gpa + k.cs, 8), 0x00cf9b000000ffff);
    CHECK_EQ(word(&x, k.gdt_gpa + k.tr, 8), 0x00008b0000000067);
    CHECK_EQ(word(&x, k.rbx, 4), 0x336ec578);
    CHECK_EQ(word(&x, k.rbx + 12, 4), 1);
    CHECK_EQ(word(&x, word(&x, k.rbx + 16, 8), 8), 64 * MiB - 4096);
    CHECK_STR(mem_at(x.m, word(&x, k.rbx + 24, 8), 6), "quiet");
    CHECK_EQ(word(&x, k.rbx + 32, 8), 0xe0000);
    CHECK_EQ(word(&x, k.rbx + 48, 4), x.map.n);
    CHECK_EQ(word(&x, word(&x, k.rbx + 40, 8) + 8, 8), LAYOUT_EBDA);
    mem_free(x.m);
}

TEST(kernel_multiboot)
{
    static const struct {
        const char *why;
        bool flat;
        u64 rip, byte;
    } rows[] = { { "an ELF", false, 0x400010, 0x400fff },
                 { "addresses in the header", true, 0x200060, 0x200040 } };

    for_each_row(c, rows) {
        AUTO(free) struct file *f = c->flat ? multiboot_flat() : elf32_multiboot(3);
        struct kernel_entry k;
        struct machine x;
        struct err e;

        ROW(c);
        machine_init(&x, 64 * MiB);
        CHECK_OK(boot(&x, f, "a b", &k, &e), &e);
        CHECK_EQ(k.mode, KERNEL_PROT32);
        CHECK_EQ(k.rip, c->rip);
        CHECK_EQ(k.rax, 0x2badb002);
        CHECK(word(&x, c->byte, 1) != 0);
        CHECK_EQ(word(&x, k.rbx, 4) & 0x4d, 0x4d);
        CHECK_EQ(word(&x, k.rbx + 8, 4), 63 * 1024);
        CHECK_STR(mem_at(x.m, word(&x, k.rbx + 16, 4), 16), "kernel a b");
        CHECK_EQ(word(&x, k.rbx + 20, 4), 1);
        CHECK_EQ(word(&x, word(&x, word(&x, k.rbx + 24, 4), 4), 4), 0x37303730);
        CHECK_EQ(word(&x, k.rbx + 44, 4), x.map.n * 24);
        CHECK_EQ(word(&x, word(&x, k.rbx + 48, 4), 4), 20);
        mem_free(x.m);
    }
}

TEST(kernel_bzimage)
{
    static const struct {
        const char *why;
        u8 packed; /* what: an ELF of so many bits, or 0: nothing that we know */
        u16 version;
        u64 rip;
        enum kernel_mode mode;
    } rows[] = {
        { "unpacked by us", 64, 0x20f, LOAD_AT + 0x10, KERNEL_LONG64 },
        { "a 32-bit kernel unpacked by us", 32, 0x20f, 0x400010, KERNEL_PROT32 },
        { "format that we do not know", 0, 0x20f, LAYOUT_HIGH_LOAD + 0x200, KERNEL_LONG64 },
        { "too old for a payload", 64, 0x207, LAYOUT_HIGH_LOAD, KERNEL_PROT32 },
    };

    for_each_row(c, rows) {
        AUTO(free) struct file *inner = c->packed == 64 ? elf64(LOAD_AT) : elf32_multiboot(3);
        AUTO(free) struct file *f = bzimage(c->packed ? inner : NULL, "BZh9", c->version);
        struct kernel_entry k;
        struct machine x;
        struct err e;

        ROW(c);
        machine_init(&x, 64 * MiB);
        CHECK_OK(boot(&x, f, "root=/dev/vda", &k, &e), &e);
        CHECK_EQ(k.mode, c->mode);
        CHECK_EQ(k.rip, c->rip);
        CHECK_EQ(k.rsi, LAYOUT_ZERO_PAGE);
        check_zero_page(&x, "root=/dev/vda");
        CHECK_EQ(word(&x, LAYOUT_ZERO_PAGE + 0x206, 2),
                 c->version);                               /* its own header was passed on */
        CHECK_EQ(word(&x, LAYOUT_ZERO_PAGE + 0x268, 8), 0); /* and nothing behind it */
        mem_free(x.m);
    }
}

/* ---- what is refused ---- */

static void not_x86(struct file *f)
{
    f->bytes[offsetof(Elf64_Ehdr, e_machine)] = EM_AARCH64;
}

static void cut(struct file *f)
{
    f->len -= 100;
}

static void low(struct file *f)
{
    le_store(f->bytes + sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), 8, 0x8000);
}

static void high(struct file *f)
{
    le_store(f->bytes + sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_paddr), 8, 64 * MiB - 4096);
}

static void many_headers(struct file *f)
{
    le_store(f->bytes + offsetof(Elf64_Ehdr, e_phnum), 2, 60000);
}

static void wraps(struct file *f)
{
    le_store(f->bytes + sizeof(Elf64_Ehdr) + offsetof(Elf64_Phdr, p_memsz), 8, ~0ull);
}

static void overlap(struct file *f)
{
    u8 *phdrs = f->bytes + sizeof(Elf64_Ehdr);

    memcpy(phdrs + sizeof(Elf64_Phdr), phdrs, sizeof(Elf64_Phdr));
    le_store(phdrs + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_paddr), 8, LOAD_AT + SEG_MEM - 1);
    le_store(f->bytes + offsetof(Elf64_Ehdr, e_phnum), 2, 2);
}

static void text(struct file *f)
{
    memset(f->bytes, 'a', f->len);
}

static void empty(struct file *f)
{
    f->len = 0;
}

static void stub(struct file *f)
{
    f->len = 30;
}

TEST(kernel_bad_elf)
{
    static const struct {
        const char *why;
        void (*spoil)(struct file *f);
        int r;
        const char *text;
    } rows[] = {
        { "other machine", not_x86, -ENOEXEC, "not for x86" },
        { "truncated", cut, -ENOEXEC, "truncated: its segment" },
        { "into boot data", low, -EBADMSG, "below 1 MiB" },
        { "RAM too small", high, -ENOMEM, "64 MiB: give it more" },
        { "too many headers", many_headers, -EBADMSG, "allowed are 1 to 128" },
        { "address wraps", wraps, -EBADMSG, "damaged: segment" },
        { "segments overlap", overlap, -EBADMSG, "overlap" },
        { "a text", text, -ENOEXEC, "not a kernel: neither bzImage, ELF nor Multiboot" },
        { "empty", empty, -ENOEXEC, "not a kernel" },
        { "shorter than its header", stub, -ENOEXEC, "truncated: its ELF header" },
    };

    for_each_row(c, rows) {
        AUTO(free) struct file *f = elf64(0);
        struct kernel_entry k;
        struct machine x;
        struct err e;

        ROW(c);
        c->spoil(f);
        machine_init(&x, 64 * MiB);
        CHECK_EQ(boot(&x, f, "", &k, &e), c->r);
        CHECK_HAS(e.text, "kernel '");
        CHECK_HAS(e.text, c->text);
        mem_free(x.m);
    }
}

TEST(kernel_bad_others)
{
    AUTO(free) struct file *inner = elf64(0);
    AUTO(free) struct file *bz = bzimage(inner, NULL, 0x20f);
    AUTO(free) struct file *mb = elf32_multiboot(8);
    AUTO(free) struct file *flat = multiboot_flat();
    AUTO(free) char *missing = str_new("%s/missing", test_dir());
    struct kernel *k = NULL;
    struct kernel_entry entry;
    struct machine x;
    struct err e;

    machine_init(&x, 64 * MiB);
    CHECK_EQ(boot(&x, bz, "0123456789012345678901234567890", &entry, &e), -E2BIG);
    CHECK_HAS(e.text, "31 bytes: it takes at most 30");
    CHECK_EQ(boot(&x, mb, "", &entry, &e), -ENOEXEC);
    CHECK_HAS(e.text, "demands 0x8");
    le_store(flat->bytes + 0x40 + 4 * 4, 4,
             0x100000); /* the image would begin 1 MiB before the file does */
    CHECK_EQ(boot(&x, flat, "", &entry, &e), -EBADMSG);
    CHECK_HAS(e.text, "damaged: Multiboot addresses");
    bz->bytes[bz->len - 3] ^= 1; /* in gzip's length */
    CHECK_EQ(boot(&x, bz, "", &entry, &e), -EBADMSG);
    bz->len -= 50;
    CHECK_EQ(boot(&x, bz, "", &entry, &e), -ENOEXEC);
    CHECK_HAS(e.text, "truncated: its payload");
    CHECK_EQ(kernel_open(&(struct kernel_cfg){ .kernel = test_dir() }, &k, &e), -EISDIR);
    CHECK_HAS(e.text, "is a directory");
    CHECK_EQ(kernel_open(&(struct kernel_cfg){ .kernel = missing }, &k, &e), -ENOENT);
    CHECK_EQ(kernel_open(&(struct kernel_cfg){ .kernel = "/dev/null" }, &k, &e), -EINVAL);
    CHECK(!k);
    mem_free(x.m);
}

TEST(kernel_initrd_does_not_fit)
{
    AUTO(free) struct file *f = elf64(0);
    AUTO(free) char *path = write_file("kernel", f->bytes, f->len);
    AUTO(free) char *initrd = str_new("%s/big", test_dir());
    AUTO(kernel) struct kernel *k = NULL;
    struct kernel_entry entry;
    struct machine x;
    struct err e;

    free(write_file("big", "", 0));
    CHECK_EQ(kernel_open(&(struct kernel_cfg){ .kernel = path, .initrd = initrd }, &k, &e),
             -ENODATA);
    CHECK_EQ(truncate(initrd, 48 << 20), 0);
    CHECK_OK(kernel_open(&(struct kernel_cfg){ .kernel = path, .initrd = initrd }, &k, &e), &e);
    machine_init(&x, 64 * MiB);
    CHECK_EQ(kernel_load(k, &x.target, &entry, &e), -ENOMEM);
    CHECK_HAS(e.text, "initrd 'big': no RAM for its 48 MiB");
    mem_free(x.m);
    /* One page more than what the kernel leaves does not fit, exactly that does. */
    machine_init(&x, 64 * MiB);
    CHECK_EQ(truncate(initrd, (48 << 20) - (SEG_MEM)), 0);
    kernel_free(TAKE(k));
    CHECK_OK(kernel_open(&(struct kernel_cfg){ .kernel = path, .initrd = initrd }, &k, &e), &e);
    CHECK_OK(kernel_load(k, &x.target, &entry, &e), &e);
    CHECK_EQ(word(&x, LAYOUT_ZERO_PAGE + 0x218, 4), LOAD_AT + SEG_MEM);
    CHECK_EQ(truncate(initrd, 4096), 0); /* under our feet */
    CHECK_EQ(kernel_load(k, &x.target, &entry, &e), -ENOEXEC);
    CHECK_HAS(e.text, "truncated");
    mem_free(x.m);
}

/* ---- cache ---- */

/* The one file in the cache; owned. */
static char *cache_file(const char *dir)
{
    DIR *d = opendir(dir);
    char *path = NULL;
    struct dirent *f;

    CHECK(d);
    while ((f = readdir(d))) {
        if (f->d_name[0] == '.')
            continue;
        CHECK(!path);
        path = str_new("%s/%s", dir, f->d_name);
    }
    closedir(d);
    CHECK(path);
    return path;
}

enum { CACHED_LEN = 4096 + SEG_AT + SEG_LEN };

static void read_cached(const char *path, u8 buf[CACHED_LEN])
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    CHECK(fd >= 0 && fstat(fd, &st) == 0);
    CHECK_EQ(st.st_size, CACHED_LEN);
    CHECK_EQ(fd_pread_all(fd, buf, CACHED_LEN, 0), 0);
}

static void load_with_cache(const char *path, const char *dir)
{
    AUTO(kernel) struct kernel *k = NULL;
    struct kernel_entry entry;
    struct machine x;
    struct err e;

    CHECK_OK(kernel_open(&(struct kernel_cfg){ .kernel = path, .cache_dir = dir }, &k, &e), &e);
    for (unsigned i = 0; i < 2; i++) { /* the second as after a reset */
        machine_init(&x, 64 * MiB);
        CHECK_OK(kernel_load(k, &x.target, &entry, &e), &e);
        CHECK_EQ(entry.rip, LOAD_AT + 0x10);
        CHECK_EQ(word(&x, LOAD_AT + 0x800, 8), 0x9090909090909090);
        mem_free(x.m);
    }
}

static void flip(const char *path, u64 at)
{
    AUTO(fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    u8 b;

    CHECK(fd >= 0);
    CHECK_EQ(fd_pread_all(fd, &b, 1, at), 0);
    b ^= 0xff;
    CHECK_EQ(fd_pwrite_all(fd, &b, 1, at), 0);
}

TEST(kernel_cache)
{
    static const struct {
        const char *why;
        s64 flip_at; /* ≥ 0 */
        off_t cut_to;
    } rows[] = {
        { "head damaged", 9, 0 },
        { "ELF header damaged", 4096 + 1, 0 },
        { "truncated", -1, 5000 },
        { "head truncated", -1, 10 },
    };
    AUTO(free) struct file *inner = elf64(0);
    AUTO(free) struct file *bz = bzimage(inner, NULL, 0x20f);
    AUTO(free) char *path = write_file("bzimage", bz->bytes, bz->len);
    AUTO(free) char *dir = str_new("%s/cache", test_dir());
    AUTO(free) u8 *good = xnew_n(u8, CACHED_LEN);
    AUTO(free) u8 *now = xnew_n(u8, CACHED_LEN);

    log_set_level(LOG_LEVEL_ERROR);
    CHECK_EQ(mkdir(dir, 0700), 0);
    load_with_cache(path, dir);
    AUTO(free) char *cached = cache_file(dir);
    read_cached(cached, good);
    struct stat st, first;
    CHECK_EQ(stat(cached, &first), 0);
    load_with_cache(path, dir);
    CHECK_EQ(stat(cached, &st), 0);
    CHECK_EQ(st.st_ino, first.st_ino); /* it was used, not made again */
    CHECK_EQ(st.st_mtim.tv_nsec, first.st_mtim.tv_nsec);
    for_each_row(c, rows) {
        ROW(c);
        if (c->flip_at >= 0)
            flip(cached, (u64)c->flip_at);
        if (c->cut_to)
            CHECK_EQ(truncate(cached, c->cut_to), 0);
        load_with_cache(path, dir);
        read_cached(cached, now);
        CHECK_MEM(now, good, CACHED_LEN);
        CHECK_EQ(chmod(cached, 0666), 0); /* not ours alone: not believed, made again */
        load_with_cache(path, dir);
        CHECK_EQ(stat(cached, &st), 0);
        CHECK_EQ(st.st_mode & 0777, 0600);
    }
    load_with_cache(path, "/nonexistent");
    load_with_cache(path, "/dev/null");
}

/* ---- a real one ---- */

TEST(kernel_real)
{
    const char *path = getenv("SOCLE_TEST_KERNEL");
    AUTO(kernel) struct kernel *k = NULL;
    struct kernel_entry entry;
    struct machine x;
    struct err e;

    if (!path)
        test_skip("SOCLE_TEST_KERNEL does not name a Linux kernel");
    CHECK_OK(kernel_open(&(struct kernel_cfg){ .kernel = path, .cmdline = "quiet" }, &k, &e), &e);
    machine_init(&x, 256 * MiB);
    CHECK_OK(kernel_load(k, &x.target, &entry, &e), &e);
    CHECK_HAS(kernel_kind(k), "bzImage (");
    CHECK_HAS(entry.how, "unpacked by the host");
    check_long64(&x, &entry);
    mem_free(x.m);
}
