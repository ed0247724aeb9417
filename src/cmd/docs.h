/*
 * cmd/docs.h: parts of manual pages and completion scripts that the programs' own (docs.c, docs_shell.c, box_docs.c, socled_docs.c) are made of.
 */
#pragma once

#include "cmd/opt.h"

/* Text of a manual page: no character of it has a meaning for troff. */
void docs_roff(struct strbuf *out, const char *text);
/* .TP with the option in bold, its text, and the fields of its list. */
void docs_roff_option(const struct opt *o, struct strbuf *out);
/* The words that an option's value may be, between spaces; "FILE" or "DIR"; "" when it is free. */
void docs_words(const struct opt *o, struct strbuf *out);
/* Are the words of docs_words a path? */
bool docs_is_path(const char *words);
/* Inside single quotes of zsh or fish; `also` is dropped to a space where it has a meaning. */
void docs_quoted(struct strbuf *out, const char *text, const char *also);
/* "COMPREPLY=… ;;" for the value of an option. */
void docs_bash_value(const struct opt *o, struct strbuf *out);
/* A line of _arguments. */
void docs_zsh_option(const struct opt *o, struct strbuf *out);
/* What follows the condition of a line of complete(1). */
void docs_fish_option(const struct opt *o, struct strbuf *out);
