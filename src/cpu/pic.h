/*
 * cpu/pic.h: the PC's two interrupt controllers, 8259A, in user space.
 */
#pragma once

#include "base/base.h"

#include "cpu/vcpu_state.h"

#include <pthread.h>

enum { PIC_LINES = 16, PIC_CASCADE = 2 };

struct pic {
    struct pic_state chip[2]; /* master, slave; guarded by lock */
    bool out;                 /* … as this: what `intr` was last told */
    pthread_mutex_t lock;
    /* Called with the lock held: INTR, which goes to the boot processor, changed. */
    void (*intr)(void *arg, bool level);
    void *arg;
};

void pic_init(struct pic *p, void (*intr)(void *, bool), void *arg);
void pic_reset(struct pic *p);
/* Any thread: the level of an input line, 0..15 but PIC_CASCADE. */
void pic_set(struct pic *p, u32 line, bool level);
/* The CPU acknowledges INTR: the vector, which is a spurious one when the request went away meanwhile. */
u8 pic_ack(struct pic *p);
/* Is this one of the ports 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1? */
bool pic_has_port(u16 port);
u8 pic_read(struct pic *p, u16 port);
void pic_write(struct pic *p, u16 port, u8 val);
void pic_get(struct pic *p, struct pic_state ret[2]);
void pic_put(struct pic *p, const struct pic_state s[2]);
