/*
 * cmd/command.c: the rows of the commands of `socle`, and the two that are only about others.
 */
#include "cmd/command.h"

#include "base/exit_status.h"

#include <unistd.h>

static int help_main(int argc, char **argv);
static int trace_main(int argc, char **argv);

/* clang-format off */
const struct command commands[] = {
    { "run",   "[OPTION]… [DISK]", "Run a virtual machine, its console on this terminal", run_opts, run_more, "FILE", run_main },
    { "ctl",   "SOCKET COMMAND [ARGUMENT]…", "Send a command to a running machine", ctl_opts, ctl_more, ctl_words, ctl_main },
    { "trace", "SOCKET [list|set|dump] [PATTERN] [on|off]", "Show or choose what a running machine records: `ctl SOCKET trace`", NULL, NULL,
               "FILE", trace_main },
    { "image", "COMMAND [ARGUMENT]…", "Make, examine and change disk images", NULL, image_more, NULL, image_main, image_commands },
    { "launch",  "[IMAGE] NAME [OPTION]… [-- COMMAND…]", "Create a machine or a container that has a name, and start it", verb_make_opts, verb_make_more, "IMAGES" },
    { "create",  "[IMAGE] NAME [OPTION]… [-- COMMAND…]", "Create a machine or a container that has a name", verb_make_opts, verb_make_more, "IMAGES" },
    { "list",    "[OPTION]…", "List the machines that have names", verb_list_opts, verb_list_more, "" },
    { "show",    "NAME [OPTION]…", "Show one of them", verb_watch_opts, NULL, "INSTANCES" },
    { "top",     "[OPTION]…", "Show what machines and the host use, all the while", verb_top_opts, verb_top_more, "" },
    { "set",     "NAME FIELD=VALUE…", "Change what it is", verb_plain_opts, verb_set_more, "INSTANCES" },
    { "edit",    "NAME", "Change what it is, as JSON in $VISUAL or $EDITOR", verb_plain_opts, NULL, "INSTANCES" },
    { "rename",  "NAME NEW", "Give it another name", verb_plain_opts, NULL, "INSTANCES" },
    { "delete",  "NAME…", "Delete it and its files", verb_force_opts, NULL, "INSTANCES" },
    { "start",   "NAME…", "Start it, or go on where it was suspended", verb_force_opts, NULL, "INSTANCES" },
    { "stop",    "NAME…", "Shut it down", verb_stop_opts, NULL, "INSTANCES" },
    { "restart", "NAME…", "Shut it down, and start it", verb_stop_opts, NULL, "INSTANCES" },
    { "pause",   "NAME…", "Stop its CPUs", verb_plain_opts, NULL, "INSTANCES" },
    { "resume",  "NAME…", "Let them go on", verb_plain_opts, NULL, "INSTANCES" },
    { "reset",   "NAME…", "Press its reset button", verb_plain_opts, NULL, "INSTANCES" },
    { "suspend", "NAME…", "Put its state into a file and end it", verb_plain_opts, NULL, "INSTANCES" },
    { "console", "NAME", "Connect this terminal with its console", verb_plain_opts, verb_console_more, "INSTANCES" },
    { "exec",    "NAME [OPTION]… [COMMAND [ARGUMENT]…]", "Run a program in a container or a machine", verb_exec_opts, verb_exec_more, "INSTANCES" },
    { "file",    "COMMAND [ARGUMENT]…", "Copy files into an instance and out of it", NULL, NULL, NULL, file_main, file_commands },
    { "logs",    "NAME [OPTION]…", "Show what its guest wrote on the console", verb_logs_opts, NULL, "INSTANCES" },
    { "event",   "[OPTION]…", "Follow what changes, a JSON object a line", verb_event_opts, NULL, "" },
    { "snapshot", "NAME [SNAPSHOT] [OPTION]…", "Keep what a machine is now, to go back to it; and list and delete what was kept", verb_snapshot_opts,
               verb_snapshot_more, "INSTANCES", snapshot_main, snapshot_commands },
    { "restore", "NAME SNAPSHOT", "Go back to a snapshot; what the machine is now is lost", verb_plain_opts, NULL, "INSTANCES" },
    { "clone",   "NAME NEW [OPTION]…", "Make a machine that is as another is", verb_clone_opts, verb_clone_more, "INSTANCES" },
    { "export",  "NAME [FILE] [OPTION]…", "Copy a disk of a machine, whether it runs or not, into a new file here", verb_export_opts, verb_export_more, "INSTANCES" },
    { "backup",  "FILE", "Copy socled's records into a new file", verb_plain_opts, NULL, "FILE" },
    { "support", "FILE", "Write what somebody who shall help has to know into a new file, without secrets; \"-\": standard output", verb_plain_opts, NULL, "FILE" },
    { "pool",    "COMMAND [ARGUMENT]…", "Keep the images that machines with names are made of", NULL, NULL, NULL, pool_main, pool_commands },
    { "catalogue", "COMMAND [ARGUMENT]…", "Keep lists of images that somebody signed", NULL, NULL, NULL, catalogue_main, catalogue_commands },
    { "network", "COMMAND [ARGUMENT]…", "Keep the networks that machines' cards are on", NULL, NULL, NULL, network_main, network_commands },
    { "task",    "COMMAND [ARGUMENT]…", "Show and cancel what socled is doing", NULL, NULL, NULL, task_main, task_commands },
    { "info",    "[OPTION]…", "Show what socled is, and where it answers HTTPS", verb_print_opts, NULL, "" },
    { "doctor",  "[OPTION]…", "Look at what this host has of what machines want, and say what to do", verb_doctor_opts, verb_doctor_more, "" },
    { "user",    "COMMAND [ARGUMENT]…", "Keep users who log in by HTTPS, and what each may do", NULL, NULL, NULL, user_main, user_commands },
    { "token",   "COMMAND [ARGUMENT]…", "Keep tokens, which programs show by HTTPS", NULL, NULL, NULL, token_main, token_commands },
    { "audit",   "[OPTION]…", "Show who did what from where, the newest first", verb_audit_opts, NULL, "" },
    { "host",    "shell [OPTION]…", "Have a shell on the host itself, here or at another machine", NULL, NULL, NULL, host_main, host_commands },
    { "remote",  "COMMAND [ARGUMENT]…", "Keep the machines that --host names", NULL, remote_more, NULL, remote_main, remote_commands },
    { "help",  "[COMMAND]", "Explain a command", NULL, NULL,
               "run ctl trace image launch create list show top set edit rename delete start stop restart pause resume "
               "reset suspend console exec file logs event snapshot restore clone export backup support pool catalogue network task info doctor user token audit host remote help", help_main },
    {},
};
/* clang-format on */

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

