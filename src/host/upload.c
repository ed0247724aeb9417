/*
 * host/upload.c: files that clients send in pieces: begun, written to, used, removed.
 */
#include "host/upload.h"

#include "base/clock.h"
#include "host/host.h"
#include "layer/digest.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

bool upload_name_ok(const char *name)
{
    const size_t len = strlen(name);

    if (len == 0 || len > UPLOAD_NAME_MAX || name[0] == '.')
        return false;
    for (const char *p = name; *p; p++)
        if ((u8)*p < ' ' || *p == '/' || *p == '\\' || *p == 0x7f)
            return false;
    return true;
}

/* clang-format off */
const struct field upload_fields[] = {
    FIELD_STR(upload_rec, name, "of the file where it comes from: for people", .required = true, .ok = upload_name_ok,
              .want = "1 to 255 bytes without '/' and '\\', no '.' first"),
    FIELD_INT(upload_rec, size, "its bytes", .required = true, .min = 1, .max = UPLOAD_SIZE_MAX),
    FIELD_STR(upload_rec, sha256, "of all of it, in hex; it may be told later", .ok = digest_hex_ok, .want = "64 digits 0-9a-f"),
    FIELD_INT(upload_rec, uid, "the user who began it"),
    FIELD_INT(upload_rec, created, "when it was begun, in seconds since 1970"),
    {},
};
/* clang-format on */

static u64 now_s(void)
{
    return clock_real_ns() / NSEC_PER_SEC;
}

static char *path_of(const struct host *h, const char *id)
{
    return str_new("%s/uploads/%s", h->dir, id);
}

static void upload_free(struct upload *u)
{
    conf_fini(upload_fields, &u->rec);
    free(u);
}

struct upload *upload_find_locked(struct host *h, const char *id, struct err *e)
{
    struct upload *u = h->uploads;

    while (u && strcmp(u->id, id) != 0)
        u = u->next;
    if (!u)
        err_set(e, -ENOENT, "there is no upload '%.40s'", id);
    return u;
}

json_t *upload_print_locked(const struct upload *u)
{
    json_t *j = conf_show(upload_fields, &u->rec);

    json_object_set_new(j, "id", json_string(u->id));
    json_object_set_new(j, "received", json_integer((json_int_t)u->received));
    json_object_set_new(j, "expires", json_integer((json_int_t)(u->touched + UPLOAD_IDLE_SECONDS)));
    return j;
}

/* ---- which are used ---- */

enum { PARTS = 5 };

/* The parts of a source that may be an upload. */
static void source_parts(struct image_source *s, char **parts[PARTS])
{
    parts[0] = &s->kernel;
    parts[1] = &s->initrd;
    parts[2] = &s->disk;
    parts[3] = &s->rootfs;
    parts[4] = &s->iso;
}

/* The id in a name of a file; NULL: it is no upload's. */
static const char *id_in(const char *name)
{
    return name && str_starts(name, UPLOAD_PREFIX) ? name + strlen(UPLOAD_PREFIX) : NULL;
}

static bool names(const struct image_source *s, const char *id)
{
    struct image_source copy = *s;
    char **parts[PARTS];

    source_parts(&copy, parts);
    for_each_row(p, parts)
        if (id_in(**p) && (!id || strcmp(id_in(**p), id) == 0))
            return true;
    return false;
}

bool upload_is_source(const struct image_source *s)
{
    return names(s, NULL);
}

static bool is_used_locked(const struct host *h, const char *id)
{
    for (const struct task *t = h->tasks; t; t = t->next)
        if (t->rec.what == TASK_IMPORT && t->rec.state <= TASK_RUNNING && names(&t->rec.source, id))
            return true;
    return false;
}

/* ---- they leave ---- */

static int remove_locked(struct host *h, struct upload *u, struct err *e)
{
    AUTO(free) char *path = path_of(h, u->id);
    struct host_change c = {};
    struct upload **p = &h->uploads;
    int r;

    store_txn_delete(&c.txn, host_change_key(&c, "upload", u->id));
    r = host_change_do(h, &c, NULL, e);
    if (r < 0)
        return r;
    while (*p != u)
        p = &(*p)->next;
    *p = u->next;
    h->n_uploads--;
    (void)unlink(path); /* without a record it is garbage */
    upload_free(u);
    return 0;
}

