/*
 * testlib/fuzz_replay.c: runs one fuzz target over the files named on the command line, and the files in folders named there.
 */
#include "testlib/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static int replay_file(const char *path)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    u8 *data;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    data = xnew_n(u8, (size_t)st.st_size);
    r = fd_pread_all(fd, data, (size_t)st.st_size, 0);
    if (r == 0)
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
    free(data);
    return r < 0 ? r : 1;
}

static int replay(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *d;
    int n = 0;

    if (!dir)
        return replay_file(path);
    while ((d = readdir(dir))) {
        char *child = str_new("%s/%s", path, d->d_name);
        int r = d->d_name[0] == '.' ? 0 : replay_file(child);

        if (r < 0)
            fprintf(stderr, "%s: %s\n", child, strerror(-r));
        n = r < 0 ? r : n + r;
        free(child);
        if (n < 0)
            break;
    }
    closedir(dir);
    return n;
}

int main(int argc, char **argv)
{
    int total = 0;

    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);

        if (n < 0)
            return 1;
        total += n;
    }
    printf("%d inputs replayed\n", total);
    return total ? 0 : 1;
}
