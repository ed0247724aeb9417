/*
 * fw/acpi_test.c: lengths and checksums of all tables, what depends on the configuration, and the judgement of iasl.
 */
#include "fw/acpi.h"

#include "fw/layout.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool sums_to_zero(const u8 *p, size_t len)
{
    u8 sum = 0;

    while (len-- > 0)
        sum = (u8)(sum + *p++);
    return sum == 0;
}

static struct mem *small_mem(void)
{
    struct mem *m = NULL;
    struct err e;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 4 * MiB }, &m, &e), &e);
    return m;
}

static const u8 *table_at(const struct mem *m, u64 gpa, size_t *ret_len)
{
    const u8 *head = mem_at(m, gpa, 36);

    CHECK(head && gpa >= LAYOUT_ACPI && gpa < LAYOUT_ACPI_END);
    *ret_len = (size_t)le_load(head + 4, 4);
    CHECK(gpa + *ret_len <= LAYOUT_ACPI_END);
    CHECK(sums_to_zero(head, *ret_len));
    CHECK_MEM(head + 10, "SOCLE ", 6);
    return head;
}

/* The table of that signature by way of RSDP and XSDT; NULL: there is none. */
static const u8 *find(const struct mem *m, u64 rsdp_gpa, const char *signature, size_t *ret_len)
{
    const u8 *rsdp = mem_at(m, rsdp_gpa, 36), *xsdt, *found = NULL;
    size_t len, table_len;

    CHECK_MEM(rsdp, "RSD PTR ", 8);
    CHECK(sums_to_zero(rsdp, 20) && sums_to_zero(rsdp, 36));
    xsdt = table_at(m, le_load(rsdp + 24, 8), &len);
    CHECK_MEM(xsdt, "XSDT", 4);
    for (size_t at = 36; at < len; at += 8) {
        const u8 *table = table_at(m, le_load(xsdt + at, 8), &table_len);

        if (memcmp(table, signature, 4) != 0)
            continue;
        found = table;
        *ret_len = table_len;
    }
    return found;
}

TEST(acpi_minimal)
{
    AUTO(mem) struct mem *m = small_mem();
    const u32 ids[] = { 0, 1, 300 };
    struct acpi_cfg cfg;
    struct err e;
    const u8 *t;
    size_t len;
    u64 rsdp;

    acpi_cfg_init(&cfg);
    cfg.n_cpus = ARRAY_LEN(ids);
    cfg.apic_ids = ids;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    CHECK(is_aligned(rsdp, 16ull) && rsdp >= 0xe0000 && rsdp < 0x100000);
    t = find(m, rsdp, "FACP", &len);
    CHECK_EQ(len, 276);
    CHECK_EQ(le_load(t + 109, 2), 0x15); /* legacy devices, no VGA, no ASPM; an RTC; no 8042 */
    CHECK_EQ(le_load(t + 112, 4),
             0x100431); /* hardware-reduced, reset register, control-method buttons */
    CHECK_EQ(le_load(t + 120, 8), LAYOUT_RESET_PORT);
    CHECK_EQ(t[128], LAYOUT_RESET_VALUE);
    CHECK_EQ(le_load(t + 248, 8), LAYOUT_SLEEP_CTL);
    CHECK_EQ(le_load(t + 260, 8), LAYOUT_SLEEP_STS);
    CHECK_MEM(table_at(m, le_load(t + 140, 8), &len), "DSDT", 4);
    t = find(m, rsdp, "APIC", &len);
    CHECK_EQ(len, 44 + 2 * 8 + 16 + 12 + 6 +
                      12); /* the third CPU is an x2APIC: two kinds of NMI entries */
    CHECK_EQ(t[44 + 16], 9);
    CHECK_EQ(le_load(t + 44 + 16 + 4, 4), 300);
    t = find(m, rsdp, "MCFG", &len);
    CHECK_EQ(le_load(t + 44, 8), LAYOUT_ECAM);
    CHECK_EQ(t[44 + 11],
             0); /* the last bus: Linux probes all that are named, at two exits a device */
    CHECK(find(m, rsdp, "SRAT", &len) == NULL);
}

