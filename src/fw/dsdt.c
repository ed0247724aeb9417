/*
 * fw/dsdt.c: the devices that ACPI describes in code.  The ASL that each function stands for is in its comment.
 */
#include "fw/dsdt.h"

#include "fw/layout.h"

enum { NOTIFY_PRESSED = 0x80, NOTIFY_CHANGED = 0x80, STA_ALL = 0xf, PCI_SLOTS = 32, PCI_PINS = 4 };

static void hid(struct aml *a, const char *eisaid)
{
    aml_name(a, "_HID");
    aml_eisaid(a, eisaid);
}

static void hid_string(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_string(a, id);
}

/* Name (_CRS, ResourceTemplate () { … }): ended by aml_close. */
static void crs(struct aml *a)
{
    aml_name(a, "_CRS");
    aml_res(a);
}

/* Device (COMn) { _HID PNP0501, _UID n, _STA, _CRS { IO, IRQ } } */
static void serial(struct aml *a, unsigned i, const struct acpi_serial *s)
{
    const char name[] = { 'C', 'O', 'M', (char)('1' + i), '\0' };

    aml_device(a, name);
    hid(a, "PNP0501");
    aml_name_int(a, "_UID", i + 1);
    aml_name_int(a, "_STA", STA_ALL);
    crs(a);
    aml_res_io(a, s->port, 8);
    aml_res_irq(a, s->gsi);
    aml_close(a);
    aml_close(a);
}

/* Device (RTC0) { _HID PNP0B00, _CRS { IO, IRQ } } */
static void rtc(struct aml *a, const struct acpi_cfg *cfg)
{
    aml_device(a, "RTC0");
    hid(a, "PNP0B00");
    crs(a);
    aml_res_io(a, cfg->rtc_port, 2);
    aml_res_irq(a, cfg->rtc_gsi);
    aml_close(a);
    aml_close(a);
}

/* Device (HPET) { _HID PNP0103, _CRS { Memory32Fixed } } */
static void hpet(struct aml *a, u64 gpa)
{
    aml_device(a, "HPET");
    hid(a, "PNP0103");
    crs(a);
    aml_res_mem32(a, (u32)gpa, 0x400);
    aml_close(a);
    aml_close(a);
}

/* Device (KBD0) { _HID PNP0303, _STA, _CRS { IO, IO, IRQ } } */
static void keyboard(struct aml *a)
{
    aml_device(a, "KBD0");
    hid(a, "PNP0303");
    aml_name_int(a, "_STA", STA_ALL);
    crs(a);
    aml_res_io(a, 0x60, 1);
    aml_res_io(a, 0x64, 1);
    aml_res_irq(a, 1);
    aml_close(a);
    aml_close(a);
}

/* Device (VGEN) { _HID, _CID, _DDN, ADDR { low, high } }  (Microsoft, "Virtual Machine Generation ID") */
static void vmgenid(struct aml *a, u64 gpa)
{
    aml_device(a, "VGEN");
    hid_string(a, "_HID", "VMGENCTR");
    hid_string(a, "_CID", "VM_Gen_Counter");
    hid_string(a, "_DDN", "VM_Gen_Counter");
    aml_name(a, "ADDR");
    aml_package(a, 2);
    aml_int(a, gpa & UINT32_MAX);
    aml_int(a, gpa >> 32);
    aml_close(a);
    aml_close(a);
}

/* If (Local0 & mask) { Notify (device, v) } */
static void notify_if(struct aml *a, u32 mask, const char *device, u8 v)
{
    aml_if_local0_and(a, mask);
    aml_notify(a, device, v);
    aml_close(a);
}

/*
 * Device (PWRB) { _HID PNP0C0C }
 * Device (GED) { _HID ACPI0013, _CRS { IRQ }, OperationRegion (EREG, SystemIO, port, 4), Field { ESEL, 32 },
 *                Method (_EVT, 1, Serialized) { Local0 = ESEL, If … } }
 * The register is read once: reading clears it.
 */
