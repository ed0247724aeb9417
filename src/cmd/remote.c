/*
 * cmd/remote.c: the user's remotes.json, and `socle remote add, list, remove`.
 */
#include "cmd/ask.h"
#include "cmd/more.h"
#include "cmd/verb.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 256 * 1024, TOKEN_DAYS = 365 };

/* clang-format off */
static const struct field fields[] = {
    FIELD_STR(remote, name, "what the user calls it", .required = true, .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_STR(remote, url, "https://NAME:PORT", .required = true),
    FIELD_STR(remote, fingerprint, "SHA-256 of its certificate", .required = true),
    FIELD_STR(remote, token, "what is shown to it"),
    {},
};
/* clang-format on */

void remote_fini(struct remote *r)
{
    if (r->token)
        explicit_bzero(r->token, strlen(r->token));
    conf_fini(fields, r);
}

static char *config_file(void)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (config && config[0] == '/')
        return str_new("%s/socle/remotes.json", config);
    return str_new("%s/.config/socle/remotes.json", home && home[0] == '/' ? home : "");
}

/* An array; a file that is missing has none. */
static int read_file(json_t **ret, struct err *e)
{
    AUTO(free) char *file = config_file(), *text = NULL;
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    int r;

    *ret = NULL;
    if (fd < 0 && errno == ENOENT) {
        *ret = json_array();
        return 0;
    }
    if (fd < 0)
        return err_errno(e, "read '%s'", file);
    r = fd_read_whole(fd, FILE_MAX, &text, &len);
    if (r < 0)
        return err_code(e, r, "read '%s'", file);
    r = conf_load(text, len, ret, e);
    explicit_bzero(text, len);
    if (r >= 0 && !json_is_array(*ret)) {
        json_decref(*ret);
        r = err_set(e, -EBADMSG, "it is no list");
    }
    return r < 0 ? err_wrap(e, "'%s'", file) : 0;
}

static void make_folders(const char *file)
{
    AUTO(free) char *path = xdup(file);

    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(path, 0700); /* what is missing in the end, open says */
        *slash = '/';
    }
}

/* Under another name first, so that what is there is whole. */
static int write_file(const json_t *list, struct err *e)
{
    AUTO(free) char *file = config_file(), *part = str_new("%s.new", file);
    AUTO(fd) int fd = -1;
    char *text = json_dumps(list, JSON_INDENT(4));
    int r;

    make_folders(file);
    fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    r = fd < 0 || fchmod(fd, 0600) < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    explicit_bzero(text, strlen(text));
    free(text);
    if (r >= 0 && (fsync(fd) < 0 || rename(part, file) < 0))
        r = -errno;
    return r < 0 ? err_code(e, r, "write '%s'", file) : 0;
}

static const char *member(const json_t *remote, const char *name)
{
    const char *text = json_string_value(json_object_get(remote, name));

    return text ? text : "";
}

int remote_find(const char *name, struct remote *ret, struct err *e)
{
    json_t *list, *found = NULL, *j;
    size_t i;
    int r = read_file(&list, e);

    if (r < 0)
        return r;
    json_array_foreach(list, i, j) if (strcmp(member(j, "name"), name) == 0 ||
                                       strcmp(member(j, "url"), name) == 0)
    {
        found = found ? found : j;
    }
    r = found
            ? conf_parse(fields, ret, found, e)
            : err_set(e, -ENOENT, "there is no remote '%.80s'; `socle remote add` makes one", name);
    json_decref(list);
    return r;
}

int remote_put(const struct remote *remote, struct err *e)
{
    json_t *list, *j;
    size_t i;
    int r = read_file(&list, e);

    if (r < 0)
        return r;
    for (i = json_array_size(list); i-- > 0;)
        if (strcmp(member(json_array_get(list, i), "name"), remote->name) == 0)
            json_array_remove(list, i);
    if (json_array_size(list) == REMOTES_MAX)
        r = err_set(e, -ENOSPC, "there are %d remotes; more are not allowed", REMOTES_MAX);
    j = remote->url ? conf_print(fields, remote) : NULL;
    if (j)
        json_array_append_new(list, j);
    if (r >= 0)
        r = write_file(list, e);
    json_decref(list);
    return r;
}

json_t *remote_list(struct err *e)
{
    json_t *list, *j;
    size_t i;

    if (read_file(&list, e) < 0)
        return NULL;
    json_array_foreach(list, i, j) json_object_del(j, "token");
    return list;
}

/* ---- verbs ---- */