const struct command *command_find_sub(const struct command *c, const char *word)
{
    size_t len = strlen(c->name);

    for (const struct command *s = c->subs; s && s->name; s++)
        if (strcmp(s->name + len + 1, word) == 0)
            return s;
    return NULL;
}

int command_print(struct strbuf *out)
{
    int r = fd_write_all(STDOUT_FILENO, out->text, out->len);

    strbuf_fini(out);
    if (r < 0)
        log_error("write to standard output: %s", strerror(-r));
    return r < 0 ? 1 : EXIT_STATUS_OFF;
}

int command_help_of(const struct command *c)
{
    struct strbuf out = {};

    docs_help(c, &out);
    return command_print(&out);
}

int command_help(const char *name)
{
    return command_help_of(command_find(name));
}

int command_usage_error(const char *name, const struct err *e)
{
    log_error("%s: %s", name, e->text);
    return EXIT_STATUS_USAGE;
}

int command_unknown(const char *name)
{
    log_error("unknown command '%.60s'; `socle help` lists them", name);
    return EXIT_STATUS_USAGE;
}

static int help_main(int argc, char **argv)
{
    const struct command *c = argc > 0 ? command_find(argv[0]) : NULL, *sub = NULL;
    struct strbuf out = {};

    if (c && argc > 1)
        sub = command_find_sub(c, argv[1]);
    if (c)
        return command_help_of(sub ? sub : c);
    if (argc > 0)
        return command_unknown(argv[0]);
    docs_overview(&out);
    return command_print(&out);
}

/* `trace SOCKET …` is `ctl SOCKET trace …`. */
static int trace_main(int argc, char **argv)
{
    char word[] = "trace", *moved[OPT_ARGS_MAX] = {};

    if (argc < 1 || argc + 1 > OPT_ARGS_MAX || argv[0][0] == '-')
        return command_help("trace");
    moved[0] = argv[0];
    moved[1] = word;
    for (int i = 1; i < argc; i++)
        moved[i + 1] = argv[i];
    return ctl_main(argc + 1, moved);
}
