/*
 * cmd/verb.c: the commands that talk with socled: their options, their rows, and those that only say what shall be done.
 */
#include "cmd/verb.h"

#include "base/exit_status.h"
#include "cmd/attach.h"
#include "cmd/more.h"
#include "cmd/snapshot.h"
#include "cmd/top.h"
#include "cmd/ws.h"
#include "host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const formats[] = { "auto", "qcow2", "raw", "vmdk", NULL };
static const char *const outputs[] = { "table", "json", "yaml", NULL };

/* clang-format off */
const struct field verb_fields[] = {
    FIELD_STR(verb, dir, "socled's folder, if it is not the user's own", .metavar = "DIR"),
    FIELD_STR(verb, host, "a socled elsewhere: the name or URL of a remote; else $SOCLE_HOST", .metavar = "REMOTE"),
    FIELD_ENUM(verb, output, outputs, "for people, or for programs"),
    FIELD_BOOL(verb, force, "whatever speaks against it"),
    FIELD_INT(verb, timeout, "SECONDS that the guest has to shut down; then it is turned off", .dflt = HOST_STOP_SECONDS,
              .max = HOST_STOP_SECONDS_MAX, .metavar = "SECONDS"),
    FIELD_BOOL(verb, messages, "what the machine's process said, in place of what the guest wrote"),
    FIELD_BYTES(verb, bytes, "so much of its end", .dflt = 64 * 1024, .max = 1 << 20, .metavar = "SIZE"),
    FIELD_BOOL(verb, disks, "only what is on its disks, as after a power cut"),
    FIELD_BOOL(verb, quiet, "show no progress"),
    FIELD_BOOL(verb, once, "show what there is now, and end"),
    FIELD_BOOL(verb, watch, "show it anew whenever something has changed"),
    FIELD_BOOL(verb, full, "its disks are copies"),
    FIELD_BOOL(verb, instant, "it goes on from the memory of a machine that runs, or of a snapshot"),
    FIELD_STR(verb, snapshot, "what NAME was then, in place of what it is now", .metavar = "SNAPSHOT"),
    FIELD_INT(verb, count, "make so many", .dflt = 1, .min = 1, .max = VERB_CLONES_MAX),
    FIELD_STR(verb, user_data, "what cloud-init is told: #cloud-config, or a script", .metavar = "FILE"),
    FIELD_STR(verb, ssh_key, "public keys that may log in by ssh, a line each: cloud-init is told", .metavar = "FILE"),
    FIELD_STR(verb, network_config, "network description for cloud-init, in place of DHCP on each card", .metavar = "FILE"),
    FIELD_STR(verb, key, "of its signatures: ed25519, 32 bytes in base64, or a file with it", .metavar = "KEY"),
    FIELD_STR(verb, part, "which of the image's files: disk, iso, kernel or initrd", .metavar = "FILE"),
    FIELD_ENUM(verb, format, formats, "of the file; vmdk: streamOptimized; auto: as its name ends (.raw, .img, .vmdk; else qcow2)"),
    FIELD_BOOL(verb, compress, "qcow2: compressed clusters"),
    FIELD_INT(verb, disk, "which of the disks that the machine writes to; 0: the first", .max = SPEC_DISKS_MAX - 1),
    FIELD_STR(verb, user, "a user's name", .metavar = "USER"),
    FIELD_STR(verb, fingerprint, "of its certificate, in place of a question", .metavar = "SHA256"),
    FIELD_ENUM(verb, role, access_roles, "may at most this"),
    FIELD_LIST(verb, grants, access_grant_fields, access_grant, ACCESS_GRANTS_MAX, "a role on one instance or a tag; may be repeated"),
    FIELD_BOOL(verb, disabled, "is refused"),
    FIELD_BOOL(verb, no_password, "there is no login, only tokens"),
    FIELD_BOOL(verb, code, "a login needs a one-time code"),
    FIELD_BOOL(verb, off, "no codes are asked for any more"),
    FIELD_INT(verb, days, "how long it is valid", .dflt = 90, .min = 1, .max = 3650, .metavar = "DAYS"),
    FIELD_INT(verb, limit, "at most so many", .dflt = 100, .min = 1, .max = 10000),
    FIELD_BOOL(verb, shell, "it gives a shell of the host, too: `socle host shell`"),
    FIELD_BOOL(verb, no_terminal, "give it pipes, also when we are on a terminal"),
    FIELD_STR(verb, mode, "of the files, octal; else as they have it", .metavar = "MODE"),
    FIELD_ENUM(verb, state, instance_states_wanted, "only those that are so"),
    FIELD_ENUM(verb, kind, instance_kinds_wanted, "only those of this kind"),
    FIELD_STR(verb, tag, "only those that have this tag", .metavar = "TAG"),
    FIELD_INT(verb, since, "begin after this revision; 0: now", .metavar = "REVISION"),
    {},
};

