/*
 * cmd/image.c: `socle image`: the rows of its commands and options, and what the commands share.
 */
#include "cmd/image.h"

#include "cmd/command.h"
#include "cmd/progress.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const to_words[] = { "auto", "raw", "qcow2", "vmdk", NULL };
static const char *const repair_words[] = { "none", "leaks", "all", NULL };
static const char *const engine_words[] = { "auto", "io_uring", "threads", NULL };
#define FORMATS "raw qcow2 vmdk vdi vhd vhdx"

static void check_more(struct strbuf *out)
{
    strbuf_add(out, "Exit status: 0 no errors, or all repaired; 1 not checked; 2 errors; 3 only "
                    "leaks, which waste room;\n"
                    "63 the format has nothing to check.\n");
}

static void compare_more(struct strbuf *out)
{
    strbuf_add(out, "Exit status: 0 they read the same; 1 they differ; 2 not compared.\n");
}

static void inside_more(struct strbuf *out)
{
    strbuf_add(out, "Actions:\n"
                    "  list         show them (default)\n"
                    "  create NAME  the disk as it is\n"
                    "  apply NAME   the disk becomes what it was; what it is now is lost\n"
                    "  delete NAME\n");
}

/* clang-format off */
static const struct field fields[] = {
    FIELD_STR(image, format,         "format of the image; without it the image's first sector tells", .metavar = "FORMAT"),
    FIELD_STR(image, from_format,    "format of the source; without it its first sector tells", .metavar = "FORMAT"),
    FIELD_STR(image, snapshot,       "copy what the disk was at this snapshot inside the source, by id or name", .metavar = "NAME"),
    FIELD_ENUM(image, to, to_words,  "format of the new image; auto: qcow2 or vmdk when its name ends so, else raw; vmdk (streamOptimized) only of a copy"),
    FIELD_STR(image, backing,        "the image that has what this one has not; relative to this one's folder", .metavar = "FILE"),
    FIELD_STR(image, backing_format, "format of the backing file", .metavar = "FORMAT"),
    FIELD_STR(image, data_file,      "keep the data in this existing file", .metavar = "FILE"),
    FIELD_BOOL(image, data_raw,      "with --data-file: keep it a raw image of the disk at any time"),
    FIELD_BYTES(image, size,         "size of the disk", .metavar = "SIZE"),
    FIELD_BYTES(image, cluster,      "bytes of a cluster", .dflt = 64 * KiB, .min = 512, .max = 2 * MiB, .metavar = "SIZE"),
    FIELD_INT(image, version,        "version of qcow2", .dflt = 3, .min = 2, .max = 3),
    FIELD_INT(image, refcount_bits,  "bits of a cluster's reference count", .dflt = 16, .min = 1, .max = 64),
    FIELD_BOOL(image, lazy_refcounts, "count references only when the image is closed"),
    FIELD_BOOL(image, extended_l2,   "allocate 1/32 of a cluster at a time"),
    FIELD_ENUM(image, compression, qcow2_compression_words, "how compressed clusters are compressed"),
    FIELD_ENUM(image, prealloc, job_prealloc_words, "what is allocated before it is written"),
    FIELD_BOOL(image, compress,      "write compressed clusters"),
    FIELD_INT(image, threads,        "threads that compress; 0: one a CPU", .max = JOB_THREADS_MAX),
    FIELD_BOOL(image, force,         "replace a file that is there, once the new one is complete"),
    FIELD_ENUM(image, cache, disk_cache_words, "how files are cached"),
    FIELD_ENUM(image, engine, engine_words, "how the host is asked"),
    FIELD_BOOL(image, json,          "print JSON"),
    FIELD_BOOL(image, quiet,         "show no progress"),
    FIELD_ENUM(image, repair, repair_words, "put right what is found"),
    FIELD_BOOL(image, shrink,        "allow a smaller size: what lies after it is lost"),
    FIELD_BOOL(image, strict,        "another size is a difference"),
    FIELD_BOOL(image, unsafe,        "change only the name: the new backing file reads as the old one"),
    FIELD_BOOL(image, full,          "copy all of it; else the clone is an overlay of the source"),
    FIELD_BOOL(image, chain,         "also of each backing file"),
    FIELD_BOOL(image, write,         "write, which destroys what is there"),
    FIELD_BOOL(image, random,        "at random places, the same in each run"),
    FIELD_INT(image, depth,          "requests under way", .dflt = 64, .min = 1, .max = 256),
    FIELD_BYTES(image, block,        "bytes of a request", .dflt = 4 * KiB, .min = 512, .max = 2 * MiB, .metavar = "SIZE"),
    FIELD_INT(image, count,          "requests in all", .dflt = 75000, .min = 1, .max = 1ull << 40),
    FIELD_BYTES(image, offset,       "where the first request is", .metavar = "SIZE"),
    FIELD_BYTES(image, step,         "from one request to the next; 0: the bytes of a request", .metavar = "SIZE"),
    FIELD_INT(image, flush_every,    "flush after so many writes; 0: never", .metavar = "N"),
    FIELD_INT(image, pattern,        "the byte that is written", .max = 255),
    {},
};

