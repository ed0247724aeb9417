/*
 * host/images.c: the pool of images: list, import, delete, clone.
 * A folder ".NAME.new" is being made, ".NAME.old" is being removed; neither is an image, and what a crash left of them is removed.
 */
#include "host/images.h"

#include "base/clock.h"
#include "disk/disk.h"
#include "host/guess.h"
#include "host/newfile.h"
#include "layer/digest.h"
#include "layer/url.h"
#include "vm/spec.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JSON_MAX = 64 * 1024, COPY_CHUNK = 4 * 1024 * 1024, SUM_CHUNK = 1024 * 1024 };

int folder_remove(const char *path, struct err *e)
{
    DIR *d = opendir(path);
    struct dirent *de;
    int r = 0;

    if (!d)
        return errno == ENOENT ? 0 : err_errno(e, "folder '%s'", path);
    while (r >= 0 && (de = readdir(d))) {
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(d), de->d_name, 0) < 0)
            r = err_errno(e, "remove '%s/%.60s'", path, de->d_name);
    }
    closedir(d);
    if (r >= 0 && rmdir(path) < 0)
        r = err_errno(e, "remove folder '%s'", path);
    return r;
}

static int parse_image(const char *file, struct image_cfg *ret, struct err *e)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r;

    if (fd < 0)
        return err_errno(e, "'%s'", file);
    r = fd_read_whole(fd, JSON_MAX, &text, &len);
    if (r == -EFBIG)
        return err_set(e, -EBADMSG, "'%s' must have 1 to %d bytes", file, JSON_MAX);
    return r < 0 ? err_code(e, r, "read '%s'", file)
                 : conf_parse_text(image_cfg_fields, ret, text, len, e);
}

int images_get(const char *pool, const char *name, struct image_cfg *ret, struct err *e)
{
    AUTO(free) char *file = str_new("%s/%s/image.json", pool, name);
    int r;

    if (!spec_name_ok(name) || access(file, F_OK) < 0)
        return err_set(e, -ENOENT, "there is no image '%.63s'", name);
    r = parse_image(file, ret, e);
    if (r >= 0 && image_is_os(ret))
        ret->kind = IMAGE_CONTAINER; /* those of older versions do not say it */
    return r;
}

const struct image_file *image_file(const struct image_cfg *c, const char *name)
{
    const struct image_file *f = c->files.items;

    for (u32 i = 0; i < c->files.n; i++)
        if (strcmp(f[i].name, name) == 0)
            return &f[i];
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the pool's folders, sorted; how many. */
static u32 names_of(const char *pool, char *names[IMAGES_MAX])
{
    DIR *d = opendir(pool);
    struct dirent *de;
    u32 n = 0;

    while (d && n < IMAGES_MAX && (de = readdir(d)))
        if (spec_name_ok(de->d_name))
            names[n++] = xdup(de->d_name);
    if (d)
        closedir(d);
    qsort(names, n, sizeof(names[0]), by_name);
    return n;
}

/* Bytes of its files, or of what its root file system is made of, which it may share; 0: an older version made it, and did not note it. */
static u64 size_of(const struct image_cfg *c)
{
    const struct image_file *f = c->files.items;
    u64 size = c->bytes;

    for (u32 i = 0; i < c->files.n; i++)
        size += f[i].size;
    return size;
}

json_t *images_list(const char *pool)
{
    char *names[IMAGES_MAX];
    u32 n = names_of(pool, names);
    json_t *list = json_array();

    for (u32 i = 0; i < n; i++) {
        struct image_cfg c = {};

        if (images_get(pool, names[i], &c, NULL) >= 0) {
            json_t *j = conf_show(image_cfg_fields, &c);

            json_object_set_new(j, "name", json_string(names[i]));
            json_object_set_new(j, "size", json_integer((json_int_t)size_of(&c)));
            json_array_append_new(list, j);
        }
        conf_fini(image_cfg_fields, &c);
        free(names[i]);
    }
    return list;
}

json_t *images_layers(const char *pool, struct err *e)
{
    char *names[IMAGES_MAX];
    u32 n = names_of(pool, names);
    json_t *set = json_object();
    int r = n < IMAGES_MAX ? 0 : err_set(e, -E2BIG, "'%s' has too many images", pool);

    for (u32 i = 0; i < n; i++) {
        struct image_cfg c = {};

        if (r >= 0)
            r = images_get(pool, names[i], &c, e);
        for (u32 k = 0; k < c.layers.n; k++)
            json_object_set_new(set, c.layers.items[k], json_true());
        conf_fini(image_cfg_fields, &c);
        free(names[i]);
    }
    if (r < 0)
        json_decref(set);
    return r < 0 ? NULL : set;
}

/* The next bytes, by the file system itself where it can: between two of different kinds (an ISO on a stick, a kernel on tmpfs) it cannot. */
static ssize_t copy_some(int in, int out)
{
    ssize_t n = copy_file_range(in, NULL, out, NULL, COPY_CHUNK, 0);

    if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS))
        n = sendfile(out, in, NULL, COPY_CHUNK);
    return n;
}

