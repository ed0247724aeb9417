/*
 * state/state.h: state lists.  What a guest can observe of a part is one list of rows; the list makes the struct, so that an
 * unsaved member cannot exist, and save, load, compare, print and schema walk the same rows.
 *
 *     #define PIT(F, S)                                                          \
 *         F(S, SUB, pit_chan, chan, 3, "counters 0, 1 and 2")                    \
 *         F(S, ARR, u8, latch, 4, "bytes the guest has yet to read")             \
 *         F(S, VAL, u8, speaker, "port 61h, bits 0 and 1", .since = 2)
 *     STATE_STRUCT(pit_state, PIT);                               in the header: struct pit_state { … };
 *     STATE_TABLE(pit_state, PIT, .version = 2, .after_load = …); in one .c: const struct state_def pit_state_def
 *
 * Members are u8, u16, u32, u64 or bool.  In the stream a field is {le16 tag, le32 length, little-endian elements}; its tag is its
 * place in the list, counted from 1.  A list grows at its end only, with `.since` = the new version.
 */
#pragma once

#include "base/base.h"

enum state_kind { STATE_U8 = 1, STATE_U16, STATE_U32, STATE_U64, STATE_BOOL, STATE_SUB };

struct state_field {
    const char *name;
    const char *doc;
    enum state_kind kind;
    u32 count; /* elements */
    u32 at;    /* offset in the struct */
    const struct state_def *sub;
    u32 since; /* first version that has it; 0 is the same as 1 */
    u64 dflt;  /* each element's value when an older stream lacks it */
};

struct state_def {
    const char *name;
    u32 size; /* of the struct */
    u32 version;
    const struct state_field *fields; /* ends with kind 0 */
    /* Refuses impossible values (-EBADMSG), rebuilds what derives from them.  Touches only its own part.  May be NULL. */
    int (*after_load)(void *obj, struct err *e);
};

#define STATE_MEMBER(S, KIND, ...)           STATE_MEMBER_##KIND(__VA_ARGS__)
#define STATE_MEMBER_VAL(type, name, ...)    type name;
#define STATE_MEMBER_ARR(type, name, n, ...) type name[n];
#define STATE_MEMBER_SUB(st, name, n, ...)   struct st name[n];
#define STATE_STRUCT(name, LIST) \
    struct name {                \
        LIST(STATE_MEMBER, name) \
    };                           \
    extern const struct state_def name##_def

#define STATE_KIND_OF(type)    \
    _Generic((type){ 0 }, u8   \
             : STATE_U8, u16   \
             : STATE_U16, u32  \
             : STATE_U32, u64  \
             : STATE_U64, bool \
             : STATE_BOOL)
#define STATE_ROW(S, KIND, ...) STATE_ROW_##KIND(S, __VA_ARGS__)
#define STATE_ROW_VAL(S, type, member, text, ...) \
    { .name = #member,                            \
      .doc = text,                                \
      .kind = STATE_KIND_OF(type),                \
      .count = 1,                                 \
      .at = offsetof(struct S, member),           \
      ##__VA_ARGS__ },
#define STATE_ROW_ARR(S, type, member, n, text, ...) \
    { .name = #member,                               \
      .doc = text,                                   \
      .kind = STATE_KIND_OF(type),                   \
      .count = (n),                                  \
      .at = offsetof(struct S, member),              \
      ##__VA_ARGS__ },
#define STATE_ROW_SUB(S, st, member, n, text, ...) \
    { .name = #member,                             \
      .doc = text,                                 \
      .kind = STATE_SUB,                           \
      .count = (n),                                \
      .at = offsetof(struct S, member),            \
      .sub = &st##_def,                            \
      ##__VA_ARGS__ },
#define STATE_TABLE(S, LIST, ...)                                                               \
    static const struct state_field S##_fields[] = { LIST(STATE_ROW, S){} };                    \
    const struct state_def S##_def = {                                                          \
        .name = #S, .size = sizeof(struct S), .version = 1, .fields = S##_fields, ##__VA_ARGS__ \
    }

/* Appends the fields of `obj`. */
void state_save(const struct state_def *def, const void *obj, struct strbuf *out);

/*
 * Reads what state_save of `version` wrote; all `len` bytes must be used.  -EBADMSG with `e`: unknown, missing, doubled or
 * wrongly sized field, a bool that is neither 0 nor 1, a newer version, or after_load's refusal.  *obj is untouched on
 * failure, except when after_load refuses.
 */
int state_load(const struct state_def *def, void *obj, u32 version, const void *data, size_t len,
               struct err *e);

/* Appends `obj` as one JSON object, numbers in decimal, byte arrays and numbers that do not fit into 63 bits as hex strings. */
void state_print(const struct state_def *def, const void *obj, struct strbuf *out);

/* How many fields differ; appends a line for each when `out` is not NULL. */
int state_compare(const struct state_def *def, const void *a, const void *b, struct strbuf *out);

/* Appends the list as text: one line a field. */
void state_schema(const struct state_def *def, struct strbuf *out);

/*
 * A stream of sections: "SOCLEST1", then for each {le16 name length, le16 instance length, le32 version, le32 body length, name,
 * instance, body}, and one with an empty name at the end.
 */
void state_stream_begin(struct strbuf *out);
void state_stream_put(struct strbuf *out, const char *instance, const struct state_def *def,
                      const void *obj);
void state_stream_end(struct strbuf *out);

struct state_reader {
    const u8 *p;
    size_t left;
};
struct state_section {
    char name[64], instance[64];
    u32 version, len;
    const u8 *body;
};
int state_reader_init(struct state_reader *r, const void *data, size_t len, struct err *e);
/* 1 and a section, 0 at the end, -EBADMSG. */
int state_reader_next(struct state_reader *r, struct state_section *ret, struct err *e);
