/*
 * dev/device_test.c: what must hold of every device, tried on each row of dev/all.c.
 */
#include "dev/dev.h"
#include "dev/reg.h"
#include "dev/subject.h"
#include "testlib/test.h"

#include <stdio.h>

static struct subject_access random_access(u64 *rng)
{
    u64 x = test_rand(rng);

    return (struct subject_access){
        .where = (u8)(x & 0xff),
        .len = 1u << (x >> 8 & 3),
        .write = x >> 10 & 1,
        .off = x >> 12 & 7 ? test_rand(rng) & ~7ull : test_rand(rng), /* mostly aligned */
        .val = x >> 15 & 1 ? test_rand(rng) : test_rand(rng) & 0xff,
    };
}

static void poke_randomly(struct subject *s, u32 n, u64 seed)
{
    for (u32 i = 0; i < n; i++) {
        struct subject_access a = random_access(&seed);

        subject_poke(s, &a);
        if (i % 500 == 499) /* the guest's pokes unmap what they could reach next */
            pci_bus_assign(s->f->m.pci, NULL);
    }
}

static void save_paused(struct subject *s, struct strbuf *out)
{
    device_pause(s->d);
    subject_save(s, out);
    device_resume(s->d);
}

static void check_same(const struct strbuf *got, const struct strbuf *want)
{
    CHECK_EQ(got->len, want->len);
    CHECK_MEM(got->text, want->text, want->len);
}

/* Calls fn with a subject of each kind; `device` names it in failures. */
static void for_each_device(void (*fn)(struct subject *s))
{
    for (u32 i = 0; all_devices[i]; i++) {
        struct {
            const char *why;
        } row = { all_devices[i]->name };
        struct subject s;
        struct err e = {};

        ROW(&row);
        CHECK_OK(subject_open(&s, all_devices[i], &e), &e);
        fn(&s);
        subject_close(&s);
    }
}

static void check_def(struct subject *s)
{
    const struct device_def *def = s->d->def;

    CHECK(def->name && def->name[0] && def->doc && def->doc[0]);
    CHECK(def->reset && def->start && def->stop);
    CHECK_EQ(!def->pause, !def->resume);
    CHECK(s->fn || def->ranges[0].len);
    for_each_row(p, def->parts)
        if (p->def)
            CHECK(range_ok(p->at, p->def->size, def->size));
}

TEST(device_defs)
{
    for_each_device(check_def);
}

static void check_bank(const struct device_def *def, const struct reg_bank *b)
{
    u64 end = 0;

    CHECK(b->name && b->name[0]);
    for (u32 i = 0; i < b->n; i++) {
        const struct reg_def *r = &b->rows[i];
        u64 all = r->size == 8 ? ~0ull : (1ull << 8 * r->size) - 1;

        CHECK(r->name && r->name[0]);
        CHECK(r->size == 1 || r->size == 2 || r->size == 4 || r->size == 8);
        CHECK(r->off >= end);
        CHECK(range_ok(r->at, r->size, def->size));
        CHECK_EQ(r->rw & r->w1c, 0);
        CHECK_EQ((r->rw | r->w1c | r->reset) & ~all, 0);
        end = r->off + r->size;
    }
}

static void check_banks(struct subject *s)
{
    for_each_row(b, s->d->def->banks)
        if (*b)
            check_bank(s->d->def, *b);
}

TEST(device_register_rows)
{
    for_each_device(check_banks);
}

static void check_reset(struct subject *s)
{
    AUTO(strbuf) struct strbuf once = {}, twice = {};

    poke_randomly(s, 1000, 7);
    device_reset(s->d);
    save_paused(s, &once);
    device_reset(s->d);
    save_paused(s, &twice);
    check_same(&twice, &once);
}

TEST(device_reset_twice_is_reset_once)
{
    for_each_device(check_reset);
}

static void check_load_fresh(struct subject *s)
{
    AUTO(strbuf) struct strbuf saved = {}, again = {};
    struct subject fresh;
    struct err e = {};

    poke_randomly(s, 1000, 11);
    device_pause(s->d);
    subject_save(s, &saved);
    CHECK_OK(subject_open(&fresh, s->d->def, &e), &e);
    device_pause(fresh.d);
    CHECK_OK(subject_load(&fresh, &saved, &e), &e);
    subject_save(&fresh, &again);
    check_same(&again, &saved);
    device_resume(fresh.d);
    device_resume(s->d);
    subject_close(&fresh);
}

TEST(device_loads_into_a_fresh_one)
{
    for_each_device(check_load_fresh);
}

static void check_load_back(struct subject *s)
{
    AUTO(strbuf) struct strbuf saved = {}, again = {}, shown = {};
    struct err e = {};

    save_paused(s, &saved);
    poke_randomly(s, 1000, 13);
    device_pause(s->d);
    CHECK_OK(subject_load(s, &saved, &e), &e);
    subject_save(s, &again);
    check_same(&again, &saved);
    device_resume(s->d);
    device_inspect(s->d, &shown);
    CHECK_EQ(shown.text[0], '{');
    CHECK_EQ(shown.text[shown.len - 1], '}');
}

TEST(device_loads_its_past)
{
    for_each_device(check_load_back);
}

static void check_random(struct subject *s)
{
    poke_randomly(s, 100 * 1000, 17);
    device_reset(s->d);
}

TEST(device_survives_random_accesses)
{
    for_each_device(check_random);
}

/* ---- dev/dev.c itself ---- */

extern const struct device_def pci_bus_def;

static struct state_section section_of(const struct strbuf *stream, u32 n)
{
    struct state_reader r;
    struct state_section s = {};

    CHECK_EQ(state_reader_init(&r, stream->text, stream->len, NULL), 0);
    for (u32 i = 0; i <= n; i++)
        CHECK_EQ(state_reader_next(&r, &s, NULL), 1);
    return s;
}

TEST(device_refused_load_changes_nothing)
{
    AUTO(strbuf) struct strbuf saved = {}, again = {};
    struct subject s;
    struct state_section sec;
    struct err e = {};
    u8 *byte;

    CHECK_OK(subject_open(&s, &pci_bus_def, &e), &e);
    subject_save(&s, &saved);
    sec = section_of(&saved, 0);
    byte = (u8 *)saved.text + (sec.body - (const u8 *)saved.text) + 6; /* the first byte of cfg */
    *byte ^= 1;
    CHECK_EQ(device_load(s.d, &sec, &e), -EBADMSG);
    CHECK_HAS(e.text, "configuration byte 0x00");
    *byte ^= 1;
    subject_save(&s, &again);
    check_same(&again, &saved);
    str_copy(sec.name, sizeof(sec.name), "pit_state");
    CHECK_EQ(device_load(s.d, &sec, &e), -ENOENT);
    CHECK_HAS(e.text, "pit_state");
    subject_close(&s);
}

static int refuse_start(struct device *, const void *, struct err *e)
{
    return err_set(e, -EBUSY, "no");
}

TEST(device_that_does_not_start)
{
    static const struct device_def def = { .name = "broken",
                                           .size = sizeof(struct device),
                                           .start = refuse_start };
    struct fake_machine *f = fake_machine_new();
    struct device *d = NULL;
    struct err e = {};

    CHECK_EQ(device_new(&def, &f->m, "b0", NULL, &d, &e), -EBUSY);
    CHECK_STR(e.text, "start broken 'b0': no");
    CHECK_EQ(device_new(&def, &f->m, "a name of more than thirty-one bytes", NULL, &d, &e),
             -ENAMETOOLONG);
    CHECK(!d);
    device_free(NULL);
    fake_machine_free(f);
}