#define OPT(name, field, ...) { name, fields, 0, #field, ##__VA_ARGS__ }
#define OPEN    OPT("format", format, FORMATS), OPT("cache", cache), OPT("engine", engine)
#define NEW     OPT("backing", backing, "FILE"), OPT("backing-format", backing_format, FORMATS), QCOW2
#define QCOW2   OPT("cluster", cluster, "4K 64K 1M 2M"), OPT("version", version, "2 3"), OPT("refcount-bits", refcount_bits, "8 16 32"), \
                OPT("lazy-refcounts", lazy_refcounts), OPT("extended-l2", extended_l2), OPT("compression", compression), \
                OPT("prealloc", prealloc), OPT("data-file", data_file, "FILE"), OPT("data-raw", data_raw)
#define WATCHED OPT("quiet", quiet)

static const struct opt create_opts[] = { OPT("format", to), NEW, OPT("force", force), {} };
static const struct opt info_opts[] = { OPT("format", format, FORMATS), OPT("chain", chain), OPT("json", json), {} };
static const struct opt check_opts[] = { OPEN, OPT("repair", repair), OPT("json", json), WATCHED, {} };
static const struct opt convert_opts[] = { OPT("from", from_format, FORMATS), OPT("snapshot", snapshot), OPT("to", to),
    OPT("backing", backing, "FILE"), OPT("backing-format", backing_format, FORMATS), OPT("compress", compress),
    OPT("threads", threads), OPT("size", size), QCOW2, OPT("cache", cache), OPT("engine", engine), OPT("force", force), WATCHED, {} };
static const struct opt resize_opts[] = { OPEN, OPT("shrink", shrink), WATCHED, {} };
static const struct opt snapshot_opts[] = { OPEN, OPT("json", json), {} };
static const struct opt commit_opts[] = { OPEN, WATCHED, {} };
static const struct opt rebase_opts[] = { OPEN, OPT("backing", backing, "FILE"), OPT("backing-format", backing_format, FORMATS),
    OPT("unsafe", unsafe), WATCHED, {} };
static const struct opt clone_opts[] = { OPT("from", from_format, FORMATS), OPT("full", full), OPT("to", to), QCOW2,
    OPT("cache", cache), OPT("engine", engine), OPT("force", force), WATCHED, {} };
static const struct opt map_opts[] = { OPEN, OPT("json", json), {} };
static const struct opt compare_opts[] = { OPT("format-a", format, FORMATS), OPT("format-b", from_format, FORMATS), OPT("strict", strict),
    OPT("cache", cache), OPT("engine", engine), WATCHED, {} };
static const struct opt measure_opts[] = { OPT("from", from_format, FORMATS), OPT("to", to), OPT("size", size), QCOW2, OPT("json", json), {} };
static const struct opt bench_opts[] = { OPEN, OPT("write", write), OPT("random", random), OPT("depth", depth), OPT("block", block),
    OPT("count", count), OPT("offset", offset), OPT("step", step), OPT("flush-every", flush_every), OPT("pattern", pattern),
    OPT("json", json), WATCHED, {} };

