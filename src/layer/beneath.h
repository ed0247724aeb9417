/*
 * layer/beneath.h: opening what lies below a directory that we hold.  Names of an image are an attacker's: no symbolic link is
 * followed, nothing above the directory and no other file system is reached, whatever the name says.
 */
#pragma once

#include "base/base.h"

/* openat2 below `dir`; `mode` for O_CREAT.  The fd, close-on-exec, or a negative errno: -ELOOP at a link, -EXDEV at a way out. */
int beneath_open(int dir, const char *path, int flags, unsigned mode);
/* A name in `dir` that nobody had: PREFIX and random letters; a directory of mode 0700.  The fd and the name, or a negative errno. */
int beneath_make_dir(int dir, const char *prefix, char ret_name[64]);
/* Removes `name` in `dir`, and a tree that lies there, however deep it is; follows nothing.  0 also when there is none. */
int beneath_remove(int dir, const char *name);
