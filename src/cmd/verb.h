/*
 * cmd/verb.h: the commands that talk with socled: what they share.  verb.c has their rows, verb_make.c what describes an instance,
 * verb_show.c what prints, verb_snap.c snapshots and clones, verb_exec.c runs programs in instances, verb_file.c copies files, verb_access.c who may do what, remote.c socleds of other machines.
 */
#pragma once

#include "api/access.h"
#include "cmd/command.h"
#include "cmd/rest.h"
#include "host/instance.h"
#include "host/network.h"
#include "os/bundle.h"
#include "os/files.h"

enum { VERB_TABLE, VERB_JSON, VERB_YAML };
enum { VERB_CLONES_MAX = 100 };
enum { VERB_FORMAT_AUTO }; /* then those of enum export_format */

struct verb {
    /* options */
    char *dir, *host;
    int output; /* VERB_TABLE, … */
    bool force, follow, messages, disks, quiet, full, instant, once, watch;
    u32 timeout, count;
    char *snapshot, *user_data, *ssh_key, *network_config, *part, *key;
    u64 bytes, since;
    int format; /* export; VERB_FORMAT_AUTO: by the file's name */
    bool compress;
    u32 disk;
    char *user, *fingerprint;
    int role; /* enum access_role */
    struct field_list grants;
    bool disabled, no_password, code, off;
    u32 days, limit;
    struct os_program program; /* exec */
    bool no_terminal, no_input, shell;
    struct os_files_ask files; /* file push, pull */
    char *mode;
    int state, kind; /* list: instance_states_wanted, instance_kinds_wanted */
    char *tag;
    struct instance_cfg cfg;
    struct network_cfg network;
    struct image_source source;
    struct opt_args args;
    /* the conversation */
    struct rest rest;
};
extern const struct field verb_fields[];

/* A GET, POST, …; the answer, a new reference, or NULL with `e`. */
json_t *verb_ask(struct verb *v, const char *method, const char *path, const json_t *body,
                 struct err *e);
/* The same for what begins a task; waits for its end. */
int verb_task(struct verb *v, const char *method, const char *path, const json_t *body,
              struct err *e);
/* "/1.0/instances/NAME…"; owned; NULL with `e`: the name cannot be one. */
char *verb_path(const char *kind, const char *name, const char *more, struct err *e);
/* {"action": …} of the instance, and waits. */
int verb_action(struct verb *v, const char *name, const char *action, struct err *e);

/* A program in an instance; its exit status. */
int verb_exec(struct verb *v, struct err *e);
int verb_file_push(struct verb *v, struct err *e);
int verb_file_pull(struct verb *v, struct err *e);

int verb_create(struct verb *v, struct err *e);
int verb_launch(struct verb *v, struct err *e);
int verb_set(struct verb *v, struct err *e);
int verb_edit(struct verb *v, struct err *e);
/* A file that the user names is named from the root for a socled on this machine. */
void verb_from_root(const struct verb *v, char **path);
int verb_import(struct verb *v, struct err *e);
int verb_uploads(struct verb *v, struct err *e);
int verb_catalogues(struct verb *v, struct err *e);
int verb_catalogue_add(struct verb *v, struct err *e);
int verb_catalogue_update(struct verb *v, struct err *e);

int verb_network_create(struct verb *v, struct err *e);
int verb_network_set(struct verb *v, struct err *e);
int verb_network_delete(struct verb *v, struct err *e);
int verb_networks(struct verb *v, struct err *e);
int verb_network_show(struct verb *v, struct err *e);
/* Adds "FIELD=VALUE" of a table to an object; nothing after the "=" is null: the default. */
int verb_add_change(const struct field *fields, json_t *changes, const char *arg, struct err *e);
/* A column of a table. */
struct column {
    const char *title, *key;
    void (*print)(const json_t *value, struct strbuf *out); /* NULL: as it is */
};
void verb_print_time(const json_t *value, struct strbuf *out);
void verb_print_yes(const json_t *value, struct strbuf *out);
/* As a table, or as -o says. */
void verb_print_rows(const struct verb *v, const json_t *list, const struct column *columns, u32 n);
/* All pages of a list, a new reference; NULL with `e`. */
json_t *verb_all(struct verb *v, const char *path, struct err *e);
int verb_print_list(struct verb *v, const char *path, const struct column *columns, u32 n,
                    struct err *e);

/* Does it now, and whenever something has changed, until it fails or the connection ends. */
int verb_watch(struct verb *v, int (*fn)(struct verb *v, struct err *e), struct err *e);

int verb_list(struct verb *v, struct err *e);
int verb_show(struct verb *v, struct err *e);
int verb_images(struct verb *v, struct err *e);
int verb_tasks(struct verb *v, struct err *e);
int verb_task_show(struct verb *v, struct err *e);
int verb_event(struct verb *v, struct err *e);
int verb_logs(struct verb *v, struct err *e);
/* As JSON or YAML. */
void verb_print(const struct verb *v, const json_t *j);

int verb_snapshot(struct verb *v, struct err *e);
int verb_snapshots(struct verb *v, struct err *e);
int verb_snapshot_delete(struct verb *v, struct err *e);
int verb_restore(struct verb *v, struct err *e);
int verb_clone(struct verb *v, struct err *e);
int verb_info(struct verb *v, struct err *e);
int verb_support(struct verb *v, struct err *e);

int verb_users(struct verb *v, struct err *e);
int verb_user_create(struct verb *v, struct err *e);
int verb_user_set(struct verb *v, struct err *e);
int verb_user_password(struct verb *v, struct err *e);
int verb_user_delete(struct verb *v, struct err *e);
int verb_user_codes(struct verb *v, struct err *e);
int verb_host_shell(struct verb *v, struct err *e);
int verb_tokens(struct verb *v, struct err *e);
int verb_token_create(struct verb *v, struct err *e);
int verb_token_delete(struct verb *v, struct err *e);
int verb_audit(struct verb *v, struct err *e);
int verb_remotes(struct verb *v, struct err *e);
int verb_remote_add(struct verb *v, struct err *e);
int verb_remote_remove(struct verb *v, struct err *e);
extern const struct opt verb_user_create_opts[], verb_user_set_opts[], verb_token_create_opts[];
