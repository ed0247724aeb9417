/*
 * box/boxstate_fuzz.c: any bytes as state.json, and as /proc/PID/stat: what is accepted is a state that could have been saved, and what is
 * said of it to hooks and agents is JSON with the same facts.
 */
#include "box/state.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

static void check_same(const char *text, const struct box_state *s, bool inner)
{
    struct err e = {};
    json_t *all, *j;

    must(conf_load(text, strlen(text), &all, &e) == 0);
    j = inner ? json_object_get(all, "state") : all;
    must(strcmp(json_string_value(json_object_get(j, "id")), s->id) == 0);
    must(strcmp(json_string_value(json_object_get(j, "bundle")), s->bundle) == 0);
    must(json_integer_value(json_object_get(j, "pid")) == s->pid);
    json_decref(all);
}

/* With facts that are as long as they may be, too. */
static void check_texts(const struct box_state *s)
{
    const struct field_strs none = {};
    AUTO(free) char *state = box_state_text(s, BOX_RUNNING, &none);
    AUTO(free) char *process = box_process_text(s, BOX_CREATED, &none, s->pid, s->owner);

    check_same(state, s, false);
    check_same(process, s, true);
}

static void check_stat(const u8 *data, size_t size)
{
    char text[1024];
    size_t len = min(size, sizeof(text) - 1);
    const char *name_end;

    memcpy(text, data, len);
    text[len] = 0;
    name_end = strrchr(text, ')');
    if (box_stat_started(text)) /* it needs a name in brackets, and a state that is alive */
        must(name_end && name_end[1] && name_end[2] != 'Z' && name_end[2] != 'X');
}

FUZZ(boxstate)
{
    struct box_state s, again;
    struct err e = {};
    json_t *first, *second;
    char *text;

    log_set_level(LOG_LEVEL_ERROR);
    check_stat(data, size);
    if (box_state_parse(&s, (const char *)data, size, &e) < 0) {
        must(e.code < 0 && e.text[0] && !s.id && !s.bundle && !s.cgroup);
        return;
    }
    must(s.pid > 0 && s.id[0] && !strchr(s.id, '/') && strcmp(s.id, "..") != 0);
    must(strcmp(s.cgroup, "..") != 0 && !strstr(s.cgroup, "/../"));
    must(!s.scope || (!strchr(s.scope, '/') && strstr(s.scope, ".scope")));
    first = conf_print(box_state_fields, &s);
    text = json_dumps(first, JSON_COMPACT);
    must(text);
    must(box_state_parse(&again, text, strlen(text), &e) == 0);
    second = conf_print(box_state_fields, &again);
    must(json_equal(first, second));
    check_texts(&s);
    free(text);
    json_decref(first);
    json_decref(second);
    box_state_fini(&s);
    box_state_fini(&again);
}
