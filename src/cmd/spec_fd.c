/*
 * cmd/spec_fd.c: reads the description that a process is started with.
 */
#include "cmd/spec_fd.h"

#include <unistd.h>

#define SPEC_MAX (1 * MiB)

int spec_fd_read(int argc, char **argv, char **ret, size_t *ret_len, struct err *e)
{
    u64 fd;
    int r;

    if (argc != 3 || strcmp(argv[1], "--spec-fd") != 0 || str_u64(argv[2], &fd) < 0 ||
        fd > INT32_MAX)
        return -EINVAL;
    r = fd_read_whole((int)fd, SPEC_MAX, ret, ret_len);
    if (r == -EFBIG)
        return err_set(e, -E2BIG, "specification of %zu bytes: allowed are 1 to %llu", *ret_len,
                       SPEC_MAX);
    if (r < 0)
        return err_code(e, r, "specification on descriptor %d", (int)fd);
    close((int)fd);
    return 0;
}
