/*
 * host/guess.c: what a file is, by its first bytes.
 */
#include "host/guess.h"

static const struct mark {
    u32 at;
    const char *bytes;
    u32 len;
    const char *part;
} marks[] = {
#define MARK(at, bytes, part)              \
    {                                      \
        at, bytes, sizeof(bytes) - 1, part \
    }
    MARK(32769, "CD001", "iso"),   /* ECMA-119, 8.1; a hybrid also has what is looked for last */
    MARK(0x202, "HdrS", "kernel"), /* Documentation/arch/x86/boot.rst */
    MARK(0, "\177ELF", "kernel"),
    MARK(0, "QFI\xfb", "disk"), /* qcow2 */
    MARK(0, "KDMV", "disk"),    /* vmdk */
    MARK(0, "COWD", "disk"),
    MARK(0, "# Disk DescriptorFile", "disk"),
    MARK(0, "conectix", "disk"), /* vhd */
    MARK(0, "vhdxfile", "disk"),
    MARK(0x40, "\x7f\x10\xda\xbe", "disk"), /* vdi */
    MARK(257, "ustar", "rootfs"),
    MARK(0, "\x1f\x8b", "rootfs"),         /* gzip */
    MARK(0, "\x28\xb5\x2f\xfd", "rootfs"), /* zstd */
    MARK(0,
         "\xfd"
         "7zXZ",
         "rootfs"),
    MARK(510, "\x55\xaa", "disk"), /* raw, with a boot sector */
#undef MARK
};

const char *guess_part(const void *head, size_t len)
{
    for_each_row(m, marks)
        if (len >= m->at + m->len && memcmp((const u8 *)head + m->at, m->bytes, m->len) == 0)
            return m->part;
    return NULL;
}

char **guess_member(struct image_source *s, const char *part)
{
    const struct {
        const char *name;
        char **member;
    } rows[] = { { "kernel", &s->kernel },
                 { "initrd", &s->initrd },
                 { "disk", &s->disk },
                 { "iso", &s->iso },
                 { "rootfs", &s->rootfs } };

    for_each_row(r, rows)
        if (strcmp(r->name, part) == 0)
            return r->member;
    return NULL;
}
