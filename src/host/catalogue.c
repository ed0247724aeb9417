/*
 * host/catalogue.c: lists of images that somebody vouches for: added, fetched, replaced by newer ones, asked.
 */
#include "host/catalogue.h"

#include "base/clock.h"
#include "host/change.h"
#include "host/layers.h"
#include "host/newfile.h"
#include "host/task_log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *path_of(const struct host *h, const char *name)
{
    return str_new("%s/catalogues/%s", h->dir, name);
}

/* ---- records ---- */

static int get_locked(struct host *h, const char *name, struct catalogue_rec *ret, struct err *e)
{
    AUTO(free) char *key = str_new("catalogue/%.63s", name);
    AUTO(store_rec) struct store_rec got = {};
    int r = spec_name_ok(name) ? store_get(h->store, key, &got, e) : -ENOENT;

    if (r == -ENOENT)
        return err_set(e, r, "there is no catalogue '%.63s'", name);
    return r < 0 ? r : conf_parse_text(catalogue_rec_fields, ret, got.value, got.len, e);
}

static void add_rec(struct host_change *c, const char *name, const struct catalogue_rec *rec)
{
    host_change_put(c, host_change_key(c, "catalogue", name),
                    conf_print(catalogue_rec_fields, rec));
}

/* ---- its file ---- */

static int write_file(const char *path, const char *signature, const char *text, size_t len,
                      struct err *e)
{
    const size_t line = strcspn(signature, "\r\n");
    struct newfile f;
    int r = newfile_open(&f, path, e);

    if (r >= 0 &&
        ((r = fd_write_all(f.fd, signature, line)) < 0 || (r = fd_write_all(f.fd, "\n", 1)) < 0 ||
         (r = fd_write_all(f.fd, text, len)) < 0 || fsync(f.fd) < 0))
        r = err_code(e, r < 0 ? r : -errno, "write '%s'", path);
    if (r >= 0)
        r = newfile_keep(&f, e);
    newfile_fini(&f);
    return r;
}

/* Signature, then version: what is there is believed no more than what comes. */
static int check(const struct catalogue_rec *rec, const char *signature, const char *text,
                 size_t len, struct catalogue *ret, struct err *e)
{
    int r = catalogue_verify(rec->key, signature, text, len, e);

    if (r >= 0)
        r = catalogue_parse(text, len, ret, e);
    if (r >= 0 && ret->version < rec->version)
        r = err_set(e, -ESTALE, "it has version %llu, and version %llu was there already",
                    ret->version, rec->version);
    return r;
}

static int read_file(const struct host *h, const char *name, const struct catalogue_rec *rec,
                     struct catalogue *ret, struct err *e)
{
    AUTO(free) char *path = path_of(h, name), *text = NULL;
    AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    size_t len = 0;
    char *end;
    int r;

    if (fd < 0)
        return err_set(e, -ENOENT, "catalogue '%s' was never fetched: its task says why", name);
    r = fd_read_whole(fd, CATALOGUE_BYTES_MAX + CATALOGUE_SIGNATURE_MAX, &text, &len);
    if (r < 0)
        return err_code(e, r, "read '%s'", path);
    end = memchr(text, '\n', len);
    if (!end)
        return err_set(e, -EBADMSG, "'%s' is damaged", path);
    *end++ = 0;
    return check(rec, text, end, len - (size_t)(end - text), ret, e);
}

/* In the file first: a record that is older than it is only less strict. */
static int keep(struct host *h, const char *name, const char *signature, const char *text,
                size_t len, struct err *e)
{
    AUTO(free) char *path = path_of(h, name);
    struct catalogue_rec rec = {};
    struct host_change c = {};
    struct catalogue cat = {};
    int r;

    host_lock(h);
    r = get_locked(h, name, &rec, e);
    if (r >= 0)
        r = check(&rec, signature, text, len, &cat, e);
    if (r >= 0)
        r = write_file(path, signature, text, len, e);
    if (r >= 0) {
        rec.version = cat.version;
        rec.fetched = clock_real_ns() / NSEC_PER_SEC;
        add_rec(&c, name, &rec);
        r = host_change_do(h, &c, NULL, e);
    }
    host_unlock(h);
    conf_fini(catalogue_fields, &cat);
    conf_fini(catalogue_rec_fields, &rec);
    return r;
}

/* ---- those that are fetched ---- */

static int fetch_text(struct task *t, const char *url, const char *folder, char **ret, size_t *len,
                      struct err *e)
{
    AUTO(free) char *body = str_new("%s/body", folder);
    const struct layers_fetching f = { .url = url,
                                       .folder = folder,
                                       .plain = true, /* the signature is what counts */
                                       .most = CATALOGUE_BYTES_MAX };
    AUTO(fd) int fd = -1;
    int r;