static bool dsdt_has(const struct mem *m, u64 rsdp, const char *id)
{
    size_t len;
    const u8 *fadt = find(m, rsdp, "FACP", &len), *dsdt = table_at(m, le_load(fadt + 140, 8), &len);

    return memmem(dsdt, len, id, strlen(id)) != NULL;
}

TEST(acpi_devices)
{
    static const struct {
        const char *why, *id;
        bool always;
    } rows[] = {
        { "event device", "ACPI0013", true }, { "its method", "_EVT", true },
        { "power button", "PWRB", true },     { "generation id", "VMGENCTR", false },
        { "clock", "RTC0", false },           { "serial port", "COM1", false },
        { "keyboard", "KBD0", false },        { "PCI interrupts", "_PRT", true },
        { "event timer", "HPET", false },
    };
    AUTO(mem) struct mem *m = small_mem();
    const u32 id = 0;
    struct acpi_cfg cfg;
    struct err e;
    u64 rsdp;

    acpi_cfg_init(&cfg);
    cfg.n_cpus = 1;
    cfg.apic_ids = &id;
    cfg.i8042 = true;
    cfg.hpet = LAYOUT_HPET;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    for_each_row(c, rows) {
        ROW(c);
        CHECK(dsdt_has(m, rsdp, c->id));
    }
    cfg.i8042 = false;
    cfg.hpet = 0;
    cfg.n_serials = 0;
    cfg.rtc_port = 0;
    cfg.vmgenid_gpa = 0;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(dsdt_has(m, rsdp, c->id), c->always);
    }
}

TEST(acpi_hpet)
{
    AUTO(mem) struct mem *m = small_mem();
    const u32 id = 0;
    struct acpi_cfg cfg;
    struct err e;
    const u8 *t;
    size_t len;
    u64 rsdp;

    acpi_cfg_init(&cfg);
    cfg.n_cpus = 1;
    cfg.apic_ids = &id;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    CHECK(find(m, rsdp, "HPET", &len) == NULL);
    cfg.hpet = LAYOUT_HPET;
    cfg.hpet_id = 0x8086a201;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    t = find(m, rsdp, "HPET", &len);
    CHECK_EQ(len, 56);
    CHECK_EQ(le_load(t + 36, 4), 0x8086a201);
    CHECK_EQ(le_load(t + 44, 8), LAYOUT_HPET);
    t = find(m, rsdp, "APIC", &len);
    CHECK_EQ(len, 44 + 8 + 12 + 10 + 6); /* its line 0 is pin 2 */
}

TEST(acpi_options)
{
    AUTO(mem) struct mem *m = small_mem();
    const u32 ids[] = { 0, 1 }, nodes[] = { 0, 1 };
    const struct acpi_mem_range ranges[] = { { 0, 1 * GiB, 0 }, { 4 * GiB, 1 * GiB, 1 } };
    struct acpi_cfg cfg;
    struct err e;
    const u8 *t;
    size_t len;
    u64 rsdp;

    acpi_cfg_init(&cfg);
    cfg.n_cpus = 2;
    cfg.apic_ids = ids;
    cfg.cpu_nodes = nodes;
    cfg.n_nodes = cfg.n_mem_ranges = 2;
    cfg.mem_ranges = ranges;
    cfg.legacy = cfg.i8042 = true;
    cfg.rtc_port = 0;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    t = find(m, rsdp, "FACP", &len);
    CHECK_EQ(le_load(t + 109, 2), 0x37);
    t = find(m, rsdp, "APIC", &len);
    CHECK_EQ(len, 44 + 2 * 8 + 12 + 10 + 6);
    CHECK_EQ(le_load(t + 40, 4), 1);
    t = find(m, rsdp, "SRAT", &len);
    CHECK_EQ(len, 48 + 2 * 16 + 2 * 40);
    CHECK_EQ(t[48 + 16 + 2], 1);
    t = find(m, rsdp, "SLIT", &len);
    CHECK_MEM(t + 44, "\x0a\x14\x14\x0a", 4);
}

