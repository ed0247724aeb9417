/*
 * api/audit.c: the audit log's two files.
 *   (1) An entry is one write of one line.  What a kill left of a line is skipped, and ended before the next one.
 *   (2) Numbers rise, also over a restart.
 */
#include "api/audit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int open_file(const char *file)
{
    return open(file, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Calls fn with each entry of a file, from its last to its first, until it returns false. */
static bool each_line(const char *file, bool (*fn)(json_t *entry, void *arg), void *arg)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO(free) char *text = NULL;
    size_t len = 0;
    char *end;
    bool on = true;

    if (fd < 0 || fd_read_whole(fd, 2 * AUDIT_FILE_MAX, &text, &len) < 0)
        return true; /* it is empty, or there is none */
    end = text + len;
    while (on && end > text) {
        char *line = end - 1; /* the line feed, or the last byte of a broken line */
        json_t *j;

        while (line > text && line[-1] != '\n')
            line--;
        j = json_loadb(line, (size_t)(end - line), 0, NULL);
        if (json_is_integer(json_object_get(j, "number")))
            on = fn(j, arg);
        json_decref(j);
        end = line;
    }
    return on;
}

static u64 number_of(const json_t *entry)
{
    return (u64)json_integer_value(json_object_get(entry, "number"));
}

static bool note_last(json_t *entry, void *arg)
{
    *(u64 *)arg = number_of(entry);
    return false;
}

/* A line that was cut by a kill ends here. */
static void end_line(int fd)
{
    struct stat st;
    char last = '\n';

    if (fstat(fd, &st) == 0 && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
        last != '\n')
        (void)fd_write_all(fd, "\n", 1);
}

int audit_open(struct audit *a, const char *dir, struct err *e)
{
    AUTO(free) char *old = NULL;
    u64 last = 0;

    *a = (struct audit){ .fd = -1 };
    a->file = str_new("%s/audit.log", dir);
    old = str_new("%s.1", a->file);
    a->fd = open_file(a->file);
    if (a->fd < 0)
        return err_errno(e, "open '%s'", a->file);
    end_line(a->fd);
    if (each_line(a->file, note_last, &last))
        (void)each_line(old, note_last, &last);
    a->next = last + 1;
    return 0;
}

void audit_close(struct audit *a)
{
    if (a->file)
        fd_close(&a->fd);
    free(TAKE(a->file));
}

static void turn_over(struct audit *a)
{
    AUTO(free) char *old = str_new("%s.1", a->file);
    struct stat st;

    if (fstat(a->fd, &st) < 0 || st.st_size < AUDIT_FILE_MAX || rename(a->file, old) < 0)
        return;
    fd_close(&a->fd);
    a->fd = open_file(a->file);
}

void audit_add(struct audit *a, const struct audit_entry *entry, u64 now_s)
{
    json_t *j = json_pack("{s:I, s:I, s:s, s:s, s:s, s:s%, s:i}", "number", (json_int_t)a->next,
                          "time", (json_int_t)now_s, "who", entry->who, "from", entry->from, "what",
                          entry->what, "path", entry->path,
                          strnlen(entry->path, sizeof(entry->path)), "status", entry->status);
    char *text;
    AUTO(free) char *line = NULL;

    if (!j) /* a path that is no UTF-8 is of no request that did something */
        return;
    if (entry->note[0])
        json_object_set_new(j, "note", json_string(entry->note));
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    line = str_new("%s\n", text);
    free(text);
    turn_over(a);
    if (a->fd < 0 || fd_write_all(a->fd, line, strlen(line)) < 0)
        log_warn_limited("the audit log '%s' cannot be written", a->file);
    else
        a->next++;
}

struct page_of {
    json_t *list;
    u64 before;
    u32 limit;
    bool more;
};

static bool add_to_page(json_t *entry, void *arg)
{
    struct page_of *p = arg;

    if (number_of(entry) >= p->before)
        return true;
    p->more = json_array_size(p->list) == p->limit;
    if (!p->more)
        json_array_append(p->list, entry);
    return !p->more;
}

json_t *audit_list(const struct audit *a, u64 before, u32 limit, bool *ret_more)
{
    AUTO(free) char *old = str_new("%s.1", a->file);
    struct page_of p = { json_array(), before, limit, false };

    if (each_line(a->file, add_to_page, &p))
        (void)each_line(old, add_to_page, &p);
    *ret_more = p.more;
    return p.list;
}