    (void)folder_remove(folder, NULL);
    if (mkdir(folder, 0700) < 0)
        return err_errno(e, "make folder '%s'", folder);
    r = layers_fetch(&t->job, &f, e);
    if (r < 0)
        return err_wrap(e, "'%.100s'", url);
    fd = open(body, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_read_whole(fd, CATALOGUE_BYTES_MAX, ret, len);
    return r < 0 ? err_code(e, r, "read what was fetched") : 0;
}

int catalogue_do(struct task *t, struct err *e)
{
    struct host *h = t->host;
    AUTO(free) char *folder = str_new("%s/catalogues/.%s.fetch", h->dir, t->rec.name);
    AUTO(free) char *text = NULL, *signature = NULL, *sig_url = NULL, *sig = NULL;
    struct catalogue_rec rec = {};
    size_t len = 0, sig_len = 0;
    int r;

    host_lock(h);
    r = get_locked(h, t->rec.name, &rec, e);
    host_unlock(h);
    if (r >= 0 && !rec.url)
        r = err_set(e, -EINVAL, "catalogue '%s' was sent, and is not fetched", t->rec.name);
    sig_url = str_new("%s.sig", rec.url ? rec.url : "");
    if (r >= 0)
        task_log(t, "fetch it, and its signature");
    if (r >= 0)
        r = fetch_text(t, sig_url, folder, &sig, &sig_len, e);
    if (r >= 0)
        r = fetch_text(t, rec.url, folder, &text, &len, e);
    if (r >= 0) {
        task_log(t, "check its signature");
        signature = str_new("%.*s", (int)min(sig_len, (size_t)CATALOGUE_SIGNATURE_MAX), sig);
        r = keep(h, t->rec.name, signature, text, len, e);
    }
    (void)folder_remove(folder, NULL);
    conf_fini(catalogue_rec_fields, &rec);
    return r;
}

static int count_locked(struct host *h, u32 *ret, struct err *e)
{
    AUTO(store_list) struct store_list l = {};
    int r = store_range(h->store, "catalogue/", NULL, CATALOGUES_MAX + 1, &l, e);

    *ret = l.n;
    return r;
}

static int check_new_locked(struct host *h, const char *name, struct err *e)
{
    AUTO(free) char *key = str_new("catalogue/%s", name);
    AUTO(store_rec) struct store_rec got = {};
    u32 n = 0;
    int r = count_locked(h, &n, e);

    if (r >= 0 && n >= CATALOGUES_MAX)
        r = err_set(e, -EDQUOT, "there are %u catalogues; more are not allowed", n);
    if (r >= 0 && store_get(h->store, key, &got, e) >= 0)
        r = err_set(e, -EEXIST, "there is a catalogue '%s'", name);
    return r;
}

static int begin_locked(struct host *h, const char *name, struct host_change *c,
                        const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct task_rec rec = {
        .what = TASK_CATALOGUE, .uid = who->uid, .user = host_user_of(who), .name = xdup(name)
    };
    int r = task_room_locked(h, e);

    if (r >= 0)
        return host_begin_locked(h, c, &rec, ret_task, e);
    conf_fini(task_fields, &rec);
    return r;
}

int catalogue_add(struct host *h, const char *name, const struct catalogue_rec *rec,
                  const struct host_who *who, u64 *ret_task, struct err *e)
{
    struct host_change c = {};
    int r;

    if (change_check_name(name, e) < 0)
        return -EINVAL;
    host_lock(h);
    r = check_new_locked(h, name, e);
    if (r >= 0)
        r = task_room_locked(h, e);
    if (r >= 0) {
        add_rec(&c, name, rec);
        r = begin_locked(h, name, &c, who, ret_task, e);
    }
    host_unlock(h);
    return r;
}

int catalogue_update(struct host *h, const char *name, const struct host_who *who, u64 *ret_task,
                     struct err *e)
{
    struct catalogue_rec rec = {};
    struct host_change c = {};
    int r;

