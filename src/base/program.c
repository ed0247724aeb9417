/*
 * base/program.c: where our programs are.
 */
#include "base/program.h"

#include <stdlib.h>
#include <unistd.h>

char *program_find(const char *name, const char *variable, const char *installed)
{
    const char *named = getenv(variable);
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash, *path;

    if (named && *named)
        return xdup(named);
    self[n > 0 ? n : 0] = 0;
    slash = strrchr(self, '/');
    if (slash) {
        path = str_new("%.*s/%s", (int)(slash - self), self, name);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return str_new("%s/%s", installed, name);
}
