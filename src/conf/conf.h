/*
 * conf/conf.h: field tables: the one parser for what users, clients and our own processes write.  A row names a member of a
 * struct, its type, its limits and its help; JSON bodies, command-line options ("file=a.img,readonly") and documentation share it.
 *     static const struct field disk_fields[] = {
 *         FIELD_STR(disk_cfg, file,     "image or block device", .required = true, .first = true),
 *         FIELD_BOOL(disk_cfg, readonly, "refuse writes"),
 *         FIELD_INT(disk_cfg, queues,   "virtqueues", .dflt = 1, .min = 1, .max = 64),
 *         {},
 *     };
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

enum {
    CONF_FIELDS_MAX = 64,     /* rows of one table */
    CONF_DEPTH_MAX = 16,      /* nesting of JSON text */
    CONF_STR_MAX = 64 * 1024, /* bytes of one string, and of the command line's form */
};

enum field_kind {
    /* u8, u16, u32 or u64, by .size; a JSON integer, or "0x10" text for u64, or "1G" text where .bytes */
    FIELD_KIND_INT = 1,
    FIELD_KIND_BOOL, /* bool; on the command line "name", "name=on|off|true|false|yes|no" */
    FIELD_KIND_STR,  /* char *, owned by the struct, NULL when absent */
    FIELD_KIND_ENUM, /* int: place in .words */
    FIELD_KIND_LIST, /* struct field_list of structs described by .sub */
    FIELD_KIND_OBJ,  /* an embedded struct described by .sub */
    FIELD_KIND_STRS, /* struct field_strs: a JSON list of texts; on the command line one more of them */
    FIELD_KIND_MAP, /* struct field_strs: a JSON object whose members are texts, as key, value, key, … */
};

struct field {
    const char *name;
    const char *doc;
    enum field_kind kind;
    u32 at, size; /* of the member */
    bool required;
    bool first; /* on the command line, a value without "name=" in first place is this one */
    const char *
        also; /* on the command line, a first "VALUE=OTHER" is this one (`first`), and OTHER the field so named */
    bool secret; /* left out by conf_show */
    bool bytes;  /* a size: accepts suffixes K M G T */
    bool
        is_signed; /* FIELD_KIND_INT: min, max and dflt are s64 in u64; max 0: as far as the type goes */
    u64 min, max,
        dflt; /* FIELD_KIND_INT; max 0: as far as the type goes.  dflt also for BOOL and ENUM;
               outside of min to max it says that nothing was given, and is not printed */
    const char *sdflt;        /* FIELD_KIND_STR */
    const char *const *words; /* FIELD_KIND_ENUM, ends with NULL */
    const struct field *sub;
    u32 sub_size;                  /* FIELD_KIND_LIST: of one element */
    u32 list_max;                  /* FIELD_KIND_LIST, STRS, MAP: at most so many */
    bool (*ok)(const char *value); /* FIELD_KIND_STR: a further check */
    const char *want;              /* what `ok` accepts, for the message: "a-z, 0-9 and -" */
    const char *metavar;           /* in usage texts: "FILE" */
};

struct field_list {
    void *items; /* n structs, owned */
    u32 n;
};

struct field_strs {
    char **items; /* n of them, or n pairs; all owned */
    u32 n;
};

#define FIELD_(S, member, text, k, ...)                                            \
    {                                                                              \
        .name = #member, .doc = text, .kind = k, .at = offsetof(struct S, member), \
        .size = MEMBER_SIZE(struct S, member), ##__VA_ARGS__                       \
    }
