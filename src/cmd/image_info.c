/*
 * cmd/image_info.c: `socle image info, check, map, measure`: what only reads metadata.
 */
#include "cmd/image.h"
#include "disk/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Opened so that it can be looked at while a machine uses it, and though its backing file is gone. */
static int open_to_look(const char *file, const char *format, bool no_backing, struct disk **ret,
                        struct err *e)
{
    const struct disk_cfg cfg = { .file = file,
                                  .fd = -1,
                                  .readonly = true,
                                  .format = format,
                                  .no_backing = no_backing,
                                  .share = true };

    return disk_open(&cfg, ret, e);
}

static json_t *snapshots_json(const struct qcow2_snapshot *s, u32 n)
{
    json_t *list = json_array();

    for (u32 i = 0; i < n; i++) {
        json_t *one =
            json_pack("{s:s?, s:s?, s:I, s:I, s:I, s:I}", "id", s[i].id, "name", s[i].name, "size",
                      (json_int_t)s[i].size, "vm-state-size", (json_int_t)s[i].vm_state, "date-sec",
                      (json_int_t)(s[i].time_ns / NSEC_PER_SEC), "vm-clock-nsec",
                      (json_int_t)s[i].vm_clock_ns);

        json_array_append_new(list, one);
    }
    return list;
}

static void print_snapshots(const struct qcow2_snapshot *s, u32 n)
{
    if (n)
        printf("%-6s  %-24s  %-19s  %12s  %12s\n", "ID", "NAME", "DATE", "DISK", "MEMORY");
    for (u32 i = 0; i < n; i++) {
        time_t t = (time_t)(s[i].time_ns / NSEC_PER_SEC);
        AUTO(strbuf) struct strbuf size = {}, state = {};
        struct tm tm;
        char date[32] = "";

        if (localtime_r(&t, &tm))
            strftime(date, sizeof(date), "%F %T", &tm);
        image_add_size(&size, s[i].size);
        image_add_size(&state, s[i].vm_state);
        printf("%-6s  %-24s  %-19s  %12s  %12s\n", s[i].id, s[i].name, date, size.text, state.text);
    }
}

/* Of one image: found once, printed in either form. */
struct info {
    const char *file;
    struct disk *disk;
    u64 bytes; /* of the host's file system */
    bool qcow2;
    struct qcow2_info q;
    struct qcow2_snapshot *snapshots;
    u32 n_snapshots;
    char *backing; /* its path; owned; NULL: none */
};

static int info_open(struct info *i, const char *file, const char *format, struct err *e)
{
    struct stat st = {};
    int r;

    *i = (struct info){ .file = file };
    r = open_to_look(file, format, true, &i->disk, e);
    if (r < 0)
        return r;
    if (stat(file, &st) == 0)
        i->bytes = (u64)st.st_blocks * 512;
    i->qcow2 = disk_is_qcow2(i->disk);
    if (!i->qcow2)
        return 0;
    qcow2_info(i->disk, &i->q);
    if (i->q.backing)
        i->backing = disk_path_beside(file, i->q.backing);
    return qcow2_snapshots(i->disk, &i->snapshots, &i->n_snapshots, e);
}

static void info_close(struct info *i)
{
    qcow2_snapshots_free(i->snapshots, i->n_snapshots);
    disk_close(i->disk);
    free(i->backing);
    *i = (struct info){};
}

static void set_text(json_t *j, const char *name, const char *value)
{
    if (value)
        json_object_set_new(j, name, json_string(value));
}

/* The names are qemu-img's, which scripts know. */
static json_t *info_json(const struct info *i)
{
    json_t *j =
        json_pack("{s:s, s:s, s:I, s:I}", "filename", i->file, "format", i->disk->ops->format,
                  "virtual-size", (json_int_t)i->disk->size, "actual-size", (json_int_t)i->bytes);

    if (!i->qcow2)
        return j;
    json_object_set_new(j, "cluster-size", json_integer(i->q.cluster));
    json_object_set_new(j, "dirty-flag", json_boolean(i->q.dirty));
    set_text(j, "backing-filename", i->q.backing);
    set_text(j, "full-backing-filename", i->backing);
    set_text(j, "backing-filename-format", i->q.backing_format);
    if (i->n_snapshots)
        json_object_set_new(j, "snapshots", snapshots_json(i->snapshots, i->n_snapshots));
    json_object_set_new(
        j, "format-specific",
        json_pack("{s:s, s:{s:s, s:b, s:i, s:b, s:b, s:s}}", "type", "qcow2", "data", "compat",
                  i->q.version == 2 ? "0.10" : "1.1", "lazy-refcounts", i->q.lazy_refcounts,
                  "refcount-bits", i->q.refcount_bits, "corrupt", i->q.corrupt, "extended-l2",
                  i->q.extended_l2, "compression-type", qcow2_compression_words[i->q.compression]));
    set_text(json_object_get(json_object_get(j, "format-specific"), "data"), "data-file",
             i->q.data_file);
    return j;
}

