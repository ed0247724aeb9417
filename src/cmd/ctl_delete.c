/*
 * cmd/ctl_delete.c: `socle ctl SOCKET delete-snapshot`: images of the tree are merged here, those that the machine reads or writes with it.
 * The machine cancels a merge whose client goes; how far it is, it says on a second connection.
 */
#include "cmd/ctl_delete.h"

#include "cmd/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct live {
    struct talk *t;
    const json_t *disks;
    const u32 *index;
    struct job *job;
    u64 seen; /* bytes of the merge that the job has counted */
};

static void count(struct live *l, u64 done)
{
    if (done > l->seen)
        job_add(l->job, done - l->seen);
    l->seen = max(l->seen, done);
}

/* While the machine merges.  Its progress is a courtesy: a machine that has no second ear for us merges all the same. */
static int on_tick(void *arg, struct err *e)
{
    struct live *l = arg;
    struct talk other;
    json_t *status = NULL;

    if (talk_open(&other, l->t->path, 1, NULL) >= 0)
        status = talk_result(&other, "{\"cmd\": \"status\", \"id\": 1}", NULL, 0, NULL);
    talk_close(&other);
    count(l, (u64)json_integer_value(json_object_get(status, "saving_done")));
    json_decref(status);
    return job_check(l->job, e);
}

/* Does the machine read the file below this disk, or write it? */
static bool reads(const json_t *disk, json_int_t inode, const char *member)
{
    const json_t *j = json_object_get(disk, member), *below;
    size_t i;

    if (json_is_integer(j))
        return json_integer_value(j) == inode;
    json_array_foreach(j, i, below) if (json_integer_value(below) == inode) return true;
    return false;
}

static int merge(void *arg, struct job *j, u32 disk, const char *image, struct err *e)
{
    struct live *l = arg;
    const json_t *d = json_array_get(l->disks, l->index[disk]);
    const char *name = json_string_value(json_object_get(d, "name"));
    AUTO(free) char *request = NULL;
    struct stat st;
    json_t *done;

    if (stat(image, &st) < 0)
        return err_errno(e, "look at '%s'", image);
    if (!name || !reads(d, (json_int_t)st.st_ino, "below"))
        return 0;
    request = str_new("{\"cmd\": \"merge\", \"id\": 1, \"device\": \"%s\", \"inode\": %llu}", name,
                      (u64)st.st_ino);
    l->job = j;
    l->seen = 0;
    done = talk_wait(l->t, request, on_tick, l, e);
    json_decref(done);
    return done ? 0 : e->code;
}

/* A snapshot that was interrupted before the machine changed over: it still writes to the old files, which take their names back. */
static bool not_changed_over(const struct live *l, const struct tree_file *f,
                             const struct tree_node *n)
{
    bool yes = n->phase == TREE_TAKING && f->t.current == n->id;

    for (u32 i = 0; i < n->images.n && yes; i++) {
        AUTO(free) char *image = tree_image_path(f, n, i);
        struct stat st;

        if (stat(image, &st) == 0)
            yes = reads(json_array_get(l->disks, l->index[i]), (json_int_t)st.st_ino, "inode");
    }
    return yes;
}

int ctl_delete(struct talk *t, const json_t *disks, const u32 *index, struct tree_file *f,
               const char *name, struct err *e)
{
    struct live l = { .t = t, .disks = disks, .index = index };
    const struct tree_machine machine = { merge, &l };
    const struct tree_node *n = tree_by_name(&f->t, name);

    if (n && not_changed_over(&l, f, n))
        return tree_take_undo(f, e);
    return snapshot_delete(f, name, &machine, false, e);
}
