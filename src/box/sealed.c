/*
 * box/sealed.c: the copy is a memfd with all seals; whether we run from it the kernel says (F_GET_SEALS), not the environment.
 */
#include "box/sealed.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u /* since Linux 6.3 */
#endif

enum { SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE };

static int copy_to(int from, int to)
{
    struct stat st;

    if (fstat(from, &st) < 0)
        return -errno;
    for (off_t at = 0; at < st.st_size;) {
        ssize_t n = sendfile(to, from, &at, (size_t)(st.st_size - at));

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            return -ENODATA;
    }
    return fcntl(to, F_ADD_SEALS, SEALS) < 0 ? -errno : 0;
}

int sealed_reexec(char **argv, struct err *e)
{
    AUTO(fd) int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    AUTO(fd) int copy = -1;
    int r;

    if (self < 0)
        return err_errno(e, "open /proc/self/exe");
    if (fcntl(self, F_GET_SEALS) == SEALS)
        return 0;
    copy = memfd_create("socle-box", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
    if (copy < 0 && errno == EINVAL)
        copy = memfd_create("socle-box", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (copy < 0)
        return err_errno(e, "memfd_create");
    r = copy_to(self, copy);
    if (r < 0)
        return err_code(e, r, "copy the program");
    fexecve(copy, argv, environ);
    return err_errno(e, "execute the sealed copy");
}