#define VERB(opt_name, ...) { opt_name, verb_fields, 0, opt_name, ##__VA_ARGS__ }
#define SPEC(opt_name, member, ...) { opt_name, spec_fields, offsetof(struct verb, cfg.spec), #member, ##__VA_ARGS__ }
#define OWN(opt_name, ...) { opt_name, instance_own_fields, offsetof(struct verb, cfg), opt_name, ##__VA_ARGS__ }
#define SOURCE(opt_name, ...) { opt_name, image_source_fields, offsetof(struct verb, source), opt_name, ##__VA_ARGS__ }
#define OS(opt_name, ...) { opt_name, os_cfg_fields, offsetof(struct verb, cfg.os), ##__VA_ARGS__ }
#define PROGRAM(opt_name, ...) { opt_name, os_program_fields, offsetof(struct verb, program), opt_name, ##__VA_ARGS__ }
#define FILES(opt_name, ...) { opt_name, os_files_fields, offsetof(struct verb, files), ##__VA_ARGS__ }
#define NETWORK(opt_name, ...) { opt_name, network_fields, offsetof(struct verb, network), opt_name, ##__VA_ARGS__ }
#define DIR_OPT VERB("dir", "DIR"), VERB("host", "")
#define OUTPUT_OPT VERB("output", NULL, 'o')

const struct opt verb_plain_opts[] = { DIR_OPT, {} };
const struct opt verb_print_opts[] = { DIR_OPT, OUTPUT_OPT, {} };
const struct opt verb_watch_opts[] = { DIR_OPT, OUTPUT_OPT, VERB("watch", ""), {} };
const struct opt verb_list_opts[] = { DIR_OPT, OUTPUT_OPT, VERB("watch", ""), VERB("state"), VERB("kind"), VERB("tag", ""), {} };
const struct opt verb_force_opts[] = { DIR_OPT, VERB("force", ""), {} };
const struct opt verb_stop_opts[] = { DIR_OPT, VERB("timeout", ""), VERB("force", ""), {} };
const struct opt verb_logs_opts[] = { DIR_OPT, VERB("messages", ""), VERB("bytes", ""), {} };
const struct opt verb_event_opts[] = { DIR_OPT, VERB("since", ""), {} };
const struct opt verb_snapshot_opts[] = { DIR_OPT, VERB("disks", ""), {} };
const struct opt verb_clone_opts[] = { DIR_OPT, VERB("full", ""), VERB("instant", ""), VERB("snapshot", ""), VERB("count", ""), {} };
const struct opt verb_doctor_opts[] = { VERB("dir", "DIR"), OUTPUT_OPT, {} };
const struct opt verb_top_opts[] = { DIR_OPT, VERB("once", ""), OUTPUT_OPT, {} };
static const struct opt snapshot_delete_opts[] = { DIR_OPT, VERB("quiet", ""), {} };
const struct opt verb_audit_opts[] = { DIR_OPT, OUTPUT_OPT, VERB("limit", ""), {} };
const struct opt verb_user_create_opts[] = { DIR_OPT, VERB("role"), { "grant", verb_fields, 0, "grants", "" },
                                             { "no-password", verb_fields, 0, "no_password", "" }, {} };
const struct opt verb_user_set_opts[] = { DIR_OPT, VERB("role"), { "grant", verb_fields, 0, "grants", "" }, VERB("disabled"), {} };
static const struct opt codes_opts[] = { DIR_OPT, VERB("off", ""), {} };
const struct opt verb_token_create_opts[] = { DIR_OPT, VERB("user", ""), VERB("role"), VERB("days", ""), VERB("shell", ""), {} };
static const struct opt remote_list_opts[] = { OUTPUT_OPT, {} };
static const struct opt remote_add_opts[] = { VERB("fingerprint", ""), VERB("user", ""), VERB("code", ""), VERB("shell", ""), {} };
static const struct opt import_opts[] = { DIR_OPT, SOURCE("kernel", "FILE"), SOURCE("initrd", "FILE"), SOURCE("disk", "FILE"),
                                          SOURCE("append", ""), SOURCE("rootfs", "FILE"), SOURCE("tag", ""), SOURCE("iso", "FILE"), SOURCE("sha256", ""), SOURCE("from", "CATALOGUES"), SOURCE("part", "disk iso rootfs kernel"), {} };
