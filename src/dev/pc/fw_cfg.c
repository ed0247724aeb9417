/*
 * dev/pc/fw_cfg.c: firmware configuration (QEMU's fw_cfg interface): a 16-bit selector at 0x510, bytes of the entry at 0x511.
 * Only what payloads without firmware ask for; what is not there reads 0.  No DMA, no writable entries, no files.
 */
#include "dev/pc/fw_cfg.h"

#include "conf/conf.h"
#include "dev/pc/ports.h"

enum {
    SELECTOR_PORT = 0x510, /* and the data port behind it */
    ENTRY_MAX = 8,

    KEY_SIGNATURE = 0x00,
    KEY_ID = 0x01, /* features: bit 0, this interface */
    KEY_RAM_SIZE = 0x03,
    KEY_CPUS = 0x05,
    KEY_CPUS_MAX = 0x0f,
};

#define FW_CFG_STATE(F, S)                    \
    F(S, VAL, u16, key, "the selected entry") \
    F(S, VAL, u32, at, "the byte of it that is read next")
STATE_STRUCT(fw_cfg_state, FW_CFG_STATE);
STATE_TABLE(fw_cfg_state, FW_CFG_STATE);

struct fw_cfg_entry {
    u16 key;
    u8 len;
    u8 data[ENTRY_MAX];
};

struct fw_cfg {
    struct device dev;
    struct fw_cfg_state st;
    struct fw_cfg_entry entries[5];
};

static struct fw_cfg *fw_cfg_of(struct device *d)
{
    return container_of(d, struct fw_cfg, dev);
}

static u8 next_byte(struct fw_cfg *f)
{
    u32 at = f->st.at;

    for_each_row(x, f->entries) {
        if (x->key != f->st.key || at >= x->len)
            continue;
        f->st.at++;
        return x->data[at];
    }
    return 0;
}

static u64 selector_read(struct device *d, u64, u32)
{
    return fw_cfg_of(d)->st.key;
}

static void selector_write(struct device *d, u64 off, u32 len, u64 val)
{
    if (off == 0 && len == 2)
        fw_cfg_of(d)->st = (struct fw_cfg_state){ .key = (u16)val };
}

static u64 data_read(struct device *d, u64 off, u32 len)
{
    /* port 0x511 is the selector's second byte as well: reading it is reading data */
    if (off == 1 && len == 1)
        return next_byte(fw_cfg_of(d));
    return selector_read(d, off, len);
}

static const struct bus_ops fw_cfg_ops = { .read = data_read, .write = selector_write };

static const struct ports fw_cfg_ports[] = { { SELECTOR_PORT, 2, &fw_cfg_ops, false } };

static void fw_cfg_stop(struct device *d)
{
    ports_remove(d, fw_cfg_ports, ARRAY_LEN(fw_cfg_ports));
}

static void set_number(struct fw_cfg_entry *x, u16 key, u8 len, u64 v)
{
    *x = (struct fw_cfg_entry){ .key = key, .len = len };
    le_store(x->data, len, v);
}

static int fw_cfg_start(struct device *d, const void *arg, struct err *e)
{
    struct fw_cfg *f = fw_cfg_of(d);
    const struct fw_cfg_cfg *cfg = arg;

    f->entries[0] = (struct fw_cfg_entry){ KEY_SIGNATURE, 4, "QEMU" };
    set_number(&f->entries[1], KEY_ID, 4, 1);
    set_number(&f->entries[2], KEY_RAM_SIZE, 8, cfg->memory);
    set_number(&f->entries[3], KEY_CPUS, 2, cfg->cpus);
    set_number(&f->entries[4], KEY_CPUS_MAX, 2, cfg->cpus);
    return ports_add(d, fw_cfg_ports, ARRAY_LEN(fw_cfg_ports), e);
}

static void fw_cfg_reset(struct device *d)
{
    fw_cfg_of(d)->st = (struct fw_cfg_state){};
}

static const struct field fw_cfg_fields[] = {
    FIELD_INT(fw_cfg_cfg, cpus, "virtual CPUs", .dflt = 1, .min = 1, .max = 1024),
    FIELD_BYTES(fw_cfg_cfg, memory, "RAM"),
    {},
};

const struct device_def fw_cfg_def = {
    .name = "fw-cfg",
    .doc = "firmware configuration for test payloads",
    .size = sizeof(struct fw_cfg),
    .fields = fw_cfg_fields,
    .cfg_size = sizeof(struct fw_cfg_cfg),
    .parts = { STATE_PART(fw_cfg, st, fw_cfg_state) },
    .ranges = { { true, SELECTOR_PORT, 2 } },
    .start = fw_cfg_start,
    .stop = fw_cfg_stop,
    .reset = fw_cfg_reset,
};
