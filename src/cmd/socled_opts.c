/*
 * cmd/socled_opts.c: the options of `socled`; its help and its manual page are made of these rows.
 */
#include "cmd/socled_opts.h"

#include "host/cgroup.h"
#include "host/host.h"

const struct field socled_fields[] = {
    FIELD_STR(socled, dir, "where all is kept", .metavar = "DIR"),
    FIELD_STR(socled, listen,
              "answer HTTPS there, too, and serve the console: [ADDRESS][:PORT], port 7443 unless "
              "it is said",
              .metavar = "ADDRESS"),
    FIELD_BOOL(socled, no_terminal, "nobody has a terminal of the host by the API"),
    FIELD_BOOL(socled, verbose, "say more on standard error"),
    FIELD_BOOL(socled, version, "show the version"),
    FIELD_BOOL(socled, hold,
               "do nothing but keep the control group that machines' groups are below: the process "
               "of " CGROUP_UNIT),
    FIELD_BOOL(socled, stop,
               "shut all machines down, and end: what socle-shutdown.service does with the host"),
    FIELD_INT(socled, timeout, "SECONDS that guests then have; who still runs is turned off",
              .dflt = HOST_STOP_SECONDS, .max = HOST_STOP_SECONDS_MAX, .metavar = "SECONDS"),
    {},
};

const struct opt socled_opts[] = {
    { "dir", socled_fields, 0, "dir", "DIR" },
    { "listen", socled_fields, 0, "listen", "" },
    { "no-host-terminal", socled_fields, 0, "no_terminal", "" },
    { "verbose", socled_fields, 0, "verbose", "" },
    { "version", socled_fields, 0, "version", "" },
    { "hold-groups", socled_fields, 0, "hold", "" },
    { "stop-machines", socled_fields, 0, "stop", "" },
    { "timeout", socled_fields, 0, "timeout", "" },
    {},
};
