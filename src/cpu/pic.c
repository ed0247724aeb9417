/*
 * cpu/pic.c: the PC's two interrupt controllers.  (Intel 8259A, "the sheet"; ELCR: Intel 82371, "Edge/Level Control")
 *   (1) last_irr is the level of each line.  An edge sets a bit of IRR, which stays until it is taken; a level is its bit.
 *   (2) The slave's output is bit 2 of the master's IRR, whatever else happens.
 *   (3) Priority 0 is the highest; line L has priority (L - priority_add) mod 8.
 */
#include "cpu/pic.h"

enum {
    MASTER,
    SLAVE,

    ICW1 = 0x10,
    ICW1_ICW4 = 0x01,
    OCW3 = 0x08,
    OCW3_READ = 0x02, /* bit 0 chooses */
    OCW3_POLL = 0x04,
    OCW3_SPECIAL_MASK = 0x40, /* bit 5 says which */
    ICW4_AUTO_EOI = 0x02,
    ICW4_NESTED = 0x10,

    EXPECT_NOTHING = 0, /* init_state */
    EXPECT_ICW2,
    EXPECT_ICW3,
    EXPECT_ICW4,

    SPURIOUS = 7,
    POLL_FOUND = 0x80,
};

/* Lines 0, 1, 2, 8 and 13 are edge-triggered on every PC. */
static const u8 elcr_masks[2] = { 0xf8, 0xde };

/* Priority of the best of `lines`; 8: there is none. */
static u32 best_priority(const struct pic_state *c, u8 lines)
{
    u32 rotated = lines >> c->priority_add | lines << (8 - c->priority_add);

    return rotated & 0xff ? (u32)__builtin_ctz(rotated & 0xff) : 8;
}

static u32 line_of(const struct pic_state *c, u32 priority)
{
    return (priority + c->priority_add) & 7;
}

/* What is in service, as far as it holds others back. */
static u8 in_service(const struct pic_state *c)
{
    return c->special_mask ? c->isr & (u8)~c->imr : c->isr;
}

/* The line that the chip asks the CPU to take, or -1. */
static int request(const struct pic *p, u32 chip)
{
    const struct pic_state *c = &p->chip[chip];
    u32 want = best_priority(c, c->irr & (u8)~c->imr);
    u8 busy = in_service(c);

    if (chip == MASTER && c->special_fully_nested_mode)
        busy &= (u8) ~(1u << PIC_CASCADE); /* the slave may interrupt itself */
    return want < best_priority(c, busy) ? (int)line_of(c, want) : -1;
}

/* After any change. */
static void update(struct pic *p)
{
    u8 cascade = 1u << PIC_CASCADE, *irr = &p->chip[MASTER].irr;
    bool out;

    *irr = request(p, SLAVE) >= 0 ? *irr | cascade : *irr & (u8)~cascade;
    out = request(p, MASTER) >= 0;
    if (out == p->out)
        return;
    p->out = out;
    p->intr(p->arg, out);
}

static void set_line(struct pic_state *c, u8 bit, bool level)
{
    bool was = c->last_irr & bit;

    c->last_irr = level ? c->last_irr | bit : c->last_irr & (u8)~bit;
    if (c->elcr & bit)
        c->irr = level ? c->irr | bit : c->irr & (u8)~bit;
    else if (level && !was)
        c->irr |= bit;
}

void pic_set(struct pic *p, u32 line, bool level)
{
    must(line < PIC_LINES && line != PIC_CASCADE);
    pthread_mutex_lock(&p->lock);
    set_line(&p->chip[line / 8], (u8)(1u << line % 8), level);
    update(p);
    pthread_mutex_unlock(&p->lock);
}

static void rotate_after(struct pic_state *c, u32 line)
{
    c->priority_add = (line + 1) & 7;
}

/* The CPU, or a poll, takes `line`. */
static void take(struct pic_state *c, u32 line)
{
    u8 bit = (u8)(1u << line);

    if (!(c->elcr & bit))
        c->irr &= (u8)~bit;
    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_on_auto_eoi)
        rotate_after(c, line);
}

/* One chip's answer to INTA. */
static u32 take_request(struct pic *p, u32 chip)
{
    int line = request(p, chip);

    if (line < 0)
        return SPURIOUS; /* "default IR7": nothing is in service for it */
    take(&p->chip[chip], (u32)line);
    return (u32)line;
}

u8 pic_ack(struct pic *p)
{
    u32 chip = MASTER, line;
    u8 vector;

    pthread_mutex_lock(&p->lock);
    line = take_request(p, MASTER);
    if (line == PIC_CASCADE) {
        chip = SLAVE;
        line = take_request(p, SLAVE);
    }
    vector = (u8)(p->chip[chip].irq_base + line);
    update(p);
    pthread_mutex_unlock(&p->lock);
    return vector;
}

/* ---- command words ---- */

/* "The following occur automatically": the sheet, ICW1. */
static void write_icw1(struct pic_state *c, u8 val)
{
    c->init4 = val & ICW1_ICW4;
    c->init_state = EXPECT_ICW2;
    c->irr = c->elcr & c->last_irr;
    c->isr = c->imr = 0;
    c->priority_add = 0;
    c->special_mask = c->read_reg_select = c->poll = c->rotate_on_auto_eoi = 0;
    if (!c->init4)
        c->auto_eoi = c->special_fully_nested_mode = 0;
}

static void end_of_interrupt(struct pic_state *c, u32 line, bool rotate)
{
    c->isr &= (u8) ~(1u << line);
    if (rotate)
        rotate_after(c, line);
}