#define FIELD_INT(S, member, text, ...) FIELD_(S, member, text, FIELD_KIND_INT, ##__VA_ARGS__)
#define FIELD_BYTES(S, member, text, ...) \
    FIELD_(S, member, text, FIELD_KIND_INT, .bytes = true, ##__VA_ARGS__)
#define FIELD_BOOL(S, member, text, ...) FIELD_(S, member, text, FIELD_KIND_BOOL, ##__VA_ARGS__)
#define FIELD_STR(S, member, text, ...)  FIELD_(S, member, text, FIELD_KIND_STR, ##__VA_ARGS__)
#define FIELD_ENUM(S, member, list, text, ...) \
    FIELD_(S, member, text, FIELD_KIND_ENUM, .words = list, ##__VA_ARGS__)
#define FIELD_LIST(S, member, fields, of, n, text, ...)                                    \
    FIELD_(S, member, text, FIELD_KIND_LIST, .sub = fields, .sub_size = sizeof(struct of), \
           .list_max = n, ##__VA_ARGS__)
#define FIELD_OBJ(S, member, fields, text, ...) \
    FIELD_(S, member, text, FIELD_KIND_OBJ, .sub = fields, ##__VA_ARGS__)

#define FIELD_SINT(S, member, text, ...) \
    FIELD_(S, member, text, FIELD_KIND_INT, .is_signed = true, ##__VA_ARGS__)
#define FIELD_STRS(S, member, limit, text, ...) \
    FIELD_(S, member, text, FIELD_KIND_STRS, .list_max = limit, ##__VA_ARGS__)
#define FIELD_MAP(S, member, limit, text, ...) \
    FIELD_(S, member, text, FIELD_KIND_MAP, .list_max = limit, ##__VA_ARGS__)

/* Fills `obj` (any content before) with the defaults.  No required field is checked. */
void conf_defaults(const struct field *fields, void *obj);
/* Frees what the fields own and zeroes them.  Harmless on zeroed memory. */
void conf_fini(const struct field *fields, void *obj);

/* Defaults, then what `json` (an object) says.  -EINVAL with `e` naming the field, what was found and what is allowed: unknown, missing,
 * wrong type, out of range, list too long.  `obj` is zeroed on failure.  Finish with conf_fini. */
int conf_parse(const struct field *fields, void *obj, const json_t *json, struct err *e);
/* JSON text whose depth is limited; a new reference. */
int conf_load(const char *text, size_t len, json_t **ret, struct err *e);
/* The same from text: JSON with a stated depth limit and at most `len` bytes. */
int conf_parse_text(const struct field *fields, void *obj, const char *text, size_t len,
                    struct err *e);
/* The same from the command line's "value,name=value,flag". */
int conf_parse_options(const struct field *fields, void *obj, const char *text, struct err *e);
/* One value as text into one field of an `obj` that was given defaults before. */
int conf_set(const struct field *f, void *obj, const char *value, struct err *e);
/* Grows a list by one element with defaults, and returns it; NULL when list_max is reached. */
void *conf_list_add(const struct field *f, void *obj);
/* Adds a copy of `value`; false when list_max is reached. */
bool conf_strs_add(const struct field *f, void *obj, const char *value);
/* Frees element `i` of a list; the last takes its place. */
void conf_list_remove(const struct field *f, void *obj, u32 i);
/* Does a second value add to the first? */
static inline bool conf_repeats(const struct field *f)
{
    return f->kind == FIELD_KIND_LIST || f->kind == FIELD_KIND_STRS || f->kind == FIELD_KIND_MAP;
}
/* The row of the member at offset `at` of its struct; there is one. */
const struct field *conf_field_at(const struct field *fields, size_t at);

/* A new reference: the JSON object of `obj`, members with NULL strings left out. */
json_t *conf_print(const struct field *fields, const void *obj);
/* The same without the rows that are secret: for who may not see these. */
json_t *conf_show(const struct field *fields, const void *obj);
/* A copy of what the fields have into `to`, whatever was there before; other members stay as they are.  Finish with conf_fini. */
void conf_copy(const struct field *fields, void *to, const void *from);
/* Help lines: "  name=VALUE   doc (default …, allowed …)". */
void conf_help(const struct field *fields, const char *indent, struct strbuf *out);
/* What stands for the value in usage texts: "FILE", "N", "a|b|c". */
void conf_help_value(const struct field *f, struct strbuf *out);
/* "doc (default …, allowed …)" */
void conf_help_doc(const struct field *f, struct strbuf *out);
