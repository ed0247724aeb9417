/*
 * box/child.c: starts a program; what else we have open is closed on exec.
 */
#include "box/child.h"

#include <signal.h>
#include <spawn.h>

int child_start(const char *path, char **argv, char **envp, int fd, int as, pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none;
    int r;

    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_adddup2(&files, fd, as);
    r = posix_spawn(ret, path, &files, &attr, argv, envp);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return -r;
}
