/*
 * dev/pc/ports.c: claims the port ranges of one device, all or none.
 */
#include "dev/pc/ports.h"

static struct bus *bus_of(struct device *d, const struct ports *p)
{
    return p->mmio ? d->machine->mmio : d->machine->pio;
}

int ports_add(struct device *d, const struct ports *rows, u32 n, struct err *e)
{
    for (u32 i = 0; i < n; i++) {
        int r = bus_add(bus_of(d, &rows[i]), rows[i].base, rows[i].len, rows[i].ops, d, e);

        if (r < 0) {
            ports_remove(d, rows, i);
            return r;
        }
    }
    return 0;
}

void ports_remove(struct device *d, const struct ports *rows, u32 n)
{
    for (u32 i = 0; i < n; i++)
        bus_remove(bus_of(d, &rows[i]), rows[i].base, d);
}
