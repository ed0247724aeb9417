/*
 * cmd/docs_shell.c: completion scripts for bash, zsh and fish, from the commands' and options' rows.
 */
#include "cmd/command.h"
#include "cmd/docs.h"
#include "cmd/names.h"

#include <stdio.h>

/* The words that a command's arguments may be: those of its row, or its own commands. */
static void add_arguments(const struct command *c, struct strbuf *out)
{
    if (c->complete && !docs_is_path(c->complete) && !names_kind_of(c->complete))
        strbuf_add(out, " %s", c->complete);
    for (const struct command *s = c->subs; s && s->name; s++)
        strbuf_add(out, " %s", s->name + strlen(c->name) + 1);
}

/* A case of the option before the word at the cursor. */
static void bash_values(const struct command *c, struct strbuf *out)
{
    for (const struct opt *o = c->opts; o && o->name; o++) {
        if (opt_is_flag(o))
            continue;
        strbuf_add(out, "    '%s':--%s)", c->name, o->name);
        docs_bash_value(o, out);
    }
    for (const struct command *s = c->subs; s && s->name; s++)
        bash_values(s, out);
}

static void bash_command(const struct command *c, struct strbuf *out)
{
    const struct names_kind *k = names_kind_of(c->complete);

    strbuf_add(out, "    '%s') words='", c->name);
    for (const struct opt *o = c->opts; o && o->name; o++)
        strbuf_add(out, "--%s ", o->name);
    strbuf_add(out, "--help");
    add_arguments(c, out);
    strbuf_add(out, "'");
    if (k)
        strbuf_add(out, "; [[ $cur == -* ]] || words+=\" $(socle --names %s 2>/dev/null)\"",
                   k->word);
    strbuf_add(out, " ;;\n");
    for (const struct command *s = c->subs; s && s->name; s++)
        bash_command(s, out);
}

/* Which of them have commands of their own: their name is of two words. */
static void bash_two_words(struct strbuf *out)
{
    for (const struct command *c = commands; c->name; c++) {
        if (!c->subs)
            continue;
        strbuf_add(out,
                   "    [ \"$command\" = %s ] && [ \"$COMP_CWORD\" -gt 2 ] && "
                   "command=\"%s ${COMP_WORDS[2]}\"\n",
                   c->name, c->name);
    }
}

static void bash(struct strbuf *out)
{
    strbuf_add(out,
               "# bash completion for socle; made by `socle --completion bash`\n_socle() {\n"
               "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words\n"
               "    local command=${COMP_WORDS[1]}\n"
               "    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
               "        COMPREPLY=($(compgen -W '");
    for (const struct command *c = commands; c->name; c++)
        strbuf_add(out, "%s ", c->name);
    strbuf_add(out, "--version --help' -- \"$cur\"))\n        return\n    fi\n");
    bash_two_words(out);
    strbuf_add(out, "    case $command:$prev in\n");
    for (const struct command *c = commands; c->name; c++)
        bash_values(c, out);
    strbuf_add(out, "    esac\n    case $command in\n");
    for (const struct command *c = commands; c->name; c++)
        bash_command(c, out);
    strbuf_add(out, "    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                    "    [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- \"$cur\"))\n}\n"
                    "complete -o filenames -F _socle socle\n");
}

static void zsh_command(const struct command *c, struct strbuf *out)
{
    const struct names_kind *k = names_kind_of(c->complete);
    AUTO(strbuf) struct strbuf words = {};

    add_arguments(c, &words);
    strbuf_add(out, "    '%s') _arguments \\\n", c->name);
    for (const struct opt *o = c->opts; o && o->name; o++)
        docs_zsh_option(o, out);
    strbuf_add(out, "        '--help[show help]' \\\n        '*:argument:");
    if (k)
        strbuf_add(out, "{compadd --%s ${(f)\"$(socle --names %s 2>/dev/null)\"}}' ;;\n",
                   words.len ? words.text : "", k->word);
    else
        strbuf_add(out, "%s%s%s' ;;\n", words.len ? "(" : "_files", words.len ? words.text + 1 : "",
                   words.len ? ")" : "");
    for (const struct command *s = c->subs; s && s->name; s++)
        zsh_command(s, out);
}

static void zsh(struct strbuf *out)
{
    strbuf_add(out, "#compdef socle\n# made by `socle --completion zsh`\n_socle() {\n"
                    "    if (( CURRENT == 2 )); then\n        local -a names=(\n");
    for (const struct command *c = commands; c->name; c++) {
        strbuf_add(out, "            '%s:", c->name);
        docs_quoted(out, c->doc, "");
        strbuf_add(out, "'\n");
    }
    strbuf_add(out, "        )\n        _describe command names\n        return\n    fi\n"
                    "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n");
    for (const struct command *c = commands; c->name; c++) {
        if (!c->subs)
            continue;
        strbuf_add(out,
                   "    if [[ $command == %s ]] && (( CURRENT > 2 )); then\n"
                   "        command=\"%s $words[2]\"\n        shift words\n"
                   "        (( CURRENT-- ))\n    fi\n",
                   c->name, c->name);
    }
    strbuf_add(out, "    case $command in\n");
    for (const struct command *c = commands; c->name; c++)
        zsh_command(c, out);
    strbuf_add(out, "    esac\n}\n_socle \"$@\"\n");
}

/* When the words of the command were typed. */
static void fish_seen(const struct command *c, struct strbuf *out)
{
    AUTO(free) char *names = xdup(c->name);
    char *rest = names, *word;

    strbuf_add(out, "complete -c socle -n '");
    for (unsigned n = 0; (word = strsep(&rest, " ")); n++)
        strbuf_add(out, "%s__fish_seen_subcommand_from %s", n ? "; and " : "", word);
    strbuf_add(out, "'");
}

/* A command's options, its words, and the same of its own commands. */
static void fish_command(const struct command *c, struct strbuf *out)
{
    for (const struct opt *o = c->opts; o && o->name; o++) {
        fish_seen(c, out);
        docs_fish_option(o, out);
    }
    const struct names_kind *k = names_kind_of(c->complete);

    if (c->complete && *c->complete && !docs_is_path(c->complete)) {
        fish_seen(c, out);
        if (k)
            strbuf_add(out, " -f -a '(socle --names %s 2>/dev/null)'\n", k->word);
        else
            strbuf_add(out, " -a '%s'\n", c->complete);
    }
    for (const struct command *s = c->subs; s && s->name; s++) {
        fish_seen(c, out);
        strbuf_add(out, " -a '%s' -d '", s->name + strlen(c->name) + 1);
        docs_quoted(out, s->doc, "\\");
        strbuf_add(out, "'\n");
        fish_command(s, out);
    }
}

static void fish(struct strbuf *out)
{
    strbuf_add(out,
               "# fish completion for socle; made by `socle --completion fish`\n"
               "complete -c socle -n __fish_use_subcommand -l version -d 'Show the version'\n");
    for (const struct command *c = commands; c->name; c++) {
        strbuf_add(out, "complete -c socle -n __fish_use_subcommand -f -a %s -d '", c->name);
        docs_quoted(out, c->doc, "\\");
        strbuf_add(out, "'\n");
        fish_command(c, out);
    }
}

bool docs_completion(const char *shell, struct strbuf *out)
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
