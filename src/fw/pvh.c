/*
 * fw/pvh.c: the PVH start info.  (Xen, xen/include/public/arch-x86/hvm/start_info.h, version 1)
 */
#include "fw/pvh.h"

#include "fw/layout.h"

#include <assert.h>

#define MAGIC 0x336ec578 /* "xEn3" with bit 7 of 'E' set */

struct start_info {
    le32 magic, version, flags, n_modules;
    le64 modules, cmdline, rsdp, map;
    le32 map_rows, reserved;
};

struct module {
    le64 gpa, size, cmdline, reserved;
};

struct map_row {
    le64 gpa, size;
    le32 type, reserved;
};

static_assert(sizeof(struct start_info) == 56 && sizeof(struct module) == 32 &&
                  sizeof(struct map_row) == 24,
              "layouts of others");
static_assert(E820_ROWS_MAX * sizeof(struct map_row) <= MEM_PAGE, "the map has one page");

int pvh_write(const struct entry_args *a, struct err *e)
{
    const u64 modules = LAYOUT_INFO + sizeof(struct start_info);
    struct map_row rows[E820_ROWS_MAX] = {};
    bool has_initrd = a->initrd_size > 0;
    struct module initrd = { .gpa = le64_of(a->initrd_gpa), .size = le64_of(a->initrd_size) };
    struct start_info info = {
        .magic = le32_of(MAGIC),
        .version = le32_of(1),
        .n_modules = le32_of(has_initrd),
        .modules = le64_of(has_initrd ? modules : 0),
        .cmdline = le64_of(LAYOUT_CMDLINE),
        .rsdp = le64_of(a->rsdp),
        .map = le64_of(LAYOUT_INFO_MAP),
        .map_rows = le32_of(a->map->n),
    };
    int r = entry_cmdline(a->m, "", a->cmdline, LAYOUT_CMDLINE_MAX - 1, e);

    for (unsigned i = 0; i < a->map->n; i++) {
        const struct e820_row *row = &a->map->rows[i];

        rows[i] = (struct map_row){ le64_of(row->gpa), le64_of(row->size), le32_of(row->type), {} };
    }
    if (r == 0)
        r = entry_write(a->m, LAYOUT_INFO_MAP, rows, sizeof(rows), "memory map", e);
    if (r == 0)
        r = entry_write(a->m, modules, &initrd, sizeof(initrd), "module list", e);
    return r < 0 ? r : entry_write(a->m, LAYOUT_INFO, &info, sizeof(info), "start info", e);
}
