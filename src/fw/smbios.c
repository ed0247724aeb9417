/*
 * fw/smbios.c: the SMBIOS tables.  (DMTF DSP0134 3.6; the numbers of sections and types are from there)
 */
#include "fw/smbios.h"

#include "fw/layout.h"

enum {
    ENTRY_SIZE = 24,
    TABLE_AT = 32, /* after the entry point, aligned */
    SOCKETS_MAX = 64,
    STRINGS_MAX = 8,
    TEXT_MAX = 64,
    DEVICE_MAX_MIB = 0x7fff, /* type 17, "Size": beyond that the extended field */
};

/* One structure is being written at a time: its strings follow its fields. */
struct writer {
    u8 *buf;
    size_t len, room, start;
    bool bad;
    unsigned n_strings;
    char strings[STRINGS_MAX][TEXT_MAX];
    unsigned n_tables;
};

static void put(struct writer *w, u64 v, size_t len)
{
    if (w->bad || len > w->room - w->len) {
        w->bad = true;
        return;
    }
    le_store(w->buf + w->len, len, v);
    w->len += len;
}

static void put_mem(struct writer *w, const void *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        put(w, ((const u8 *)p)[i], 1);
}

/* A string's number, 0 when there is none. */
static void put_string(struct writer *w, const char *s)
{
    if (!s || !*s) {
        put(w, 0, 1);
        return;
    }
    must(w->n_strings < STRINGS_MAX);
    (void)str_fmt(w->strings[w->n_strings++], TEXT_MAX, "%s", s);
    put(w, w->n_strings, 1);
}

static void begin(struct writer *w, u8 type, u16 handle)
{
    w->start = w->len;
    w->n_strings = 0;
    put(w, type, 1);
    put(w, 0, 1); /* length: end */
    put(w, handle, 2);
}

static void end(struct writer *w)
{
    if (!w->bad)
        w->buf[w->start + 1] = (u8)(w->len - w->start);
    for (unsigned i = 0; i < w->n_strings; i++)
        put_mem(w, w->strings[i], strlen(w->strings[i]) + 1);
    put(w, 0, w->n_strings ? 1 : 2);
    w->n_tables++;
}

/* 7.1 */
static void bios(struct writer *w, const struct smbios_cfg *cfg)
{
    begin(w, 0, 0);
    put_string(w, "Socle");
    put_string(w, cfg->version);
    put(w, 0xe800, 2); /* segment: unused */
    put_string(w, "01/01/2024");
    put(w, 0, 1);
    put(w, 1 << 3, 8); /* characteristics are not supported */
    put(w, 0, 1);
    put(w, 1 << 4, 1);     /* a virtual machine */
    put(w, 0xffffffff, 4); /* releases: not known */
    put(w, 0, 2);
    end(w);
}

/* 7.2.  The first three fields of the UUID are little-endian here (7.2.1). */
static void system_info(struct writer *w, const struct smbios_cfg *cfg)
{
    const u8 *u = cfg->uuid;
    const u8 uuid[16] = { u[3], u[2], u[1],  u[0],  u[5],  u[4],  u[7],  u[6],
                          u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15] };

    begin(w, 1, 0x100);
    put_string(w, "Socle");
    put_string(w, cfg->product ? cfg->product : "Socle VM");
    put_string(w, cfg->version);
    put_string(w, cfg->serial);
    put_mem(w, uuid, sizeof(uuid));
    put(w, 6, 1); /* woken by the power switch */
    put_string(w, NULL);
    put_string(w, "Virtual Machine");
    end(w);
}

/* 7.4 */
static void chassis(struct writer *w, const struct smbios_cfg *cfg)
{
    begin(w, 3, 0x300);
    put_string(w, "Socle");
    put(w, 1, 1); /* other */
    put_string(w, cfg->version);
    put_string(w, cfg->serial);
    put_string(w, NULL);
    put(w, 0x030303, 3); /* boot-up, power, thermal state: safe */
    put(w, 2, 1);        /* security: unknown */
    put(w, 0, 4);
    put(w, 0, 4); /* height, cords, contained elements and their length */
    put_string(w, NULL);
    end(w);
}

/* 7.5 */
static void processor(struct writer *w, const struct smbios_cfg *cfg, unsigned socket)
{
    unsigned threads = cfg->cores * cfg->threads;
    char name[16];

    (void)str_fmt(name, sizeof(name), "CPU %u", socket);
    begin(w, 4, (u16)(0x400 + socket));
    put_string(w, name);
    put(w, 3, 1); /* central processor */
    put(w, 1, 1); /* family: other */
    put_string(w, "Socle");
    put(w, 0, 8); /* id: CPUID tells */
    put_string(w, cfg->version);
    put(w, 0, 1);              /* voltage */
    put(w, 0, 2 * 3);          /* clocks: unknown */
    put(w, 0x41, 1);           /* populated, enabled */
    put(w, 1, 1);              /* upgrade: other */
    put(w, 0xffffffffffff, 6); /* caches: none described */
    put(w, 0, 3);              /* serial, asset, part */
    put(w, min(cfg->cores, 255u), 1);
    put(w, min(cfg->cores, 255u), 1);
    put(w, min(threads, 255u), 1);
    put(w, 1 << 2, 2); /* 64-bit */
    put(w, 1, 2);
    put(w, cfg->cores, 2);
    put(w, cfg->cores, 2);
    put(w, threads, 2);
    end(w);
}

