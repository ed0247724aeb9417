/*
 * box/caps.h: the five sets of capabilities of a container's process.
 */
#pragma once

#include "box/oci.h"

struct caps {
    u64 bounding, effective, inheritable, permitted, ambient; /* 1 << CAP_* */
    u64 left_out; /* of ambient, as Linux has those there only that are inheritable and permitted */
};

/* "CAP_CHOWN", … at the place of its number; ends with NULL. */
extern const char *const caps_words[];

/* From the lists of the specification; -EINVAL names an unknown one. */
int caps_parse(const struct oci_caps *from, struct caps *ret, struct err *e);
/* Before the user changes: what an exec may ever gain, and what changing the user keeps. */
int caps_bound(const struct caps *caps);
/* After it. */
int caps_set(const struct caps *caps);
