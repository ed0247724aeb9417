/*
 * conf/conf_value.h: one value of a field, whatever form it was written in.  Shared by conf.c (JSON) and conf_text.c; private to conf/.
 */
#pragma once

#include "conf/conf.h"

/* Rows of the table; a table has at most CONF_FIELDS_MAX. */
unsigned conf_count(const struct field *fields);

/* The member as a number: INT, BOOL, ENUM. */
u64 conf_get(const struct field *f, const void *obj);
void conf_put(const struct field *f, void *obj, u64 v);

/* The member that a LIST or OBJ field describes. */
void *conf_member(const struct field *f, void *obj);
/* Takes the newest element off a list; its content is freed already. */
void conf_list_drop(const struct field *f, void *obj);

/* conf/conf_strs.c: fields of kind STRS and MAP. */
void conf_strs_fini(const struct field *f, struct field_strs *strs);
int conf_strs_parse(const struct field *f, void *obj, const json_t *j, struct err *e);
int conf_map_parse(const struct field *f, void *obj, const json_t *j, struct err *e);
void conf_strs_copy(const struct field *f, struct field_strs *to, const struct field_strs *from);
json_t *conf_strs_print(const struct field *f, const struct field_strs *strs);
int conf_strs_set(const struct field *f, void *obj, const char *value, struct err *e);
/* "a list", "text", … */
const char *conf_type_word(const json_t *j);

/* Checks the range; -EINVAL with `e` that says what was found and what is allowed. */
int conf_put_int(const struct field *f, void *obj, u64 v, struct err *e);
/* As conf_put_int from text; -EINVAL with `e`. */
int conf_put_int_text(const struct field *f, void *obj, const char *text, struct err *e);
/* Stores a copy in place of the string before; refuses what is too long, not UTF-8, or not `ok`. */
int conf_put_str(const struct field *f, void *obj, const char *s, size_t len, struct err *e);
/* Stores the place of `word` in the words; -EINVAL with `e` that lists them. */
int conf_put_word(const struct field *f, void *obj, const char *word, struct err *e);

/* "4096", or "1G" for a size that is a whole number of units. */
void conf_int_text(const struct field *f, u64 v, char buf[24]);
bool conf_in_range(const struct field *f, u64 v);
/* The largest value that the field takes. */
u64 conf_int_max(const struct field *f);
