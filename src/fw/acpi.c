/*
 * fw/acpi.c: the ACPI tables of a machine.  (ACPI 6.4; MCFG: PCI Firmware Specification 3.3, 4.1.2)
 *   (1) Tables are built in our memory and copied to the guest once, complete.
 *   (2) Whatever does not fit sets `bad` in the writer and fails the build: nothing is cut.
 */
#include "fw/acpi.h"

#include "fw/dsdt.h"
#include "fw/layout.h"

#define AREA_SIZE (LAYOUT_ACPI_END - LAYOUT_ACPI)

enum { RSDP_SIZE = 36, RSDP_ROOM = 64, HEADER_SIZE = 36, TABLES_MAX = 8 };

/* FADT, IA-PC boot architecture flags (5.2.9.3). */
enum {
    BOOT_LEGACY_DEVICES = 1 << 0,
    BOOT_8042 = 1 << 1,
    BOOT_NO_VGA = 1 << 2,
    BOOT_NO_ASPM = 1 << 4,
    BOOT_NO_RTC = 1 << 5
};
/* FADT, fixed feature flags (5.2.9). */
enum {
    FADT_WBINVD = 1 << 0,
    FADT_PWR_BUTTON = 1 << 4,
    FADT_SLP_BUTTON = 1 << 5,
    FADT_RESET = 1 << 10,
    FADT_REDUCED = 1 << 20
};

/* Where the next table goes, and which there are. */
struct tables {
    struct aml w; /* the whole area; a table is written by the same small writer as AML */
    unsigned n;
    u64 gpa[TABLES_MAX];
};

static void put(struct aml *w, u64 v, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        aml_byte(w, (u8)(v >> (8 * i)));
}

static void put_zeroes(struct aml *w, size_t len)
{
    while (len-- > 0)
        aml_byte(w, 0);
}

static void put_text(struct aml *w, const char *text, unsigned len)
{
    for (unsigned i = 0; i < len; i++)
        aml_byte(w, (u8)text[i]);
}

/* Makes the bytes sum up to 0. */
static void set_checksum(u8 *table, size_t len, size_t at)
{
    u8 sum = 0;

    table[at] = 0;
    for (size_t i = 0; i < len; i++)
        sum = (u8)(sum + table[i]);
    table[at] = (u8)-sum;
}

/* A table's header (5.2.6); returns where it began, for table_end. */
static size_t table_begin(struct tables *t, const char *signature, u8 revision)
{
    struct aml *w = &t->w;
    size_t at;

    put_zeroes(w, align_up(w->len, (size_t)16) - w->len);
    at = w->len;
    put_text(w, signature, 4);
    put(w, 0, 4); /* length: table_end */
    put(w, revision, 1);
    put(w, 0, 1); /* checksum: table_end */
    put_text(w, "SOCLE ", 6);
    put_text(w, "SOCLEVM ", 8);
    put(w, 1, 4);
    put_text(w, "SOCL", 4);
    put(w, 1, 4);
    return at;
}

static void table_end(struct tables *t, size_t at)
{
    u8 *table = t->w.buf + at;
    size_t len = t->w.len - at;

    if (t->w.bad)
        return;
    must(t->n < TABLES_MAX);
    le_store(table + 4, 4, len);
    set_checksum(table, len, 9);
    t->gpa[t->n++] = LAYOUT_ACPI + at;
}

/* Generic address structure (5.2.3.2) of a byte-wide port. */
static void put_port(struct aml *w, u16 port)
{
    put(w, 1, 1); /* system I/O */
    put(w, 8, 1);
    put(w, 0, 1);
    put(w, 1, 1); /* byte access */
    put(w, port, 8);
}

static void put_at(struct aml *w, size_t at, u64 v, unsigned len)
{
    if (!w->bad)
        le_store(w->buf + at, len, v);
}

