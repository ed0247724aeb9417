/*
 * fw/bzimage.c: the setup header of a Linux bzImage.  (Linux, Documentation/arch/x86/boot.rst)
 * Offsets here are the ones of that document, from the start of the file.
 */
#include "fw/bzimage.h"

#include "fw/layout.h"

#define XLF_KERNEL_64 1u

/* clang-format off */
enum hdr {
    HDR_SETUP_SECTS = 0x1f1, HDR_BOOT_FLAG = 0x1fe, HDR_JUMP_LEN = 0x201, HDR_MAGIC = 0x202, HDR_VERSION = 0x206,
    HDR_LOADFLAGS = 0x211, HDR_INITRD_MAX = 0x22c, HDR_XLOADFLAGS = 0x236, HDR_CMDLINE_SIZE = 0x238,
    HDR_PAYLOAD_OFFSET = 0x248, HDR_PAYLOAD_LEN = 0x24c, HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260,
};
/* clang-format on */

bool bzimage_is(const void *head, size_t len)
{
    const u8 *h = head;

    return len >= HDR_VERSION && le_load(h + HDR_BOOT_FLAG, 2) == 0xaa55 &&
           memcmp(h + HDR_MAGIC, "HdrS", 4) == 0;
}

/* The fields that came with later protocols, as far as this file's reaches. */
static int parse_optional(struct bzimage *bz, struct err *e)
{
    const u8 *h = bz->head;
    u64 at = le_load(h + HDR_PAYLOAD_OFFSET, 4), len = le_load(h + HDR_PAYLOAD_LEN, 4), pref;

    bz->initrd_max = bz->version >= 0x203 ? le_load(h + HDR_INITRD_MAX, 4) : 0x37ffffff;
    bz->cmdline_max = bz->version >= 0x206 ? le_load(h + HDR_CMDLINE_SIZE, 4) : 255;
    bz->entry_64 = bz->version >= 0x20c && (le_load(h + HDR_XLOADFLAGS, 2) & XLF_KERNEL_64);
    bz->needs_end = LAYOUT_HIGH_LOAD + bz->kernel_len;
    if (bz->version >= 0x20a) {
        pref = le_load(h + HDR_PREF_ADDRESS, 8);
        if (pref > UINT32_MAX)
            return err_set(e, -EBADMSG, "damaged: its preferred address is 0x%llx", pref);
        pref = max(pref, LAYOUT_HIGH_LOAD) + le_load(h + HDR_INIT_SIZE, 4);
        bz->needs_end = max(bz->needs_end, pref);
    }
    if (bz->version < 0x208 || len == 0)
        return 0;
    if (!range_ok(at, len, bz->kernel_len))
        return err_set(e, -ENOEXEC, "truncated: its payload of %llu bytes ends after the file",
                       len);
    bz->payload_at = bz->kernel_at + at;
    bz->payload_len = len;
    return 0;
}

int bzimage_parse(const struct image *im, struct bzimage *ret, struct err *e)
{
    struct bzimage bz = {};
    u64 sects;
    int r = image_read(im, 0, bz.head, sizeof(bz.head), "setup header", e);

    if (r < 0)
        return r;
    if (!bzimage_is(bz.head, sizeof(bz.head)))
        return err_set(e, -ENOEXEC, "is not a bzImage");
    bz.version = (u16)le_load(bz.head + HDR_VERSION, 2);
    if (bz.version < 0x202 || !(bz.head[HDR_LOADFLAGS] & 1))
        return err_set(e, -ENOEXEC,
                       "is a Linux image of boot protocol %u.%02u that loads low: too old",
                       bz.version >> 8, bz.version & 0xff);
    bz.hdr_len = min(HDR_MAGIC + (unsigned)bz.head[HDR_JUMP_LEN], (unsigned)BZIMAGE_HDR_END) -
                 BZIMAGE_HDR_AT;
    sects = bz.head[HDR_SETUP_SECTS] ? bz.head[HDR_SETUP_SECTS]
                                     : 4; /* 0 means 4, for historical reasons */
    bz.kernel_at = (sects + 1) * 512;
    if (bz.kernel_at >= im->size)
        return err_set(e, -ENOEXEC, "truncated: its kernel begins at %llu, the file has %llu bytes",
                       bz.kernel_at, im->size);
    bz.kernel_len = im->size - bz.kernel_at;
    r = parse_optional(&bz, e);
    if (r == 0)
        *ret = bz;
    return r;
}
