/*
 * os/names.h: the files of /etc by which a container knows its own name and finds others: its host name, hosts, its name server.
 */
#pragma once

#include "os/spec.h"

extern const char *const os_name_files[3]; /* in /etc, and in FOLDER */

/* With FOLDER/fresh, which is removed then, /etc/machine-id is emptied, too: the instance is a clone that never ran. */
int os_names_write(const struct os_spec *s, struct err *e);