/* FADT (5.2.9): zero but for what a hardware-reduced machine has. */
static void fadt(struct tables *t, const struct acpi_cfg *cfg, u64 dsdt)
{
    struct aml *w = &t->w;
    size_t at = table_begin(t, "FACP", 6);
    u16 boot = (u16)(BOOT_NO_VGA | BOOT_NO_ASPM |
                     (cfg->legacy || cfg->n_serials ? BOOT_LEGACY_DEVICES : 0) |
                     (cfg->i8042 ? BOOT_8042 : 0) | (cfg->rtc_port ? 0 : BOOT_NO_RTC));

    put(w, 0, 4); /* FACS */
    put(w, dsdt, 4);
    put_zeroes(w, 109 - 44);
    put_at(w, at + 45, 4, 1);                         /* preferred profile: enterprise server */
    put_at(w, at + 108, cfg->rtc_port ? 0x32 : 0, 1); /* where the RTC keeps the century */
    put(w, boot, 2);
    put(w, 0, 1);
    put(w, FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET | FADT_REDUCED, 4);
    put_port(w, cfg->reset_port);
    put(w, cfg->reset_value, 1);
    put(w, 0, 2);
    put(w, 4, 1); /* minor version of 6.4 */
    put(w, 0, 8); /* X_FACS */
    put(w, dsdt, 8);
    put_zeroes(w, 12 * 8); /* no fixed hardware */
    put_port(w, cfg->sleep_ctl_port);
    put_port(w, cfg->sleep_sts_port);
    put_text(w, "SOCLE\0\0\0", 8);
    must(w->bad || w->len - at == 276);
    table_end(t, at);
}

static void madt_override(struct aml *w, u8 irq, u32 gsi)
{
    put(w, 2, 1);
    put(w, 10, 1);
    put(w, 0, 1); /* ISA */
    put(w, irq, 1);
    put(w, gsi, 4);
    put(w, 0, 2); /* as the bus has it: edge, active high */
}

/* A processor: local APIC (type 0) for ids that fit into 8 bits, x2APIC (type 9) above; and its NMI on LINT1 (4, 10). */
static void madt_cpu(struct aml *w, u32 uid, u32 apic_id)
{
    if (apic_id < 255) {
        put(w, 0, 1);
        put(w, 8, 1);
        put(w, uid & 0xff, 1);
        put(w, apic_id, 1);
        put(w, 1, 4); /* enabled */
        return;
    }
    put(w, 9, 1);
    put(w, 16, 1);
    put(w, 0, 2);
    put(w, apic_id, 4);
    put(w, 1, 4);
    put(w, uid, 4);
}

static void madt(struct tables *t, const struct acpi_cfg *cfg)
{
    struct aml *w = &t->w;
    size_t at = table_begin(t, "APIC", 5);
    bool wide = false;

    put(w, LAYOUT_LAPIC, 4);
    put(w, cfg->legacy, 4); /* PCAT_COMPAT: dual 8259 */
    for (unsigned i = 0; i < cfg->n_cpus; i++) {
        madt_cpu(w, i, cfg->apic_ids[i]);
        wide |= cfg->apic_ids[i] >= 255;
    }
    put(w, 1, 1); /* I/O APIC */
    put(w, 12, 1);
    put(w, cfg->ioapic_id, 1);
    put(w, 0, 1);
    put(w, LAYOUT_IOAPIC, 4);
    put(w, 0, 4);
    if (cfg->legacy || cfg->hpet)
        madt_override(w, 0, 2); /* the timer's line, which is pin 2 of the I/O APIC */
    put(w, 4, 1);               /* local APIC NMI: all processors, LINT1 */
    put(w, 6, 1);
    put(w, 0xff, 1);
    put(w, 0, 2);
    put(w, 1, 1);
    if (wide) {
        put(w, 10, 1);
        put(w, 12, 1);
        put(w, 0, 2);
        put(w, UINT32_MAX, 4);
        put(w, 1, 1);
        put(w, 0, 3);
    }
    table_end(t, at);
}

