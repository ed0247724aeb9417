/*
 * dev/pc/pm.c: power management of hardware-reduced ACPI: what happened (for the Generic Event Device of the DSDT, ACPI 6.4,
 * 5.6.9), sleep control and status (4.8.3.7) and the reset register (4.8.3.6, at the place of the PC's 0xcf9).
 *   (1) The interrupt line is high while the event register is not 0; reading the register clears it.
 *   (2) \_S5 is the only sleep state.
 */
#include "dev/pc/pm.h"

#include "conf/conf.h"
#include "dev/pc/ports.h"

enum {
    RESET_PORT = 0xcf9,

    SLEEP_TYPE_S5 = 5, /* as \_S5 in the DSDT says */
    SLEEP_TYPE_SHIFT = 2,
    SLEEP_TYPE_MASK = 7,
    SLEEP_ENABLE = 0x20, /* SLP_EN reads as 0 */
    WAKE_STATUS = 0x80,  /* WAK_STS, cleared by writing 1 */

    RESET_SYSTEM = 2,
    RESET_CPU = 4, /* resets when it turns from 0 to 1 */
    RESET_FULL = 8,
};

/* clang-format off */
#define PM_STATE(F, S)                                                                  \
    F(S, VAL, u32, events,     "what happened and was not read: bit 0 power button, bit 1 generation id") \
    F(S, VAL, u8, sleep,       "sleep control register")                                \
    F(S, VAL, u8, wake,        "sleep status register")                                 \
    F(S, VAL, u8, reset,       "port 0xcf9: bit 1 system, 2 now, 3 power cycle")
/* clang-format on */
STATE_STRUCT(pm_state, PM_STATE);
STATE_TABLE(pm_state, PM_STATE);

struct pm {
    struct device dev;
    struct pm_state st;
    u32 gsi;               /* config */
    struct ports ports[3]; /* config */
};

static struct pm *pm_of(struct device *d)
{
    return container_of(d, struct pm, dev);
}

static void update_irq(struct pm *p)
{
    machine_irq(p->dev.machine, p->gsi, p->st.events != 0);
}

static void happened(struct device *d, u32 event)
{
    struct pm *p = pm_of(d);

    must(d->def == &pm_def);
    pthread_mutex_lock(&d->lock);
    p->st.events |= event;
    update_irq(p);
    pthread_mutex_unlock(&d->lock);
}

void pm_power_button(struct device *d)
{
    happened(d, PM_EVENT_POWER);
}

void pm_vmgenid_changed(struct device *d)
{
    happened(d, PM_EVENT_VMGENID);
}

/* A narrower read would lose the events beyond it: it clears only what it returns. */
static u64 events_read(struct device *d, u64 off, u32 len)
{
    struct pm *p = pm_of(d);
    u32 mask = (len >= 4 ? ~0u : (1u << 8 * len) - 1) << 8 * off, v = p->st.events & mask;

    p->st.events &= ~mask;
    update_irq(p);
    return v >> 8 * off;
}

static void events_write(struct device *, u64, u32, u64)
{
}

static u8 sleep_get(struct device *d, u32 reg)
{
    return reg == 0 ? pm_of(d)->st.sleep : pm_of(d)->st.wake;
}

static void sleep_set(struct device *d, u32 reg, u8 v)
{
    struct pm *p = pm_of(d);

    if (reg == 1) {
        p->st.wake &= (u8) ~(v & WAKE_STATUS);
        return;
    }
    p->st.sleep = v & (SLEEP_TYPE_MASK << SLEEP_TYPE_SHIFT);
    if (v & SLEEP_ENABLE && (v >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK) == SLEEP_TYPE_S5)
        machine_event(d->machine, MACHINE_POWEROFF, 0, NULL);
}

static u64 sleep_read(struct device *d, u64 off, u32 len)
{
    return ports_read_bytes(d, off, len, sleep_get);
}

static void sleep_write(struct device *d, u64 off, u32 len, u64 val)
{
    ports_write_bytes(d, off, len, val, sleep_set);
}

static u64 reset_read(struct device *d, u64, u32)
{
    return pm_of(d)->st.reset;
}

static void reset_write(struct device *d, u64, u32, u64 val)
{
    struct pm *p = pm_of(d);
    bool now = val & ~(u64)p->st.reset & RESET_CPU;

    p->st.reset = val & (RESET_SYSTEM | RESET_CPU | RESET_FULL);
    if (now)
        machine_event(d->machine, MACHINE_RESET, 0, "port 0xcf9");
}

static const struct bus_ops events_ops = { .read = events_read, .write = events_write };
static const struct bus_ops sleep_ops = { .read = sleep_read, .write = sleep_write };
static const struct bus_ops reset_ops = { .read = reset_read, .write = reset_write };

static void pm_stop(struct device *d)
{
    ports_remove(d, pm_of(d)->ports, ARRAY_LEN(pm_of(d)->ports));
}

static int pm_start(struct device *d, const void *arg, struct err *e)
{
    struct pm *p = pm_of(d);
    const struct pm_cfg *cfg = arg;

    p->gsi = cfg->gsi;
    p->ports[0] = (struct ports){ cfg->event_port, 4, &events_ops, false };
    p->ports[1] = (struct ports){ cfg->sleep_port, 2, &sleep_ops, false };
    p->ports[2] = (struct ports){ RESET_PORT, 1, &reset_ops, false };
    return ports_add(d, p->ports, ARRAY_LEN(p->ports), e);
}

static void pm_reset(struct device *d)
{
    struct pm *p = pm_of(d);

    p->st = (struct pm_state){};
    update_irq(p);
}

static const struct field pm_fields[] = {
    FIELD_INT(pm_cfg, event_port, "port of the event register", .dflt = 0x600, .max = 0xfffc),
    FIELD_INT(pm_cfg, sleep_port, "port of sleep control and status", .dflt = 0x604, .max = 0xfffe),
    FIELD_INT(pm_cfg, gsi, "interrupt line of the events", .dflt = 9, .max = 23),
    {},
};

const struct device_def pm_def = {
    .name = "pm",
    .doc = "ACPI events, sleep control and reset register",
    .size = sizeof(struct pm),
    .fields = pm_fields,
    .cfg_size = sizeof(struct pm_cfg),
    .parts = { STATE_PART(pm, st, pm_state) },
    .ranges = { { true, 0x600, 4 }, { true, 0x604, 2 }, { true, RESET_PORT, 1 } },
    .start = pm_start,
    .stop = pm_stop,
    .reset = pm_reset,
};
