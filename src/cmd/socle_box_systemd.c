/*
 * cmd/socle_box_systemd.c: the program `socle-box-systemd`: asks systemd, by D-Bus, for the scope unit of a container.  Only socle-box runs it:
 *     socle-box-systemd system|user start UNIT PROPERTIES    as box/unit.h has them
 *     socle-box-systemd system|user set UNIT PROPERTIES
 *     socle-box-systemd system|user stop UNIT
 * Each waits until systemd has done it.  What fails is told in one line on standard error, and by status 1.
 */
#include "base/base.h"

#include "base/clock.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

enum { STATUS_FAILED = 1, STATUS_USAGE = 2, WAIT_S = 60 };

#define DESTINATION "org.freedesktop.systemd1"
#define OBJECT      "/org/freedesktop/systemd1"
#define MANAGER     DESTINATION ".Manager"
#define ERROR(name) DESTINATION "." name

AUTO_DEFINE(message, sd_bus_message *, sd_bus_message_unref)

/* A job that we wait for: systemd tells of the end of each. */
struct job {
    char *path;
    bool done;
    char result[32];
};

static int fail(struct err *e, int r, const sd_bus_error *error, const char *what, const char *unit)
{
    const char *why = error && error->message ? error->message : strerror(-r);

    return err_set(e, r, "%s '%.80s': %s", what, unit, why);
}

static int on_removed(sd_bus_message *m, void *arg, sd_bus_error *)
{
    struct job *j = arg;
    const char *path, *unit, *result;
    u32 id;

    if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) < 0)
        return 0;
    if (j->path && strcmp(path, j->path) == 0) {
        j->done = true;
        str_fmt(j->result, sizeof(j->result), "%.31s", result);
    }
    return 0;
}

/* What the answer to a call names is the job; its end cannot have been read yet, as only wait_job reads signals. */
static int wait_job(sd_bus *bus, struct job *j, sd_bus_message *answer, const char *what,
                    const char *unit, struct err *e)
{
    const u64 end = clock_mono_ns() + WAIT_S * NSEC_PER_SEC;
    const char *path;
    int r = sd_bus_message_read(answer, "o", &path);

    if (r < 0)
        return fail(e, r, NULL, what, unit);
    j->path = xdup(path);
    while (!j->done) {
        r = sd_bus_process(bus, NULL);
        if (r == 0)
            r = sd_bus_wait(bus, NSEC_PER_SEC / 1000);
        if (r < 0)
            return fail(e, r, NULL, what, unit);
        if (clock_mono_ns() > end)
            return err_set(e, -ETIMEDOUT, "%s '%.80s': no end of the job after %d s", what, unit,
                           WAIT_S);
    }
    return strcmp(j->result, "done") == 0
               ? 0
               : err_set(e, -EIO, "%s '%.80s': the job ended as '%s'", what, unit, j->result);
}

