/*
 * dev/fake.c: a machine without vCPUs, for tests and fuzzers of devices.
 * Its loop is not started, so that what devices hand to it runs at once on the caller's thread; a test may run it.
 */
#include "base/loop.h"
#include "dev/dev.h"
#include "dev/pci/pci.h"
#include "mem/mem.h"

#include <stdlib.h>

struct fake {
    struct fake_machine f;
    struct loop loop;
    pthread_mutex_t lock; /* guards f's counters and what follows */
    u32 msis_alive;
};

struct msi {
    u64 addr;
    u32 data;
};

static void fake_irq(void *arg, u32 gsi, bool level)
{
    struct fake *k = arg;

    must(gsi < ARRAY_LEN(k->f.irqs));
    pthread_mutex_lock(&k->lock);
    k->f.irqs[gsi] += level && !k->f.level[gsi];
    k->f.level[gsi] = level;
    pthread_mutex_unlock(&k->lock);
}

static struct msi *fake_msi_new(void *arg)
{
    struct fake *k = arg;

    pthread_mutex_lock(&k->lock);
    k->msis_alive++;
    pthread_mutex_unlock(&k->lock);
    return xnew(struct msi);
}

static void fake_msi_free(void *arg, struct msi *m)
{
    struct fake *k = arg;

    pthread_mutex_lock(&k->lock);
    k->msis_alive--;
    pthread_mutex_unlock(&k->lock);
    free(m);
}

static void fake_msi_aim(void *arg, struct msi *m, u64 addr, u32 data)
{
    struct fake *k = arg;

    pthread_mutex_lock(&k->lock);
    *m = (struct msi){ addr, data };
    pthread_mutex_unlock(&k->lock);
}

static void fake_msi_fire(void *arg, struct msi *m)
{
    struct fake *k = arg;

    pthread_mutex_lock(&k->lock);
    k->f.msis++;
    k->f.msi_addr = m->addr;
    k->f.msi_data = m->data;
    pthread_mutex_unlock(&k->lock);
}

/* No engine is there to signal the fd; the writes arrive at the device. */
static int fake_doorbell(void *, u64, u32, int, bool)
{
    return -ENOTSUP;
}

static void fake_event(void *arg, enum machine_event what, u64 value, const char *)
{
    struct fake *k = arg;

    must(what < ARRAY_LEN(k->f.events));
    pthread_mutex_lock(&k->lock);
    k->f.events[what]++;
    k->f.event_value = value;
    pthread_mutex_unlock(&k->lock);
}

static const struct machine_ops fake_ops = {
    .irq = fake_irq,
    .msi_new = fake_msi_new,
    .msi_free = fake_msi_free,
    .msi_aim = fake_msi_aim,
    .msi_fire = fake_msi_fire,
    .doorbell = fake_doorbell,
    .event = fake_event,
};

static const struct pci_bus_cfg fake_pci = {
    .ecam_base = 0xe0000000,
    .io_base = 0x1000,
    .io_size = 0xf000,
    .mem32_base = 0xc0000000,
    .mem32_size = 0x20000000,
    .mem64_base = 0x8000000000,
    .mem64_size = 0x1000000000,
    .intx_gsi = 16,
};

struct fake_machine *fake_machine_new(void)
{
    struct fake *k = xnew(struct fake);
    struct machine *m = &k->f.m;
    struct err e;

    pthread_mutex_init(&k->lock, NULL);
    m->ops = &fake_ops;
    m->arg = k;
    m->loop = &k->loop;
    m->pio = bus_new("port");
    m->mmio = bus_new("memory");
    must(loop_init(&k->loop, "fake") == 0);
    must(mem_new(&(struct mem_cfg){ .size = 64 * MiB }, &m->mem, &e) == 0);
    must(pci_bus_new(m, &fake_pci, &m->pci, &e) == 0);
    return &k->f;
}

void fake_machine_free(struct fake_machine *f)
{
    struct fake *k;

    if (!f)
        return;
    k = container_of(f, struct fake, f);
    pci_bus_free(f->m.pci);
    must(k->msis_alive == 0);
    loop_fini(&k->loop);
    bus_free(f->m.pio);
    bus_free(f->m.mmio);
    mem_free(f->m.mem);
    pthread_mutex_destroy(&k->lock);
    free(k);
}
