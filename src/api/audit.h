/*
 * api/audit.h: who did what from where with which result: a line of JSON each in DIR/audit.log.
 * At AUDIT_FILE_MAX bytes it becomes audit.log.1, in place of the one before; both are read.  Of the loop's thread.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

enum { AUDIT_FILE_MAX = 4 * 1024 * 1024, AUDIT_TEXT_MAX = 512 };

struct audit {
    char *file;
    int fd; /* -1: it cannot be written */
    u64 next;
};

struct audit_entry {
    char who[64], from[64], what[16], path[256], note[64];
    int status;
};

int audit_open(struct audit *a, const char *dir, struct err *e);
void audit_close(struct audit *a);
void audit_add(struct audit *a, const struct audit_entry *entry, u64 now_s);
/* Newest first, those with a number below `before`, at most `limit`; a new reference.  *ret_more: there are older ones. */
json_t *audit_list(const struct audit *a, u64 before, u32 limit, bool *ret_more);
