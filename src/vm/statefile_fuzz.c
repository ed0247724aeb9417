/*
 * vm/statefile_fuzz.c: any bytes as what is around RAM of a state file: refused with a reason, or all parts lie in the file, apart from
 * each other, and the machine that it describes can be described again.  The sum is made right, or nothing else would be tried.
 */
#include "vm/statefile.h"

#include "fw/image.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HEAD = 4096, SEED_HEAD = 96 };

/* The first 96 bytes are the header's, the others follow it; the header's size is the file's, which is as long as it says, if it can be. */
static int make_file(const u8 *data, size_t size)
{
    AUTO(free) u8 *file = xnew_n(u8, HEAD + size);
    int fd = memfd_create("state", MFD_CLOEXEC);
    const size_t head = min(size, (size_t)SEED_HEAD), rest = size - head;
    u64 len, sum;

    memcpy(file, data, head);
    memcpy(file + HEAD, data + head, rest);
    len = min(le_load(file + 16, 8), 64 * MiB);
    must(fd >= 0 && fd_pwrite_all(fd, file, HEAD + rest, 0) == 0 && ftruncate(fd, (off_t)len) == 0);
    le_store(file + 24, 8, 0);
    sum = image_sum(0, file, HEAD);
    for (u32 at = 48; at < SEED_HEAD; at += 16) {
        AUTO(free) u8 *p = try_new(u8, le_load(file + at + 8, 8) + 1, 64 * MiB);
        u64 n = le_load(file + at + 8, 8);

        if (!p || fd_pread_all(fd, p, n, le_load(file + at, 8)) < 0)
            return fd;
        sum = image_sum(sum, p, n);
    }
    le_store(file + 24, 8, sum);
    must(len < 32 || fd_pwrite_all(fd, file + 24, 8, 24) == 0);
    return fd;
}

FUZZ(statefile)
{
    AUTO(statefile) struct statefile *f = NULL;
    const int fd = make_file(data, size);
    const u64 len = (u64)lseek(fd, 0, SEEK_END);
    struct err e = {};
    json_t *j;

    if (statefile_open_fd(fd, "f", &f, &e) < 0) {
        must(e.code < 0 && e.text[0] && !f);
        return;
    }
    must(f->n == 1 && f->ram_size >= MEM_SIZE_MIN && is_aligned(f->ram_size, (u64)MEM_PAGE));
    must(f->part[0].ram_at >= HEAD && range_ok(f->part[0].ram_at, f->ram_size, len));
    must(f->state && f->state_len > 0 && f->state_len <= len && !f->part[0].pages);
    must(f->meta.id && strlen(f->meta.id) == STATEFILE_ID_LEN);
    j = conf_print(state_meta_fields, &f->meta);
    must(j);
    json_decref(j);
}
