/*
 * base/program.h: where our programs are.
 */
#pragma once

#include "base/base.h"

/*
 * Path of one of our programs: what the environment's variable says, beside the one that runs, or in the folder `installed`.  Owned.
 */
char *program_find(const char *name, const char *variable, const char *installed);
