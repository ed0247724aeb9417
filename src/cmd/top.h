/*
 * cmd/top.h: `socle top`: what machines and the host use, as lines of a screen.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

enum { TOP_HEAD = 3 /* lines before the first machine */ };

/* Sorts machines, the largest first, by the column with this key of the keyboard; false: no column has it. */
bool top_sort(json_t *list, char key);
/* Lines, each ending in a newline: TOP_HEAD of them, then one for each that runs.  `host` NULL: nothing is known of it. */
void top_lines(const json_t *host, const json_t *list, struct strbuf *out);
/* The keys, for help and screen: "n name, c CPU, …". */
void top_keys(struct strbuf *out);
