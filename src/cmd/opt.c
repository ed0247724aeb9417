/*
 * cmd/opt.c: reads a command's options by their rows, and explains them.
 */
#include "cmd/opt.h"

const struct field *opt_field(const struct opt *o)
{
    const struct field *f = o->table;

    while (f->name && strcmp(f->name, o->field) != 0)
        f++;
    must(f->name);
    return f;
}

bool opt_is_flag(const struct opt *o)
{
    return opt_field(o)->kind == FIELD_KIND_BOOL;
}

/* The row of "name" or "name=value", of which *ret_value is then the value. */
static const struct opt *find(const struct opt *opts, const char *text, const char **ret_value)
{
    size_t len = strcspn(text, "=");

    *ret_value = text[len] ? text + len + 1 : NULL;
    for (const struct opt *o = opts; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, text, len) == 0)
            return o;
    return NULL;
}

/* The row of "-o" or "-oVALUE". */
static const struct opt *find_letter(const struct opt *opts, const char *text,
                                     const char **ret_value)
{
    *ret_value = text[1] && text[2] ? text + 2 : NULL;
    for (const struct opt *o = opts; o->name; o++)
        if (o->letter && o->letter == text[1])
            return o;
    return NULL;
}

struct parsing {
    const struct opt *opts;
    void *into;
    u64 seen; /* one bit a row */
    int argc, at;
    char **argv;
};

/* argv[at] is an option: it and its value are taken. */
static int take_option(struct parsing *p, struct err *e)
{
    const char *text = p->argv[p->at++], *value;
    const struct opt *o = str_starts(text, "--") ? find(p->opts, text + 2, &value)
                                                 : find_letter(p->opts, text, &value);
    const struct field *f;
    u64 bit;
    int r;

    if (!o)
        return err_set(e, -EINVAL, "unknown option '%.60s' (--help lists them)", text);
    f = opt_field(o);
    bit = 1ull << (o - p->opts);
    if ((p->seen & bit) && !conf_repeats(f))
        return err_set(e, -EINVAL, "--%s is given twice", o->name);
    p->seen |= bit;
    if (!value && opt_is_flag(o))
        value = "on";
    if (!value && p->at < p->argc)
        value = p->argv[p->at++];
    if (!value)
        return err_set(e, -EINVAL, "--%s needs a value", o->name);
    r = conf_set(f, (u8 *)p->into + o->at, value, e);
    if (r < 0)
        err_wrap(e, "--%s", o->name);
    return r;
}

static bool is_help(const char *s)
{
    return strcmp(s, "-h") == 0 || strcmp(s, "--help") == 0;
}

/* Is what comes next another's command line?  It is taken then. */
static bool take_rest(struct opt_args *args, const struct parsing *p)
{
    const bool dashes = strcmp(p->argv[p->at], "--") == 0;

    if (args->takes == OPT_REST_NONE ||
        !(dashes || (args->takes == OPT_REST_AFTER_ONE && args->n == 1)))
        return false;
    args->rest = p->argv + p->at + dashes;
    args->n_rest = (unsigned)(p->argc - p->at - dashes);
    return true;
}

int opt_parse(const struct opt *opts, void *into, int argc, char **argv, struct opt_args *ret_args,
              struct err *e)
{
    struct parsing p = { .opts = opts, .into = into, .argc = argc, .argv = argv };
    struct opt_args args = { .takes = ret_args->takes };
    bool ended = false;
    int r;

    while (p.at < argc && !take_rest(&args, &p)) {
        const char *s = argv[p.at];

        if (!ended && is_help(s))
            return 1;
        if (!ended && strcmp(s, "--") == 0) {
            ended = true;
            p.at++;
        } else if (!ended && s[0] == '-' && s[1]) {
            r = take_option(&p, e);
            if (r < 0)
                return r;
        } else {
            if (args.n == OPT_ARGS_MAX)
                return err_set(e, -EINVAL, "more than %d arguments", OPT_ARGS_MAX);
            args.arg[args.n++] = s;
            p.at++;
        }
    }
    args.seen = p.seen;
    *ret_args = args;
    return 0;
}

void opt_help(const struct opt *opts, struct strbuf *out)
{
    for (const struct opt *o = opts; o->name; o++) {
        const struct field *f = opt_field(o);
        AUTO(strbuf) struct strbuf usage = {};

        if (o->letter)
            strbuf_add(&usage, "-%c, ", o->letter);
        strbuf_add(&usage, "--%s%s", o->name, opt_is_flag(o) ? "" : " ");
        if (!opt_is_flag(o))
            conf_help_value(f, &usage);
        else if (f->dflt)
            strbuf_add(&usage, "=off");
        strbuf_add(out, "  %-26s  ", usage.text);
        conf_help_doc(f, out);
        strbuf_add(out, "\n");
        if (f->sub)
            conf_help(f->sub, "      ", out);
    }
}