static void mcfg(struct tables *t, const struct acpi_cfg *cfg)
{
    size_t at = table_begin(t, "MCFG", 1);

    put(&t->w, 0, 8);
    put(&t->w, cfg->ecam, 8);
    put(&t->w, 0, 2); /* segment */
    put(&t->w, 0, 1); /* first bus */
    put(&t->w, LAYOUT_ECAM_LAST_BUS, 1);
    put(&t->w, 0, 4);
    table_end(t, at);
}

/* IA-PC HPET specification 1.0a, 3.2.4. */
static void hpet(struct tables *t, const struct acpi_cfg *cfg)
{
    struct aml *w = &t->w;
    size_t at = table_begin(t, "HPET", 1);

    put(w, cfg->hpet_id, 4);
    put(w, 0, 1); /* system memory */
    put(w, 64, 1);
    put(w, 0, 2);
    put(w, cfg->hpet, 8);
    put(w, 0, 1); /* number */
    put(w, 5000,
        2); /* fewest ticks between periodic interrupts: 50 us, as dev/pc/hpet.c keeps to */
    put(w, 0, 1);
    table_end(t, at);
}

/* Processor affinity (5.2.16.1) or, for wide ids, x2APIC affinity (5.2.16.3). */
static void srat_cpu(struct aml *w, u32 apic_id, u32 node)
{
    if (apic_id < 255) {
        put(w, 0, 1);
        put(w, 16, 1);
        put(w, node & 0xff, 1);
        put(w, apic_id, 1);
        put(w, 1, 4);
        put(w, 0, 1);
        put(w, node >> 8, 3);
        put(w, 0, 4);
        return;
    }
    put(w, 2, 1);
    put(w, 24, 1);
    put(w, 0, 2);
    put(w, node, 4);
    put(w, apic_id, 4);
    put(w, 1, 4);
    put(w, 0, 8);
}

static void srat(struct tables *t, const struct acpi_cfg *cfg)
{
    struct aml *w = &t->w;
    size_t at = table_begin(t, "SRAT", 3);

    put(w, 1, 4); /* reserved, "must be 1" */
    put(w, 0, 8);
    for (unsigned i = 0; i < cfg->n_cpus; i++)
        srat_cpu(w, cfg->apic_ids[i], cfg->cpu_nodes ? cfg->cpu_nodes[i] : 0);
    for (unsigned i = 0; i < cfg->n_mem_ranges; i++) {
        put(w, 1, 1); /* memory affinity (5.2.16.2) */
        put(w, 40, 1);
        put(w, cfg->mem_ranges[i].node, 4);
        put(w, 0, 2);
        put(w, cfg->mem_ranges[i].gpa, 8);
        put(w, cfg->mem_ranges[i].size, 8);
        put(w, 0, 4);
        put(w, 1, 4); /* enabled */
        put(w, 0, 8);
    }
    table_end(t, at);
}

static void slit(struct tables *t, const struct acpi_cfg *cfg)
{
    size_t at = table_begin(t, "SLIT", 1);

    put(&t->w, cfg->n_nodes, 8);
    for (unsigned i = 0; i < cfg->n_nodes * cfg->n_nodes; i++) {
        bool same = i / cfg->n_nodes == i % cfg->n_nodes;

        put(&t->w, cfg->distances ? cfg->distances[i] : same ? 10 : 20, 1);
    }
    table_end(t, at);
}

static void xsdt(struct tables *t)
{
    unsigned n = t->n;
    size_t at = table_begin(t, "XSDT", 1);

    for (unsigned i = 1; i < n; i++) /* 0 is the DSDT, which only the FADT names */
        put(&t->w, t->gpa[i], 8);
    table_end(t, at);
}

