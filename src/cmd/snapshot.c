/*
 * cmd/snapshot.c: `socle snapshot`: the snapshots of a machine that is off.
 */
#include "cmd/snapshot.h"

#include "cmd/command.h"
#include "cmd/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

struct snapshot {
    bool json, quiet;
};

/* clang-format off */
static const struct field fields[] = {
    FIELD_BOOL(snapshot, json,  "print JSON"),
    FIELD_BOOL(snapshot, quiet, "show no progress"),
    {},
};
#define OPT(field) { #field, fields, 0, #field }
static const struct opt list_opts[] = { OPT(json), {} };
static const struct opt delete_opts[] = { OPT(quiet), {} };

enum { LIST, RESTORE, DELETE, N_COMMANDS };
const struct command snapshot_commands[] = {
    [LIST]    = { "snapshot list",    "[OPTION]… DISK",      "Show the snapshots of the machine that has this disk", list_opts, NULL, "FILE" },
    [RESTORE] = { "snapshot restore", "DISK NAME",           "Bring its disks back to what they were at a snapshot", NULL, NULL, "FILE" },
    [DELETE]  = { "snapshot delete",  "[OPTION]… DISK NAME", "Delete a snapshot; what others need of it is kept", delete_opts, NULL, "FILE" },
    [N_COMMANDS] = {},
};
/* clang-format on */

void snapshot_more(struct strbuf *out)
{
    strbuf_add(out, "DISK is the first disk that the machine writes to.  `socle ctl SOCKET "
                    "snapshot NAME` takes snapshots, "
                    "of a machine that runs.\n"
                    "Exit status: 0 done; 1 failed, also when the command line is wrong; 128 + n: "
                    "cancelled by signal n.\n");
}

static const char *const phase_notes[] = {
    [TREE_COMPLETE] = "",
    [TREE_TAKING] = " (interrupted: delete it)",
    [TREE_DELETING] = " (being deleted: delete it again)",
};

static void print_node(const struct tree_file *f, const struct tree_node *n, u32 depth)
{
    time_t t = (time_t)n->time;
    char date[32] = "";
    struct tm tm = {};

    localtime_r(&t, &tm);
    strftime(date, sizeof(date), "%F %T", &tm);
    printf("%*s%s  %s  %s%s%s\n", (int)(2 * depth), "", n->name, date,
           n->state ? "machine" : "disks", f->t.current == n->id ? "  <- now" : "",
           phase_notes[n->phase]);
}

/* Depth first, without recursion: the next node is the first child, else the next sibling of the nearest that has one. */
static const struct tree_node *next_child(const struct tree *t, u32 parent, u32 after)
{
    const struct tree_node *best = NULL;

    for (u32 i = 0; i < t->nodes.n; i++) {
        const struct tree_node *n = tree_node(t, i);

        if (n->parent == parent && n->id > after && (!best || n->id < best->id))
            best = n;
    }
    return best;
}

void snapshot_print(const struct tree_file *f)
{
    const struct tree_node *n = next_child(&f->t, 0, 0);
    u32 depth = 0;

    while (n) {
        const struct tree_node *next = next_child(&f->t, n->id, 0);

        print_node(f, n, depth);
        depth += next != NULL;
        while (!next && n) {
            next = next_child(&f->t, n->parent, n->id);
            if (!next) {
                n = tree_by_id(&f->t, n->parent);
                depth -= n != NULL;
            }
        }
        n = next;
    }
}

static json_t *describe(const struct tree_file *f, const struct tree_node *n)
{
    json_t *images = json_array(), *j;

    for (u32 i = 0; i < n->images.n; i++) {
        AUTO(free) char *path = tree_image_path(f, n, i);

        json_array_append_new(images, json_string(path));
    }
    j = json_pack("{s:s, s:i, s:i, s:I, s:b, s:b, s:o}", "name", n->name, "id", (int)n->id,
                  "parent", (int)n->parent, "time", (json_int_t)n->time, "complete",
                  n->phase == TREE_COMPLETE, "current", f->t.current == n->id, "images", images);
    if (n->state) {
        AUTO(free) char *path = tree_state_path(f, n);

        json_object_set_new(j, "state", json_string(path));
    }
    return j;
}