static int agree(struct verb *v, const char *url, const char *found, struct err *e)
{
    char answer[16];

    if (v->fingerprint)
        return strcasecmp(v->fingerprint, found) == 0
                   ? 0
                   : err_set(e, -EPERM, "'%s' has the fingerprint %s", url, found);
    fprintf(stderr, "'%s' has a certificate with this fingerprint:\n  %s\n", url, found);
    if (ask_line("Is it the one that `socle info` on that machine says [yes/no]? ", answer,
                 sizeof(answer), true, e) < 0)
        return e->code;
    return strcmp(answer, "yes") == 0 ? 0 : err_set(e, -ECANCELED, "nothing is added");
}

/* What a login is; a new reference.  NULL with `e`. */
static json_t *login_body(struct verb *v, struct err *e)
{
    char user[64] = "", password[1100] = "", code[16] = "";
    json_t *body = NULL;
    int r = v->user ? 0 : ask_line("User: ", user, sizeof(user), true, e);

    if (r >= 0)
        r = ask_line("Password: ", password, sizeof(password), false, e);
    if (r >= 0 && v->code)
        r = ask_line("Code: ", code, sizeof(code), true, e);
    if (r >= 0)
        body = json_pack("{s:s, s:s, s:s, s:b}", "user", v->user ? v->user : user, "password",
                         password, "code", code, "bearer", 1);
    if (r >= 0 && !body)
        err_set(e, -EINVAL, "what was given is not UTF-8");
    explicit_bzero(password, sizeof(password));
    return body;
}

/* The "token" of an answer; owned.  NULL with `e`. */
static char *ask_token(struct verb *v, const char *path, json_t *body, struct err *e)
{
    json_t *j = body ? verb_ask(v, "POST", path, body, e) : NULL;
    const char *text = json_string_value(json_object_get(j, "token"));
    char *token = text ? xdup(text) : NULL;

    if (j && !text)
        err_set(e, -EBADMSG, "its answer has no token");
    json_decref(body);
    json_decref(j);
    return token;
}

/* By a session that lasts as long as that takes. */
static char *make_token(struct verb *v, struct err *e)
{
    AUTO(free) char *session = ask_token(v, "/1.0/login", login_body(v, e), e);
    char host[64] = "", *token;

    if (!session)
        return NULL;
    (void)gethostname(host, sizeof(host) - 1);
    v->rest.token = session;
    token = ask_token(v, "/1.0/tokens",
                      json_pack("{s:s, s:i, s:b}", "name", host, "seconds", TOKEN_DAYS * 24 * 3600,
                                "shell", v->shell),
                      e);
    json_decref(verb_ask(v, "POST", "/1.0/logout", NULL, NULL));
    v->rest.token = NULL;
    explicit_bzero(session, strlen(session));
    return token;
}

int verb_remote_add(struct verb *v, struct err *e)
{
    struct remote remote = { .name = xdup(v->args.arg[0]), .url = xdup(v->args.arg[1]) };
    const char *token = getenv("SOCLE_TOKEN");
    char found[100] = "";
    int r = 0;

    if (!spec_name_ok(remote.name))
        r = err_set(e, -EINVAL, "'%.70s' is no name: letters, digits, '.', '-' and '_' are",
                    remote.name);
    else if (!str_starts(remote.url, "https://") || strlen(remote.url) > REMOTE_URL_MAX)
        r = err_set(e, -EINVAL, "'%.80s': https://NAME:PORT is expected", remote.url);
    if (r >= 0)
        r = remote_open_new(&v->rest, remote.url, found, e);
    if (r >= 0)
        r = agree(v, remote.url, found, e);
    if (r >= 0) {
        remote.fingerprint = xdup(found);
        remote.token = token && *token ? xdup(token) : make_token(v, e);
        r = remote.token ? remote_put(&remote, e) : e->code;
    }
    remote_fini(&remote);
    return r;
}

int verb_remotes(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "NAME", "name", NULL },
        { "URL", "url", NULL },
        { "FINGERPRINT", "fingerprint", NULL },
    };
    json_t *list = remote_list(e);

    if (!list)
        return e->code;
    verb_print_rows(v, list, columns, ARRAY_LEN(columns));
    json_decref(list);
    return 0;
}

int verb_remote_remove(struct verb *v, struct err *e)
{
    struct remote remote = {};
    int r = remote_find(v->args.arg[0], &remote, e);

    if (r < 0)
        return r;
    free(TAKE(remote.url)); /* with a name alone it is removed */
    r = remote_put(&remote, e);
    remote_fini(&remote);
    return r;
}
