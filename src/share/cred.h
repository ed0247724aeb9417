/*
 * share/cred.h: as whom a request makes files.
 */
#pragma once

#include "base/base.h"

struct fuse_in_header;
struct share;

/*
 * From now on this thread makes files as who asked does, with the capabilities that it has; and as itself again.  Nothing where the share
 * does not have the guest's ids.
 */
void cred_take(const struct share *s, const struct fuse_in_header *h);
void cred_back(const struct share *s);
