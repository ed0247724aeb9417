/*
 * cmd/box_docs.c: manual page and completion of `socle-box`, from the rows of its commands and options.  Other than `socle`, it takes
 * options before its command.
 */
#include "cmd/box_docs.h"

#include "cmd/box_opts.h"
#include "cmd/docs.h"

static const char list_ids[] = "socle-box list --quiet 2>/dev/null";

/* Is its first argument a container that is there? */
static bool takes_id(const struct box_command *c)
{
    return strstr(c->usage, "ID") && strcmp(c->name, "create") != 0 && strcmp(c->name, "run") != 0;
}

static void man_head(struct strbuf *out)
{
    strbuf_add(out,
               ".TH SOCLE-BOX 1 \"\" \"socle %s\" \"User Commands\"\n"
               ".SH NAME\nsocle\\-box \\- run containers of the Open Container Initiative\n"
               ".SH SYNOPSIS\n.B socle\\-box\n[OPTION]... COMMAND [OPTION]... [ARGUMENT]...\n"
               ".SH DESCRIPTION\nMakes a container of a folder with a root file system and a "
               "config.json (specification %s), alone or for an engine.\n"
               ".SH OPTIONS\n",
               SOCLE_VERSION, BOX_OCI_VERSION);
}

static void man_tail(struct strbuf *out)
{
    strbuf_add(
        out,
        ".SH EXIT STATUS\nOf run and exec the program's own, 128 and its signal when one "
        "ended it.\nElse 1 when something failed, 255 when exec did.\n"
        ".SH SYSTEMD\nWith \\-\\-systemd\\-cgroup systemd makes the cgroup, as the scope "
        "PREFIX\\-NAME.scope in SLICE, where linux.cgroupsPath is SLICE:PREFIX:NAME; of a "
        "user it is the user's systemd.\nAn annotation org.systemd.property.PROPERTY sets a "
        "property of the scope. Other commands see in the state of a container whose its "
        "cgroup is.\n"
        ".SH CHECKPOINT\ncheckpoint and restore need root and CRIU (criu.org), the program criu; "
        "it is no part of this. When it fails, the message names its log.\n"
        ".SH ENVIRONMENT\n"
        ".TP\n.B SOCLE_BOX_CRIU\nThe program that asks CRIU, when it is not where it was "
        "installed.\n"
        ".TP\n.B SOCLE_BOX_SYSTEMD\nThe program that asks systemd, when it is not where it "
        "was installed.\n"
        ".TP\n.B DBUS_SYSTEM_BUS_ADDRESS\n.TQ\n.B DBUS_SESSION_BUS_ADDRESS\nWhere systemd "
        "is asked; of a user else the socket bus in XDG_RUNTIME_DIR.\n"
        ".TP\n.B XDG_RUNTIME_DIR\nA user's state is in its folder socle\\-box.\n"
        ".TP\n.B NOTIFY_SOCKET\nThe program gets a socket of its own; its READY=1 is passed "
        "on to this one.\n"
        ".TP\n.B LISTEN_FDS\nSo many descriptors after 2 are passed on.\n"
        ".SH FILES\n.TP\n.I /run/socle\\-box\nThe state of root's containers.\n");
}

void box_docs_man(struct strbuf *out)
{
    man_head(out);
    for (const struct opt *o = box_global_opts; o->name; o++)
        docs_roff_option(o, out);
    strbuf_add(out, ".SH COMMANDS\n");
    for (const struct box_command *c = box_commands; c->name; c++) {
        strbuf_add(out, ".SS socle\\-box ");
        docs_roff(out, c->name);
        strbuf_add(out, " ");
        docs_roff(out, c->usage);
        strbuf_add(out, "\n");
        docs_roff(out, c->doc);
        strbuf_add(out, ".\n");
        for (const struct opt *o = c->opts; o->name; o++)
            docs_roff_option(o, out);
    }
    man_tail(out);
}

/* Cases of the option before the word at the cursor. */
static void bash_values(const char *command, const struct opt *opts, struct strbuf *out)
{
    for (const struct opt *o = opts; o->name; o++) {
        if (opt_is_flag(o))
            continue;
        strbuf_add(out, "    '%s:--%s'", command, o->name);
        if (o->letter)
            strbuf_add(out, " | '%s:-%c'", command, o->letter);
        strbuf_add(out, ")");
        docs_bash_value(o, out);
    }
}

static void bash_options(const struct opt *opts, struct strbuf *out)
{
    for (const struct opt *o = opts; o->name; o++)
        strbuf_add(out, "--%s ", o->name);
    strbuf_add(out, "--help");
}

