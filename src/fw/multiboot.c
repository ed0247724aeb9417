/*
 * fw/multiboot.c: kernels of the Multiboot 1 kind.  (Multiboot Specification 0.6.96, 3.1 to 3.3)
 */
#include "fw/multiboot.h"

#include "fw/layout.h"

#include <assert.h>

#define MAGIC 0x1badb002u

enum {
    /* Of the header.  Bits 0 to 15 are demands: we page-align modules and always tell the memory, but have no video. */
    WANT_KNOWN = 0x3,
    WANT_ANY = 0xffff,
    HAS_ADDRESSES = 1 << 16,
    HEADER_MIN = 12,
    /* Of the information: mem_*, cmdline, mods, mmap, boot_loader_name are valid. */
    INFO_FLAGS = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9,
};

struct header {
    le32 magic, flags, checksum, header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct info {
    le32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4],
        mmap_length, mmap_addr;
    le32 drives_length, drives_addr, config_table, boot_loader_name, apm_table;
};

struct module {
    le32 start, end, string, reserved;
};

/* `size` does not count itself. */
struct map_row {
    le32 size;
    le64 gpa, len;
    le32 type;
} __attribute__((packed));

/* What lies behind the information in its page. */
struct info_page {
    struct info info;
    struct module module;
    char loader[16], initrd[256];
};

static_assert(sizeof(struct info) == 72 && sizeof(struct map_row) == 24, "layouts of others");
static_assert(sizeof(struct info_page) <= MEM_PAGE &&
                  E820_ROWS_MAX * sizeof(struct map_row) <= MEM_PAGE,
              "a page each");

/* Offset of the header, or -1. */
static int find(const u8 *head, size_t len)
{
    for (size_t at = 0; at + HEADER_MIN <= min(len, (size_t)MULTIBOOT_SEARCH); at += 4) {
        const u8 *h = head + at;

        if (le_load(h, 4) == MAGIC &&
            (u32)(le_load(h, 4) + le_load(h + 4, 4) + le_load(h + 8, 4)) == 0)
            return (int)at;
    }
    return -1;
}

bool multiboot_is(const void *head, size_t len)
{
    return find(head, len) >= 0;
}

/* The header's address fields as a part to load. */
static int parse_addresses(const struct image *im, const struct header *h, struct multiboot *mb,
                           struct err *e)
{
    u64 header = le32_get(h->header_addr), load = le32_get(h->load_addr);
    u64 load_end = le32_get(h->load_end_addr), bss_end = le32_get(h->bss_end_addr);
    u64 at, filesz;

    if (load > header || header - load > mb->header_at)
        return err_set(e, -EBADMSG,
                       "damaged: Multiboot addresses 0x%llx and 0x%llx for a header at %llu", load,
                       header, mb->header_at);
    at = mb->header_at - (header - load);
    if (load_end != 0 && load_end < load)
        return err_set(e, -EBADMSG, "damaged: Multiboot load end 0x%llx before its start 0x%llx",
                       load_end, load);
    filesz = load_end ? load_end - load : im->size - at;
    if (!range_ok(at, filesz, im->size))
        return err_set(e, -ENOEXEC,
                       "truncated: it says that it is %llu bytes long, the file has %llu",
                       at + filesz, im->size);
    mb->load =
        (struct image_part){ at, filesz, load, max(filesz, bss_end > load ? bss_end - load : 0),
                             "Multiboot image" };
    mb->entry = le32_get(h->entry_addr);
    mb->by_header = true;
    return 0;
}

int multiboot_parse(const struct image *im, struct multiboot *ret, struct err *e)
{
    u8 head[MULTIBOOT_SEARCH] = {};
    struct multiboot mb = {};
    struct header h = {};
    u64 len = min(im->size, (u64)sizeof(head));
    int r = image_read(im, 0, head, len, "first bytes", e), at;
    u32 flags;

    if (r < 0)
        return r;
    at = find(head, len);
    if (at < 0)
        return err_set(e, -ENOEXEC, "has no Multiboot header");
    mb.header_at = (u64)at;
    memcpy(&h, head + at, min(sizeof(h), (size_t)len - (size_t)at));
    flags = le32_get(h.flags);
    if (flags & WANT_ANY & ~WANT_KNOWN)
        return err_set(e, -ENOEXEC, "its Multiboot header demands 0x%x, of which we have only 0x%x",
                       flags & WANT_ANY, WANT_KNOWN);
    if (flags & HAS_ADDRESSES) {
        r = image_read(im, mb.header_at, &h, sizeof(h), "Multiboot header", e);
        if (r == 0)
            r = parse_addresses(im, &h, &mb, e);
    }
    if (r == 0)
        *ret = mb;
    return r;
}

/* KiB of RAM from 1 MiB to the first hole. */
static u32 mem_upper(const struct e820 *map)
{
    for (unsigned i = 0; i < map->n; i++)
        if (map->rows[i].type == E820_RAM && map->rows[i].gpa == LAYOUT_HIGH_LOAD)
            return (u32)(min(map->rows[i].size, MEM_HIGH_START) / KiB);
    return 0;
}

static int write_map(const struct entry_args *a, struct err *e)
{
    struct map_row rows[E820_ROWS_MAX] = {};

    for (unsigned i = 0; i < a->map->n; i++) {
        const struct e820_row *row = &a->map->rows[i];

        rows[i] = (struct map_row){ le32_of(sizeof(rows[i]) - sizeof(rows[i].size)),
                                    le64_of(row->gpa), le64_of(row->size), le32_of(row->type) };
    }
    return entry_write(a->m, LAYOUT_INFO_MAP, rows, sizeof(rows), "memory map", e);
}

int multiboot_write(const struct entry_args *a, struct err *e)
{
    const u64 module = LAYOUT_INFO + offsetof(struct info_page, module);
    struct info_page page = {
        .info = {
            .flags = le32_of(INFO_FLAGS),
            .mem_lower = le32_of(LAYOUT_EBDA / KiB),
            .mem_upper = le32_of(mem_upper(a->map)),
            .cmdline = le32_of(LAYOUT_CMDLINE),
            .mods_count = le32_of(a->initrd_size > 0),
            .mods_addr = le32_of(module),
            .mmap_length = le32_of((u32)(a->map->n * sizeof(struct map_row))),
            .mmap_addr = le32_of(LAYOUT_INFO_MAP),
            .boot_loader_name = le32_of(LAYOUT_INFO + offsetof(struct info_page, loader)),
        },
        .module = {
            .start = le32_of((u32)a->initrd_gpa),
            .end = le32_of((u32)(a->initrd_gpa + a->initrd_size)),
            .string = le32_of(LAYOUT_INFO + offsetof(struct info_page, initrd)),
        },
        .loader = "Socle",
    };
    char before[256];
    int r;

    if (!str_copy(page.initrd, sizeof(page.initrd), a->initrd_name ? a->initrd_name : ""))
        page.initrd[0] = '\0'; /* the name is for people; a module does not need one */
    if (!str_fmt(before, sizeof(before), "%s%s", a->name, *a->cmdline ? " " : ""))
        str_copy(before, sizeof(before), "kernel ");
    r = entry_cmdline(a->m, before, a->cmdline, LAYOUT_CMDLINE_MAX - 1, e);
    if (r == 0)
        r = write_map(a, e);
    return r < 0 ? r
                 : entry_write(a->m, LAYOUT_INFO, &page, sizeof(page), "Multiboot information", e);
}
