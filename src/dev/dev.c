/*
 * dev/dev.c: the life of any device: made, reset, paused, saved, loaded, shown, freed.
 */
#include "dev/dev.h"

#include "base/loop.h"

#include <stdlib.h>

#define for_each_part(p, d)                            \
    for (const struct state_part *p = (d)->def->parts; \
         p < (d)->def->parts + DEVICE_PARTS_MAX && p->def; p++)

static void *part_of(struct device *d, const struct state_part *p)
{
    return (u8 *)d + p->at;
}

static void release(struct device *d)
{
    pthread_mutex_destroy(&d->lock);
    free(d);
}

int device_new(const struct device_def *def, struct machine *m, const char *name, const void *cfg,
               struct device **ret, struct err *e)
{
    struct device *d;
    int r;

    must(def->size >= sizeof(struct device));
    d = alloc_x(1, def->size);
    d->def = def;
    d->machine = m;
    pthread_mutex_init(&d->lock, NULL);
    if (!str_copy(d->name, sizeof(d->name), name)) {
        release(d);
        return err_set(e, -ENAMETOOLONG, "device name '%s' is longer than %u", name,
                       DEVICE_NAME_MAX - 1);
    }
    r = def->start ? def->start(d, cfg, e) : 0;
    if (r < 0) {
        release(d);
        return err_wrap(e, "start %s '%s'", def->name, name);
    }
    d->started = true;
    device_reset(d);
    *ret = d;
    return 0;
}

void device_free(struct device *d)
{
    if (!d)
        return;
    if (d->started && d->def->stop)
        d->def->stop(d);
    release(d);
}

static void call_locked(struct device *d, void (*fn)(struct device *d))
{
    pthread_mutex_lock(&d->lock);
    if (fn)
        fn(d);
    pthread_mutex_unlock(&d->lock);
}

void device_reset(struct device *d)
{
    call_locked(d, d->def->reset);
}

void device_pause(struct device *d)
{
    call_locked(d, d->def->pause);
}

void device_resume(struct device *d)
{
    call_locked(d, d->def->resume);
}

void device_save(struct device *d, struct strbuf *out)
{
    pthread_mutex_lock(&d->lock);
    for_each_part(p, d) state_stream_put(out, d->name, p->def, part_of(d, p));
    pthread_mutex_unlock(&d->lock);
}

/* As device_load, of one part; what was there comes back on failure. */
static int load_part(struct device *d, const struct state_part *p, const struct state_section *s,
                     struct err *e)
{
    AUTO(free) void *before = NULL;
    int r;

    pthread_mutex_lock(&d->lock);
    before = xdup_mem(part_of(d, p), p->def->size);
    r = state_load(p->def, part_of(d, p), s->version, s->body, s->len, e);
    pthread_mutex_unlock(&d->lock);
    if (r == 0 && d->loaded)
        r = d->loaded(d, p->def, e);
    if (r < 0) {
        pthread_mutex_lock(&d->lock);
        memcpy(part_of(d, p), before, p->def->size);
        pthread_mutex_unlock(&d->lock);
    }
    return r;
}

int device_load(struct device *d, const struct state_section *s, struct err *e)
{
    for_each_part(p, d)
    {
        if (strcmp(p->def->name, s->name) != 0)
            continue;
        if (load_part(d, p, s, e) < 0)
            return err_wrap(e, "load '%s'", d->name);
        return 0;
    }
    return err_set(e, -ENOENT, "%s '%s' has no state '%s'", d->def->name, d->name, s->name);
}

void device_inspect(struct device *d, struct strbuf *out)
{
    const char *comma = "";

    strbuf_add(out, "{");
    pthread_mutex_lock(&d->lock);
    for_each_part(p, d)
    {
        strbuf_add(out, "%s\"%s\": ", comma, p->def->name);
        state_print(p->def, part_of(d, p), out);
        comma = ", ";
    }
    pthread_mutex_unlock(&d->lock);
    strbuf_add(out, "}");
}

int machine_io_start(struct machine *m, struct loop *l, enum io_role role)
{
    return m->ops->io_start ? m->ops->io_start(m->arg, l, role) : loop_start(l);
}
