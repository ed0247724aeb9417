/*
 * fw/smbios.h: the SMBIOS tables: what the machine calls itself.
 */
#pragma once

#include "mem/mem.h"

struct smbios_cfg {
    const char *product;              /* "Socle VM" when NULL; longer than 63 bytes is cut */
    const char *version;              /* of us; NULL: none */
    const char *serial;               /* NULL: none */
    u8 uuid[16];                      /* as RFC 4122 writes it */
    unsigned sockets, cores, threads; /* cores a socket, threads a core; all ≥ 1 */
};

/* Writes entry point and tables into [LAYOUT_SMBIOS, LAYOUT_SMBIOS_END), which the memory map reserves anyway. */
int smbios_build(struct mem *m, const struct smbios_cfg *cfg, struct err *e);
