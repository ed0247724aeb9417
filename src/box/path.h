/*
 * box/path.h: opening what lies inside a container's root.  Never by a plain path: the names there are an attacker's, and may be
 * symbolic links that change while we look.  What is opened is what the container would see (RESOLVE_IN_ROOT), and never through
 * a link of /proc (RESOLVE_NO_MAGICLINKS).
 */
#pragma once

#include "base/base.h"

/* openat2 in `root`; symbolic links are followed inside it.  The fd, or a negative errno. */
int path_open(int root, const char *path, int flags);
/* The same, but no link at all is followed, no mount crossed: for trees that we made or know. */
int path_open_beneath(int dir, const char *path, int flags);
/* In this process's own root, from its working directory; links are followed, but not those of /proc. */
int path_open_here(const char *path, int flags);
/* As path_open with O_PATH; directories that are missing are made, and at the end a directory or, with is_file, an empty file. */
int path_make(int root, const char *path, bool is_file);
/* The same, but a link at the end is what is opened. */
int path_make_nofollow(int root, const char *path, bool is_file);
/* The directory that `path` lies in, made where missing, and the name there. */
int path_make_parent(int root, const char *path, char name[256]);

/* Whole text into a file of a directory that path_open_beneath would open. */
int path_write(int dir, const char *path, const char *text);
/* Up to size - 1 bytes of it, with a NUL; the length. */
int path_read(int dir, const char *path, char *buf, size_t size);