static const struct opt catalogue_opts[] = { DIR_OPT, VERB("key", ""), {} };
const struct opt verb_export_opts[] = { DIR_OPT, VERB("format"), VERB("compress"), VERB("disk", ""), VERB("snapshot", ""), VERB("force", ""), {} };
static const struct opt export_opts[] = { DIR_OPT, VERB("part", "disk iso kernel initrd"), VERB("force", ""), {} };
const struct opt verb_exec_opts[] = { DIR_OPT, PROGRAM("env", ""), PROGRAM("cwd", ""), PROGRAM("user", ""), { "no-terminal", verb_fields, 0, "no_terminal" }, {} };
static const struct opt push_opts[] = { DIR_OPT, FILES("recursive", "recursive", "", 'r'), FILES("create-dirs", "create", "", 'p'), FILES("uid", "uid", ""),
                                        FILES("gid", "gid", ""), VERB("mode", ""), {} };
static const struct opt pull_opts[] = { DIR_OPT, FILES("recursive", "recursive", "", 'r'), {} };
static const struct opt network_opts[] = { DIR_OPT, NETWORK("kind"), NETWORK("ipv4"), NETWORK("ipv6"), NETWORK("domain"), NETWORK("interface"), {} };
const struct opt verb_make_opts[] = {
    DIR_OPT,
    OWN("image", ""),
    OWN("iso", ""),
    SPEC("cpus", cpus),
    SPEC("memory", memory, "512M 1G 2G 4G 8G"),
    SPEC("kernel", kernel, "FILE"),
    SPEC("initrd", initrd, "FILE"),
    SPEC("append", append),
    SPEC("disk", disks, "FILE"),
    SPEC("net", nets, "network= user none tap="),
    SPEC("engine", engine),
    SPEC("jit", jit),
    SPEC("share", shares),
    SPEC("vsock", vsock),
    SPEC("hugepages", hugepages),
    SPEC("prealloc", prealloc),
    SPEC("balloon", balloon),
    SPEC("rng", rng),
    SPEC("cpu-model", cpu_model),
    SPEC("irqchip", irqchip),
    SPEC("hpet", hpet),
    SPEC("uuid", uuid),
    OWN("notes", ""),
    { "tag", instance_own_fields, offsetof(struct verb, cfg), "tags", "" },
    OWN("autostart", ""),
    OWN("restart", NULL),
    OWN("protected", ""),
    { "user-data", verb_fields, 0, "user_data", "FILE" },
    { "ssh-key", verb_fields, 0, "ssh_key", "FILE" },
    { "network-config", verb_fields, 0, "network_config", "FILE" },
    { "hostname", cloud_fields, offsetof(struct verb, cfg.cloud), "hostname", "" },
    OWN("limits", ""),
    OWN("kind", NULL),
    OS("env", "env", ""),
    OS("cwd", "cwd", ""),
    OS("user", "user", ""),
    OS("mount", "mounts", ""),
    OS("nesting", "nesting", ""),
    OS("privileged", "privileged", ""),
    VERB("force", ""),
    {},
};
/* clang-format on */

/* ---- what they share ---- */

json_t *verb_ask(struct verb *v, const char *method, const char *path, const json_t *body,
                 struct err *e)
{
    const struct rest_request rq = { .method = method, .path = path, .body = body };

    return rest_ask(&v->rest, &rq, NULL, e);
}

int verb_task(struct verb *v, const char *method, const char *path, const json_t *body,
              struct err *e)
{
    json_t *j = verb_ask(v, method, path, body, e);
    int r = j ? rest_wait(&v->rest, j, e) : e->code;

    json_decref(j);
    return r;
}

char *verb_path(const char *kind, const char *name, const char *more, struct err *e)
{
    if (spec_name_ok(name))
        return str_new("/1.0/%s/%s%s", kind, name, more);
    err_set(e, -EINVAL, "'%.70s' is no name: letters, digits, '.', '-' and '_' are", name);
    return NULL;
}

int verb_action(struct verb *v, const char *name, const char *action, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", name, "/action", e);
    json_t *body;
    int r;

    if (!path)
        return e->code;
    body = json_pack("{s:s, s:b, s:i}", "action", action, "force", v->force, "timeout",
                     (int)v->timeout);
    r = verb_task(v, "POST", path, body, e);
    json_decref(body);
    return r < 0 ? err_wrap(e, "%s", name) : 0;
}