int upload_delete(struct host *h, const char *id, struct err *e)
{
    struct upload *u;
    int r;

    host_lock(h);
    u = upload_find_locked(h, id, e);
    if (!u)
        r = -ENOENT;
    else if (u->busy || is_used_locked(h, id))
        r = err_set(e, -EBUSY, "upload '%s' is %s", id,
                    u->busy ? "being sent" : "what an image is being made of");
    else
        r = remove_locked(h, u, e);
    host_unlock(h);
    return r;
}

static void remove_old_locked(struct host *h)
{
    struct host_rider *rider = host_ride(NULL); /* it is no answer to a request */
    const u64 now = now_s();

    for (struct upload *u = h->uploads, *next; u; u = next) {
        struct err e = {};

        next = u->next;
        if (u->busy || is_used_locked(h, u->id) || now < u->touched + UPLOAD_IDLE_SECONDS)
            continue;
        log_info("upload '%s' is removed: nothing came for %d hours", u->rec.name,
                 UPLOAD_IDLE_SECONDS / 3600);
        if (remove_locked(h, u, &e) < 0)
            log_warn("%s", e.text);
    }
    host_ride(rider);
}

/* As long as there are any. */
static void on_look(uv_timer_t *timer)
{
    struct host *h = timer->data;

    host_lock(h);
    remove_old_locked(h);
    if (!h->uploads)
        uv_timer_stop(timer);
    host_unlock(h);
}

static void look_again(struct host *h)
{
    uv_timer_start(&h->upload_look, on_look, UPLOAD_LOOK_SECONDS * 1000ull,
                   UPLOAD_LOOK_SECONDS * 1000ull);
}

/* ---- they are found again ---- */

static int load_one(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    struct upload *u = xnew(struct upload);
    AUTO(free) char *path = path_of(h, id);
    struct stat st;
    int r = conf_parse_text(upload_fields, &u->rec, rec->value, rec->len, e);

    if (r >= 0 && !str_copy(u->id, sizeof(u->id), id))
        r = err_set(e, -EBADMSG, "its name is too long");
    if (r < 0) {
        free(u);
        return err_wrap(e, "record '%.60s'", rec->key);
    }
    if (stat(path, &st) == 0) {
        u->received = min((u64)st.st_size, u->rec.size);
        u->touched = (u64)st.st_mtime;
    } /* else it is too old */
    u->next = h->uploads;
    h->uploads = u;
    h->n_uploads++;
    return 0;
}

static void remove_strays(struct host *h)
{
    AUTO(free) char *folder = str_new("%s/uploads", h->dir);
    DIR *d = opendir(folder);
    struct dirent *de;

    while (d && (de = readdir(d)))
        if (de->d_name[0] != '.' && !upload_find_locked(h, de->d_name, NULL))
            (void)unlinkat(dirfd(d), de->d_name, 0);
    if (d)
        closedir(d);
}

int upload_open(struct host *h, struct err *e)
{
    static const char prefix[] = "upload/";
    AUTO(store_list) struct store_list l = {};
    int r = store_range(h->store, prefix, NULL, UINT32_MAX - 1, &l, e);

    for (u32 i = 0; i < l.n && r >= 0; i++)
        r = load_one(h, l.rec[i].key + strlen(prefix), &l.rec[i], e);
    if (r < 0)
        return r;
    remove_old_locked(h);
    remove_strays(h);
    if (h->uploads)
        look_again(h);
    return 0;
}

void upload_close(struct host *h)
{
    struct upload *u;

    uv_timer_stop(&h->upload_look);
    while ((u = h->uploads)) {
        h->uploads = u->next;
        upload_free(u);
    }
}

/* ---- they are begun ---- */