/* Bits 7:5 are rotate, specific, EOI. */
static void write_ocw2(struct pic_state *c, u8 val)
{
    u32 line = val & 7, priority;
    bool rotate = val & 0x80;

    switch (val >> 5 & 3) {
    case 0: /* rotate in automatic EOI mode: set or clear */
        c->rotate_on_auto_eoi = rotate;
        break;
    case 1:
        priority = best_priority(c, in_service(c));
        if (priority < 8)
            end_of_interrupt(c, line_of(c, priority), rotate);
        break;
    case 2:
        if (rotate) /* "set priority"; without it, no operation */
            rotate_after(c, line);
        break;
    case 3:
        end_of_interrupt(c, line, rotate);
        break;
    }
}

static void write_ocw3(struct pic_state *c, u8 val)
{
    c->poll = val & OCW3_POLL ? 1 : 0;
    if (val & OCW3_READ)
        c->read_reg_select = val & 1;
    if (val & OCW3_SPECIAL_MASK)
        c->special_mask = val >> 5 & 1;
}

static void write_command(struct pic_state *c, u8 val)
{
    if (val & ICW1)
        write_icw1(c, val);
    else if (val & OCW3)
        write_ocw3(c, val);
    else
        write_ocw2(c, val);
}

/* A PC's two are always cascaded: ICW3 is expected whatever ICW1 said, and says nothing new. */
static void write_data(struct pic_state *c, u8 val)
{
    switch (c->init_state) {
    case EXPECT_ICW2:
        c->irq_base = val & 0xf8;
        c->init_state = EXPECT_ICW3;
        break;
    case EXPECT_ICW3:
        c->init_state = c->init4 ? EXPECT_ICW4 : EXPECT_NOTHING;
        break;
    case EXPECT_ICW4:
        c->special_fully_nested_mode = val & ICW4_NESTED ? 1 : 0;
        c->auto_eoi = val & ICW4_AUTO_EOI ? 1 : 0;
        c->init_state = EXPECT_NOTHING;
        break;
    default:
        c->imr = val;
    }
}

/* Invariant (1) for the lines that are levels. */
static void look_at_levels(struct pic_state *c)
{
    c->irr = (c->irr & (u8)~c->elcr) | (c->last_irr & c->elcr);
}

static void write_elcr(struct pic_state *c, u8 val)
{
    c->elcr = val & c->elcr_mask;
    look_at_levels(c);
}

static u8 poll(struct pic *p, u32 chip)
{
    int line = request(p, chip);

    p->chip[chip].poll = 0;
    if (line < 0)
        return 0;
    take(&p->chip[chip], (u32)line);
    return (u8)(POLL_FOUND | line);
}

/* ---- ports ---- */

enum { COMMAND, DATA, ELCR };

static const struct pic_port {
    u16 port;
    u8 chip, what;
} ports[] = {
    { 0x20, MASTER, COMMAND }, { 0x21, MASTER, DATA }, { 0x4d0, MASTER, ELCR },
    { 0xa0, SLAVE, COMMAND },  { 0xa1, SLAVE, DATA },  { 0x4d1, SLAVE, ELCR },
};

static const struct pic_port *port_of(u16 port)
{
    for_each_row(r, ports)
        if (r->port == port)
            return r;
    return NULL;
}

bool pic_has_port(u16 port)
{
    return port_of(port);
}

static u8 read_locked(struct pic *p, const struct pic_port *at)
{
    const struct pic_state *c = &p->chip[at->chip];

    if (at->what == ELCR)
        return c->elcr;
    if (c->poll)
        return poll(p, at->chip);
    if (at->what == DATA)
        return c->imr;
    return c->read_reg_select ? c->isr : c->irr;
}

u8 pic_read(struct pic *p, u16 port)
{
    const struct pic_port *at = port_of(port);
    u8 v;

    must(at);
    pthread_mutex_lock(&p->lock);
    v = read_locked(p, at);
    update(p);
    pthread_mutex_unlock(&p->lock);
    return v;
}

void pic_write(struct pic *p, u16 port, u8 val)
{
    static void (*const writers[])(struct pic_state *, u8) = {
        [COMMAND] = write_command,
        [DATA] = write_data,
        [ELCR] = write_elcr,
    };
    const struct pic_port *at = port_of(port);

    must(at);
    pthread_mutex_lock(&p->lock);
    writers[at->what](&p->chip[at->chip], val);
    update(p);
    pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

void pic_reset(struct pic *p)
{
    pthread_mutex_lock(&p->lock);
    for (u32 i = 0; i < 2; i++) {
        u8 lines = p->chip[i].last_irr; /* wires, not registers: devices drive them */

        p->chip[i] = (struct pic_state){ .last_irr = lines, .elcr_mask = elcr_masks[i] };
    }
    update(p);
    pthread_mutex_unlock(&p->lock);
}

void pic_init(struct pic *p, void (*intr)(void *, bool), void *arg)
{
    *p = (struct pic){ .intr = intr, .arg = arg };
    pthread_mutex_init(&p->lock, NULL);
    pic_reset(p);
}

void pic_get(struct pic *p, struct pic_state ret[2])
{
    pthread_mutex_lock(&p->lock);
    memcpy(ret, p->chip, sizeof(p->chip));
    pthread_mutex_unlock(&p->lock);
}

/* Comes from a file: fields that index or choose are brought into their range. */
void pic_put(struct pic *p, const struct pic_state s[2])
{
    pthread_mutex_lock(&p->lock);
    for (u32 i = 0; i < 2; i++) {
        struct pic_state *c = &p->chip[i];

        *c = s[i];
        c->priority_add &= 7;
        c->init_state &= 3;
        c->irq_base &= 0xf8;
        c->elcr_mask = elcr_masks[i];
        c->elcr &= c->elcr_mask;
        look_at_levels(c);
    }
    update(p);
    pthread_mutex_unlock(&p->lock);
}
