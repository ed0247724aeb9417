/*
 * host/seed.c: the disk by which cloud-init in a guest is told: written by libarchive.
 *   (1) It is called by what it says, and never changed: a saved state that knows it finds it as it was.
 */
#include "host/seed.h"

#include "host/newfile.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    IMAGE_MAX = 2 * 1024 * 1024, /* the texts, and what libarchive puts around them: 360 KiB */
    LABEL_AT = 16 * 2048 + 40,   /* ECMA-119, 8.4: the primary descriptor's volume identifier */
    LABEL_LEN = 32,
};

static const char prefix[] = "seed-", suffix[] = ".iso";

char *seed_path(const char *folder, const struct cloud_texts *t)
{
    return str_new("%s/%s%016llx%s", folder, prefix, t->sum, suffix);
}

static int add_file(struct archive *a, const char *name, const char *text)
{
    struct archive_entry *entry = archive_entry_new();
    const size_t len = strlen(text);
    bool ok;

    must(entry);
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)len);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0444);
    ok = archive_write_header(a, entry) == ARCHIVE_OK &&
         archive_write_data(a, text, len) == (la_ssize_t)len;
    archive_entry_free(entry);
    return ok ? 0 : -EIO;
}

static int write_image(struct archive *a, void *buf, size_t *ret_used, const struct cloud_texts *t)
{
    const struct {
        const char *name, *text;
    } files[] = { { "user-data", t->user_data },
                  { "meta-data", t->meta_data },
                  { "network-config", t->network } };

    if (archive_write_set_format_iso9660(a) != ARCHIVE_OK ||
        archive_write_set_options(a, "volume-id=cidata,joliet,rockridge=useful") != ARCHIVE_OK ||
        archive_write_open_memory(a, buf, IMAGE_MAX, ret_used) != ARCHIVE_OK)
        return -EIO;
    for_each_row(f, files)
        if (add_file(a, f->name, f->text) < 0)
            return -EIO;
    return archive_write_close(a) == ARCHIVE_OK ? 0 : -EIO;
}

/* libarchive makes it upper case, as the standard has it; cloud-init looks for either, others for what NoCloud's documents say. */
static void set_label(u8 *image)
{
    memset(image + LABEL_AT, ' ', LABEL_LEN);
    memcpy(image + LABEL_AT, "cidata", strlen("cidata"));
}

static int keep(const char *path, const u8 *image, size_t len, struct err *e)
{
    struct newfile f;
    int r = newfile_open(&f, path, e);

    if (r >= 0 && ((r = fd_write_all(f.fd, image, len)) < 0 || fsync(f.fd) < 0))
        r = err_code(e, r < 0 ? r : -errno, "write '%s'", path);
    if (r >= 0)
        r = newfile_keep(&f, e);
    newfile_fini(&f);
    return r;
}

int seed_make(const char *path, const struct cloud_texts *t, struct err *e)
{
    AUTO(free) u8 *image = NULL;
    struct archive *a;
    size_t used = 0;
    int r;

    if (access(path, F_OK) == 0)
        return 0;
    a = archive_write_new();
    image = xnew_n(u8, IMAGE_MAX);
    must(a);
    r = write_image(a, image, &used, t);
    if (r < 0)
        err_set(e, r, "make the seed of cloud-init: %s", archive_error_string(a));
    archive_write_free(a);
    if (r < 0)
        return r;
    set_label(image);
    return keep(path, image, used, e);
}

void seed_clean(const char *folder, const char *keep)
{
    DIR *d = opendir(folder);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        const char *dot = strrchr(de->d_name, '.');
        AUTO(free) char *path = str_new("%s/%s", folder, de->d_name);

        if (str_starts(de->d_name, prefix) && dot && strcmp(dot, suffix) == 0 &&
            strcmp(path, keep) != 0)
            unlink(path);
    }
    if (d)
        closedir(d);
}
