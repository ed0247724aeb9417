/*
 * cpu/ioapic.c: the I/O APIC in user space.  (Intel 82093AA; "the sheet")
 *   (1) A level-triggered entry with Remote IRR set sends nothing; its EOI clears Remote IRR and looks at the line again.
 *   (2) Bits 12 (delivery status) and 14 (Remote IRR) of an entry are ours; the guest's writes leave them.
 */
#include "cpu/ioapic.h"

enum {
    REG_SELECT = 0x00,
    REG_WINDOW = 0x10,
    REG_EOI = 0x40, /* version 0x20 and later */
    INDEX_ID = 0x00,
    INDEX_VERSION = 0x01,
    INDEX_ARBITRATION = 0x02,
    INDEX_REDIR = 0x10,
    VERSION = 0x20,
};

#define REDIR_MASKED     (1ull << 16)
#define REDIR_LEVEL      (1ull << 15)
#define REDIR_REMOTE_IRR (1ull << 14)
#define REDIR_OURS       (REDIR_REMOTE_IRR | (1ull << 12))

STATE_TABLE(ioapic_state, IOAPIC_STATE);

void ioapic_init(struct ioapic *io, void (*send)(void *, u64, u32), void (*changed)(void *, u32),
                 void *arg)
{
    *io = (struct ioapic){ .send = send, .changed = changed, .arg = arg };
    pthread_mutex_init(&io->lock, NULL);
    ioapic_reset(io);
}

static void reset_locked(struct ioapic *io)
{
    u32 lines = io->st.lines; /* wires, not registers: devices drive them */

    io->st = (struct ioapic_state){ .lines = lines };
    for_each_row(redir, io->st.redir)
        *redir = REDIR_MASKED;
}

static void all_changed(struct ioapic *io)
{
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++)
        io->changed(io->arg, pin);
}

void ioapic_reset(struct ioapic *io)
{
    pthread_mutex_lock(&io->lock);
    reset_locked(io);
    all_changed(io);
    pthread_mutex_unlock(&io->lock);
}

/* Entry bits to an MSI: destination 63:56 → address 19:12, destination mode 11 → address 2.  (SDM vol. 3, 11.11) */
struct ioapic_msg ioapic_msg_of(const struct ioapic *io, u32 pin)
{
    u64 r = io->st.redir[pin];

    return (struct ioapic_msg){
        .addr = 0xfee00000ull | (r >> 56) << 12 | (r >> 11 & 1) << 2,
        .data = (u32)((r & 0xff) | (r >> 8 & 7) << 8 | (r & REDIR_LEVEL) | 1u << 14),
        .masked = r & REDIR_MASKED,
        .level = r & REDIR_LEVEL,
    };
}

/* Sends what waits at `pin`, if its entry lets it. */
static void deliver(struct ioapic *io, u32 pin)
{
    struct ioapic_msg m = ioapic_msg_of(io, pin);
    u64 *r = &io->st.redir[pin];
    u32 bit = 1u << pin;

    if (!(io->st.irr & bit) || m.masked || (m.level && (*r & REDIR_REMOTE_IRR)))
        return;
    if (m.level)
        *r |= REDIR_REMOTE_IRR;
    else
        io->st.irr &= ~bit;
    io->send(io->arg, m.addr, m.data);
}

void ioapic_set(struct ioapic *io, u32 pin, bool level)
{
    u32 bit = 1u << pin;

    must(pin < IOAPIC_PINS);
    pthread_mutex_lock(&io->lock);
    bool was = io->st.lines & bit;
    io->st.lines = level ? io->st.lines | bit : io->st.lines & ~bit;
    if (io->st.redir[pin] & REDIR_LEVEL)
        io->st.irr = level ? io->st.irr | bit : io->st.irr & ~bit;
    else if (level && !was)
        io->st.irr |= bit;
    deliver(io, pin);
    pthread_mutex_unlock(&io->lock);
}

void ioapic_eoi(struct ioapic *io, u8 vector)
{
    pthread_mutex_lock(&io->lock);
    for (u32 pin = 0; pin < IOAPIC_PINS; pin++) {
        u64 *r = &io->st.redir[pin];

        if ((*r & 0xff) != vector || !(*r & REDIR_LEVEL) || !(*r & REDIR_REMOTE_IRR))
            continue;
        *r &= ~REDIR_REMOTE_IRR;
        deliver(io, pin);
    }
    pthread_mutex_unlock(&io->lock);
}

static u32 window_read(const struct ioapic *io)
{
    u32 i = io->st.select, entry = (i - INDEX_REDIR) / 2;

    if (i == INDEX_ID || i == INDEX_ARBITRATION)
        return (u32)io->st.id << 24;
    if (i == INDEX_VERSION)
        return VERSION | (IOAPIC_PINS - 1) << 16;
    if (i < INDEX_REDIR || entry >= IOAPIC_PINS)
        return 0;
    return (u32)(io->st.redir[entry] >> (i & 1 ? 32 : 0));
}

static void redir_write(struct ioapic *io, u32 pin, bool high, u32 val)
{
    u64 *r = &io->st.redir[pin], old = *r;

    if (high)
        *r = (*r & 0xffffffff) | (u64)val << 32;
    else
        *r = (*r & ~0xffffffffull) | (val & ~REDIR_OURS & 0x1ffff) | (old & REDIR_OURS);
    if (!(*r & REDIR_LEVEL))
        *r &= ~REDIR_REMOTE_IRR; /* an edge entry has none; Linux clears a stuck one by this */
    if ((*r & REDIR_LEVEL) && !(old & REDIR_LEVEL))
        io->st.irr = io->st.lines >> pin & 1 ? io->st.irr | 1u << pin : io->st.irr & ~(1u << pin);
    io->changed(io->arg, pin);
    deliver(io, pin);
}

static void window_write(struct ioapic *io, u32 val)
{
    u32 i = io->st.select, entry = (i - INDEX_REDIR) / 2;

    if (i == INDEX_ID)
        io->st.id = val >> 24 & 0xf;
    else if (i >= INDEX_REDIR && entry < IOAPIC_PINS)
        redir_write(io, entry, i & 1, val);
}

u64 ioapic_read(struct ioapic *io, u64 off, u32 len)
{
    u64 v = 0;

    pthread_mutex_lock(&io->lock);
    if (off == REG_SELECT)
        v = io->st.select;
    else if (off == REG_WINDOW && len == 4)
        v = window_read(io);
    pthread_mutex_unlock(&io->lock);
    return v;
}

void ioapic_write(struct ioapic *io, u64 off, u32 len, u64 val)
{
    if (off == REG_EOI && len == 4) {
        ioapic_eoi(io, (u8)val);
        return;
    }
    pthread_mutex_lock(&io->lock);
    if (off == REG_SELECT)
        io->st.select = (u8)val;
    else if (off == REG_WINDOW && len == 4)
        window_write(io, (u32)val);
    pthread_mutex_unlock(&io->lock);
}

void ioapic_get(struct ioapic *io, struct ioapic_state *ret)
{
    pthread_mutex_lock(&io->lock);
    *ret = io->st;
    pthread_mutex_unlock(&io->lock);
}

void ioapic_put(struct ioapic *io, const struct ioapic_state *s)
{
    pthread_mutex_lock(&io->lock);
    io->st = *s;
    all_changed(io);
    pthread_mutex_unlock(&io->lock);
}