/* ---- those that only say what shall be done ---- */

/* For each name; all are tried, and the last that failed is told of in the end. */
static int each(struct verb *v, const char *action, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < v->args.n; i++) {
        if (r < 0)
            log_error("%s", e->text);
        r = min(r, verb_action(v, v->args.arg[i], action, e));
    }
    return r;
}

#define ACTION(action)                                    \
    static int do_##action(struct verb *v, struct err *e) \
    {                                                     \
        return each(v, #action, e);                       \
    }
ACTION(start)
ACTION(stop)
ACTION(restart)
ACTION(pause)
ACTION(resume)
ACTION(reset)
ACTION(suspend)
#undef ACTION

static int do_delete(struct verb *v, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < v->args.n && r >= 0; i++) {
        AUTO(free)
        char *path = verb_path("instances", v->args.arg[i], v->force ? "?force=on" : "", e);

        r = path ? verb_task(v, "DELETE", path, NULL, e) : e->code;
    }
    return r;
}

/* A request without a task. */
static int simple(struct verb *v, const char *method, const char *path, json_t *body, struct err *e)
{
    json_t *j = path ? verb_ask(v, method, path, body, e) : NULL;

    json_decref(body);
    json_decref(j);
    return j ? 0 : e->code;
}

static int do_rename(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/rename", e);

    return simple(v, "POST", path, json_pack("{s:s}", "name", v->args.arg[1]), e);
}

static int do_catalogue_remove(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("catalogues", v->args.arg[0], "", e);

    return simple(v, "DELETE", path, NULL, e);
}

static int do_discard(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("uploads", v->args.arg[0], "", e);

    return simple(v, "DELETE", path, NULL, e);
}

static int do_pool_delete(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("images", v->args.arg[0], "", e);

    return simple(v, "DELETE", path, NULL, e);
}

static int do_task_cancel(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("tasks", v->args.arg[0], "", e);

    return simple(v, "DELETE", path, NULL, e);
}

static int do_backup(struct verb *v, struct err *e)
{
    AUTO(free) char *here = getcwd(NULL, 0);
    const char *file = v->args.arg[0];
    AUTO(free)
    char *path = *file == '/' || v->host ? xdup(file) : str_new("%s/%s", here ? here : "", file);

    return simple(v, "POST", "/1.0/backup", json_pack("{s:s}", "file", path), e);
}

static int attach(int fd, void *arg [[maybe_unused]], struct err *e [[maybe_unused]])
{
    return attach_run_fd(fd);
}

static int remote_console(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/console", e);
    int r = path ? rest_upgrade(&v->rest, path, e) : e->code;

    return r < 0 ? r : ws_run(&v->rest, attach, NULL, e);
}

static int do_console(struct verb *v, struct err *e)
{
    AUTO(free) char *path = NULL;
    const char *socket;
    json_t *j, *status;
    int r;

    if (v->host)
        return remote_console(v, e);
    path = verb_path("instances", v->args.arg[0], "", e);
    j = path ? verb_ask(v, "GET", path, NULL, e) : NULL;
    if (!j)
        return e->code;
    status = json_object_get(j, "status");
    socket = json_string_value(json_object_get(status, "console"));
    if (json_integer_value(json_object_get(status, "pid")) == 0)
        r = err_set(e, -EBUSY, "'%s' is %s", v->args.arg[0],
                    json_string_value(json_object_get(status, "state")));
    else
        r = attach_run(socket ? socket : "", e);
    json_decref(j);
    return r;
}

void verb_console_more(struct strbuf *out)
{
    strbuf_add(out,
               "Up to eight at once; what the guest wrote while nobody was there is shown first, "
               "its newest 64 KiB.\n"
               "Keys, on a terminal:\n");
    attach_help("  ", out);
}

void verb_make_more(struct strbuf *out)
{
    strbuf_add(
        out, "Without --image and --kernel it is made of the pool's only image (`socle pool "
             "import` makes one).\n"
             "An image that the pool does not have is fetched from the catalogue that has it "
             "(`socle catalogue`).\n"
             "Without --net there is one card: on network socle0 of root's socled, else on a user "
             "network.\n"
             "--net network=NAME[,forward=RULE][,address=IPv4][,bandwidth_in=SIZE] and so on "
             "puts one on a network (`socle network`). Other options are those of `socle run`.\n"
             "Of an image with a root file system (`socle pool import --rootfs`) it becomes a "
             "container, kind os: --memory and --cpus "
             "are its limits, and what stands behind -- is run in it in place of what the image "
             "says.\n");
}

