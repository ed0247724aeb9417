/*
 * api/web.h: the files of the console in the browser, as a function: what is asked → which file.  No sockets (server.h).
 */
#pragma once

#include "base/base.h"

struct web_file {
    const char *path; /* "/assets/index-4f2a.js"; NULL ends the table */
    const char *type, *etag;
    bool fixed; /* its name changes with what is in it */
    bool gzip;
    u32 len;
    const u8 *data;
};
/* The console; made by tools/web.py, in socled only. */
extern const struct web_file web_files[];

struct web_request {
    const char *method, *path;
    const char *accept_encoding, *if_none_match; /* "": none */
};

/* Is the path one of the console's, not of the API's? */
bool web_is_path(const char *path);
/* 200; 304: *ret_file is what it is about, and not sent; 404, 405, 406: there is none. */
int web_find(const struct web_file *files, const struct web_request *rq,
             const struct web_file **ret_file);

/* What stands in an answer beside its type and length. */
struct web_header {
    const char *name, *value; /* "etag:"; NULL ends them */
};
enum { WEB_HEADERS = 12 };
void web_headers(const struct web_file *f, struct web_header ret[static WEB_HEADERS]);