enum { CREATE, INFO, CHECK, CONVERT, RESIZE, SNAPSHOT, COMMIT, REBASE, CLONE, MAP, COMPARE, MEASURE, BENCH, N_COMMANDS };

const struct command image_commands[] = {
    [CREATE]   = { "image create",   "[OPTION]… FILE [SIZE]",          "Make an empty image", create_opts, NULL, "FILE" },
    [INFO]     = { "image info",     "[OPTION]… FILE",                 "Show what an image is", info_opts, NULL, "FILE" },
    [CHECK]    = { "image check",    "[OPTION]… FILE",                 "Is an image sound?", check_opts, check_more, "FILE" },
    [CONVERT]  = { "image convert",  "[OPTION]… SOURCE TARGET",        "Copy an image into one of another format", convert_opts, NULL, "FILE" },
    [RESIZE]   = { "image resize",   "[OPTION]… FILE [+]SIZE",         "Make a disk larger or smaller", resize_opts, NULL, "FILE" },
    [SNAPSHOT] = { "image snapshot", "[OPTION]… FILE [ACTION [NAME]]", "Show, make, return to or delete snapshots inside an image",
                   snapshot_opts, inside_more, "FILE" },
    [COMMIT]   = { "image commit",   "[OPTION]… FILE",                 "Write an overlay's data into its backing file", commit_opts, NULL, "FILE" },
    [REBASE]   = { "image rebase",   "[OPTION]… FILE",                 "Give an overlay another backing file, or none", rebase_opts, NULL, "FILE" },
    [CLONE]    = { "image clone",    "[OPTION]… SOURCE TARGET",        "Make an image that reads as another", clone_opts, NULL, "FILE" },
    [MAP]      = { "image map",      "[OPTION]… FILE",                 "Show where the bytes of a disk are", map_opts, NULL, "FILE" },
    [COMPARE]  = { "image compare",  "[OPTION]… A B",                  "Do two images read the same?", compare_opts, compare_more, "FILE" },
    [MEASURE]  = { "image measure",  "[OPTION]… [FILE]",               "How much room will a copy need?", measure_opts, NULL, "FILE" },
    [BENCH]    = { "image bench",    "[OPTION]… FILE",                 "How quick is an image?", bench_opts, NULL, "FILE" },
    [N_COMMANDS] = {},
};

static const struct {
    int (*run)(struct image *im, struct err *e);
    unsigned min, max; /* arguments */
    int failed;        /* exit status */
} runs[N_COMMANDS] = {
    [CREATE]   = { image_do_create,   1, 2, IMAGE_STATUS_FAILED },
    [INFO]     = { image_do_info,     1, 1, IMAGE_STATUS_FAILED },
    [CHECK]    = { image_do_check,    1, 1, IMAGE_STATUS_FAILED },
    [CONVERT]  = { image_do_convert,  2, 2, IMAGE_STATUS_FAILED },
    [RESIZE]   = { image_do_resize,   2, 2, IMAGE_STATUS_FAILED },
    [SNAPSHOT] = { image_do_snapshot, 1, 3, IMAGE_STATUS_FAILED },
    [COMMIT]   = { image_do_commit,   1, 1, IMAGE_STATUS_FAILED },
    [REBASE]   = { image_do_rebase,   1, 1, IMAGE_STATUS_FAILED },
    [CLONE]    = { image_do_clone,    2, 2, IMAGE_STATUS_FAILED },
    [MAP]      = { image_do_map,      1, 1, IMAGE_STATUS_FAILED },
    [COMPARE]  = { image_do_compare,  2, 2, IMAGE_STATUS_UNCOMPARED },
    [MEASURE]  = { image_do_measure,  0, 1, IMAGE_STATUS_FAILED },
    [BENCH]    = { image_do_bench,    1, 1, IMAGE_STATUS_FAILED },
};
/* clang-format on */

void image_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "Formats: raw and qcow2 are read and written; vmdk, vdi, vhd and vhdx are read; a vmdk is "
        "also what a copy can be.\n"
        "Exit status: 0 done; 1 failed, also when the command line is wrong; 128 + n: "
        "cancelled by signal n.\n"
        "`check` and `compare` have more; their help says which.\n");
}