static void print_row(const char *name, const char *value)
{
    printf("%-14s  %s\n", name, value);
}

static void print_size(const char *name, u64 bytes)
{
    AUTO(strbuf) struct strbuf text = {};

    image_add_size(&text, bytes);
    if (bytes >= KiB)
        strbuf_add(&text, " (%llu bytes)", bytes);
    print_row(name, text.text);
}

static void print_info(const struct info *i)
{
    AUTO(strbuf) struct strbuf flags = {};

    print_row("file", i->file);
    print_row("format", i->disk->ops->format);
    print_size("disk", i->disk->size);
    print_size("on the host", i->bytes);
    if (!i->qcow2)
        return;
    print_row("version", i->q.version == 2 ? "2" : "3");
    print_size("cluster", i->q.cluster);
    if (i->q.backing)
        print_row("backing file", i->backing);
    if (i->q.backing_format)
        print_row("its format", i->q.backing_format);
    if (i->q.data_file)
        print_row("data file", i->q.data_file);
    strbuf_add(&flags, "%s compression, %u-bit refcounts%s%s%s%s",
               qcow2_compression_words[i->q.compression], i->q.refcount_bits,
               i->q.lazy_refcounts ? ", lazy" : "", i->q.extended_l2 ? ", extended L2" : "",
               i->q.dirty ? ", not closed cleanly" : "", i->q.corrupt ? ", CORRUPT" : "");
    print_row("features", flags.text);
    if (i->n_snapshots)
        printf("\n");
    print_snapshots(i->snapshots, i->n_snapshots);
}

int image_do_info(struct image *im, struct err *e)
{
    AUTO(free) char *file = xdup(im->args.arg[0]), *format = im->format ? xdup(im->format) : NULL;
    json_t *list = json_array();
    int r = 0;

    for (u32 depth = 0; file && r == 0; depth++) {
        struct info i;

        if (depth == DISK_CHAIN_MAX)
            r = err_set(e, -ELOOP, "a chain of more than %u images", DISK_CHAIN_MAX);
        if (r == 0)
            r = info_open(&i, file, format, e);
        if (r < 0)
            break;
        if (im->json)
            json_array_append_new(list, info_json(&i));
        else
            printf("%s", depth ? "\n" : "");
        if (!im->json)
            print_info(&i);
        free(TAKE(format));
        format = i.q.backing_format ? xdup(i.q.backing_format) : NULL;
        free(file);
        file = im->chain ? TAKE(i.backing) : NULL;
        info_close(&i);
    }
    if (r == 0 && im->json)
        r = image_print_json(im->chain ? json_incref(list) : json_incref(json_array_get(list, 0)),
                             e);
    json_decref(list);
    return r;
}

int image_do_snapshot(struct image *im, struct err *e)
{
    static const struct {
        const char *word;
        bool list;
        int (*change)(struct disk *d, const char *name, struct err *e);
    } actions[] = { { "list", true, NULL },
                    { "create", false, qcow2_snapshot_create },
                    { "apply", false, qcow2_snapshot_apply },
                    { "delete", false, qcow2_snapshot_delete } };
    const char *word = im->args.n > 1 ? im->args.arg[1] : "list";
    struct job_image ref = image_ref_of(im, 0);
    AUTO(disk) struct disk *d = NULL;

    for_each_row(a, actions) {
        struct qcow2_snapshot *s = NULL;
        u32 n = 0;
        int r;

        if (strcmp(a->word, word) != 0)
            continue;
        if ((im->args.n == 3) == a->list)
            return err_set(e, -EINVAL, "%s %s", word, a->list ? "takes no name" : "needs a name");
        r = a->list ? open_to_look(ref.file, ref.format, true, &d, e)
                    : job_open_image(&ref, false, &d, e);
        if (r == 0 && !disk_is_qcow2(d))
            r = err_set(e, -ENOTSUP, "'%s' is %s, which has no snapshots", ref.file,
                        d->ops->format);
        if (r < 0 || !a->list)
            return r < 0 ? r : a->change(d, im->args.arg[2], e);
        r = qcow2_snapshots(d, &s, &n, e);
        if (r == 0 && im->json)
            r = image_print_json(snapshots_json(s, n), e);
        else if (r == 0)
            print_snapshots(s, n);
        qcow2_snapshots_free(s, n);
        return r;
    }
    return err_set(e, -EINVAL, "there is no action '%.60s'; list, create, apply and delete are",
                   word);
}

