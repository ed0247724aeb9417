/*
 * dev/pc/serial.c: a serial port: National's PC16550D with a FIFO of 64 bytes.
 *   (1) Sending takes no time: THR is empty again when the console took the byte.  Only when the console's ring is nearly full
 *       does THRE stay clear, until the console says that there is room; a guest that honours THRE loses nothing.
 *   (2) Nothing is taken from the console that the receiver has no room for; so only loopback overruns.
 *   (3) The character timeout (PC16550D, 8.5) comes at once, because no more characters are known to be on their way.
 */
#include "dev/pc/serial.h"

#include "base/base.h"

#include "base/loop.h"
#include "conf/conf.h"
#include "dev/console.h"
#include "dev/dev.h"
#include "dev/pc/ports.h"

enum {
    FIFO = 64, /* Linux tells a U6_16550A by it, and then sends 64 bytes for one interrupt */
    REGS = 8,

    THR_RBR = 0, /* DLL when LCR_DLAB */
    IER = 1,     /* DLM when LCR_DLAB */
    IIR_FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MSR = 6,
    SCR = 7,

    IER_RX = 1,
    IER_THRE = 2,
    IER_LINE = 4,
    IER_MODEM = 8,
    IER_ALL = 0x0f,

    IIR_NONE = 1,
    IIR_MODEM = 0,
    IIR_THRE = 2,
    IIR_RX = 4,
    IIR_LINE = 6,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFO = 0xc0,

    FCR_ENABLE = 1,
    FCR_CLEAR_RX = 2,
    FCR_CLEAR_TX = 4,
    FCR_TRIGGER = 0xc0,

    LCR_DLAB = 0x80,

    MCR_OUT2 = 8, /* on a PC it lets the interrupt through */
    MCR_LOOP = 0x10,
    MCR_ALL = 0x1f,

    LSR_DATA = 1,
    LSR_OVERRUN = 2,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,

    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,
    MSR_DELTAS = 0x0f,
    MSR_READY = MSR_CTS | MSR_DSR | MSR_DCD, /* someone is at the other end */
};

/* clang-format off */
#define SERIAL_STATE(F, S)                                                              \
    F(S, VAL, u8, ier,        "IER: interrupts enabled")                                \
    F(S, VAL, u8, fcr,        "FCR: bit 0 FIFOs on, bits 6 and 7 trigger level")        \
    F(S, VAL, u8, lcr,        "LCR: line control")                                      \
    F(S, VAL, u8, mcr,        "MCR: modem control")                                     \
    F(S, VAL, u8, msr,        "MSR: modem status, with the changes not read yet")       \
    F(S, VAL, u8, scr,        "SCR: scratch")                                           \
    F(S, VAL, u8, dll,        "divisor, low byte")                                      \
    F(S, VAL, u8, dlm,        "divisor, high byte")                                     \
    F(S, VAL, bool, overrun,  "a received byte was lost, which LSR has not told yet")   \
    F(S, VAL, bool, thre_due, "the THRE interrupt is pending")                          \
    F(S, VAL, bool, tx_held,  "THR is not empty: the console is full")                  \
    F(S, ARR, u8, rx, FIFO,   "received bytes, the oldest first")                       \
    F(S, VAL, u8, rx_n,       "how many they are")
/* clang-format on */
STATE_STRUCT(serial_state, SERIAL_STATE);

static int check_state(void *obj, struct err *e)
{
    const struct serial_state *s = obj;

    if (s->rx_n > FIFO || (!(s->fcr & FCR_ENABLE) && s->rx_n > 1))
        return err_set(e, -EBADMSG, "receiver holds %u bytes", s->rx_n);
    if (s->ier & ~IER_ALL || s->mcr & ~MCR_ALL || s->fcr & ~(FCR_ENABLE | FCR_TRIGGER))
        return err_set(e, -EBADMSG, "impossible bits in IER 0x%02x, FCR 0x%02x or MCR 0x%02x",
                       s->ier, s->fcr, s->mcr);
    return 0;
}
STATE_TABLE(serial_state, SERIAL_STATE, .after_load = check_state);

struct serial {
    struct device dev;
    struct serial_state st;  /* guarded by dev.lock */
    u16 base;                /* config */
    u32 gsi;                 /* config */
    struct chardev *console; /* host */
    bool paused;             /* host; guarded by dev.lock */
    u64 sent, received;      /* counters; guarded by dev.lock */
};

static struct serial *serial_of(struct device *d)
{
    return container_of(d, struct serial, dev);
}

static bool fifo_on(const struct serial *s)
{
    return s->st.fcr & FCR_ENABLE;
}

/* The interrupt of highest priority that is enabled and pending (PC16550D, table IV). */
static u8 interrupt(const struct serial *s)
{
    static const u8 triggers[] = { 1, 4, 8, 14 };
    const struct serial_state *st = &s->st;
    u32 trigger = fifo_on(s) ? triggers[st->fcr >> 6] : 1;

    if (st->ier & IER_LINE && st->overrun)
        return IIR_LINE;
    if (st->ier & IER_RX && st->rx_n >= trigger)
        return IIR_RX;
    if (st->ier & IER_RX && st->rx_n > 0)
        return IIR_TIMEOUT;
    if (st->ier & IER_THRE && st->thre_due)
        return IIR_THRE;
    if (st->ier & IER_MODEM && st->msr & MSR_DELTAS)
        return IIR_MODEM;
    return IIR_NONE;
}

