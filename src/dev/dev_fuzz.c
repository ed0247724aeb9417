/*
 * dev/dev_fuzz.c: any accesses to any device: the first byte chooses the device, then come accesses, writes to guest RAM,
 * pauses and resets.  Whatever the guest did, the state loads again and saves to the same bytes.
 */
#include "dev/dev.h"

#include "dev/subject.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

enum { OPS_MAX = 2000 };

static u32 count_devices(void)
{
    u32 n = 0;

    while (all_devices[n])
        n++;
    return n;
}

static void poke(struct subject *s, struct fuzz_in *in, u8 op)
{
    struct subject_access a = {
        .where = (u8)fuzz_take(in, 1),
        .len = 1u << (op & 3),
        .write = op & 4,
        .off = fuzz_take(in, 2),
    };

    if (a.write)
        a.val = fuzz_take(in, a.len);
    subject_poke(s, &a);
}

static void write_ram(struct subject *s, struct fuzz_in *in)
{
    u64 gpa = fuzz_take(in, 3);
    u8 bytes[16];

    for (u32 i = 0; i < sizeof(bytes); i++)
        bytes[i] = (u8)fuzz_take(in, 1);
    mem_write(s->f->m.mem, gpa, bytes, sizeof(bytes));
}

static void one_op(struct subject *s, struct fuzz_in *in)
{
    u8 op = (u8)fuzz_take(in, 1);

    if (op < 0xc0) {
        poke(s, in, op);
    } else if (op < 0xf0) {
        write_ram(s, in);
    } else if (op < 0xf8) {
        pci_bus_assign(s->f->m.pci, NULL);
    } else if (op < 0xfc) {
        device_pause(s->d);
        device_resume(s->d);
    } else {
        device_reset(s->d);
    }
}

static void check_round_trip(struct subject *s)
{
    AUTO(strbuf) struct strbuf saved = {}, again = {};
    struct err e = {};

    device_pause(s->d);
    subject_save(s, &saved);
    must(subject_load(s, &saved, &e) == 0);
    subject_save(s, &again);
    must(again.len == saved.len && memcmp(again.text, saved.text, saved.len) == 0);
    device_resume(s->d);
}

FUZZ(dev)
{
    struct fuzz_in in = { data, size };
    const u32 n = count_devices();
    struct subject s;

    must(n);
    if (subject_open(&s, all_devices[fuzz_take(&in, 1) % n], NULL) < 0)
        return;
    for (u32 i = 0; i < OPS_MAX && in.left; i++)
        one_op(&s, &in);
    check_round_trip(&s);
    subject_close(&s);
}
