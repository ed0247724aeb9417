/*
 * cpu/ioapic.h: the I/O APIC in user space, for engines whose local APICs take messages.  (Intel 82093AA)
 */
#pragma once

#include "base/base.h"

#include "cpu/vcpu_state.h"

#include <pthread.h>

enum { IOAPIC_PINS = 24, IOAPIC_SIZE = 0x100 };

/* A redirection entry as the message it sends. */
struct ioapic_msg {
    u64 addr;
    u32 data;
    bool masked, level;
};

struct ioapic {
    struct ioapic_state st; /* guarded by lock */
    pthread_mutex_t lock;
    /* Called with the lock held: send a message; and: entry `pin` changed (an engine that filters EOIs wants to know). */
    void (*send)(void *arg, u64 addr, u32 data);
    void (*changed)(void *arg, u32 pin);
    void *arg;
};

void ioapic_init(struct ioapic *io, void (*send)(void *, u64, u32), void (*changed)(void *, u32),
                 void *arg);
void ioapic_reset(struct ioapic *io);
/* Any thread: the level of an input line; edges are found here. */
void ioapic_set(struct ioapic *io, u32 pin, bool level);
/* A level-triggered interrupt of this vector was finished by a local APIC: lines still high are sent again. */
void ioapic_eoi(struct ioapic *io, u8 vector);
u64 ioapic_read(struct ioapic *io, u64 off, u32 len);
void ioapic_write(struct ioapic *io, u64 off, u32 len, u64 val);
/* What pin's entry stands for; call with the lock held (from `changed`) or when nothing runs. */
struct ioapic_msg ioapic_msg_of(const struct ioapic *io, u32 pin);
void ioapic_get(struct ioapic *io, struct ioapic_state *ret);
void ioapic_put(struct ioapic *io, const struct ioapic_state *s);
