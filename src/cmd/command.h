/*
 * cmd/command.h: the commands of the program `socle`.  One row each; help, manual and completion are made from them.
 */
#pragma once

#include "cmd/opt.h"

struct command {
    const char *name;
    const char *usage;                /* what follows the name */
    const char *doc;                  /* one line */
    const struct opt *opts;           /* NULL: none */
    void (*more)(struct strbuf *out); /* what its help and the manual say besides; may be NULL */
    const char *complete;             /* words for its arguments, "FILE", or a mark of names.h */
    /* without the program's and the command's names; an exit status.  NULL: verb_run */
    int (*main)(int argc, char **argv);
    const struct command
        *subs; /* its own commands, named "image create", which its main runs; NULL: none */
};

extern const struct command commands[]; /* ends with a NULL name; in cmd/command.c */

int run_main(int argc, char **argv);
extern const struct opt run_opts[];
void run_more(struct strbuf *out);

int ctl_main(int argc, char **argv);
extern const struct opt ctl_opts[];
void ctl_more(struct strbuf *out);
/* Words for shells: the names of the control socket's commands. */
extern const char ctl_words[];

/* cmd/image.c */
int image_main(int argc, char **argv);
extern const struct command image_commands[];
void image_more(struct strbuf *out);

/* cmd/verb.c: what talks with socled */
int verb_run(const struct command *c, int argc, char **argv);
extern const struct opt verb_plain_opts[], verb_print_opts[], verb_watch_opts[], verb_list_opts[],
    verb_force_opts[], verb_stop_opts[], verb_logs_opts[], verb_event_opts[], verb_make_opts[],
    verb_snapshot_opts[], verb_clone_opts[], verb_audit_opts[], verb_doctor_opts[], verb_top_opts[],
    verb_exec_opts[], verb_export_opts[];
void verb_console_more(struct strbuf *out);
void verb_make_more(struct strbuf *out);
void verb_set_more(struct strbuf *out);
void verb_exec_more(struct strbuf *out);
void verb_host_shell_more(struct strbuf *out);
void verb_export_more(struct strbuf *out);
void verb_status_more(struct strbuf *out);
void verb_list_more(struct strbuf *out);
void verb_doctor_more(struct strbuf *out);
void verb_top_more(struct strbuf *out);
void verb_snapshot_more(struct strbuf *out);
void verb_clone_more(struct strbuf *out);
int snapshot_main(int argc, char **argv);
extern const struct command snapshot_commands[];
int file_main(int argc, char **argv);
extern const struct command file_commands[];
int catalogue_main(int argc, char **argv);
int pool_main(int argc, char **argv);
extern const struct command catalogue_commands[], pool_commands[];
int network_main(int argc, char **argv);
extern const struct command network_commands[];
int task_main(int argc, char **argv);
extern const struct command task_commands[];
int user_main(int argc, char **argv);
extern const struct command user_commands[];
int token_main(int argc, char **argv);
extern const struct command token_commands[];
int host_main(int argc, char **argv);
extern const struct command host_commands[];
int remote_main(int argc, char **argv);
extern const struct command remote_commands[];
void remote_more(struct strbuf *out);

/* Usage, options and the rest of one command. */
void docs_help(const struct command *c, struct strbuf *out);
/* What `socle help` prints. */
void docs_overview(struct strbuf *out);
/* The manual page, in man(7) macros. */
void docs_man(struct strbuf *out);
/* Completion for "bash", "zsh" or "fish".  False: another shell. */
bool docs_completion(const char *shell, struct strbuf *out);

/* NULL: there is none. */
const struct command *command_find(const char *name);
/* A command of a command, by its own word; NULL: there is none. */
const struct command *command_find_sub(const struct command *c, const char *word);
/* Writes to stdout, and frees; an exit status. */
int command_print(struct strbuf *out);
/* Says that there is no such command; EXIT_STATUS_USAGE. */
int command_unknown(const char *name);
/* Prints a command's help to stdout; EXIT_STATUS_OFF. */
int command_help(const char *name);
int command_help_of(const struct command *c);
/* Prints "socle NAME: …" and where help is to be found; EXIT_STATUS_USAGE. */
int command_usage_error(const char *name, const struct err *e);
