/*
 * fw/zeropage.c: the boot_params page.  (Linux, Documentation/arch/x86/{boot,zero-page}.rst; offsets are from there)
 */
#include "fw/zeropage.h"

#include "fw/layout.h"

#include <assert.h>

/* clang-format off */
enum {
    ZP_RSDP = 0x070, ZP_INITRD_HIGH = 0x0c0, ZP_INITRD_SIZE_HIGH = 0x0c4, ZP_E820_N = 0x1e8, ZP_BOOT_FLAG = 0x1fe,
    ZP_MAGIC = 0x202, ZP_VERSION = 0x206, ZP_LOADER = 0x210, ZP_LOADFLAGS = 0x211, ZP_INITRD = 0x218,
    ZP_INITRD_SIZE = 0x21c, ZP_HEAP_END = 0x224, ZP_CMDLINE = 0x228, ZP_ALIGNMENT = 0x230, ZP_CMDLINE_SIZE = 0x238,
    ZP_E820 = 0x2d0,
};
/* clang-format on */

/* What a setup header would have said. */
static void bare_header(u8 *page)
{
    le_store(page + ZP_BOOT_FLAG, 2, 0xaa55);
    memcpy(page + ZP_MAGIC, "HdrS", 4);
    le_store(page + ZP_VERSION, 2, 0x20c);
    le_store(page + ZP_LOADFLAGS, 1, 1); /* loaded high */
    le_store(page + ZP_ALIGNMENT, 4, 0x1000000);
    le_store(page + ZP_CMDLINE_SIZE, 4, ZEROPAGE_CMDLINE_MAX);
}

static void write_map(u8 *page, const struct e820 *map)
{
    u8 *at = page + ZP_E820;

    static_assert(ZP_E820 + E820_ROWS_MAX * 20 <= MEM_PAGE, "the map fits into the page");
    page[ZP_E820_N] = (u8)map->n;
    for (unsigned i = 0; i < map->n; i++, at += 20) {
        le_store(at, 8, map->rows[i].gpa);
        le_store(at + 8, 8, map->rows[i].size);
        le_store(at + 16, 4, map->rows[i].type);
    }
}

int zeropage_write(const struct entry_args *a, const struct bzimage *bz, struct err *e)
{
    u8 page[MEM_PAGE] = {};
    int r = entry_cmdline(a->m, "", a->cmdline, bz ? bz->cmdline_max : ZEROPAGE_CMDLINE_MAX, e);

    if (r < 0)
        return r;
    if (bz)
        memcpy(page + BZIMAGE_HDR_AT, bz->head + BZIMAGE_HDR_AT, bz->hdr_len);
    else
        bare_header(page);
    page[ZP_LOADER] = 0xff; /* no assigned loader id */
    le_store(page + ZP_HEAP_END, 2, 0);
    le_store(page + ZP_CMDLINE, 4, LAYOUT_CMDLINE);
    le_store(page + ZP_INITRD, 4, a->initrd_gpa);
    le_store(page + ZP_INITRD_HIGH, 4, a->initrd_gpa >> 32);
    le_store(page + ZP_INITRD_SIZE, 4, a->initrd_size);
    le_store(page + ZP_INITRD_SIZE_HIGH, 4, a->initrd_size >> 32);
    le_store(page + ZP_RSDP, 8, a->rsdp);
    write_map(page, a->map);
    return entry_write(a->m, LAYOUT_ZERO_PAGE, page, sizeof(page), "boot parameters", e);
}
