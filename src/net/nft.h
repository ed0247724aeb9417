/*
 * net/nft.h: changes of the host's packet filter, through libnftables' JSON (libnftables-json(5)).
 */
#pragma once

#include "base/base.h"

/* Does a list of commands, all or nothing. */
int nft_run(const char *json, struct err *e);