/* What others have taken is gone from what is free. */
static int check_room(const char *folder, u64 size, struct err *e)
{
    struct statvfs fs;
    u64 room;

    if (statvfs(folder, &fs) < 0)
        return err_errno(e, "ask for the room in '%s'", folder);
    room = (u64)fs.f_bavail * fs.f_frsize;
    room = room > UPLOAD_LEAVES ? room - UPLOAD_LEAVES : 0;
    return size <= room
               ? 0
               : err_set(e, -ENOSPC, "the file has %llu MiB, and there is room for %llu MiB",
                         (size + MiB - 1) / MiB, room / MiB);
}

/* An empty file that has the room; where the file system cannot take it beforehand, writing finds out. */
static int make_file(struct host *h, const char *id, u64 size, struct err *e)
{
    AUTO(free) char *path = path_of(h, id);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = 0;

    if (fd < 0)
        return err_errno(e, "make '%s'", path);
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 && errno != EOPNOTSUPP)
        r = err_errno(e, "take room for %llu MiB", (size + MiB - 1) / MiB);
    if (r < 0)
        unlink(path);
    return r;
}

static int new_locked(struct host *h, struct upload *u, struct err *e)
{
    AUTO(free) char *folder = str_new("%s/uploads", h->dir), *path = path_of(h, u->id);
    struct host_change c = {};
    int r = 0;

    remove_old_locked(h);
    if (h->n_uploads >= UPLOADS_MAX)
        r = err_set(e, -EDQUOT, "there are %u uploads; more are not allowed", h->n_uploads);
    if (r >= 0)
        r = check_room(folder, u->rec.size, e);
    if (r >= 0)
        r = make_file(h, u->id, u->rec.size, e);
    if (r < 0)
        return r;
    host_change_put(&c, host_change_key(&c, "upload", u->id), conf_print(upload_fields, &u->rec));
    c.result = upload_print_locked(u);
    r = host_change_do(h, &c, NULL, e);
    if (r < 0) {
        unlink(path);
        return r;
    }
    u->next = h->uploads;
    h->uploads = u;
    h->n_uploads++;
    return 0;
}

int upload_new(struct host *h, const struct upload_rec *rec, json_t **ret, struct err *e)
{
    struct upload *u = xnew(struct upload);
    u8 id[UPLOAD_ID / 2];
    int r;

    conf_copy(upload_fields, &u->rec, rec);
    u->rec.created = u->touched = now_s();
    must(getrandom(id, sizeof(id), 0) == sizeof(id));
    for (u32 i = 0; i < sizeof(id); i++)
        must(str_fmt(u->id + 2 * i, 3, "%02x", id[i]));
    host_lock(h);
    r = new_locked(h, u, e);
    if (r >= 0) {
        *ret = upload_print_locked(u);
        look_again(h);
    }
    host_unlock(h);
    if (r < 0)
        upload_free(u);
    return r;
}

static int set_sum_locked(struct host *h, struct upload *u, const char *sha256, struct err *e)
{
    struct host_change c = {};
    struct upload_rec rec = u->rec;
    int r;

    if (u->rec.sha256)
        return strcmp(u->rec.sha256, sha256) == 0
                   ? 0
                   : err_set(e, -EBUSY, "upload '%s' was begun with another SHA-256", u->id);
    rec.sha256 = (char *)(uintptr_t)sha256;
    host_change_put(&c, host_change_key(&c, "upload", u->id), conf_print(upload_fields, &rec));
    r = host_change_do(h, &c, NULL, e);
    if (r >= 0)
        u->rec.sha256 = xdup(sha256);
    return r;
}

int upload_set_sum(struct host *h, const char *id, const char *sha256, struct err *e)
{
    struct upload *u;
    int r;

    host_lock(h);
    u = upload_find_locked(h, id, e);
    r = u ? set_sum_locked(h, u, sha256, e) : -ENOENT;
    host_unlock(h);
    return r;
}

/* ---- they are written ---- */

