/*
 * layer/layer_fuzz.c: any bytes as a packed layer: nothing appears outside its directory, and what is inside keeps the limits.
 */
#include "layer/beneath.h"
#include "layer/layer_rig.h"
#include "layer/unpack.h"
#include "testlib/fuzz.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { ENTRIES_MAX = 50, BYTES_MAX = 1 << 16, STREAM_MAX = 1 << 20 };

static char outer[] = "/tmp/socle-layer-fuzz-XXXXXX";
static int outer_fd = -1;
static u64 found, found_bytes;

static void remove_outer(void)
{
    (void)rmdir(outer);
}

static void open_outer(void)
{
    if (outer_fd >= 0)
        return;
    must(mkdtemp(outer));
    outer_fd = open(outer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(outer_fd >= 0 && atexit(remove_outer) == 0);
}

static int look(const char *path, const struct stat *st, int, struct FTW *at)
{
    found++;
    if (S_ISREG(st->st_mode))
        found_bytes += (u64)st->st_size;
    must(at->level <= UNPACK_DEPTH_MAX + 1);
    must(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode) ||
         S_ISFIFO(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0)));
    must(!strstr(path, "/.wh."));
    return 0;
}

/* From within, because a path in the layer may be as long as a path can be. */
static void walk(void)
{
    AUTO(fd) int was = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    found = found_bytes = 0;
    must(was >= 0 && fchdir(outer_fd) == 0);
    must(nftw("layer", look, 8, FTW_PHYS) == 0);
    must(fchdir(was) == 0);
}

/* Only the layer lies in the directory around it. */
static void check_outer(void)
{
    struct stat st;

    must(unlinkat(outer_fd, "layer", AT_REMOVEDIR) == 0 || errno == ENOENT);
    must(fstat(outer_fd, &st) == 0 && st.st_nlink == 2);
    must(rmdir(outer) == 0); /* it is empty */
    must(mkdir(outer, 0700) == 0);
    fd_close(&outer_fd);
    outer_fd = open(outer, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

FUZZ(layer)
{
    const struct stream_limits limits = { .bytes = STREAM_MAX,
                                          .ratio = 100,
                                          .ratio_free = 1 << 18 };
    const struct unpack_cfg cfg = { .user_xattr = true,
                                    .single_id = true,
                                    .devices =
                                        size & 1 ? UNPACK_DEVICES_REFUSE : UNPACK_DEVICES_LEAVE_OUT,
                                    .entries_max = ENTRIES_MAX,
                                    .bytes_max = BYTES_MAX };
    AUTO(stream) struct stream *s = NULL;
    struct unpack_stats stats = {};
    struct stream_sums sums;
    struct mem_blob b;
    struct err e = {};
    AUTO(fd) int dir = -1;
    int r;

    open_outer();
    must(mkdirat(outer_fd, "layer", 0700) == 0);
    dir = openat(outer_fd, "layer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    mem_blob_init(&b, data, size, 1 + size % 700);
    r = stream_open(&b.blob, &limits, NULL, &s, &e);
    if (r == 0)
        r = unpack_layer(s, dir, &cfg, &stats, &e);
    if (r == 0)
        r = stream_end(s, &sums, &e);
    must(r == 0 || (r < 0 && e.text[0]));
    must(stats.entries <= ENTRIES_MAX + 1 && stats.bytes <= BYTES_MAX);
    must(r < 0 || (sums.packed_len == size && sums.unpacked_len <= STREAM_MAX));
    walk();
    must(found <= (stats.entries + 1) * (UNPACK_DEPTH_MAX + 1));
    must(found_bytes <= BYTES_MAX * ENTRIES_MAX); /* hard links count for each name */
    must(beneath_remove(outer_fd, "layer") == 0);
    check_outer();
}
