/*
 * vm/workset.h: which pages a restored guest needs first: recorded once, fetched at the next restore while the guest begins to run.
 * The file, FILE.pages beside the state FILE, is only a hint: a wrong or missing one costs nothing but time.
 */
#pragma once

#include "vm/machine.h"

/* Before the jail: what is recorded later is read of this file of the process itself.  -1: the host has none. */
int workset_source(void);
/* Writes which pages of RAM this process has touched, with the state's id, to an empty file.  Pages, or a negative errno with `e`. */
s64 workset_record(const struct mem *m, int source, const char *id, int fd, struct err *e);

/* A bit for each page of RAM, owned, or NULL: there is no such file for this state.  `state`: the state file's name. */
u64 *workset_open(const char *state, const char *id, u64 pages);
/* The same out of a file's bytes; NULL with `e`. */
u64 *workset_parse(const void *data, u64 len, const char *id, u64 pages, struct err *e);
/* Has the host read them, all at once, and then maps them one run after the other, until *cancel.  On a thread that has nothing else to do. */
void workset_fetch(const struct mem *m, const u64 *set, const atomic_bool *cancel);
