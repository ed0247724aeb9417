/*
 * cmd/verb_pool.c: `socle pool import, export`: images made of files, and their files had.
 */
#include "cmd/more.h"
#include "layer/registry.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD_BYTES = 33 * 1024, ISO_AT = 32769, KERNEL_AT = 0x202, BOOT_AT = 510, TAR_AT = 257 };

static const char there[] = "host:"; /* before a path of the machine on which socled is */

/* ---- what a file is ---- */

static const struct mark {
    u32 at;
    const char *bytes;
    u32 len;
    u32 member;
} marks[] = {
#define MARK(at, bytes, member)                                             \
    {                                                                       \
        at, bytes, sizeof(bytes) - 1, offsetof(struct image_source, member) \
    }
    MARK(ISO_AT, "CD001", iso), /* ECMA-119, 8.1; before BOOT_AT, which a hybrid has, too */
    MARK(KERNEL_AT, "HdrS", kernel),
    MARK(0, "\177ELF", kernel),
    MARK(0, "QFI\xfb", disk),
    MARK(0, "KDMV", disk),
    MARK(0, "COWD", disk),
    MARK(0, "# Disk DescriptorFile", disk),
    MARK(0, "conectix", disk),
    MARK(0, "vhdxfile", disk),
    MARK(0x40, "\x7f\x10\xda\xbe", disk), /* VDI */
    MARK(TAR_AT, "ustar", rootfs),
    MARK(0, "\x1f\x8b", rootfs),         /* gzip */
    MARK(0, "\x28\xb5\x2f\xfd", rootfs), /* zstd */
    MARK(0,
         "\xfd"
         "7zXZ",
         rootfs),
    MARK(BOOT_AT, "\x55\xaa", disk),
#undef MARK
};

static char **member_of(struct image_source *s, u32 at)
{
    return (char **)((u8 *)s + at);
}

/* The file becomes the part of the source that it looks like. */
static int take_file(struct image_source *s, const char *file, struct err *e)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *head = xnew_n(char, HEAD_BYTES);
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, "open '%s'", file);
    n = S_ISDIR(st.st_mode) ? 0 : pread(fd, head, HEAD_BYTES, 0);
    if (n < 0)
        return err_errno(e, "read '%s'", file);
    for_each_row(m, marks) {
        char **to = member_of(s, m->member);

        if ((u64)n < m->at + m->len || memcmp(head + m->at, m->bytes, m->len) != 0)
            continue;
        if (*to)
            return err_set(e, -EINVAL, "'%s' is a second one beside '%s'", file, *to);
        *to = xdup(file);
        return 0;
    }
    if (S_ISDIR(st.st_mode) && !s->rootfs) {
        s->rootfs = xdup(file);
        return 0;
    }
    return err_set(e, -EINVAL,
                   "what '%s' is cannot be seen: --disk, --iso, --kernel or --rootfs says it",
                   file);
}

/* ---- import ---- */

/* Of this machine: sent there, or a path from the root. */
static int settle(struct verb *v, char **file, struct err *e)
{
    AUTO(free) char *name = NULL;

    if (!*file)
        return 0;
    if (v->host && str_starts(*file, there)) {
        char *rest = xdup(*file + strlen(there));

        free(*file);
        *file = rest;
        return 0;
    }
    if (!v->host) {
        verb_from_root(v, file);
        return 0;
    }
    name = TAKE(*file);
    return transfer_upload(&v->rest, name, file, e);
}

static bool is_registrys(const char *rootfs)
{
    return access(rootfs, F_OK) < 0 && registry_is_ref(rootfs);
}

int verb_import(struct verb *v, struct err *e)
{
    struct image_source *s = &v->source;
    char **files[] = { &s->kernel, &s->initrd, &s->disk, &s->iso, &s->rootfs };
    json_t *body;
    int r = v->args.n > 1 ? take_file(s, v->args.arg[1], e) : 0;

    for_each_row(file, files)
        if (r >= 0 && !(*file == &s->rootfs && s->rootfs && is_registrys(s->rootfs)))
            r = settle(v, *file, e);
    if (r < 0)
        return r;
    body = json_pack("{s:s, s:o}", "name", v->args.arg[0], "source",
                     conf_print(image_source_fields, s));
    if (!body)
        return err_set(e, -EINVAL, "the name is not UTF-8");
    r = verb_task(v, "POST", "/1.0/images", body, e);
    json_decref(body);
    return r;
}

/* ---- export ---- */

int verb_export(struct verb *v, struct err *e)
{
    const struct transfer_get get = {
        .image = v->args.arg[0], .part = v->part, .file = v->args.arg[1], .force = v->force
    };

    return transfer_download(&v->rest, &get, e);
}