/* Root pointer (5.2.5.3), at the area's start. */
static void rsdp(struct tables *t)
{
    u8 *r = t->w.buf;

    if (t->w.bad)
        return;
    memcpy(r, "RSD PTR ", 8);
    memcpy(r + 9, "SOCLE ", 6);
    r[15] = 2;
    le_store(r + 20, 4, RSDP_SIZE);
    le_store(r + 24, 8, t->gpa[t->n - 1]);
    set_checksum(r, 20, 8);
    set_checksum(r, RSDP_SIZE, 32);
}

static int check_cfg(const struct acpi_cfg *cfg, struct err *e)
{
    if (cfg->n_cpus == 0 || cfg->n_cpus > ACPI_CPUS_MAX)
        return err_set(e, -EINVAL, "ACPI tables for %u CPUs: allowed are 1 to %u", cfg->n_cpus,
                       ACPI_CPUS_MAX);
    if (cfg->n_nodes > ACPI_NODES_MAX || cfg->n_mem_ranges > ACPI_MEM_RANGES_MAX)
        return err_set(e, -EINVAL, "ACPI tables for %u nodes with %u ranges: allowed are %u and %u",
                       cfg->n_nodes, cfg->n_mem_ranges, ACPI_NODES_MAX, ACPI_MEM_RANGES_MAX);
    must(cfg->n_serials <= ACPI_SERIALS_MAX && cfg->ecam <= UINT32_MAX);
    return 0;
}

void acpi_cfg_init(struct acpi_cfg *cfg)
{
    *cfg = (struct acpi_cfg){
        .n_serials = 1,
        .serials = { { LAYOUT_COM1, LAYOUT_GSI_COM1 } },
        .rtc_port = LAYOUT_RTC,
        .rtc_gsi = LAYOUT_GSI_RTC,
        .ged_port = LAYOUT_GED_PORT,
        .sleep_ctl_port = LAYOUT_SLEEP_CTL,
        .sleep_sts_port = LAYOUT_SLEEP_STS,
        .reset_port = LAYOUT_RESET_PORT,
        .ged_gsi = LAYOUT_GSI_GED,
        .reset_value = LAYOUT_RESET_VALUE,
        .vmgenid_gpa = LAYOUT_VMGENID,
        .pci_io = { LAYOUT_PCI_IO, LAYOUT_PCI_IO_SIZE },
        .pci_mem32 = { LAYOUT_PCI_MEM32, LAYOUT_PCI_MEM32_SIZE },
        .ecam = LAYOUT_ECAM,
        .intx_gsi = LAYOUT_GSI_INTX,
    };
}

int acpi_build(struct mem *m, const struct acpi_cfg *cfg, u64 *ret_rsdp, struct err *e)
{
    AUTO(free) u8 *area = xnew_n(u8, AREA_SIZE);
    struct tables t = {};
    size_t at;
    int r = check_cfg(cfg, e);

    if (r < 0)
        return r;
    aml_init(&t.w, area, AREA_SIZE);
    put_zeroes(&t.w, RSDP_ROOM);
    at = table_begin(&t, "DSDT", 2);
    dsdt_write(&t.w, cfg);
    table_end(&t, at);
    fadt(&t, cfg, t.gpa[0]);
    madt(&t, cfg);
    mcfg(&t, cfg);
    if (cfg->hpet)
        hpet(&t, cfg);
    if (cfg->n_nodes > 1) {
        srat(&t, cfg);
        slit(&t, cfg);
    }
    xsdt(&t);
    rsdp(&t);
    if (t.w.bad)
        return err_set(e, -ENOSPC, "ACPI tables for %u CPUs and %u nodes exceed %llu bytes",
                       cfg->n_cpus, cfg->n_nodes, AREA_SIZE);
    if (mem_write(m, LAYOUT_ACPI, area, AREA_SIZE) < 0)
        return err_set(e, -ENOMEM, "no RAM at 0x%llx for the ACPI tables", LAYOUT_ACPI);
    *ret_rsdp = LAYOUT_ACPI;
    return 0;
}
