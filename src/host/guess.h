/*
 * host/guess.h: what a file is, by its first bytes: which part of an image it becomes.
 */
#pragma once

#include "host/images.h"

enum { GUESS_BYTES = 33 * 1024 };

/* "kernel", "disk", "iso", "rootfs"; NULL: it is not seen. */
const char *guess_part(const void *head, size_t len);
/* The member of that name; NULL: there is none. */
char **guess_member(struct image_source *s, const char *part);
