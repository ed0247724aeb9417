/*
 * dev/pc/ports_test.h: one PC device on a fake machine, for its tests.
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"
#include "conf/conf.h"
#include "dev/dev.h"
#include "testlib/test.h"

#include <stdlib.h>

struct bench {
    struct fake_machine *f;
    struct device *d;
};

/* `options`: as on a command line, NULL for the defaults. */
static inline struct bench bench_open(const struct device_def *def, const char *options)
{
    struct bench b = { .f = fake_machine_new() };
    void *cfg = def->fields ? alloc_x(1, def->cfg_size) : NULL;
    struct err e = {};

    if (cfg && options)
        CHECK_OK(conf_parse_options(def->fields, cfg, options, &e), &e);
    else if (cfg)
        conf_defaults(def->fields, cfg);
    CHECK_OK(device_new(def, &b.f->m, "d0", cfg, &b.d, &e), &e);
    if (cfg)
        conf_fini(def->fields, cfg);
    free(cfg);
    return b;
}

static inline void bench_close(struct bench *b)
{
    device_free(b->d);
    fake_machine_free(b->f);
}

static inline u64 in(const struct bench *b, u64 port, u32 len)
{
    u64 v;

    bus_read(b->f->m.pio, port, len, &v);
    return v;
}

static inline void out(const struct bench *b, u64 port, u32 len, u64 v)
{
    CHECK(bus_write(b->f->m.pio, port, len, v));
}

/* Lets the machine's loop do what is due. */
static inline void turn(const struct bench *b)
{
    uv_run(&b->f->m.loop->uv, UV_RUN_NOWAIT);
}
