/*
 * dev/subject.h: one device of any kind on a fake machine of its own, for the generic test and the fuzzer.
 */
#pragma once

#include "base/base.h"

#include "conf/conf.h"
#include "dev/dev.h"
#include "dev/pci/pci.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A kind whose configuration has required fields: options as on the command line, after which may go the path of a disk image. */
struct subject_cfg {
    const char *kind, *options;
    bool disk;
};
/* clang-format off */
static const struct subject_cfg subject_cfgs[] = {
    { "virtio-blk",   "file=",                         true  },
    { "virtio-fs",    "tag=x",                        false },
    { "virtio-net",   "kind=none",                    false }, /* the host's network must not hear of it */
    { "virtio-vsock", "cid=3",                        false },
};
/* clang-format on */

enum { SUBJECT_DISK_SIZE = 1024 * 1024 };

struct subject {
    struct fake_machine *f;
    struct device *d;
    struct pci_fn *fn; /* the same, when it is on PCI */
    bool owned;        /* else it came with the machine */
    int disk;
};

static inline void subject_close(struct subject *s)
{
    if (s->owned)
        device_free(s->d);
    fake_machine_free(s->f);
    fd_close(&s->disk);
    *s = (struct subject){ .disk = -1 };
}

static inline int subject_configure(struct subject *s, const struct device_def *def, void *cfg,
                                    struct err *e)
{
    char text[96];

    conf_defaults(def->fields, cfg);
    for_each_row(c, subject_cfgs) {
        if (strcmp(c->kind, def->name) != 0)
            continue;
        str_fmt(text, sizeof(text), "%s", c->options);
        if (c->disk) {
            s->disk = memfd_create("subject", MFD_CLOEXEC);
            if (s->disk < 0 || ftruncate(s->disk, SUBJECT_DISK_SIZE) < 0)
                return err_errno(e, "make a disk");
            str_fmt(text, sizeof(text), "%s/proc/self/fd/%d", c->options, s->disk);
        }
        conf_fini(def->fields, cfg);
        return conf_parse_options(def->fields, cfg, text, e);
    }
    return 0;
}

static inline int subject_start(struct subject *s, const struct device_def *def, struct err *e)
{
    void *cfg = def->fields ? alloc_x(1, def->cfg_size) : NULL;
    int r = cfg ? subject_configure(s, def, cfg, e) : 0;

    if (r == 0)
        r = device_new(def, &s->f->m, "subject", cfg, &s->d, e);
    if (cfg)
        conf_fini(def->fields, cfg);
    free(cfg);
    s->owned = r == 0;
    return r;
}

/* Owned in *s; its BARs are mapped. */
static inline int subject_open(struct subject *s, const struct device_def *def, struct err *e)
{
    int r = 0;

    *s = (struct subject){ .f = fake_machine_new(), .disk = -1 };
    if (pci_bus_device(s->f->m.pci)->def == def)
        s->d = pci_bus_device(s->f->m.pci);
    else
        r = subject_start(s, def, e);
    if (r == 0) {
        for_each_row(p, def->parts)
            if (p->def == &pci_state_def)
                s->fn = pci_fn_of(s->d);
        r = pci_bus_assign(s->f->m.pci, e);
    }
    if (r < 0)
        subject_close(s);
    return r;
}

struct subject_access {
    u8 where; /* chooses among the ranges, BARs and configuration space of the subject */
    u32 len;
    bool write;
    u64 off, val;
};

/* What an access of `where` reaches: false when there is nothing at the moment. */
static inline bool subject_reach(const struct subject *s, u8 where, struct device_range *ret)
{
    u32 n = where % 16;

    must(s->d); /* subject_open made it */
    if (n < ARRAY_LEN(s->d->def->ranges)) {
        *ret = s->d->def->ranges[n];
        return ret->len > 0;
    }
    n -= (u32)ARRAY_LEN(s->d->def->ranges);
    if (!s->fn || n > PCI_BARS)
        return false;
    if (n == PCI_BARS) {
        *ret = (struct device_range){ false, 0xe0000000ull + s->fn->slot * 0x8000ull, 4096 };
        return true;
    }
    *ret = (struct device_range){ s->fn->bars[n].kind == PCI_BAR_IO, s->fn->bars[n].base,
                                  s->fn->bars[n].size };
    return s->fn->bars[n].mapped;
}

static inline void subject_poke(struct subject *s, const struct subject_access *a)
{
    struct device_range at;
    struct bus *bus;
    u64 v;

    if (!subject_reach(s, a->where, &at))
        return;
    bus = at.pio ? s->f->m.pio : s->f->m.mmio;
    if (a->write)
        bus_write(bus, at.base + a->off % at.len, a->len, a->val);
    else
        bus_read(bus, at.base + a->off % at.len, a->len, &v);
}

/* Appends a whole stream of the subject's state. */
static inline void subject_save(struct subject *s, struct strbuf *out)
{
    state_stream_begin(out);
    device_save(s->d, out);
    state_stream_end(out);
}

static inline int subject_load(struct subject *s, const struct strbuf *in, struct err *e)
{
    struct state_reader r;
    struct state_section sec;
    int rc = state_reader_init(&r, in->text, in->len, e);

    while (rc >= 0) {
        rc = state_reader_next(&r, &sec, e);
        if (rc <= 0)
            return rc;
        rc = device_load(s->d, &sec, e);
    }
    return rc;
}