static void update_irq(struct serial *s)
{
    bool through = (s->st.mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;

    machine_irq(s->dev.machine, s->gsi, through && interrupt(s) != IIR_NONE);
}

static u32 rx_room(const struct serial *s)
{
    return (fifo_on(s) ? FIFO : 1) - s->st.rx_n;
}

static void rx_put(struct serial *s, u8 byte)
{
    struct serial_state *st = &s->st;

    if (rx_room(s) > 0) {
        st->rx[st->rx_n++] = byte;
        return;
    }
    st->overrun = true;
    if (!fifo_on(s)) /* without FIFO it is the old byte that is lost */
        st->rx[0] = byte;
}

static u8 rx_take(struct serial *s)
{
    struct serial_state *st = &s->st;
    u8 byte = st->rx[0];

    if (st->rx_n == 0)
        return 0;
    st->rx_n--;
    memmove(st->rx, st->rx + 1, st->rx_n);
    chardev_accept(s->console);
    return byte;
}

/* Guest writes of at most a FIFO's length may follow before the guest looks at THRE again. */
static void tx_settle(struct serial *s)
{
    s->st.tx_held = chardev_room(s->console, FIFO) < FIFO;
    s->st.thre_due = !s->st.tx_held;
}

static void tx_put(struct serial *s, u8 byte)
{
    if (s->st.mcr & MCR_LOOP) {
        rx_put(s, byte);
        s->st.thre_due = !s->st.tx_held;
        return;
    }
    chardev_write(s->console, &byte, 1);
    s->sent++;
    tx_settle(s);
}

static void set_ier(struct serial *s, u8 v)
{
    /* switching it on while THR is empty makes it pending, read before or not: what Linux's THRE test looks for */
    if (v & ~s->st.ier & IER_THRE && !s->st.tx_held)
        s->st.thre_due = true;
    s->st.ier = v & IER_ALL;
}

static void set_fcr(struct serial *s, u8 v)
{
    struct serial_state *st = &s->st;

    if (v & FCR_CLEAR_RX || (v ^ st->fcr) & FCR_ENABLE)
        st->rx_n = 0;
    st->fcr = v & FCR_ENABLE ? v & (FCR_ENABLE | FCR_TRIGGER) : 0;
    chardev_accept(s->console);
}

/* Input lines: in loopback the four outputs, RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD (PC16550D, 8.6). */
static u8 modem_lines(const struct serial *s)
{
    u8 mcr = s->st.mcr;

    if (!(mcr & MCR_LOOP))
        return MSR_READY;
    return (u8)((mcr & 2 ? MSR_CTS : 0) | (mcr & 1 ? MSR_DSR : 0) | (mcr & 4 ? MSR_RI : 0) |
                (mcr & 8 ? MSR_DCD : 0));
}

static void set_mcr(struct serial *s, u8 v)
{
    u8 old = s->st.msr, lines, changed;

    s->st.mcr = v & MCR_ALL;
    lines = modem_lines(s);
    changed = (u8)((old ^ lines) & 0xf0);
    if (lines & MSR_RI)
        changed &= (u8)~MSR_RI; /* only its end counts */
    s->st.msr = (u8)(lines | (old & MSR_DELTAS) | changed >> 4);
    chardev_accept(s->console);
}

static u8 take_iir(struct serial *s)
{
    u8 what = interrupt(s);

    if (what == IIR_THRE)
        s->st.thre_due = false;
    return what | (fifo_on(s) ? IIR_FIFO : 0);
}

static u8 take_lsr(struct serial *s)
{
    struct serial_state *st = &s->st;
    u8 v = (u8)((st->rx_n ? LSR_DATA : 0) | (st->overrun ? LSR_OVERRUN : 0) |
                (st->tx_held ? 0 : LSR_THRE | LSR_TEMT));

    st->overrun = false;
    return v;
}

static u8 take_msr(struct serial *s)
{
    u8 v = s->st.msr;

    s->st.msr &= (u8)~MSR_DELTAS;
    return v;
}

static u8 get_reg(struct device *d, u32 reg)
{
    struct serial *s = serial_of(d);
    const bool divisor = s->st.lcr & LCR_DLAB;

    switch (reg) {
    case THR_RBR:
        return divisor ? s->st.dll : rx_take(s);
    case IER:
        return divisor ? s->st.dlm : s->st.ier;
    case IIR_FCR:
        return take_iir(s);
    case LCR:
        return s->st.lcr;
    case MCR:
        return s->st.mcr;
    case LSR:
        return take_lsr(s);
    case MSR:
        return take_msr(s);
    default:
        return s->st.scr;
    }
}

static void set_reg(struct device *d, u32 reg, u8 v)
{
    struct serial *s = serial_of(d);
    const bool divisor = s->st.lcr & LCR_DLAB;

    switch (reg) {
    case THR_RBR:
        if (divisor)
            s->st.dll = v;
        else
            tx_put(s, v);
        return;
    case IER:
        if (divisor)
            s->st.dlm = v;
        else
            set_ier(s, v);
        return;
    case IIR_FCR:
        set_fcr(s, v);
        return;
    case LCR:
        s->st.lcr = v;
        return;
    case MCR:
        set_mcr(s, v);
        return;
    case SCR:
        s->st.scr = v;
        return;
    default:
        return; /* LSR and MSR: for the factory's tests only (PC16550D, 8.4) */
    }
}

static u64 serial_read(struct device *d, u64 off, u32 len)
{
    u64 v = ports_read_bytes(d, off, len, get_reg);

    update_irq(serial_of(d));
    return v;
}

static void serial_write(struct device *d, u64 off, u32 len, u64 val)
{
    ports_write_bytes(d, off, len, val, set_reg);
    update_irq(serial_of(d));
}

static const struct bus_ops serial_ops = { .read = serial_read, .write = serial_write };

/* The console's side, on the control loop. */

static u32 on_ask_room(void *arg)
{
    struct serial *s = arg;
    u32 room;

    pthread_mutex_lock(&s->dev.lock);
    room = s->paused || s->st.mcr & MCR_LOOP ? 0 : rx_room(s); /* loopback cuts the line off */
    pthread_mutex_unlock(&s->dev.lock);
    return room;
}

static void on_input(void *arg, const u8 *data, u32 len)
{
    struct serial *s = arg;

    pthread_mutex_lock(&s->dev.lock);
    for (u32 i = 0; i < len; i++)
        rx_put(s, data[i]);
    s->received += len;
    update_irq(s);
    pthread_mutex_unlock(&s->dev.lock);
}

static void tx_resume(struct serial *s)
{
    if (s->st.tx_held)
        tx_settle(s);
    update_irq(s);
}

static void on_room(void *arg)
{
    struct serial *s = arg;

    pthread_mutex_lock(&s->dev.lock);
    if (!s->paused) /* else serial_resume looks */
        tx_resume(s);
    pthread_mutex_unlock(&s->dev.lock);
}

static const struct chardev_ops console_ops = {
    .room = on_ask_room,
    .on_input = on_input,
    .on_room = on_room,
};

static void serial_stop(struct device *d)
{
    struct serial *s = serial_of(d);

    bus_remove(d->machine->pio, s->base, d);
    chardev_close(s->console);
}

static int serial_start(struct device *d, const void *arg, struct err *e)
{
    struct serial *s = serial_of(d);
    const struct serial_cfg *cfg = arg;
    int r;

    s->base = cfg->base;
    s->gsi = cfg->gsi;
    r = chardev_open(d->machine->loop, cfg->backend, &console_ops, s, &s->console, e);
    if (r < 0)
        return r;
    r = chardev_log(s->console, cfg->log, e);
    if (r >= 0)
        r = bus_add(d->machine->pio, s->base, REGS, &serial_ops, d, e);
    if (r < 0)
        chardev_close(s->console);
    return r;
}

static void serial_reset(struct device *d)
{
    struct serial *s = serial_of(d);

    s->st =
        (struct serial_state){ .msr = MSR_READY, .dll = 12 /* 9600 baud, as a PC's firmware */ };
    tx_settle(s);
    s->st.thre_due = false;
    update_irq(s);
    chardev_accept(s->console);
}

static void serial_pause(struct device *d)
{
    serial_of(d)->paused = true;
}

static void serial_resume(struct device *d)
{
    struct serial *s = serial_of(d);

    s->paused = false;
    tx_resume(s);
    chardev_accept(s->console);
}

static void serial_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                         void *arg)
{
    put(arg, "bytes_sent", serial_of(d)->sent);
    put(arg, "bytes_received", serial_of(d)->received);
}

const char *serial_pty(struct device *d)
{
    return chardev_pty(serial_of(d)->console);
}

static const struct field serial_fields[] = {
    FIELD_STR(serial_cfg, backend, "stdio, pty, none, unix:PATH, file:PATH or fd:IN:OUT",
              .sdflt = "none", .first = true, .ok = chardev_backend_ok,
              .want = "stdio, pty, none, unix:PATH, file:PATH or fd:IN:OUT"),
    FIELD_STR(serial_cfg, log, "file that gets what it sends, too"),
    FIELD_INT(serial_cfg, base, "first port", .dflt = 0x3f8, .max = 0xfff8),
    FIELD_INT(serial_cfg, gsi, "interrupt line", .dflt = 4, .max = 23),
    {},
};

const struct device_def serial_def = {
    .name = "serial",
    .doc = "serial port (16550A)",
    .size = sizeof(struct serial),
    .fields = serial_fields,
    .cfg_size = sizeof(struct serial_cfg),
    .parts = { STATE_PART(serial, st, serial_state) },
    .ranges = { { true, 0x3f8, REGS } },
    .start = serial_start,
    .stop = serial_stop,
    .reset = serial_reset,
    .pause = serial_pause,
    .resume = serial_resume,
    .stats = serial_stats,
};
