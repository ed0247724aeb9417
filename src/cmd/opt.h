/*
 * cmd/opt.h: options of a command: a row names the field of a conf/ table that it sets, which has its type, limits and text.
 * The same rows make the parser, --help, the manual page and the shells' completion.
 */
#pragma once

#include "conf/conf.h"

struct opt {
    const char *name;          /* without the dashes */
    const struct field *table; /* of the struct that it sets */
    u32 at;                    /* of that struct in what the command's options fill */
    const char *field;         /* a row of `table` */
    const char *complete;      /* words for shells, or "FILE", "DIR"; NULL: the field's own words */
    char letter;               /* "-o" is the same; 0: none */
};

enum { OPT_MAX = 64, OPT_ARGS_MAX = 16 };

/* Where another command line begins, of which we read nothing. */
enum opt_rest {
    OPT_REST_NONE,
    OPT_REST_DASHES,    /* behind "--" */
    OPT_REST_AFTER_ONE, /* there, or behind the first argument */
};

/* What was not an option; borrowed from argv. */
struct opt_args {
    enum opt_rest takes; /* set by who parses */
    const char *arg[OPT_ARGS_MAX];
    unsigned n;
    u64 seen;    /* which options were given: a bit for each row */
    char **rest; /* n_rest of them */
    unsigned n_rest;
};

/* The field of a row; it exists, or the table is wrong. */
const struct field *opt_field(const struct opt *o);
/* Takes the option no value? */
bool opt_is_flag(const struct opt *o);

/*
 * "--name value", "--name=value", "--flag", "--" ends.  Rows end with a NULL name.  `into` was given its defaults.  0; 1 when
 * -h or --help is among them; -EINVAL with `e` naming the option.
 */
int opt_parse(const struct opt *opts, void *into, int argc, char **argv, struct opt_args *ret_args,
              struct err *e);
/* A line for each option, and below it those of its own list. */
void opt_help(const struct opt *opts, struct strbuf *out);
