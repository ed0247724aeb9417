/*
 * cmd/docs_parts.c: one option in a manual page and in the shells' scripts; knows no program's commands.
 */
#include "cmd/docs.h"

/* Stays ASCII where a terminal may not have more. */
void docs_roff(struct strbuf *out, const char *text)
{
    static const struct {
        const char *from, *to;
    } words[] = { { "…", "..." }, { "×", "x" }, { "\\", "\\e" }, { "-", "\\-" } };
    bool line_start = true;

    for (const char *p = text; *p;) {
        bool done = false;

        if (line_start && (*p == '.' || *p == '\''))
            strbuf_add(out, "\\&");
        for_each_row(w, words) {
            if (done || !str_starts(p, w->from))
                continue;
            strbuf_add(out, "%s", w->to);
            p += strlen(w->from);
            done = true;
        }
        line_start = !done && *p == '\n';
        if (!done)
            strbuf_add_mem(out, p++, 1);
    }
}

void docs_roff_option(const struct opt *o, struct strbuf *out)
{
    const struct field *f = opt_field(o);
    AUTO(strbuf) struct strbuf value = {}, doc = {}, sub = {};

    conf_help_value(f, &value);
    conf_help_doc(f, &doc);
    strbuf_add(out, ".TP\n.B \\-\\-");
    docs_roff(out, o->name);
    if (!opt_is_flag(o))
        strbuf_add(out, " \\fI");
    else if (f->dflt)
        strbuf_add_mem(&value, "", 0);
    if (!opt_is_flag(o))
        docs_roff(out, value.text);
    strbuf_add(out, "%s\\fR\n", opt_is_flag(o) && f->dflt ? "[=on|off]" : "");
    docs_roff(out, doc.text);
    strbuf_add(out, "\n");
    if (!f->sub)
        return;
    conf_help(f->sub, "", &sub);
    strbuf_add(out, ".RS\n.nf\n");
    docs_roff(out, sub.text);
    strbuf_add(out, ".fi\n.RE\n");
}

void docs_words(const struct opt *o, struct strbuf *out)
{
    const struct field *f = opt_field(o);

    strbuf_add(out, "%s", o->complete ? o->complete : "");
    for (unsigned i = 0; !o->complete && f->kind == FIELD_KIND_ENUM && f->words[i]; i++)
        strbuf_add(out, "%s%s", i ? " " : "", f->words[i]);
}

bool docs_is_path(const char *words)
{
    return words && (strcmp(words, "FILE") == 0 || strcmp(words, "DIR") == 0);
}

static const char *bash_reply(const char *words)
{
    return words && strcmp(words, "DIR") == 0 ? "-d" : "-f";
}

void docs_bash_value(const struct opt *o, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf words = {};

    docs_words(o, &words);
    if (docs_is_path(words.text))
        strbuf_add(out, " COMPREPLY=($(compgen %s -- \"$cur\")); return ;;\n",
                   bash_reply(words.text));
    else if (words.len)
        strbuf_add(out, " COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", words.text);
    else
        strbuf_add(out, " return ;;\n");
}

void docs_quoted(struct strbuf *out, const char *text, const char *also)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            strbuf_add(out, "\"");
        else if (strchr(also, *p))
            strbuf_add(out, " ");
        else
            strbuf_add_mem(out, p, 1);
    }
}

void docs_zsh_option(const struct opt *o, struct strbuf *out)
{
    const struct field *f = opt_field(o);
    AUTO(strbuf) struct strbuf words = {};

    docs_words(o, &words);
    strbuf_add(out, "        '%s--%s[", conf_repeats(f) ? "*" : "", o->name);
    docs_quoted(out, f->doc, "[]:\\");
    strbuf_add(out, "]");
    if (!opt_is_flag(o))
        strbuf_add(out, ":%s:", o->name);
    if (docs_is_path(words.text))
        strbuf_add(out, "_files%s", strcmp(words.text, "DIR") == 0 ? " -/" : "");
    else if (words.len) {
        strbuf_add(out, "(");
        for (const char *p = words.text; *p; p++)
            strbuf_add(out, *p == ':' ? "\\:" : "%c", *p);
        strbuf_add(out, ")");
    }
    strbuf_add(out, "' \\\n");
}

void docs_fish_option(const struct opt *o, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf words = {};

    docs_words(o, &words);
    strbuf_add(out, " -l %s", o->name);
    if (docs_is_path(words.text))
        strbuf_add(out, " -r -F");
    else if (words.len)
        strbuf_add(out, " -x -a '%s'", words.text);
    else if (!opt_is_flag(o))
        strbuf_add(out, " -x");
    strbuf_add(out, " -d '");
    docs_quoted(out, opt_field(o)->doc, "\\");
    strbuf_add(out, "'\n");
}
