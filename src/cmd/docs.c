/*
 * cmd/docs.c: help, manual page and shell completion of `socle`, all from the commands' and options' rows.
 */
#include "cmd/docs.h"

#include "cmd/command.h"

#include <stdio.h>

void docs_help(const struct command *c, struct strbuf *out)
{
    strbuf_add(out, "usage: socle %s %s\n%s\n", c->name, c->usage, c->doc);
    if (c->subs) {
        strbuf_add(out, "\nCommands:\n");
        for (const struct command *s = c->subs; s->name; s++)
            strbuf_add(out, "  %-10s  %s\n", s->name + strlen(c->name) + 1, s->doc);
    }
    if (c->opts && c->opts[0].name) {
        strbuf_add(out, "\nOptions:\n");
        opt_help(c->opts, out);
    }
    if (c->more) {
        strbuf_add(out, "\n");
        c->more(out);
    }
}

void docs_overview(struct strbuf *out)
{
    strbuf_add(out, "usage: socle COMMAND [ARGUMENT]…\n\nCommands:\n");
    for (const struct command *c = commands; c->name; c++)
        strbuf_add(out, "  %-8s  %s\n", c->name, c->doc);
    strbuf_add(out,
               "\n`socle COMMAND --help` says more; `socle --version` which version this is.\n");
}

static void add_block(struct strbuf *out, void (*fill)(struct strbuf *))
{
    AUTO(strbuf) struct strbuf text = {};

    fill(&text);
    strbuf_add(out, ".PP\n.nf\n");
    docs_roff(out, text.text);
    strbuf_add(out, ".fi\n");
}

static void man_command(const struct command *c, struct strbuf *out)
{
    strbuf_add(out, ".SS socle ");
    docs_roff(out, c->name);
    strbuf_add(out, " ");
    docs_roff(out, c->usage);
    strbuf_add(out, "\n");
    docs_roff(out, c->doc);
    strbuf_add(out, ".\n");
    for (const struct opt *o = c->opts; o && o->name; o++)
        docs_roff_option(o, out);
    if (c->more)
        add_block(out, c->more);
    for (const struct command *s = c->subs; s && s->name; s++)
        man_command(s, out);
}

static void man_usage(const struct command *c, struct strbuf *out)
{
    strbuf_add(out, ".B socle ");
    docs_roff(out, c->name);
    strbuf_add(out, "\n");
    docs_roff(out, c->usage);
    strbuf_add(out, "\n.br\n");
}

void docs_man(struct strbuf *out)
{
    strbuf_add(out, ".TH SOCLE 1 \"\" \"socle %s\" \"User Commands\"\n", SOCLE_VERSION);
    strbuf_add(out, ".SH NAME\nsocle \\- run virtual machines\n");
    strbuf_add(out, ".SH SYNOPSIS\n");
    for (const struct command *c = commands; c->name; c++) {
        if (!c->subs)
            man_usage(c, out);
        for (const struct command *s = c->subs; s && s->name; s++)
            man_usage(s, out);
    }
    strbuf_add(out,
               ".SH DESCRIPTION\nSocle is a hypervisor.  No daemon and no privilege beyond the "
               "use of /dev/kvm is needed.\nEach machine is a process, \\fBsocle\\-vm\\fR, "
               "which gives up its rights before the guest runs.\n"
               "Machines that have names (launch, create, start and so on) are kept by "
               "\\fBsocled\\fR, which "
               "the first such command starts.\n");
    strbuf_add(out, ".SH COMMANDS\n");
    for (const struct command *c = commands; c->name; c++)
        man_command(c, out);
    strbuf_add(out, ".SH ENVIRONMENT\n.TP\n.B SOCLE_VM\nThe program that runs a machine, if not "
                    "the \\fBsocle\\-vm\\fR beside \\fBsocle\\fR or the installed one.\n"
                    ".TP\n.B SOCLED\nThe program socled, likewise.\n.TP\n.B SOCLE_DIR\nThe folder "
                    "of socled.\n");
}