/* What came from elsewhere is ours alone, and does not change any more: it may stay where it is. */
static int copy_file(struct job *j, const char *from, const char *to, bool link_it, struct err *e)
{
    AUTO(fd) int in = open(from, O_RDONLY | O_CLOEXEC);
    AUTO(fd) int out = -1;
    ssize_t n;
    int r;

    if (in < 0)
        return err_errno(e, "open '%s'", from);
    if (link_it && link(from, to) == 0)
        return fsync(in) < 0 ? err_errno(e, "write '%s'", to) : 0;
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return err_errno(e, "make '%s'", to);
    while ((n = copy_some(in, out)) > 0)
        if ((r = job_check(j, e)) < 0)
            return r;
    if (n < 0)
        return err_errno(e, "copy '%s' to '%s'", from, to);
    return fsync(out) < 0 ? err_errno(e, "write '%s'", to) : 0;
}

static int write_image(const char *folder, const struct image_cfg *c, struct err *e)
{
    AUTO(free) char *path = str_new("%s/image.json", folder);

    return newfile_json(path, conf_print(image_cfg_fields, c), e);
}

int images_sum(struct job *j, const char *file, char ret[IMAGE_SUM + 1], u64 *ret_size,
               struct err *e)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    AUTO(free) u8 *buf = xnew_n(u8, SUM_CHUNK);
    struct digest sum = {};
    char text[DIGEST_TEXT];
    ssize_t n = 0;
    int r = 0;

    if (fd < 0)
        return err_errno(e, "open '%s'", file);
    digest_init(&sum);
    while (r >= 0 && (n = read(fd, buf, SUM_CHUNK)) > 0) {
        digest_add(&sum, buf, (size_t)n);
        r = job_check(j, e);
    }
    if (n < 0)
        r = err_errno(e, "read '%s'", file);
    *ret_size = sum.len;
    digest_end(&sum, text);
    digest_fini(&sum);
    str_copy(ret, IMAGE_SUM + 1, digest_hex(text));
    return r;
}

/* What of it there is, for who wants to have it. */
static int add_sums(struct job *j, const char *folder, struct image_cfg *c, struct err *e)
{
    static const char *const all[] = { "kernel", "initrd", "disk", "iso" };
    const struct field *f = conf_field_at(image_cfg_fields, offsetof(struct image_cfg, files));

    for_each_row(name, all) {
        AUTO(free) char *path = str_new("%s/%s", folder, *name);
        char sum[IMAGE_SUM + 1];
        struct image_file *file;
        u64 size;
        int r;

        if (access(path, F_OK) < 0)
            continue;
        r = images_sum(j, path, sum, &size, e);
        if (r < 0)
            return r;
        file = conf_list_add(f, c);
        must(file);
        *file = (struct image_file){ xdup(*name), xdup(sum), size };
    }
    return 0;
}

static int fill_disk(struct job *j, const char *folder, const struct image_source *from,
                     struct err *e)
{
    AUTO(free) char *disk = str_new("%s/disk", folder);
    const struct job_convert c = { .from = { .file = from->disk, .alone = from->strange },
                                   .to = { .file = disk, .qcow2 = true, .replace = true } };

    return job_convert(j, &c, e);
}

