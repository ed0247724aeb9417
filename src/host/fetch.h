/*
 * host/fetch.h: files of the web of which images are made: fetched into DIR/images/.NAME.fetch, which stays while its task is not done, so
 * that it goes on after socled was restarted.
 */
#pragma once

#include "host/host.h"

/* A job: *ret names the file that was fetched, as the part of an image that it is.  Finish with conf_fini, also after a failure.
 * -EBADMSG: it has another SHA-256. */
int fetch_source(struct job *j, struct host *h, const char *name, const struct image_source *s,
                 struct image_source *ret, struct err *e);
/* What was fetched for the image of that name is removed. */
void fetch_clean(struct host *h, const char *name);
/* All that is no task's. */
void fetch_clean_all(struct host *h);