void verb_host_shell_more(struct strbuf *out)
{
    strbuf_add(out,
               "\nOf the user as whom socled runs, at home, with that user's groups and a clean "
               "environment. Only who has role admin may have\none, of tokens those made with "
               "--shell; `socle audit` shows who had one. With --host it is the way to a host that "
               "is nothing\nbut Socle: `socle remote add NAME URL --shell` keeps a token for that. "
               "socled --no-host-terminal switches it off. When\nthe connection, session or token "
               "ends, all that runs in it ends.\n");
}

void verb_exec_more(struct strbuf *out)
{
    strbuf_add(out, "On a terminal it has one of its own, without keys of ours; else its output "
                    "and errors are ours, and our input is its. Without "
                    "a COMMAND it is a shell.\n"
                    "Exit status: the program's, or 128 and the number of the signal that ended "
                    "it; 125 when it was not started.\n"
                    "In a machine the guest's agent runs it (package qemu-guest-agent): without a "
                    "terminal, which `socle console` is; it begins when all input has come (at "
                    "most 4 MiB, none from a terminal), what it writes comes when it ends (at most "
                    "16 MiB of each of its two outputs), and it runs on when we end. "
                    "--env is then all of its environment; there is no --cwd and no --user.\n");
}

static void file_more(struct strbuf *out)
{
    strbuf_add(out, "Of a machine the guest's agent does it (package qemu-guest-agent): single "
                    "files, without --recursive, --create-dirs, --uid, --gid and --mode.\n");
}

void verb_set_more(struct strbuf *out)
{
    strbuf_add(out, "FIELD is one that `socle show NAME -o json` prints; FIELD= without a value is "
                    "its default. A list's value is "
                    "JSON.\nMost count from the next start; the command says so.\n");
}

void remote_more(struct strbuf *out)
{
    strbuf_add(out, "All commands that name a machine take --host REMOTE; files that they name are "
                    "then of that machine, with paths from the root.\n"
                    "$SOCLE_TOKEN is taken in place of a login. remotes.json in ~/.config/socle "
                    "has tokens, and is readable by its user only.\n");
}

static void verb_catalogue_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "The signature is beside it, as URL.sig or FILE.sig. `socle pool import NAME --from "
        "CATALOGUE:IMAGE` makes an image of what it offers. A version that is lower than one that "
        "was there is refused.\n");
}

static void verb_import_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "What FILE is, its first bytes say: a kernel, a disk (qcow2, vmdk, vdi, vhd, vhdx, or raw "
        "with a boot sector), an ISO, or a tar of a root file system. A disk's backing files are "
        "read.\n"
        "With --host files are this machine's, and are sent there; an upload that was interrupted "
        "goes on when the command is given again, within a day. host:/PATH is a file of that "
        "machine.\n"
        "A URL is fetched by socled, and goes on after a break; --sha256 says what its file must "
        "be "
        "(http:// needs it), --part what it is, if its first bytes do not.\n");
}

void verb_export_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "Without FILE it is NAME.qcow2, or as --format says. Of a machine that runs it is what its "
        "disks are at one instant, as after a power cut: a snapshot is taken for it, and deleted "
        "again.\n"
        "What a break of the connection interrupted goes on when the command is given again, "
        "within "
        "a day.\n");
}

void verb_status_more(struct strbuf *out)
{
    strbuf_add(out, "Exit status: 0 done, 1 refused or failed, 2 the command line is wrong.\n");
}

void verb_list_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "ADDRESS is the first address of a machine that runs, as its guest's agent told (package "
        "qemu-guest-agent), and how many more it has, which `socle show` lists. What is shown "
        "was known already: a guest whose answer is old is asked now, for who looks next.\n");
    verb_status_more(out);
}

void verb_doctor_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "`note`: machines run, but slower, with less room, or behind fewer walls; `bad`: something "
        "will fail, and the exit status is 1. What is found is of the user who asks.\n");
}

void verb_top_more(struct strbuf *out)
{
    strbuf_add(out, "Keys: q ends, arrows scroll, others choose what it is sorted by: ");
    top_keys(out);
    strbuf_add(out,
               ".\nWithout a terminal it shows what there is once. READ and WRITE are the times "
               "that one took.\n");
}

/* ---- rows; those of command.c without a main are here, too ---- */