static int append_list(sd_bus_message *m, const char *type, const json_t *list)
{
    const json_t *item;
    size_t i;
    int r = sd_bus_message_open_container(m, 'a', type);

    json_array_foreach(list, i, item)
    {
        const u64 number = (u64)json_integer_value(item);
        const u8 byte = (u8)number;
        const u32 word = (u32)number;

        if (r < 0)
            break;
        r = *type == 's'   ? sd_bus_message_append_basic(m, 's', json_string_value(item))
            : *type == 'y' ? sd_bus_message_append_basic(m, 'y', &byte)
                           : sd_bus_message_append_basic(m, 'u', &word);
    }
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_number(sd_bus_message *m, char type, u64 v)
{
    const u8 byte = (u8)v;
    const u16 half = (u16)v;
    const u32 word = (u32)v;

    switch (type) {
    case 'y':
        return sd_bus_message_append_basic(m, type, &byte);
    case 'n':
    case 'q':
        return sd_bus_message_append_basic(m, type, &half);
    case 'i':
    case 'u':
        return sd_bus_message_append_basic(m, type, &word);
    default:
        return sd_bus_message_append_basic(m, type, &v);
    }
}

static int append_value(sd_bus_message *m, const char *type, const json_t *value)
{
    const int on = json_is_true(value);

    if (type[0] == 'a')
        return append_list(m, type + 1, value);
    if (type[0] == 's')
        return sd_bus_message_append_basic(m, 's', json_string_value(value));
    if (type[0] == 'b')
        return sd_bus_message_append_basic(m, 'b', &on);
    return append_number(m, type[0], (u64)json_integer_value(value));
}

static int append_properties(sd_bus_message *m, json_t *properties)
{
    const char *name;
    json_t *p;
    int r = sd_bus_message_open_container(m, 'a', "(sv)");

    json_object_foreach(properties, name, p)
    {
        const char *type = json_string_value(json_array_get(p, 0));

        if (r < 0 || !type)
            return r < 0 ? r : -EINVAL;
        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
            r = sd_bus_message_append_basic(m, 's', name);
        if (r >= 0)
            r = sd_bus_message_open_container(m, 'v', type);
        if (r >= 0)
            r = append_value(m, type, json_array_get(p, 1));
        if (r >= 0)
            r = sd_bus_message_close_container(m);
        if (r >= 0)
            r = sd_bus_message_close_container(m);
    }
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int new_call(sd_bus *bus, sd_bus_message **ret, const char *method)
{
    return sd_bus_message_new_method_call(bus, ret, DESTINATION, OBJECT, MANAGER, method);
}

/* A unit of that name that failed is in the way until it is told to be forgotten. */
static void forget(sd_bus *bus, const char *unit)
{
    sd_bus_call_method(bus, DESTINATION, OBJECT, MANAGER, "ResetFailedUnit", NULL, NULL, "s", unit);
}

static int call_start(sd_bus *bus, const char *unit, json_t *properties, sd_bus_error *error,
                      sd_bus_message **ret)
{
    AUTO(message) sd_bus_message *m = NULL;
    int r = new_call(bus, &m, "StartTransientUnit");

    if (r >= 0)
        r = sd_bus_message_append(m, "ss", unit, "fail");
    if (r >= 0)
        r = append_properties(m, properties);
    if (r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0u);
    return r < 0 ? r : sd_bus_call(bus, m, 0, error, ret);
}

/*
 * A process that is ending when it is to be moved stays where it was, and nobody is told: the scope would be there for ever, as systemd
 * waits for it to become empty.
 */
static int check_moved(const json_t *properties, const char *unit, struct err *e)
{
    const json_t *pids = json_array_get(json_object_get(properties, "PIDs"), 1);
    const long long pid = json_integer_value(json_array_get(pids, 0));
    AUTO(free) char *name = str_new("/proc/%lld/cgroup", pid);
    AUTO(free) char *end = str_new("/%s\n", unit);
    AUTO(fd) int fd = open(name, O_RDONLY | O_CLOEXEC);
    char text[8192];
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    text[max(n, (ssize_t)0)] = 0;
    return strstr(text, end)
               ? 0
               : err_set(e, -ESRCH, "start '%.80s': process %lld is not in it", unit, pid);
}

static int start(sd_bus *bus, struct job *j, const char *unit, json_t *properties, struct err *e)
{
    AUTO(message) sd_bus_message *answer = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = call_start(bus, unit, properties, &error, &answer);

    if (r < 0 && sd_bus_error_has_name(&error, ERROR("UnitExists"))) {
        forget(bus, unit);
        sd_bus_error_free(&error);
        r = call_start(bus, unit, properties, &error, &answer);
    }
    if (r < 0) {
        fail(e, r, &error, "start", unit);
    } else {
        r = wait_job(bus, j, answer, "start", unit, e);
        if (r == 0)
            r = check_moved(properties, unit, e);
        if (r < 0) /* it is ours, and nobody will use it */
            sd_bus_call_method(bus, DESTINATION, OBJECT, MANAGER, "StopUnit", NULL, NULL, "ss",
                               unit, "replace");
    }
    sd_bus_error_free(&error);
    return r;
}

static int set(sd_bus *bus, struct job *, const char *unit, json_t *properties, struct err *e)
{
    AUTO(message) sd_bus_message *m = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = new_call(bus, &m, "SetUnitProperties");

    if (r >= 0)
        r = sd_bus_message_append(m, "sb", unit, 1);
    if (r >= 0)
        r = append_properties(m, properties);
    if (r >= 0)
        r = sd_bus_call(bus, m, 0, &error, NULL);
    if (r < 0)
        fail(e, r, &error, "set properties of", unit);
    sd_bus_error_free(&error);
    return r;
}

static int stop(sd_bus *bus, struct job *j, const char *unit, json_t *, struct err *e)
{
    AUTO(message) sd_bus_message *answer = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_call_method(bus, DESTINATION, OBJECT, MANAGER, "StopUnit", &error, &answer, "ss",
                               unit, "replace");

    if (r >= 0)
        r = wait_job(bus, j, answer, "stop", unit, e);
    else if (sd_bus_error_has_name(&error, ERROR("NoSuchUnit")))
        r = 0;
    else
        fail(e, r, &error, "stop", unit);
    sd_bus_error_free(&error);
    forget(bus, unit);
    return r;
}

static const struct verb {
    const char *name;
    bool properties;
    int (*run)(sd_bus *bus, struct job *j, const char *unit, json_t *properties, struct err *e);
} verbs[] = { { "start", true, start }, { "set", true, set }, { "stop", false, stop } };

static int connect_to(const char *which, sd_bus **ret, struct err *e)
{
    int r = strcmp(which, "user") == 0 ? sd_bus_open_user(ret) : sd_bus_open_system(ret);

    /* ENOMEDIUM: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set */
    if (r == -ENOMEDIUM)
        return err_set(e, r, "connect to the %s bus: no address; is XDG_RUNTIME_DIR set?", which);
    return r < 0 ? err_code(e, r, "connect to the %s bus", which) : 0;
}

static int run(const struct verb *v, const char *which, const char *unit, json_t *properties,
               struct err *e)
{
    struct job j = {};
    sd_bus *bus = NULL;
    int r = connect_to(which, &bus, e);

    if (r < 0)
        return r;
    r = sd_bus_match_signal(bus, NULL, DESTINATION, OBJECT, MANAGER, "JobRemoved", on_removed, &j);
    r = r < 0 ? err_code(e, r, "listen to systemd") : v->run(bus, &j, unit, properties, e);
    sd_bus_flush_close_unref(bus);
    free(j.path);
    return r;
}

int main(int argc, char **argv)
{
    const struct verb *v = NULL;
    json_t *properties = NULL;
    struct err e = {};
    int r;

    for_each_row(row, verbs)
        if (argc == 4 + row->properties && strcmp(argv[2], row->name) == 0)
            v = row;
    if (v && v->properties)
        properties = json_loads(argv[4], 0, NULL);
    if (!v || (v->properties && !json_is_object(properties))) {
        fprintf(stderr, "usage: socle-box-systemd system|user start|set|stop UNIT [PROPERTIES]\n");
        return STATUS_USAGE;
    }
    r = run(v, argv[1], argv[3], properties, &e);
    json_decref(properties);
    if (r < 0)
        fprintf(stderr, "%s\n", e.text);
    return r < 0 ? STATUS_FAILED : 0;
}
