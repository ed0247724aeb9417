/*
 * vm/clone.h: the disks of a machine that is one of several from one state file.
 */
#pragma once

#include "vm/spec.h"

/* Would disk `i` of the clone `now` be written to, and is it the image that the original (`was`) knows? */
bool clone_shares_disk(const struct vm_spec *now, const struct vm_spec *was, u32 i);
/*
 * A new qcow2 overlay over the disk's image, as an owned fd of a file without a name; or a negative errno.  `image`: what the disk was
 * when the state was saved, as struct state_disk has it.
 */
int clone_overlay(const struct vm_disk *d, const char *image, struct err *e);
