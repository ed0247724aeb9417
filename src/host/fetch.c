/*
 * host/fetch.c: files of the web of which images are made.
 */
#include "host/fetch.h"

#include "host/guess.h"
#include "host/layers.h"
#include "host/upload.h"
#include "layer/url.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char suffix[] = ".fetch";

static char *folder_of(const struct host *h, const char *name)
{
    return str_new("%s/.%s%s", h->images, name, suffix);
}

/* More than fits is not fetched; what came before is there already. */
static int room_in(const char *folder, const char *body, u64 *ret, struct err *e)
{
    struct statvfs fs;
    struct stat st = {};
    u64 room;

    if (statvfs(folder, &fs) < 0)
        return err_errno(e, "ask for the room in '%s'", folder);
    if (stat(body, &st) < 0)
        st.st_size = 0;
    room = (u64)fs.f_bavail * fs.f_frsize + (u64)st.st_size;
    *ret = min(room > UPLOAD_LEAVES ? room - UPLOAD_LEAVES : 1, URL_BYTES_MAX);
    return 0;
}

/* It was nobody's, who fetched it. */
static int take_over(const struct host *h, const char *body, struct err *e)
{
    AUTO(fd) int fd = open(body, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || fchmod(fd, 0600) < 0 || (h->uid == 0 && fchown(fd, 0, 0) < 0))
        return err_errno(e, "take over '%s'", body);
    return 0;
}

static int check_sum(struct job *j, const char *body, const char *sha256, struct err *e)
{
    char sum[IMAGE_SUM + 1];
    u64 size;
    int r = sha256 ? images_sum(j, body, sum, &size, e) : 0;

    if (r < 0 || !sha256 || strcmp(sum, sha256) == 0)
        return r;
    return err_set(e, -EBADMSG, "its SHA-256 is %s in place of %s", sum, sha256);
}

static int find_part(const char *body, const struct image_source *s, const char **ret,
                     struct err *e)
{
    AUTO(fd) int fd = open(body, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(free) char *head = xnew_n(char, GUESS_BYTES);
    ssize_t n = fd < 0 ? -1 : pread(fd, head, GUESS_BYTES, 0);

    if (n < 0)
        return err_errno(e, "read '%s'", body);
    *ret = s->part ? s->part : guess_part(head, (size_t)n);
    return *ret ? 0
                : err_set(e, -EINVAL,
                          "what it is cannot be seen: 'part' says kernel, disk, iso or rootfs");
}

static int fetch(struct job *j, struct host *h, const char *folder, const struct image_source *s,
                 struct err *e)
{
    AUTO(free) char *body = str_new("%s/body", folder);
    struct layers_fetching f = { .url = s->url, .folder = folder, .plain = s->sha256 != NULL };
    int r = 0;

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", folder);
    r = room_in(folder, body, &f.most, e);
    if (r >= 0)
        r = layers_fetch(j, &f, e);
    if (r >= 0)
        r = take_over(h, body, e);
    return r < 0 ? r : check_sum(j, body, s->sha256, e);
}

int fetch_source(struct job *j, struct host *h, const char *name, const struct image_source *s,
                 struct image_source *ret, struct err *e)
{
    AUTO(free) char *folder = folder_of(h, name), *body = str_new("%s/body", folder);
    const char *part = NULL;
    int r = fetch(j, h, folder, s, e);

    if (r >= 0)
        r = find_part(body, s, &part, e);
    if (r < 0)
        return err_wrap(e, "'%.100s'", s->url);
    *guess_member(ret, part) = TAKE(body);
    ret->append = s->append ? xdup(s->append) : NULL;
    ret->tag = s->tag ? xdup(s->tag) : NULL;
    return 0;
}

void fetch_clean(struct host *h, const char *name)
{
    AUTO(free) char *folder = folder_of(h, name);

    (void)folder_remove(folder, NULL);
}

static bool is_fetched(const struct host *h, const char *name, size_t len)
{
    for (const struct task *t = h->tasks; t; t = t->next)
        if (t->rec.what == TASK_IMPORT && t->rec.state <= TASK_RUNNING && t->rec.source.url &&
            strlen(t->rec.name) == len && strncmp(t->rec.name, name, len) == 0)
            return true;
    return false;
}

void fetch_clean_all(struct host *h)
{
    DIR *d = opendir(h->images);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        const size_t len = strlen(de->d_name), end = sizeof(suffix) - 1;
        AUTO(free) char *path = str_new("%s/%s", h->images, de->d_name);

        if (de->d_name[0] == '.' && len > end + 1 && strcmp(de->d_name + len - end, suffix) == 0 &&
            !is_fetched(h, de->d_name + 1, len - end - 1))
            (void)folder_remove(path, NULL);
    }
    if (d)
        closedir(d);
}