    host_lock(h);
    r = get_locked(h, name, &rec, e);
    if (r >= 0)
        r = begin_locked(h, name, &c, who, ret_task, e);
    host_unlock(h);
    conf_fini(catalogue_rec_fields, &rec);
    return r;
}

/* ---- those that are sent ---- */

static int need_record(struct host *h, const char *name, const char *key, struct err *e)
{
    const struct catalogue_rec new = { .key = (char *)(uintptr_t)key };
    struct host_rider *rider = host_ride(NULL); /* its text is what was asked for */
    struct catalogue_rec rec = {};
    struct host_change c = {};
    int r;

    host_lock(h);
    r = get_locked(h, name, &rec, e);
    if (r == -ENOENT && key && (r = check_new_locked(h, name, e)) >= 0) {
        add_rec(&c, name, &new);
        r = host_change_do(h, &c, NULL, e);
    } else if (r >= 0 && key && strcmp(rec.key, key) != 0) {
        r = err_set(e, -EEXIST, "catalogue '%s' is of another key; remove it first", name);
    }
    host_unlock(h);
    host_ride(rider);
    conf_fini(catalogue_rec_fields, &rec);
    return r;
}

int catalogue_put(struct host *h, const char *name, const char *key, const char *text,
                  const char *signature, struct err *e)
{
    struct catalogue cat = {};
    int r = change_check_name(name, e);

    if (r >= 0 && key) /* before there is a record of it */
        r = catalogue_verify(key, signature, text, strlen(text), e);
    if (r >= 0)
        r = catalogue_parse(text, strlen(text), &cat, e);
    conf_fini(catalogue_fields, &cat);
    if (r >= 0)
        r = need_record(h, name, key, e);
    return r < 0 ? r : keep(h, name, signature, text, strlen(text), e);
}

/* ---- asked, and removed ---- */

int catalogue_remove(struct host *h, const char *name, struct err *e)
{
    AUTO(free) char *path = path_of(h, name);
    struct catalogue_rec rec = {};
    struct host_change c = {};
    int r;

    host_lock(h);
    r = get_locked(h, name, &rec, e);
    if (r >= 0) {
        store_txn_delete(&c.txn, host_change_key(&c, "catalogue", name));
        r = host_change_do(h, &c, NULL, e);
    }
    if (r >= 0)
        unlink(path);
    host_unlock(h);
    conf_fini(catalogue_rec_fields, &rec);
    return r;
}

static json_t *print_locked(struct host *h, const char *name, const struct store_rec *rec)
{
    struct catalogue_rec r = {};
    struct catalogue cat = {};
    json_t *j = NULL, *images = NULL;
    struct err e = {};

    if (conf_parse_text(catalogue_rec_fields, &r, rec->value, rec->len, &e) >= 0) {
        j = conf_show(catalogue_rec_fields, &r);
        json_object_set_new(j, "name", json_string(name));
        if (read_file(h, name, &r, &cat, &e) >= 0) {
            images = conf_show(catalogue_fields, &cat);
            json_object_set(j, "images", json_object_get(images, "images"));
            json_decref(images);
        } else {
            json_object_set_new(j, "why", json_string(e.text));
        }
    }
    conf_fini(catalogue_fields, &cat);
    conf_fini(catalogue_rec_fields, &r);
    return j;
}

json_t *catalogue_list(struct host *h, struct err *e)
{
    static const char prefix[] = "catalogue/";
    AUTO(store_list) struct store_list l = {};
    json_t *list = json_array();
    int r;

    host_lock(h);
    r = store_range(h->store, prefix, NULL, CATALOGUES_MAX, &l, e);
    for (u32 i = 0; i < l.n && r >= 0; i++) {
        json_t *j = print_locked(h, l.rec[i].key + strlen(prefix), &l.rec[i]);

        if (j)
            json_array_append_new(list, j);
    }
    host_unlock(h);
    if (r >= 0)
        return list;
    json_decref(list);
    return NULL;
}

/* Of several of one name the first. */
static int take(const struct catalogue *cat, const char *image, struct image_source *s,
                struct err *e)
{
    const struct catalogue_image *i = cat->images.items;

    for (u32 k = 0; k < cat->images.n; k++) {
        if (strcmp(i[k].name, image) != 0)
            continue;
        s->url = xdup(i[k].url);
        s->sha256 = xdup(i[k].sha256);
        s->part = xdup(i[k].part);
        s->append = i[k].append && !s->append ? xdup(i[k].append) : s->append;
        return 0;
    }
    return err_set(e, -ENOENT, "the catalogue has no image '%.63s'", image);
}

int catalogue_resolve_locked(struct host *h, const char *from, struct image_source *s,
                             struct err *e)
{
    const char *colon = strchr(from, ':');
    AUTO(free) char *name = str_new("%.*s", (int)(colon ? colon - from : 0), from);
    struct catalogue_rec rec = {};
    struct catalogue cat = {};
    int r = colon ? get_locked(h, name, &rec, e)
                  : err_set(e, -EINVAL, "'from' is '%.80s'; CATALOGUE:IMAGE is needed", from);

    if (r >= 0)
        r = read_file(h, name, &rec, &cat, e);
    if (r >= 0)
        r = take(&cat, colon + 1, s, e);
    conf_fini(catalogue_fields, &cat);
    conf_fini(catalogue_rec_fields, &rec);
    return r < 0 ? err_field(e, "from") : 0;
}