static int begin_locked(struct host *h, const char *id, u64 offset, u64 len, struct err *e)
{
    AUTO(free) char *path = path_of(h, id);
    struct upload *u = upload_find_locked(h, id, e);
    int fd;

    if (!u)
        return -ENOENT;
    if (u->busy)
        return err_set(e, -EBUSY, "somebody else is sending upload '%s'", id);
    if (offset != u->received) {
        err_set(e, -EBUSY, "%llu bytes of upload '%s' have come; go on from there", u->received,
                id);
        return err_field(e, "offset");
    }
    if (len == 0 || len > u->rec.size - u->received)
        return err_set(e, -EINVAL, "%llu bytes of upload '%s' are missing; %llu cannot be sent",
                       u->rec.size - u->received, id, len);
    fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    u->busy = true;
    return fd;
}

int upload_begin(struct host *h, const char *id, u64 offset, u64 len, struct err *e)
{
    int fd;

    host_lock(h);
    fd = begin_locked(h, id, offset, len, e);
    host_unlock(h);
    return fd;
}

void upload_wrote(struct host *h, const char *id, u64 received)
{
    struct upload *u;

    host_lock(h);
    u = upload_find_locked(h, id, NULL);
    if (u) {
        u->received = received;
        u->touched = now_s();
    }
    host_unlock(h);
}

void upload_end(struct host *h, const char *id)
{
    struct upload *u;

    host_lock(h);
    u = upload_find_locked(h, id, NULL);
    if (u)
        u->busy = false;
    host_unlock(h);
}

/* ---- images are made of them ---- */

int upload_check_source_locked(struct host *h, const struct image_source *s, struct err *e)
{
    struct image_source copy = *s;
    char **parts[PARTS];

    source_parts(&copy, parts);
    for_each_row(p, parts) {
        const char *id = id_in(**p);
        const struct upload *u = id ? upload_find_locked(h, id, e) : NULL;

        if (id && !u)
            return -ENOENT;
        if (u && u->received < u->rec.size)
            return err_set(e, -EBUSY, "of upload '%s' %llu of %llu bytes have come", id,
                           u->received, u->rec.size);
    }
    return 0;
}

/* Is it what was promised? */
static int verify(struct job *j, const char *path, const struct upload_rec *rec, struct err *e)
{
    char sum[DIGEST_HEX + 1];
    u64 size;
    int r = images_sum(j, path, sum, &size, e);

    if (r < 0)
        return r;
    if (size != rec->size)
        return err_set(e, -EBADMSG, "upload '%s' has %llu bytes in place of %llu", rec->name, size,
                       rec->size);
    if (rec->sha256 && strcmp(sum, rec->sha256) != 0)
        return err_set(e, -EBADMSG, "upload '%s' has the SHA-256 %s in place of %s", rec->name, sum,
                       rec->sha256);
    return 0;
}

static int resolve_one(struct job *j, struct host *h, char **name, struct err *e)
{
    const char *id = id_in(*name);
    struct upload_rec rec = {};
    AUTO(free) char *path = NULL;
    const struct upload *u;
    int r = 0;

    if (!id)
        return 0;
    host_lock(h);
    u = upload_find_locked(h, id, e);
    if (u)
        conf_copy(upload_fields, &rec, &u->rec);
    host_unlock(h);
    if (!u)
        return -ENOENT;
    path = path_of(h, id);
    r = verify(j, path, &rec, e);
    conf_fini(upload_fields, &rec);
    if (r >= 0) {
        free(*name);
        *name = TAKE(path);
    }
    return r;
}

int upload_resolve(struct job *j, struct host *h, const struct image_source *s,
                   struct image_source *ret, struct err *e)
{
    char **parts[PARTS];
    int r = 0;

    conf_copy(image_source_fields, ret, s);
    source_parts(ret, parts);
    for_each_row(p, parts)
        if (r >= 0)
            r = resolve_one(j, h, *p, e);
    return r;
}

void upload_used(struct host *h, const struct image_source *s)
{
    struct image_source copy = *s;
    char **parts[PARTS];

    source_parts(&copy, parts);
    host_lock(h);
    for_each_row(p, parts) {
        const char *id = id_in(**p);
        struct upload *u = id ? upload_find_locked(h, id, NULL) : NULL;
        struct err e = {};

        if (u && !u->busy && remove_locked(h, u, &e) < 0)
            log_warn("%s", e.text);
    }
    host_unlock(h);
}
