/*
 * host/seed.h: the disk by which cloud-init in a guest is told (NoCloud): an ISO 9660 file system with the label cidata.
 */
#pragma once

#include "host/cloud.h"

/* Of these texts, in this folder; owned. */
char *seed_path(const char *folder, const struct cloud_texts *t);
/* Makes the file, unless it is there: by its name it is known what it says. */
int seed_make(const char *path, const struct cloud_texts *t, struct err *e);
/* Removes other seeds of the folder than `keep` (a path). */
void seed_clean(const char *folder, const char *keep);