TEST(acpi_limits)
{
    AUTO(mem) struct mem *m = small_mem();
    AUTO(free) u32 *ids = xnew_n(u32, ACPI_CPUS_MAX);
    struct acpi_mem_range ranges[ACPI_MEM_RANGES_MAX] = {};
    struct acpi_cfg cfg;
    struct err e;
    u64 rsdp = 1;

    for (u32 i = 0; i < ACPI_CPUS_MAX; i++)
        ids[i] = i + 1000;
    acpi_cfg_init(&cfg);
    cfg.apic_ids = ids;
    CHECK_EQ(acpi_build(m, &cfg, &rsdp, &e), -EINVAL);
    CHECK_HAS(e.text, "0 CPUs");
    cfg.n_cpus = ACPI_CPUS_MAX + 1;
    CHECK_EQ(acpi_build(m, &cfg, &rsdp, &e), -EINVAL);
    CHECK_EQ(rsdp, 1);
    /* The largest machine that is allowed fits. */
    cfg.n_cpus = ACPI_CPUS_MAX;
    cfg.n_nodes = ACPI_NODES_MAX;
    cfg.n_mem_ranges = ACPI_MEM_RANGES_MAX;
    cfg.mem_ranges = ranges;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
}

/* ---- iasl as a judge ---- */

/* The exit status of iasl with these arguments, silent; 127: there is no iasl. */
static int iasl(const char *option, const char *file)
{
    char *argv[] = { (char[]){ "iasl" }, xdup(option), xdup(file), NULL };
    posix_spawn_file_actions_t quiet;
    int status = 127 << 8;
    pid_t pid;

    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ) == 0)
        waitpid(pid, &status, 0);
    posix_spawn_file_actions_destroy(&quiet);
    free(argv[1]);
    free(argv[2]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* It disassembles, and when `again`, what came out compiles without an error. */
static void judge(const u8 *table, size_t len, const char *name, bool again)
{
    AUTO(free) char *dat = str_new("%s/%s.dat", test_dir(), name);
    AUTO(free) char *dsl = str_new("%s/%s.dsl", test_dir(), name);
    AUTO(fd) int fd = open(dat, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_EQ(fd_write_all(fd, table, len), 0);
    CHECK_EQ(iasl("-d", dat), 0);
    if (again)
        CHECK_EQ(iasl("-ve", dsl), 0);
}

static void judge_dsdt(const struct mem *m, u64 rsdp, const char *name, bool again)
{
    size_t len;
    const u8 *fadt = find(m, rsdp, "FACP", &len), *dsdt = table_at(m, le_load(fadt + 140, 8), &len);

    judge(dsdt, len, name, again);
}

TEST(acpi_iasl)
{
    AUTO(mem) struct mem *m = small_mem();
    const u32 ids[] = { 0, 1, 400 };
    const struct acpi_mem_range ranges[] = { { 0, 1 * GiB, 0 }, { 4 * GiB, 1 * GiB, 1 } };
    static const char *const names[] = { "FACP", "APIC", "MCFG", "SRAT", "SLIT" };
    struct acpi_cfg cfg;
    struct err e;
    size_t len;
    u64 rsdp;

    if (iasl("-v", "/dev/null") == 127)
        test_skip("iasl is not installed (acpica-tools)");
    acpi_cfg_init(&cfg);
    cfg.n_cpus = 3;
    cfg.apic_ids = ids;
    cfg.n_nodes = cfg.n_mem_ranges = 2;
    cfg.mem_ranges = ranges;
    cfg.legacy = cfg.i8042 = true;
    cfg.pci_mem64 = (struct acpi_window){ 64 * GiB, 64 * GiB };
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        const u8 *t = find(m, rsdp, names[i], &len);

        judge(t, len, names[i], true);
    }
    /* iasl wants hex digits at the end of "VMGENCTR", the name that Linux binds to; so it judges the rest without it. */
    judge_dsdt(m, rsdp, "DSDT", false);
    cfg.vmgenid_gpa = 0;
    CHECK_OK(acpi_build(m, &cfg, &rsdp, &e), &e);
    judge_dsdt(m, rsdp, "DSDT2", true);
}
