/*
 * vm/profile.h: where does the guest spend its time?  Each vCPU is kicked PROFILE_HZ times a second and notes its own RIP.
 * Control loop, except profile_sample.
 */
#pragma once

#include "base/base.h"

enum {
    PROFILE_HZ = 100,
    PROFILE_SECONDS_MAX = 60,
    PROFILE_SAMPLES_MAX = PROFILE_HZ * PROFILE_SECONDS_MAX
};

struct profile;
struct strbuf;
struct vcpu;
struct vm;

/* Called once with the result as JSON, NULL when the machine ended before. */
typedef void (*profile_done)(struct vm *vm, const char *json, void *arg);

/* Owned in *ret. */
void profile_open(struct vm *vm, struct profile **ret);
void profile_close(struct profile *p);
/* -EBUSY: one is under way, or the guest does not run; -EINVAL: 1 to PROFILE_SECONDS_MAX seconds are allowed. */
int profile_start(struct profile *p, u64 seconds, profile_done done, void *arg, struct err *e);
/* On the vCPU's thread, outside vcpu_run, when it was kicked. */
void profile_sample(struct profile *p, struct vcpu *v);