/* On a terminal it takes the line of the progress (ECMA-48, "EL"), which is drawn anew below it. */
static void say(void *, const char *text)
{
    fprintf(stderr, "%s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", text);
}

static void print_report(const struct qcow2_report *p)
{
    if (p->errors_fixed || p->leaks_fixed)
        printf("repaired: %llu errors, %llu leaks\n", p->errors_fixed, p->leaks_fixed);
    if (p->errors > p->errors_fixed)
        printf("%llu errors: data may be lost\n", p->errors - p->errors_fixed);
    if (p->leaks > p->leaks_fixed)
        printf("%llu clusters are leaked: they waste room, no data is lost\n",
               p->leaks - p->leaks_fixed);
    if (p->errors == p->errors_fixed && p->leaks == p->leaks_fixed)
        printf("no errors%s\n", p->errors || p->leaks ? " are left" : "");
    if (p->clusters)
        printf("%llu of %llu clusters allocated (%.1f %%), %llu compressed, %llu fragmented\n",
               p->allocated, p->clusters, 100.0 * (double)p->allocated / (double)p->clusters,
               p->compressed, p->fragmented);
}

static json_t *report_json(const char *file, const struct qcow2_report *p)
{
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "filename", file, "format",
        "qcow2", "check-errors", (json_int_t)0, "corruptions",
        (json_int_t)(p->errors - p->errors_fixed), "leaks", (json_int_t)(p->leaks - p->leaks_fixed),
        "corruptions-fixed", (json_int_t)p->errors_fixed, "leaks-fixed", (json_int_t)p->leaks_fixed,
        "total-clusters", (json_int_t)p->clusters, "allocated-clusters", (json_int_t)p->allocated,
        "compressed-clusters", (json_int_t)p->compressed, "image-end-offset", (json_int_t)p->end);
}

/* An image of a format that has nothing to check: that it opens is all that can be said. */
static int check_other(const struct image *im, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    int r = open_to_look(im->args.arg[0], im->format, true, &d, e);

    if (r < 0)
        return r;
    log_error("image check: '%s' is %s, which has nothing to check", d->name, d->ops->format);
    return IMAGE_STATUS_UNCHECKED;
}

/* A sound header is not asked for: the format is looked at, not opened. */
static bool is_qcow2(const struct image *im)
{
    AUTO(disk) struct disk *file = NULL;
    const struct disk_format *f = NULL;
    alignas(4096) u8 head[DISK_SECTOR];
    const struct disk_cfg cfg = { .file = im->args.arg[0],
                                  .fd = -1,
                                  .readonly = true,
                                  .format = "raw",
                                  .share = true,
                                  .store = true };
    struct err e;

    if (im->format)
        return strcmp(im->format, "qcow2") == 0;
    if (disk_open(&cfg, &file, &e) == 0 && file->ops->now(file, DISK_READ, head, 512, 0) == 0)
        f = disk_format_probe(head);
    return f && strcmp(f->name, "qcow2") == 0;
}

struct check {
    struct job_image image;
    u32 repair;
    struct qcow2_report report;
};

static int check(struct job *j, void *arg, struct err *e)
{
    struct check *c = arg;

    return job_examine(j, &c->image, c->repair, &c->report, e);
}

int image_do_check(struct image *im, struct err *e)
{
    static const u32 repair[] = { 0, QCOW2_REPAIR_LEAKS, QCOW2_REPAIR_LEAKS | QCOW2_REPAIR_ERRORS };
    struct check c = { .image = image_ref_of(im, 0),
                       .repair = repair[im->repair],
                       .report = { .say = im->json ? NULL : say } };
    const struct qcow2_report *p = &c.report;
    int r;

    if (!is_qcow2(im))
        return check_other(im, e);
    r = image_job(im, "check", check, &c, e);
    if (r)
        return r;
    if (im->json)
        r = image_print_json(report_json(im->args.arg[0], p), e);
    else
        print_report(p);
    if (r < 0)
        return r;
    if (p->errors > p->errors_fixed)
        return IMAGE_STATUS_CORRUPT;
    return p->leaks > p->leaks_fixed ? IMAGE_STATUS_LEAKS : 0;
}