int snapshot_print_json(const struct tree_file *f, struct err *e)
{
    json_t *list = json_array();
    AUTO(free) char *text = NULL;

    for (u32 i = 0; i < f->t.nodes.n; i++)
        json_array_append_new(list, describe(f, tree_node(&f->t, i)));
    text = json_dumps(list, JSON_INDENT(4));
    json_decref(list);
    if (!text)
        return err_set(e, -EINVAL, "a name is not UTF-8 text");
    printf("%s\n", text);
    return 0;
}

struct deletion {
    struct tree_file *f;
    const char *name;
    const struct tree_machine *machine;
};

static int delete_job(struct job *j, void *arg, struct err *e)
{
    const struct deletion *d = arg;

    return tree_delete(j, d->f, d->name, d->machine, e);
}

int snapshot_delete(struct tree_file *f, const char *name, const struct tree_machine *machine,
                    bool quiet, struct err *e)
{
    struct deletion d = { f, name, machine };
    int sig = 0, r = progress_run(quiet ? NULL : "delete", delete_job, &d, &sig, e);

    if (!sig)
        return r;
    log_error("snapshot delete: cancelled; `delete` again goes on");
    return 128 + sig;
}

static int do_list(struct tree_file *f, const struct snapshot *s, const char *const *,
                   struct err *e)
{
    if (s->json)
        return snapshot_print_json(f, e);
    snapshot_print(f);
    return 0;
}

static int do_restore(struct tree_file *f, const struct snapshot *, const char *const *args,
                      struct err *e)
{
    const struct tree_node *n;
    int r = tree_restore(f, args[1], e);

    n = tree_by_name(&f->t, args[1]);
    if (r == 0 && n->state) {
        AUTO(free) char *state = tree_state_path(f, n);

        printf("socle run --restore %s\n", state);
    }
    return r;
}

static int do_delete(struct tree_file *f, const struct snapshot *s, const char *const *args,
                     struct err *e)
{
    return snapshot_delete(f, args[1], NULL, s->quiet, e);
}

static const struct {
    int (*run)(struct tree_file *f, const struct snapshot *s, const char *const *args,
               struct err *e);
    unsigned args;
} runs[N_COMMANDS] = {
    [LIST] = { do_list, 1 }, [RESTORE] = { do_restore, 2 }, [DELETE] = { do_delete, 2 }
};

static int run(u32 which, int argc, char **argv)
{
    static const struct opt none[] = { {} };
    const struct command *c = &snapshot_commands[which];
    struct snapshot s = {};
    struct opt_args args = {};
    struct tree_file f = { .lock = -1 };
    struct err e = {};
    int r = opt_parse(c->opts ? c->opts : none, &s, argc, argv, &args, &e);

    if (r == 1)
        return command_help_of(c);
    if (r == 0 && args.n != runs[which].args)
        r = err_set(&e, -EINVAL, "%u arguments; it is: socle %s %s", args.n, c->name, c->usage);
    if (r == 0)
        r = tree_open(&f, args.arg[0], false, &e);
    if (r == 0)
        r = runs[which].run(&f, &s, args.arg, &e);
    tree_close(&f);
    if (r == 0 && fflush(stdout) != 0)
        r = err_errno(&e, "write to standard output");
    if (r < 0)
        log_error("%s: %s", c->name, e.text);
    return r < 0 ? 1 : r;
}

int snapshot_main(int argc, char **argv)
{
    const struct command *self = command_find("snapshot"), *c;

    if (argc < 1) {
        log_error("snapshot: a command is needed; `socle help snapshot` lists them");
        return 1;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return command_help_of(self);
    c = command_find_sub(self, argv[0]);
    if (c)
        return run((u32)(c - snapshot_commands), argc - 1, argv + 1);
    log_error("snapshot: unknown command '%.60s'; `socle help snapshot` lists them", argv[0]);
    return 1;
}
