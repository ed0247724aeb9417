/*
 * cpu/pit.h: the PC's interval timer, 8254, with the speaker's port beside it, in user space.
 * It has no clock and no thread: whoever calls says what time it is, in ns of the guest, which never go back.
 */
#pragma once

#include "base/base.h"

#include <pthread.h>

#define PIT_HZ 1193182ull

enum { PIT_CHANNELS = 3, PIT_STATE_SIZE = 112 };

/* As KVM_GET_PIT2 lays it out; in the saved form, the last member is how long it has run. */
struct pit_channel {
    u32 count;         /* ticks; 0: none was written since the control word */
    u16 latched_count; /* in the guest's notation, binary or BCD */
    u8 count_latched;  /* enum pit_bytes: which are left to be read of it */
    u8 status_latched;
    u8 status;
    u8 read_state;  /* enum pit_bytes: what the next read gives, */
    u8 write_state; /* … and what the next write is */
    u8 write_latch;
    u8 rw_mode;
    u8 mode; /* 0..5; above: no control word yet */
    u8 bcd;
    u8 gate;
    s64 since_ns; /* when it began to count; while its gate holds it: how long it had */
};

struct pit {
    struct pit_channel ch[PIT_CHANNELS]; /* guarded by lock, as what follows */
    bool speaker;                        /* port 0x61, bit 1 */
    u64 seen;                            /* rising edges of channel 0 told since it began */
    u64 deadline_ns;                     /* when its next one comes; UINT64_MAX */
    u64 now_ns;                          /* the latest that anybody said */
    pthread_mutex_t lock;
    /* Called with the lock held: channel 0's output rose, which is IRQ 0. */
    void (*rose)(void *arg);
    void *arg;
};

void pit_init(struct pit *p, void (*rose)(void *), void *arg);
void pit_reset(struct pit *p);
/* Is this one of the ports 0x40..0x43 and 0x61? */
bool pit_has_port(u16 port);
/* Any thread, as all that follows. */
u8 pit_read(struct pit *p, u16 port, u64 now_ns);
void pit_write(struct pit *p, u16 port, u8 val, u64 now_ns);
/* When pit_tick has something to do; UINT64_MAX. */
u64 pit_deadline_ns(struct pit *p);
void pit_tick(struct pit *p, u64 now_ns);
/* KVM_GET_PIT2's form, times as elapsed ns. */
void pit_save(struct pit *p, u8 ret[PIT_STATE_SIZE], u64 now_ns);
void pit_load(struct pit *p, const u8 in[PIT_STATE_SIZE], u64 now_ns);