static int fill(struct job *j, const char *folder, const struct image_source *from, struct err *e)
{
    const struct {
        const char *name, *from;
    } copies[] = { { "kernel", from->kernel }, { "initrd", from->initrd }, { "iso", from->iso } };
    struct image_cfg cfg = {
        .kind = from->iso      ? IMAGE_ISO
                : from->kernel ? IMAGE_MACHINE
                               : IMAGE_DISK,
        .append = from->append ? xdup(from->append) : NULL,
        .initrd = from->initrd,
        .disk = from->disk,
        .created = clock_real_ns() / NSEC_PER_SEC,
        .origin = from->origin ? xdup(from->origin) : NULL,
    };
    int r = 0;

    for_each_row(copy, copies) {
        AUTO(free) char *to = str_new("%s/%s", folder, copy->name);

        if (copy->from && r >= 0)
            r = copy_file(j, copy->from, to, from->strange, e);
    }
    if (r >= 0 && from->disk)
        r = fill_disk(j, folder, from, e);
    if (r >= 0)
        r = add_sums(j, folder, &cfg, e);
    if (r >= 0)
        r = write_image(folder, &cfg, e);
    conf_fini(image_cfg_fields, &cfg);
    return r;
}

static int sync_folder(const char *path, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? err_errno(e, "folder '%s'", path) : 0;
}

/* An empty folder, and the name that it will have. */
struct fresh {
    char *folder, *path;
};

static int fresh_open(struct fresh *f, const char *pool, const char *name, struct err *e)
{
    int r;

    *f = (struct fresh){ str_new("%s/.%s.new", pool, name), str_new("%s/%s", pool, name) };
    if (access(f->path, F_OK) == 0)
        return err_set(e, -EEXIST, "there is an image '%s'", name);
    r = folder_remove(f->folder, e);
    if (r >= 0 && mkdir(f->folder, 0700) < 0)
        r = err_errno(e, "make folder '%s'", f->folder);
    return r;
}

/* `r`: is it complete? */
static int fresh_end(struct fresh *f, const char *pool, int r, struct err *e)
{
    if (r >= 0 && rename(f->folder, f->path) < 0)
        r = err_errno(e, "rename '%s'", f->folder);
    if (r >= 0)
        r = sync_folder(pool, e);
    if (r < 0 && r != -EEXIST)
        (void)folder_remove(f->folder, NULL);
    free(f->folder);
    free(f->path);
    return r;
}

int images_import(struct job *j, const char *pool, const char *name,
                  const struct image_source *from, struct err *e)
{
    struct fresh f;
    int r = fresh_open(&f, pool, name, e);

    if (r >= 0)
        r = fill(j, f.folder, from, e);
    return fresh_end(&f, pool, r, e);
}

int images_put(const char *pool, const char *name, const struct image_cfg *c, struct err *e)
{
    struct fresh f;
    int r = fresh_open(&f, pool, name, e);

    if (r >= 0)
        r = write_image(f.folder, c, e);
    return fresh_end(&f, pool, r, e);
}

int images_delete(const char *pool, const char *name, struct err *e)
{
    AUTO(free) char *path = str_new("%s/%s", pool, name);
    AUTO(free) char *old = str_new("%s/.%s.old", pool, name);

    if (!spec_name_ok(name) || access(path, F_OK) < 0)
        return err_set(e, -ENOENT, "there is no image '%.63s'", name);
    (void)folder_remove(old, NULL);
    if (rename(path, old) < 0)
        return err_errno(e, "remove image '%s'", name);
    return folder_remove(old, e);
}

void images_clean(const char *pool)
{
    DIR *d = opendir(pool);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        const char *dot = strrchr(de->d_name, '.');
        AUTO(free) char *path = str_new("%s/%s", pool, de->d_name);

        if (de->d_name[0] == '.' && dot > de->d_name + 1 &&
            (strcmp(dot, ".new") == 0 || strcmp(dot, ".old") == 0))
            (void)folder_remove(path, NULL);
    }
    if (d)
        closedir(d);
}

int images_clone(struct job *j, const char *pool, const char *name, const char *file, struct err *e)
{
    AUTO(free) char *base = str_new("%s/%s/disk", pool, name);
    AUTO(free) char *backing = str_new("../../images/%s/disk", name); /* DIR can be moved */
    const struct job_image ref = { .file = base, .format = "qcow2" };
    struct job_new to = { .file = file, .qcow2 = true, .replace = true };
    AUTO(disk) struct disk *d = NULL;
    int r = job_open_image(&ref, true, &d, e);

    if (r < 0)
        return err_wrap(e, "image '%s'", name);
    to.cfg.size = d->size;
    to.cfg.backing = backing;
    to.cfg.backing_format = "qcow2";
    return job_create(j, &to, e);
}