static void events(struct aml *a, const struct acpi_cfg *cfg)
{
    aml_device(a, "PWRB");
    hid(a, "PNP0C0C");
    aml_close(a);

    aml_device(a, "GED");
    hid_string(a, "_HID", "ACPI0013");
    aml_name_int(a, "_UID", 0);
    crs(a);
    aml_res_irq(a, cfg->ged_gsi);
    aml_close(a);
    aml_region_io(a, "EREG", cfg->ged_port, 4);
    aml_field_dword(a, "EREG", "ESEL");
    aml_method(a, "_EVT", 1, true);
    aml_store_local0(a, "ESEL");
    notify_if(a, LAYOUT_GED_POWER, "\\_SB.PWRB", NOTIFY_PRESSED);
    if (cfg->vmgenid_gpa)
        notify_if(a, LAYOUT_GED_VMGENID, "\\_SB.VGEN", NOTIFY_CHANGED);
    aml_close(a);
    aml_close(a);
}

/* Device (MRES) { _HID PNP0C02, _CRS }: ranges of the board that nobody may assign: Linux looks for the ECAM here. */
static void board(struct aml *a, const struct acpi_cfg *cfg)
{
    aml_device(a, "MRES");
    hid(a, "PNP0C02");
    crs(a);
    aml_res_mem32(a, (u32)cfg->ecam, (u32)LAYOUT_ECAM_SIZE);
    aml_res_io(a, cfg->ged_port, 4);
    aml_res_io(a, cfg->sleep_ctl_port, 2);
    aml_close(a);
    aml_close(a);
}

/* Name (_PRT, Package { { device << 16 | 0xffff, pin, 0, gsi }, … }) */
static void pci_routes(struct aml *a, u32 intx_gsi)
{
    aml_name(a, "_PRT");
    aml_package(a, PCI_SLOTS * PCI_PINS);
    for (u32 d = 0; d < PCI_SLOTS; d++) {
        for (u32 pin = 0; pin < PCI_PINS; pin++) {
            aml_package(a, 4);
            aml_int(a, d << 16 | 0xffff);
            aml_int(a, pin);
            aml_int(a, 0);
            aml_int(a, intx_gsi + (d + pin) % PCI_PINS);
            aml_close(a);
        }
    }
    aml_close(a);
}

/* Device (PCI0) { _HID PNP0A08, _CID PNP0A03, _SEG, _BBN, _UID, _CBA, _CRS, _PRT } */
static void pci(struct aml *a, const struct acpi_cfg *cfg)
{
    aml_device(a, "PCI0");
    hid(a, "PNP0A08");
    aml_name(a, "_CID");
    aml_eisaid(a, "PNP0A03");
    aml_name_int(a, "_SEG", 0);
    aml_name_int(a, "_BBN", 0);
    aml_name_int(a, "_UID", 0);
    aml_name_int(a, "_CBA", cfg->ecam);
    crs(a);
    aml_res_bus(a, 0, LAYOUT_ECAM_LAST_BUS);
    aml_res_io(a, 0xcf8, 8);
    if (cfg->pci_io.size)
        aml_res_window_io(a, (u16)cfg->pci_io.base, cfg->pci_io.size);
    if (cfg->pci_mem32.size)
        aml_res_window_mem32(a, (u32)cfg->pci_mem32.base, cfg->pci_mem32.size);
    if (cfg->pci_mem64.size)
        aml_res_window_mem64(a, cfg->pci_mem64.base, cfg->pci_mem64.size);
    aml_close(a);
    pci_routes(a, cfg->intx_gsi);
    aml_close(a);
}

void dsdt_write(struct aml *a, const struct acpi_cfg *cfg)
{
    aml_name(a, "\\_S5");
    aml_package(a, 2);
    aml_int(a, LAYOUT_S5_TYPE);
    aml_int(a, 0);
    aml_close(a);

    aml_scope(a, "\\_SB");
    pci(a, cfg);
    board(a, cfg);
    for (unsigned i = 0; i < cfg->n_serials; i++)
        serial(a, i, &cfg->serials[i]);
    if (cfg->rtc_port)
        rtc(a, cfg);
    if (cfg->hpet)
        hpet(a, cfg->hpet);
    if (cfg->i8042)
        keyboard(a);
    if (cfg->vmgenid_gpa)
        vmgenid(a, cfg->vmgenid_gpa);
    events(a, cfg);
    aml_close(a);
}
