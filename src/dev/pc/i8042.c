/*
 * dev/pc/i8042.c: a keyboard controller that has no keyboard and no mouse, and the system control ports of a PC.
 * What matters: a guest that probes gets each answer at once (Linux waits half a second for one that does not come), and
 * command 0xfe or port 0x92 resets the machine.  A20 is open always; its bits are only remembered.
 */
#include "dev/pc/i8042.h"

#include "conf/conf.h"
#include "dev/pc/ports.h"

enum {
    DATA_PORT = 0x60,
    CONTROL_B_PORT = 0x61,
    COMMAND_PORT = 0x64,
    CONTROL_A_PORT = 0x92,

    STATUS_FULL = 1, /* a byte waits at the data port */
    STATUS_SYSTEM = 4,
    STATUS_COMMAND = 8, /* the last write was a command */
    STATUS_UNLOCKED = 0x10,
    STATUS_AUX = 0x20, /* the byte is the mouse's */
    STATUS_TIMEOUT = 0x40,

    CONFIG_IRQ = 1, /* configuration byte */
    CONFIG_SYSTEM = 4,

    OUTPUT_RUN = 1, /* output port: 0 resets */
    OUTPUT_A20 = 2,

    CONTROL_A_RESET = 1,
    CONTROL_A_A20 = 2,

    CONTROL_B_GATE2 = 1,
    CONTROL_B_ALL = 0x0f,
    CONTROL_B_REFRESH = 0x10, /* changes with each refresh of the memory */
    CONTROL_B_OUT2 = 0x20,

    ANSWER_RESEND =
        0xfe, /* with STATUS_TIMEOUT: the controller's answer for a device that is not there */

    CMD_READ_CONFIG = 0x20,
    CMD_WRITE_CONFIG = 0x60,
    CMD_WRITE_OUTPUT = 0xd1,
    CMD_LOOP_KEYBOARD = 0xd2,
    CMD_LOOP_AUX = 0xd3,
    CMD_WRITE_AUX = 0xd4,
    CMD_PULSE = 0xf0, /* to 0xff: pulls down output bits that are 0; bit 0 is reset */
};

/* clang-format off */
#define I8042_STATE(F, S)                                                                \
    F(S, VAL, u8, config,    "configuration byte")                                       \
    F(S, VAL, u8, output,    "output port: bit 0 run, bit 1 A20")                        \
    F(S, VAL, u8, status,    "status register")                                          \
    F(S, VAL, u8, data,      "the byte at the data port")                                \
    F(S, VAL, u8, command,   "the command whose data byte is to come; 0: none")          \
    F(S, VAL, u8, control_a, "port 0x92: bit 1 A20")                                     \
    F(S, VAL, u8, control_b, "port 0x61: bits 0 and 1 speaker, 2 and 3 NMI masks")       \
    F(S, VAL, bool, refresh, "port 0x61, bit 4")
/* clang-format on */
STATE_STRUCT(i8042_state, I8042_STATE);
STATE_TABLE(i8042_state, I8042_STATE);

struct i8042 {
    struct device dev;
    struct i8042_state st;
    u32 gsi; /* config */
};

/* Commands whose answer is one byte that does not depend on anything. */
static const struct answer {
    u8 command, byte;
} answers[] = {
    { 0xa9, 0x01 }, /* mouse interface: clock line stuck low, hence no mouse */
    { 0xaa, 0x55 }, /* self test passed */
    { 0xab, 0x00 }, /* keyboard interface works */
    { 0xc0, 0x80 }, /* input port: keyboard not locked */
};

static struct i8042 *i8042_of(struct device *d)
{
    return container_of(d, struct i8042, dev);
}

static void update_irq(struct i8042 *k)
{
    bool full = k->st.status & STATUS_FULL, aux = k->st.status & STATUS_AUX;

    machine_irq(k->dev.machine, k->gsi, full && !aux && k->st.config & CONFIG_IRQ);
}

static void answer(struct i8042 *k, u8 byte, u8 status)
{
    k->st.data = byte;
    k->st.status &= (u8) ~(STATUS_AUX | STATUS_TIMEOUT);
    k->st.status |= STATUS_FULL | status;
}

static void reset_machine(struct i8042 *k, const char *why)
{
    machine_event(k->dev.machine, MACHINE_RESET, 0, why);
}

static void run_command(struct i8042 *k, u8 c)
{
    struct i8042_state *st = &k->st;

    st->status |= STATUS_COMMAND;
    st->command = 0;
    for_each_row(a, answers)
        if (a->command == c)
            answer(k, a->byte, 0);
    if (c == 0xaa) {
        st->status |= STATUS_SYSTEM;
        st->config |= CONFIG_SYSTEM;
    } else if (c == CMD_READ_CONFIG) {
        answer(k, st->config, 0);
    } else if (c == 0xd0) {
        answer(k, st->output | (st->status & STATUS_FULL ? 0x10 : 0), 0);
    } else if (c == CMD_WRITE_CONFIG || (c >= CMD_WRITE_OUTPUT && c <= CMD_WRITE_AUX)) {
        st->command = c;
    } else if (c >= CMD_PULSE && !(c & OUTPUT_RUN)) {
        reset_machine(k, "keyboard controller");
    }
}