/* As disk_map_deep, and how many backing files deep it is. */
static int map_at(struct disk *d, u64 at, u64 len, struct disk_extent *x, u32 *ret_depth,
                  struct err *e)
{
    for (*ret_depth = 0;; ++*ret_depth) {
        int r = disk_map(d, at, len, x, e);

        if (r < 0 || x->kind != DISK_MAP_ABSENT)
            return r;
        len = x->len;
        d = d->backing;
        if (!d || at >= d->size)
            return 0;
        len = min(len, d->size - at);
    }
}

static bool continues(const struct disk_extent *a, const struct disk_extent *b)
{
    return a->kind == b->kind && a->compressed == b->compressed && a->where == b->where &&
           a->allocated == b->allocated && (!a->where || a->at + a->len == b->at);
}

static void put_extent(json_t *list, u64 start, const struct disk_extent *x, u32 depth)
{
    json_t *j;

    if (!list) {
        printf("%#18llx  %#14llx  %-10s  %5u", start, x->len,
               x->kind == DISK_MAP_ABSENT ? "absent"
               : x->kind == DISK_MAP_ZERO ? (x->allocated ? "zero" : "hole")
               : x->compressed            ? "compressed"
                                          : "data",
               depth);
        if (x->where)
            printf("  %#14llx  %s", x->at, x->where->name);
        printf("\n");
        return;
    }
    j = json_pack("{s:I, s:I, s:i, s:b, s:b, s:b, s:b}", "start", (json_int_t)start, "length",
                  (json_int_t)x->len, "depth", depth, "present", x->kind != DISK_MAP_ABSENT, "zero",
                  x->kind != DISK_MAP_DATA, "data", x->kind == DISK_MAP_DATA, "compressed",
                  x->compressed);
    if (x->where)
        json_object_set_new(j, "offset", json_integer((json_int_t)x->at));
    json_array_append_new(list, j);
}

int image_do_map(struct image *im, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    json_t *list = im->json ? json_array() : NULL;
    int r = open_to_look(im->args.arg[0], im->format, false, &d, e);
    struct disk_extent x = {};
    u64 start = 0;
    u32 depth = 0;

    if (r == 0 && !list)
        printf("%18s  %14s  %-10s  %5s  %14s  %s\n", "START", "LENGTH", "KIND", "DEPTH", "AT",
               "FILE");
    while (r == 0 && start + x.len < d->size) {
        u64 at = start + x.len;
        struct disk_extent next;
        u32 next_depth;

        r = map_at(d, at, d->size - at, &next, &next_depth, e);
        if (r < 0)
            break;
        if (x.len && depth == next_depth && continues(&x, &next)) {
            x.len += next.len;
            continue;
        }
        if (x.len)
            put_extent(list, start, &x, depth);
        start = at;
        x = next;
        depth = next_depth;
    }
    if (r == 0)
        put_extent(list, start, &x, depth);
    if (r == 0 && list)
        return image_print_json(list, e);
    json_decref(list);
    return r;
}

static int measure(struct job *j, void *arg, struct err *e)
{
    return job_measure(j, arg, e);
}

int image_do_measure(struct image *im, struct err *e)
{
    struct job_image from = im->args.n ? image_ref_of(im, 0) : (struct job_image){};
    struct job_measure m = { .from = im->args.n ? &from : NULL,
                             .to = image_new_of(im, 1, im->size) };
    int r;

    from.format = im->from_format;
    m.to.qcow2 = im->to == IMAGE_TO_QCOW2;
    if (im->to == IMAGE_TO_VMDK)
        return err_set(e, -EINVAL, "what a vmdk needs is known when it is compressed");
    if (!im->args.n && !im->size)
        return err_set(e, -EINVAL, "a FILE or --size is needed");
    r = image_job(im, "measure", measure, &m, e);
    if (r)
        return r;
    if (im->json)
        return image_print_json(json_pack("{s:I, s:I}", "required", (json_int_t)m.required,
                                          "fully-allocated", (json_int_t)m.full),
                                e);
    print_size("required", m.required);
    print_size("all written", m.full);
    return 0;
}