static void bash_skip(struct strbuf *out)
{
    strbuf_add(out, "    while [ \"$at\" -lt \"$COMP_CWORD\" ]; do\n        case ${COMP_WORDS[at]} "
                    "in\n        ");
    for (const struct opt *o = box_global_opts; o->name; o++)
        if (!opt_is_flag(o))
            strbuf_add(out, "--%s | ", o->name);
    strbuf_add(out, "'') at=$((at + 2)) ;;\n        -*) at=$((at + 1)) ;;\n"
                    "        *) command=${COMP_WORDS[at]}; break ;;\n        esac\n    done\n");
}

static void bash(struct strbuf *out)
{
    strbuf_add(out, "# bash completion for socle-box; made from the rows that it parses by\n"
                    "_socle_box() {\n    local cur=${COMP_WORDS[COMP_CWORD]} "
                    "prev=${COMP_WORDS[COMP_CWORD-1]} words= command= at=1\n    COMPREPLY=()\n");
    bash_skip(out);
    strbuf_add(out, "    case $command:$prev in\n");
    bash_values("", box_global_opts, out);
    for (const struct box_command *c = box_commands; c->name; c++)
        bash_values(c->name, c->opts, out);
    strbuf_add(out, "    esac\n    case $command in\n    '') words='");
    bash_options(box_global_opts, out);
    for (const struct box_command *c = box_commands; c->name; c++)
        strbuf_add(out, " %s", c->name);
    strbuf_add(out, "' ;;\n");
    for (const struct box_command *c = box_commands; c->name; c++) {
        strbuf_add(out, "    '%s') words='", c->name);
        bash_options(c->opts, out);
        strbuf_add(out, "'");
        if (takes_id(c))
            strbuf_add(out, "; [[ $cur == -* ]] || words+=\" $(%s)\"", list_ids);
        strbuf_add(out, " ;;\n");
    }
    strbuf_add(out, "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
                    "complete -o default -F _socle_box socle-box\n");
}

static void zsh_names(struct strbuf *out)
{
    strbuf_add(out, "    local -a names=(\n");
    for (const struct box_command *c = box_commands; c->name; c++) {
        strbuf_add(out, "        '%s:", c->name);
        docs_quoted(out, c->doc, ":");
        strbuf_add(out, "'\n");
    }
    strbuf_add(out, "    )\n");
}

static void zsh(struct strbuf *out)
{
    strbuf_add(out, "#compdef socle-box\n# made from the rows that it parses by\n_socle_box() {\n"
                    "    local curcontext=$curcontext state line\n");
    zsh_names(out);
    strbuf_add(out, "    _arguments -C \\\n");
    for (const struct opt *o = box_global_opts; o->name; o++)
        docs_zsh_option(o, out);
    strbuf_add(out, "        '--help[show help]' \\\n        '1:command:->command' \\\n"
                    "        '*::argument:->argument'\n"
                    "    case $state in\n    command) _describe command names ;;\n"
                    "    argument)\n        case $line[1] in\n");
    for (const struct box_command *c = box_commands; c->name; c++) {
        strbuf_add(out, "        '%s') _arguments \\\n", c->name);
        for (const struct opt *o = c->opts; o->name; o++)
            docs_zsh_option(o, out);
        strbuf_add(out, "        '--help[show help]' \\\n");
        if (takes_id(c))
            strbuf_add(out, "        '1:container:{compadd -- ${(f)\"$(%s)\"}}' \\\n", list_ids);
        strbuf_add(out, "        '*:argument:_files' ;;\n");
    }
    strbuf_add(out, "        esac ;;\n    esac\n}\n_socle_box \"$@\"\n");
}

static void fish(struct strbuf *out)
{
    static const char start[] = "complete -c socle-box -n";

    strbuf_add(out, "# fish completion for socle-box; made from the rows that it parses by\n");
    for (const struct opt *o = box_global_opts; o->name; o++) {
        strbuf_add(out, "%s __fish_use_subcommand", start);
        docs_fish_option(o, out);
    }
    for (const struct box_command *c = box_commands; c->name; c++) {
        strbuf_add(out, "%s __fish_use_subcommand -f -a %s -d '", start, c->name);
        docs_quoted(out, c->doc, "\\");
        strbuf_add(out, "'\n");
        for (const struct opt *o = c->opts; o->name; o++) {
            strbuf_add(out, "%s '__fish_seen_subcommand_from %s'", start, c->name);
            docs_fish_option(o, out);
        }
        if (takes_id(c))
            strbuf_add(out, "%s '__fish_seen_subcommand_from %s' -f -a '(%s)'\n", start, c->name,
                       list_ids);
    }
}

bool box_docs_completion(const char *shell, struct strbuf *out)
{
    static const struct {
        const char *name;
        void (*fn)(struct strbuf *out);
    } shells[] = { { "bash", bash }, { "zsh", zsh }, { "fish", fish } };

    for_each_row(s, shells) {
        if (strcmp(s->name, shell) != 0)
            continue;
        s->fn(out);
        return true;
    }
    return false;
}
