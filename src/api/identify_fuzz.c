/*
 * api/identify_fuzz.c: only who shows a whole key is somebody, and a cookie counts only with its proof.
 * Input: lines: flags (1: WebSocket, 2: marked), method, Authorization, Cookie, Origin, Host.  "KEY" in one is a session's key.
 */
#include "api/access.h"
#include "api/api.h"
#include "testlib/fuzz.h"

#include <stdlib.h>
#include <unistd.h>

enum { LINES = 6, ROOM = 512 };

static struct loop loop;
static struct host host;
static struct access users;
static char key[ACCESS_KEY_MAX], dir[] = "/tmp/socle-fuzz-XXXXXX";

static void remove_folder(void)
{
    static const char *const folders[] = { "/instances", "/images", "/cache", "" };

    for_each_row(f, folders) {
        AUTO(free) char *path = str_new("%s%s", dir, *f);

        (void)folder_remove(path, NULL);
    }
}

static void open_host(void)
{
    struct user_rec user = { .role = ACCESS_ADMIN };
    struct key_rec rec = { .role = ACCESS_ADMIN, .user = xdup("u"), .expires = ~0ull >> 1 };
    struct err e = {};
    const char *id;

    must(mkdtemp(dir) && loop_init(&loop, "fuzz") == 0 && host_open(&host, dir, &loop, &e) == 0);
    atexit(remove_folder);
    must(access_open(&users, &host, &e) == 0 && access_user_put(&users, "u", &user, &e) == 0 &&
         access_key_new(&users, &rec, key, &id, &e) == 0);
}

/* The next line, with the key in the place of "KEY"; *ret_shown: it was there. */
static void next_line(const u8 **p, const u8 *end, char line[ROOM + ACCESS_KEY_MAX],
                      bool *ret_shown)
{
    const u8 *eol = *p < end ? memchr(*p, '\n', (size_t)(end - *p)) : NULL;
    const size_t len = min((size_t)((eol ? eol : end) - *p), (size_t)ROOM - 1);
    char text[ROOM] = "", *at;

    if (len)
        memcpy(text, *p, len);
    at = strstr(text, "KEY");
    if (at)
        str_fmt(line, ROOM + ACCESS_KEY_MAX, "%.*s%s%s", (int)(at - text), text, key, at + 3);
    else
        str_copy(line, ROOM + ACCESS_KEY_MAX, text);
    *ret_shown |= at != NULL;
    *p = eol ? eol + 1 : end;
}

FUZZ(identify)
{
    char line[LINES][ROOM + ACCESS_KEY_MAX] = {};
    const u8 *p = data, *end = data + size;
    struct access_claim claim = {};
    bool shown = false, bearer = false;
    struct access_who who;
    u32 rights = 0;
    struct err e = {};

    if (!host.dir)
        open_host();
    for (u32 i = 0; i < LINES; i++) {
        next_line(&p, end, line[i], &shown);
        bearer |= i == 2 && shown;
    }
    claim = (struct access_claim){ line[1], line[2],        line[3],       line[4],
                                   line[5], line[0][0] & 1, line[0][0] & 2 };
    if (access_identify(&users, &claim, &who, &rights, &e) < 0)
        return;
    must(shown && rights == API_ALL && strcmp(who.name, "u") == 0);
    if (!bearer && claim.websocket)
        must(str_starts(claim.origin, "https://"));
    else if (!bearer && strcmp(claim.method, "GET") != 0)
        must(claim.marked);
}
