/*
 * box/copy_up.h: the content of a directory of the image into a new file system that will cover it (mount option tmpcopyup).
 */
#pragma once

#include "base/base.h"

/*
 * Everything below the directory `from` into `to`, an empty one that nobody else sees yet; with `top` its own owner and mode, too.
 * Mounts below are left out; hard links become copies.
 */
int copy_up(int from, int to, bool top, struct err *e);