/* 7.17: the array, one device in it (7.18), and where its bytes are (7.20). */
static void memory(struct writer *w, const struct mem *m)
{
    u64 mib = mem_size(m) / MiB;
    unsigned n;
    const struct mem_region *regions = mem_regions(m, &n);

    begin(w, 16, 0x1000);
    put(w, 1, 1);          /* location: other */
    put(w, 3, 1);          /* system memory */
    put(w, 6, 1);          /* multi-bit ECC, as servers have */
    put(w, 0x80000000, 4); /* capacity: in the extended field */
    put(w, 0xfffe, 2);
    put(w, 1, 2);
    put(w, mem_size(m), 8);
    end(w);

    begin(w, 17, 0x1100);
    put(w, 0x1000, 2);
    put(w, 0xfffe, 2);
    put(w, 0xffff, 2); /* widths: unknown */
    put(w, 0xffff, 2);
    put(w, mib < DEVICE_MAX_MIB ? mib : DEVICE_MAX_MIB, 2);
    put(w, 9, 1); /* DIMM */
    put(w, 0, 1);
    put_string(w, "DIMM 0");
    put_string(w, NULL);
    put(w, 7, 1);      /* RAM */
    put(w, 1 << 1, 2); /* other */
    put(w, 0, 2);      /* speed */
    put_string(w, "Socle");
    put(w, 0, 4); /* serial, asset, part, attributes */
    put(w, mib < DEVICE_MAX_MIB ? 0 : mib, 4);
    put(w, 0, 8); /* speed, voltages */
    end(w);

    for (unsigned i = 0; i < n; i++) {
        begin(w, 19, (u16)(0x1300 + i));
        put(w, 0xffffffff, 4); /* the extended fields tell */
        put(w, 0xffffffff, 4);
        put(w, 0x1000, 2);
        put(w, 1, 1);
        put(w, regions[i].gpa, 8);
        put(w, regions[i].gpa + regions[i].size - 1, 8);
        end(w);
    }
}

/* 7.33 and 7.45 */
static void boot_and_end(struct writer *w)
{
    begin(w, 32, 0x2000);
    put(w, 0, 6);
    put(w, 0, 1); /* no errors */
    end(w);
    begin(w, 127, 0x7f00);
    end(w);
}

/* 5.2.2 */
static void entry_point(u8 *p, size_t table_len)
{
    u8 sum = 0;

    memcpy(p, "_SM3_", 5);
    p[6] = ENTRY_SIZE;
    p[7] = 3; /* version 3.0 */
    p[10] = 1;
    le_store(p + 12, 4, table_len);
    le_store(p + 16, 8, LAYOUT_SMBIOS + TABLE_AT);
    for (unsigned i = 0; i < ENTRY_SIZE; i++)
        sum = (u8)(sum + p[i]);
    p[5] = (u8)-sum;
}

int smbios_build(struct mem *m, const struct smbios_cfg *cfg, struct err *e)
{
    const size_t size = LAYOUT_SMBIOS_END - LAYOUT_SMBIOS;
    AUTO(free) u8 *area = xnew_n(u8, size);
    struct writer w = { .buf = area, .len = TABLE_AT, .room = size };

    if (cfg->sockets == 0 || cfg->sockets > SOCKETS_MAX || cfg->cores == 0 || cfg->threads == 0)
        return err_set(
            e, -EINVAL,
            "SMBIOS for %u sockets of %u cores of %u threads: allowed are 1 to %u sockets",
            cfg->sockets, cfg->cores, cfg->threads, SOCKETS_MAX);
    bios(&w, cfg);
    system_info(&w, cfg);
    chassis(&w, cfg);
    for (unsigned i = 0; i < cfg->sockets; i++)
        processor(&w, cfg, i);
    memory(&w, m);
    boot_and_end(&w);
    must(!w.bad); /* 64 KiB hold SOCKETS_MAX processors and all else several times */
    entry_point(area, w.len - TABLE_AT);
    if (mem_write(m, LAYOUT_SMBIOS, area, size) < 0)
        return err_set(e, -ENOMEM, "no RAM at 0x%llx for the SMBIOS tables", LAYOUT_SMBIOS);
    return 0;
}