/* clang-format off */
static const struct verb_row {
    const char *name;
    u32 least, most; /* arguments */
    int (*fn)(struct verb *v, struct err *e);
    int (*file_fn)(struct verb *v, struct err *e); /* when the first argument has a '/'; NULL: as any */
    bool alone; /* it connects to nothing, or by itself */
    enum opt_rest rest;
} rows[] = {
    { "launch", 1, 2, verb_launch, .rest = OPT_REST_DASHES },
    { "create", 1, 2, verb_create, .rest = OPT_REST_DASHES },
    { "exec", 1, 1, verb_exec, .rest = OPT_REST_AFTER_ONE },
    { "file push", 2, OPT_ARGS_MAX, verb_file_push },
    { "file pull", 2, OPT_ARGS_MAX, verb_file_pull },
    { "list", 0, 0, verb_list },
    { "show", 1, 1, verb_show },
    { "top", 0, 0, verb_top },
    { "set", 2, OPT_ARGS_MAX, verb_set },
    { "edit", 1, 1, verb_edit },
    { "rename", 2, 2, do_rename },
    { "delete", 1, OPT_ARGS_MAX, do_delete },
    { "start", 1, OPT_ARGS_MAX, do_start },
    { "stop", 1, OPT_ARGS_MAX, do_stop },
    { "restart", 1, OPT_ARGS_MAX, do_restart },
    { "pause", 1, OPT_ARGS_MAX, do_pause },
    { "resume", 1, OPT_ARGS_MAX, do_resume },
    { "reset", 1, OPT_ARGS_MAX, do_reset },
    { "suspend", 1, OPT_ARGS_MAX, do_suspend },
    { "console", 1, 1, do_console },
    { "info", 0, 0, verb_info },
    { "doctor", 0, 0, verb_doctor, .alone = true },
    { "audit", 0, 0, verb_audit },
    { "logs", 1, 1, verb_logs },
    { "event", 0, 0, verb_event },
    { "backup", 1, 1, do_backup },
    { "support", 1, 1, verb_support },
    { "snapshot", 1, 2, verb_snapshot },
    { "snapshot take", 1, 2, verb_snapshot },
    { "snapshot list", 1, 1, verb_snapshots, snapshot_file_list },
    { "snapshot restore", 2, 2, verb_restore, snapshot_file_restore },
    { "snapshot delete", 2, 2, verb_snapshot_delete, snapshot_file_delete },
    { "restore", 2, 2, verb_restore },
    { "clone", 2, 2, verb_clone },
    { "export", 1, 2, verb_export },
    { "pool list", 0, 0, verb_images },
    { "pool import", 1, 2, verb_import },
    { "pool export", 2, 2, verb_pool_export },
    { "pool uploads", 0, 0, verb_uploads },
    { "pool discard", 1, 1, do_discard },
    { "pool delete", 1, 1, do_pool_delete },
    { "catalogue list", 0, 0, verb_catalogues },
    { "catalogue add", 2, 2, verb_catalogue_add },
    { "catalogue update", 1, 2, verb_catalogue_update },
    { "catalogue remove", 1, 1, do_catalogue_remove },
    { "network list", 0, 0, verb_networks },
    { "network show", 1, 1, verb_network_show },
    { "network create", 1, 1, verb_network_create },
    { "network set", 2, OPT_ARGS_MAX, verb_network_set },
    { "network delete", 1, 1, verb_network_delete },
    { "task list", 0, 0, verb_tasks },
    { "task show", 1, 1, verb_task_show },
    { "task cancel", 1, 1, do_task_cancel },
    { "user list", 0, 0, verb_users },
    { "user create", 1, 1, verb_user_create },
    { "user set", 1, 1, verb_user_set },
    { "user password", 0, 1, verb_user_password },
    { "user delete", 1, 1, verb_user_delete },
    { "user codes", 1, 1, verb_user_codes },
    { "token list", 0, 0, verb_tokens },
    { "token create", 1, 1, verb_token_create },
    { "token delete", 1, 1, verb_token_delete },
    { "host shell", 0, 0, verb_host_shell },
    { "remote list", 0, 0, verb_remotes, .alone = true },
    { "remote add", 2, 2, verb_remote_add, .alone = true },
    { "remote remove", 1, 1, verb_remote_remove, .alone = true },
};
/* clang-format on */

