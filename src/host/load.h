/*
 * host/load.h: the records of a folder are read when its socled starts; nobody else has the host yet.
 */
#pragma once

#include "host/host.h"

/* Instances are in the order of their ids, as the records are, until the caller sorts them. */
int load_all(struct host *h, struct err *e);
/* In that order; NULL: there is none. */
struct instance *load_by_id(struct host *h, const char *id);
