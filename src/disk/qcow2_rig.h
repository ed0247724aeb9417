/*
 * disk/qcow2_rig.h: what the tests of qcow2 share: files in the tests' folder, and qemu-img as a judge where it is installed.
 */
#pragma once

#include "disk/qcow2.h"

enum { RIG_SIZE_MAX = 4 * MiB };

/* Runs a program with its output in a file; its status, -1 when it cannot be run. */
int rig_run(const char *const args[]);
#define RIG_RUN(...) rig_run((const char *const[]){ __VA_ARGS__, NULL })
/* Prints what it said. */
void rig_show(void);
bool rig_has_qemu(void);
/* The path of a file of the tests' folder. */
void rig_path(char path[200], const char *name);
/* A new image; the test fails if it cannot be made. */
void rig_create(const char *path, const struct qcow2_create_cfg *cfg);
int rig_open(const char *path, bool readonly, struct disk **ret, struct err *e);
/* All of the disk; the test fails if it has not `size` bytes. */
void rig_read(const char *path, u8 *buf, u64 size);
/* `len` bytes of the file at `at` become `value`, big-endian. */
void rig_patch(const char *path, u64 at, u32 len, u64 value);
/* The test fails unless qemu-img finds nothing wrong and reads `want`, the disk's bytes. */
void rig_judge(const char *path, const u8 *want, u64 size);
/* The test fails if our own check finds anything. */
void rig_check(const char *path);
/* For qcow2_report.say. */
void rig_say(void *arg, const char *text);
void rig_fill(u8 *p, u64 len, u64 *seed);