struct job_image image_ref_of(const struct image *im, unsigned i)
{
    return (struct job_image){
        .file = im->args.arg[i],
        .format = im->format,
        .cache = (enum disk_cache)im->cache,
        .engine = (enum disk_engine)im->engine,
    };
}

static bool ends_with(const char *s, const char *end)
{
    size_t len = strlen(s), n = strlen(end);

    return len >= n && strcmp(s + len - n, end) == 0;
}

struct job_new image_new_of(const struct image *im, unsigned i, u64 size)
{
    const char *file = im->args.n > i ? im->args.arg[i] : "";

    return (struct job_new){
        .file = file,
        .qcow2 = im->to == IMAGE_TO_QCOW2 || (im->to == IMAGE_TO_AUTO && ends_with(file, "qcow2")),
        .vmdk = im->to == IMAGE_TO_VMDK || (im->to == IMAGE_TO_AUTO && ends_with(file, ".vmdk")),
        .replace = im->force,
        .prealloc = (enum job_prealloc)im->prealloc,
        .cache = (enum disk_cache)im->cache,
        .cfg = {
            .size = size,
            .version = im->version,
            .cluster = (u32)im->cluster,
            .refcount_bits = im->refcount_bits,
            .lazy_refcounts = im->lazy_refcounts,
            .extended_l2 = im->extended_l2,
            .compression = (enum qcow2_compression)im->compression,
            .backing = im->backing,
            .backing_format = im->backing_format,
            .data_file = im->data_file,
            .data_raw = im->data_raw,
        },
    };
}

int image_job(const struct image *im, const char *what,
              int (*fn)(struct job *j, void *arg, struct err *e), void *arg, struct err *e)
{
    int sig = 0, r = progress_run(im->quiet || im->json ? NULL : what, fn, arg, &sig, e);

    if (!sig)
        return r;
    log_error("image %s: cancelled", what);
    return IMAGE_STATUS_SIGNAL + sig;
}

int image_print_json(json_t *j, struct err *e)
{
    AUTO(free) char *text = json_dumps(j, JSON_INDENT(4));

    json_decref(j);
    if (!text)
        return err_set(e, -EINVAL, "a name in the image is not UTF-8 text");
    printf("%s\n", text);
    return 0;
}

void image_add_size(struct strbuf *out, u64 bytes)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double v = (double)bytes;
    unsigned i = 0;

    for (; v >= 1024 && i + 1 < ARRAY_LEN(units); i++)
        v /= 1024;
    if (v == (double)(u64)v)
        strbuf_add(out, "%llu %s", (u64)v, units[i]);
    else
        strbuf_add(out, "%.3g %s", v, units[i]);
}

static int run(u32 which, int argc, char **argv)
{
    const struct command *c = &image_commands[which];
    struct image im = {};
    struct err e = {};
    int r;

    conf_defaults(fields, &im);
    r = opt_parse(c->opts, &im, argc, argv, &im.args, &e);
    if (r == 1) {
        r = command_help_of(c);
    } else {
        if (r == 0 && (im.args.n < runs[which].min || im.args.n > runs[which].max))
            r = err_set(&e, -EINVAL, "%u arguments; it is: socle %s %s", im.args.n, c->name,
                        c->usage);
        if (r == 0)
            r = runs[which].run(&im, &e);
        if (r == 0 && fflush(stdout) != 0)
            r = err_errno(&e, "write to standard output");
        if (r < 0) {
            log_error("%s: %s", c->name, e.text);
            r = runs[which].failed;
        }
    }
    conf_fini(fields, &im);
    return r;
}

int image_main(int argc, char **argv)
{
    const struct command *self = command_find("image"), *c;

    if (argc < 1) {
        log_error("image: a command is needed; `socle help image` lists them");
        return IMAGE_STATUS_FAILED;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return command_help_of(self);
    c = command_find_sub(self, argv[0]);
    if (c)
        return run((u32)(c - image_commands), argc - 1, argv + 1);
    log_error("image: unknown command '%.60s'; `socle help image` lists them", argv[0]);
    return IMAGE_STATUS_FAILED;
}