/* clang-format off */
const struct command pool_commands[] = {
    { "pool list",   "[OPTION]…", "List the images that machines are made of", verb_watch_opts, NULL, "" },
    { "pool import", "NAME [FILE|URL] [OPTION]…", "Make an image: of a kernel, an initrd and a disk; of a disk or an ISO; or for containers", import_opts, verb_import_more, "" },
    { "pool export", "NAME FILE [OPTION]…", "Copy a file of an image, as its disk, into a new file", export_opts, NULL, "IMAGES" },
    { "pool uploads", "[OPTION]…", "List uploads of which no image was made yet", verb_print_opts, NULL, "" },
    { "pool discard", "ID", "Give an upload up", verb_plain_opts, NULL, "" },
    { "pool delete", "NAME", "Delete an image of which no machine was made", verb_plain_opts, NULL, "IMAGES" },
    {},
};

const struct command file_commands[] = {
    { "file push", "FILE… NAME:PATH [OPTION]…", "Put files into an instance that runs; FILE - is our input", push_opts, file_more, "FILE" },
    { "file pull", "NAME:PATH… FILE [OPTION]…", "Take files out of an instance that runs; FILE - is our output", pull_opts, file_more, "INSTANCES" },
    {},
};

const struct command catalogue_commands[] = {
    { "catalogue list",   "[OPTION]…", "List the images that catalogues offer", verb_watch_opts, NULL, "" },
    { "catalogue add",    "NAME URL|FILE --key KEY", "Trust a list of images that is signed by a key", catalogue_opts, verb_catalogue_more, "" },
    { "catalogue update", "NAME [FILE]", "Fetch it anew, or send a newer one", verb_plain_opts, NULL, "CATALOGUES" },
    { "catalogue remove", "NAME", "Trust it no more; images that were made of it stay", verb_plain_opts, NULL, "CATALOGUES" },
    {},
};

const struct command network_commands[] = {
    { "network list",   "[OPTION]…", "List the networks that machines' cards are on", verb_watch_opts, NULL, "" },
    { "network show",   "NAME [OPTION]…", "Show one", verb_watch_opts, NULL, "NETWORKS" },
    { "network create", "NAME [OPTION]…", "Create one", network_opts, NULL, "" },
    { "network set",    "NAME FIELD=VALUE…", "Change what it is", verb_plain_opts, NULL, "NETWORKS" },
    { "network delete", "NAME", "Delete one that no card is on", verb_plain_opts, NULL, "NETWORKS" },
    {},
};

const struct command snapshot_commands[] = {
    { "snapshot take",    "NAME [SNAPSHOT] [OPTION]…", "Take a snapshot: `snapshot NAME` alone is the same", verb_snapshot_opts, NULL, "INSTANCES" },
    { "snapshot list",    "NAME|DISK [OPTION]…", "Show a machine's snapshots, as the tree that they are", verb_watch_opts, NULL, "INSTANCES" },
    { "snapshot restore", "NAME|DISK SNAPSHOT", "Go back to a snapshot; what the machine is now is lost", verb_plain_opts, NULL, "INSTANCES" },
    { "snapshot delete",  "NAME|DISK SNAPSHOT [OPTION]…", "Delete a snapshot; what others need of it is kept", snapshot_delete_opts, NULL, "INSTANCES" },
    {},
};

const struct command task_commands[] = {
    { "task list",   "[OPTION]…", "List what socled is doing and did, the newest first", verb_watch_opts, NULL, "" },
    { "task show",   "NUMBER [OPTION]…", "Show one", verb_watch_opts, NULL, "" },
    { "task cancel", "NUMBER", "Cancel one", verb_plain_opts, NULL, "" },
    {},
};
const struct command user_commands[] = {
    { "user list",     "[OPTION]…", "List who may log in", verb_print_opts, NULL, "" },
    { "user create",   "NAME [OPTION]…", "Create a user; asks for the password", verb_user_create_opts, NULL, "" },
    { "user set",      "NAME OPTION…", "Change a user's role, or grants: all of them, as they are given", verb_user_set_opts, NULL, "" },
    { "user password", "[NAME]", "Set a user's password, or one's own", verb_plain_opts, NULL, "" },
    { "user delete",   "NAME", "Delete a user, with tokens and sessions", verb_plain_opts, NULL, "" },
    { "user codes",    "NAME [--off]", "Make a secret for one-time codes, and ask for these at logins", codes_opts, NULL, "" },
    {},
};

const struct command token_commands[] = {
    { "token list",   "[OPTION]…", "List tokens and sessions", verb_print_opts, NULL, "" },
    { "token create", "NAME [OPTION]…", "Create a token, which is shown once; NAME says what it is for", verb_token_create_opts, NULL, "" },
    { "token delete", "ID", "End a token or a session", verb_plain_opts, NULL, "" },
    {},
};

