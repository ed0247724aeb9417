/*
 * host/process_os.c: an instance of kind os is started: socle-os, with what its image, its networks and its control group are now.
 */
#include "host/cgroup.h"
#include "host/layers.h"
#include "host/nic.h"
#include "host/os_snap.h"
#include "host/process.h"
#include "host/room.h"
#include "host/spawn.h"

#include <stdlib.h>
#include <unistd.h>

/*
 * Users of containers are numbers that systemd leaves to container managers (systemd, "Users, Groups, UIDs and GIDs": 0x80000 to
 * 0x6fffffff), from a place that nspawn does not begin with: OS_IDS for each.
 */
enum { FIRST = 0x10000000, CONTAINERS = 0x5000 };

static int plan_locked(struct task *t, const struct room *room, const struct image_cfg *image,
                       struct os_spec *ret, struct err *e)
{
    const struct field *layers = conf_field_at(os_fields, offsetof(struct os_spec, layers));
    struct instance *i = t->inst;
    AUTO(free) char *folder = host_folder(i->host, i);
    int r = instance_os_spec(&i->cfg, folder, image, ret, e);

    if (r >= 0)
        r = layers_paths(i->host, image, layers, ret, e);
    if (r >= 0)
        r = os_snap_paths_locked(i, layers, ret, e);
    if (r < 0)
        return r;
    ret->runtime = spawn_find_user("socle-box", "SOCLE_BOX");
    if (i->host->uid == 0 && !i->cfg.os.privileged)
        ret->uid_first = FIRST + (u32)(host_number(i) % CONTAINERS) * OS_IDS;
    if (!t->rec.force)
        r = room_check_locked(room, i, i->cfg.spec.memory, e);
    return r < 0 ? r : host_set_state_locked(i, HOST_STARTING, NULL, e);
}

static int make_plan(struct task *t, u64 log_at, struct os_spec *ret, struct err *e)
{
    struct image_cfg image = {};
    struct room room = {};
    struct instance *i = t->inst;
    int r = images_get(i->host->images, i->cfg.image, &image, e);

    if (r >= 0 && !t->rec.force)
        r = room_read(&room, i->host, e);
    if (r >= 0) {
        host_lock(i->host);
        i->run.log_at = log_at;
        r = plan_locked(t, &room, &image, ret, e);
        host_unlock(i->host);
    }
    room_fini(&room);
    conf_fini(image_cfg_fields, &image);
    return r;
}

static int launch(struct task *t, int log, struct os_spec *spec, struct err *e)
{
    struct spawn_how how = { .alone = true, .log = log };
    AUTO(fd) int cgroup = -1;
    struct spawn os;
    int r;

    host_lock(t->host);
    how.cgroup = cgroup = cgroup_enter_locked(t->inst, t->inst->cfg.spec.memory);
    spec->cgroup = cgroup < 0 ? NULL : cgroup_box_locked(t->inst);
    host_unlock(t->host);
    r = nics_plug_os(t->inst, spec, e);
    if (r >= 0)
        r = spawn_os(spec, &how, &os, e);
    return r < 0 ? process_not_started(t, r, e) : process_started(t, &os, e);
}

int process_os_start(struct task *t, int log, u64 log_at, struct err *e)
{
    struct os_spec spec = {};
    int r = make_plan(t, log_at, &spec, e);

    if (r >= 0)
        r = launch(t, log, &spec, e);
    os_spec_fini(&spec);
    return r;
}