static void write_config(struct i8042 *k, u8 v)
{
    k->st.config = v;
    k->st.status = (u8)((k->st.status & ~STATUS_SYSTEM) | (v & CONFIG_SYSTEM ? STATUS_SYSTEM : 0));
}

static void write_output(struct i8042 *k, u8 v)
{
    k->st.output = v | OUTPUT_RUN;
    if (!(v & OUTPUT_RUN))
        reset_machine(k, "keyboard controller");
}

static void write_data(struct i8042 *k, u8 v)
{
    u8 c = k->st.command;

    k->st.command = 0;
    k->st.status &= (u8)~STATUS_COMMAND;
    switch (c) {
    case CMD_WRITE_CONFIG:
        write_config(k, v);
        return;
    case CMD_WRITE_OUTPUT:
        write_output(k, v);
        return;
    case CMD_LOOP_KEYBOARD:
    case CMD_LOOP_AUX: /* no mouse: without STATUS_AUX, so that Linux does not look for one */
        answer(k, v, 0);
        return;
    case CMD_WRITE_AUX:
        answer(k, ANSWER_RESEND, STATUS_AUX | STATUS_TIMEOUT);
        return;
    default:
        answer(k, ANSWER_RESEND, STATUS_TIMEOUT);
        return;
    }
}

static u8 read_data(struct i8042 *k)
{
    k->st.status &= (u8) ~(STATUS_FULL | STATUS_AUX | STATUS_TIMEOUT);
    return k->st.data;
}

static u64 data_read(struct device *d, u64, u32)
{
    u8 v = read_data(i8042_of(d));

    update_irq(i8042_of(d));
    return v;
}

static void data_write(struct device *d, u64, u32, u64 val)
{
    write_data(i8042_of(d), (u8)val);
    update_irq(i8042_of(d));
}

static u64 command_read(struct device *d, u64, u32)
{
    return i8042_of(d)->st.status;
}

static void command_write(struct device *d, u64, u32, u64 val)
{
    run_command(i8042_of(d), (u8)val);
    update_irq(i8042_of(d));
}

static u64 control_a_read(struct device *d, u64, u32)
{
    return i8042_of(d)->st.control_a;
}

static void control_a_write(struct device *d, u64, u32, u64 val)
{
    struct i8042 *k = i8042_of(d);

    k->st.control_a = val & CONTROL_A_A20;
    if (val & CONTROL_A_RESET)
        reset_machine(k, "port 0x92");
}

/* Where no PIT counts, channel 2 is over as soon as it is let run: a guest that waits for it goes on. */
static u64 control_b_read(struct device *d, u64, u32)
{
    struct i8042_state *st = &i8042_of(d)->st;

    st->refresh = !st->refresh;
    return st->control_b | (st->refresh ? CONTROL_B_REFRESH : 0) |
           (st->control_b & CONTROL_B_GATE2 ? CONTROL_B_OUT2 : 0);
}

static void control_b_write(struct device *d, u64, u32, u64 val)
{
    i8042_of(d)->st.control_b = val & CONTROL_B_ALL;
}

static const struct bus_ops data_ops = { .read = data_read, .write = data_write };
static const struct bus_ops command_ops = { .read = command_read, .write = command_write };
static const struct bus_ops control_a_ops = { .read = control_a_read, .write = control_a_write };
static const struct bus_ops control_b_ops = { .read = control_b_read, .write = control_b_write };

static const struct ports i8042_ports[] = {
    { DATA_PORT, 1, &data_ops, false },
    { CONTROL_B_PORT, 1, &control_b_ops, false },
    { COMMAND_PORT, 1, &command_ops, false },
    { CONTROL_A_PORT, 1, &control_a_ops, false },
};

static void i8042_stop(struct device *d)
{
    ports_remove(d, i8042_ports, ARRAY_LEN(i8042_ports));
}

static int i8042_start(struct device *d, const void *cfg, struct err *e)
{
    i8042_of(d)->gsi = ((const struct i8042_cfg *)cfg)->gsi;
    return ports_add(d, i8042_ports, ARRAY_LEN(i8042_ports), e);
}

static void i8042_reset(struct device *d)
{
    struct i8042 *k = i8042_of(d);

    /* as firmware leaves it: tested, interrupt off, A20 open */
    k->st = (struct i8042_state){
        .config = CONFIG_SYSTEM,
        .output = OUTPUT_RUN | OUTPUT_A20,
        .status = STATUS_UNLOCKED | STATUS_SYSTEM,
        .control_a = CONTROL_A_A20,
    };
    update_irq(k);
}

static const struct field i8042_fields[] = {
    FIELD_INT(i8042_cfg, gsi, "interrupt line of the keyboard", .dflt = 1, .max = 23),
    {},
};

const struct device_def i8042_def = {
    .name = "i8042",
    .doc = "keyboard controller without a keyboard; system control ports",
    .size = sizeof(struct i8042),
    .fields = i8042_fields,
    .cfg_size = sizeof(struct i8042_cfg),
    .parts = { STATE_PART(i8042, st, i8042_state) },
    .ranges = { { true, DATA_PORT, 1 },
                { true, CONTROL_B_PORT, 1 },
                { true, COMMAND_PORT, 1 },
                { true, CONTROL_A_PORT, 1 } },
    .start = i8042_start,
    .stop = i8042_stop,
    .reset = i8042_reset,
};