const struct command host_commands[] = {
    { "host shell", "[OPTION]…", "The login shell of the user as whom socled runs; it ends with the connection", verb_plain_opts, verb_host_shell_more, "" },
    {},
};

const struct command remote_commands[] = {
    { "remote list",   "[OPTION]…", "List the machines that --host knows", remote_list_opts, NULL, "" },
    { "remote add",    "NAME URL [OPTION]…", "Log in to another machine's socled; --host NAME then uses it", remote_add_opts, NULL, "" },
    { "remote remove", "NAME", "Forget one", NULL, NULL, "" },
    {},
};
/* clang-format on */

static const struct verb_row *row_of(const struct command *c)
{
    for_each_row(r, rows)
        if (strcmp(r->name, c->name) == 0)
            return r;
    must(false);
}

static int talk(struct verb *v, const struct verb_row *row, struct err *e)
{
    const bool file = row->file_fn && strchr(v->args.arg[0], '/');
    const char *host = getenv("SOCLE_HOST");
    int r = 0;

    if (!v->host && host && *host)
        v->host = xdup(host);
    if (!row->alone && !file)
        r = rest_open(&v->rest, v->dir, v->host, e);
    if (r >= 0 && file && v->watch)
        r = err_set(e, -EINVAL, "--watch: a file tells nobody that it changes; name a machine");
    else if (r >= 0 && v->watch)
        r = verb_watch(v, row->fn, e);
    else if (r >= 0)
        r = file ? row->file_fn(v, e) : row->fn(v, e);
    if (r >= 0 && fflush(stdout) != 0)
        r = err_errno(e, "write to standard output");
    if (r < 0)
        log_error("%s", e->text);
    rest_close(&v->rest);
    return r < 0 ? 1 : r;
}

int verb_run(const struct command *c, int argc, char **argv)
{
    const struct verb_row *row = row_of(c);
    struct verb v = { .rest.fd = -1, .args.takes = row->rest };
    struct err e = {};
    int r;

    conf_defaults(verb_fields, &v);
    conf_defaults(instance_fields(), &v.cfg);
    conf_defaults(network_fields, &v.network);
    conf_defaults(os_program_fields, &v.program);
    conf_defaults(os_files_fields, &v.files);
    r = opt_parse(c->opts, &v, argc, argv, &v.args, &e);
    if (r == 0 && (v.args.n < row->least || v.args.n > row->most))
        r = err_set(&e, -EINVAL, "%u arguments; it is: socle %s %s", v.args.n, c->name, c->usage);
    if (r < 0)
        r = command_usage_error(c->name, &e);
    else
        r = r == 1 ? command_help_of(c) : talk(&v, row, &e);
    conf_fini(verb_fields, &v);
    conf_fini(image_source_fields, &v.source);
    instance_cfg_fini(&v.cfg);
    conf_fini(network_fields, &v.network);
    conf_fini(os_program_fields, &v.program);
    conf_fini(os_files_fields, &v.files);
    return r;
}

static int group(const char *name, int argc, char **argv)
{
    const struct command *c = command_find(name),
                         *sub = argc > 0 ? command_find_sub(c, argv[0]) : NULL;

    if (sub)
        return verb_run(sub, argc - 1, argv + 1);
    if (argc == 0 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return command_help_of(c);
    log_error("%s: unknown command '%.60s'; `socle help %s` lists them", name, argv[0], name);
    return EXIT_STATUS_USAGE;
}

/* A first word that is none of its commands is a machine. */
int snapshot_main(int argc, char **argv)
{
    const struct command *c = command_find("snapshot"),
                         *sub = argc > 0 ? command_find_sub(c, argv[0]) : NULL;

    return sub ? verb_run(sub, argc - 1, argv + 1) : verb_run(c, argc, argv);
}

int file_main(int argc, char **argv)
{
    return group("file", argc, argv);
}

int pool_main(int argc, char **argv)
{
    return group("pool", argc, argv);
}

int catalogue_main(int argc, char **argv)
{
    return group("catalogue", argc, argv);
}

int network_main(int argc, char **argv)
{
    return group("network", argc, argv);
}

int task_main(int argc, char **argv)
{
    return group("task", argc, argv);
}

int user_main(int argc, char **argv)
{
    return group("user", argc, argv);
}

int token_main(int argc, char **argv)
{
    return group("token", argc, argv);
}

int host_main(int argc, char **argv)
{
    return group("host", argc, argv);
}

int remote_main(int argc, char **argv)
{
    return group("remote", argc, argv);
}
