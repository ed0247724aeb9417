/*
 * cmd/api_docs.c: socle-api(7), from the API's rows: routes, field tables, error codes.
 *   (1) A table of fields is written once, where a route has it first; others name that route.
 *   (2) A table that is of a body and of answers is written as of the body: with defaults, and what is required.
 */
#include "cmd/api_docs.h"

#include "api/api.h"
#include "cmd/docs.h"

#include <string.h>

/* ---- fields ---- */

static void add_type(const struct field *f, struct strbuf *out)
{
    static const char *const types[] = {
        [FIELD_KIND_INT] = "number", [FIELD_KIND_BOOL] = "boolean", [FIELD_KIND_STR] = "text",
        [FIELD_KIND_ENUM] = "word",  [FIELD_KIND_LIST] = "list",    [FIELD_KIND_OBJ] = "object",
        [FIELD_KIND_STRS] = "texts", [FIELD_KIND_MAP] = "map",
    };

    strbuf_add(out, "%s", f->bytes ? "size" : types[f->kind]);
    if (conf_repeats(f))
        strbuf_add(out, " of at most %u", f->list_max);
}

/* In an answer there is neither a default nor what is allowed. */
static void add_doc(const struct field *f, bool answer, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf doc = {};

    if (answer || conf_repeats(f) || f->kind == FIELD_KIND_BOOL)
        strbuf_add(&doc, "%s", f->doc);
    else
        conf_help_doc(f, &doc);
    if (f->kind == FIELD_KIND_BOOL && !answer)
        strbuf_add(&doc, " (default %s)", f->dflt ? "true" : "false");
    for (u32 i = 0; f->kind == FIELD_KIND_ENUM && f->words[i]; i++)
        strbuf_add(&doc, "%s%s", i ? ", " : "; one of: ", f->words[i]);
    docs_roff(out, doc.text);
    strbuf_add(out, "\n");
}

static void add_fields(const struct field *fields, bool answer, struct strbuf *out);

/* Calls go down the tables that the program declares. */
static void add_field(const struct field *f, bool answer, struct strbuf *out)
{
    strbuf_add(out, ".TP\n\\fB");
    docs_roff(out, f->name);
    strbuf_add(out, "\\fR, ");
    add_type(f, out);
    strbuf_add(out, "%s\n", f->required && !answer ? ", required" : "");
    add_doc(f, answer, out);
    if (!f->sub)
        return;
    strbuf_add(out, ".RS\n");
    add_fields(f->sub, answer, out);
    strbuf_add(out, ".RE\n");
}

static void add_fields(const struct field *fields, bool answer, struct strbuf *out)
{
    for (const struct field *f = fields; f->name; f++)
        add_field(f, answer, out);
}

/* ---- schemas: what has a name ---- */

static bool is_body(const struct api_schema *s)
{
    for_each_api_route(r)
        if (r->body && strcmp(r->body, s->name) == 0)
            return true;
    return false;
}

/* The one whose fields are written, of those with the same table; NULL: `s` itself. */
static const struct api_schema *home_of(const struct api_schema *s)
{
    for_each_api_schema(o)
        if (o != s && api_schema_fields(o) == api_schema_fields(s) && !o->optional && is_body(o))
            return o;
    return NULL;
}

/* The first that has it as body or answer; there is one. */
static const struct api_route *route_of(const char *schema)
{
    for_each_api_route(r)
        if ((r->body && strcmp(r->body, schema) == 0) ||
            (r->answer && strcmp(r->answer, schema) == 0))
            return r;
    must(false);
}

static void add_route_name(const struct api_route *r, struct strbuf *out)
{
    strbuf_add(out, "%s ", r->method);
    docs_roff(out, r->path);
}

static void add_status(const struct api_schema *s, struct strbuf *out)
{
    strbuf_add(out, ".TP\n\\fBstatus\\fR, object\nhow it is, not what is configured\n.RS\n");
    add_fields(api_schema_fields(s), true, out);
    strbuf_add(out, ".RE\n");
}

static void add_members(const struct api_schema *s, bool answer, struct strbuf *out)
{
    const struct api_schema *home = home_of(s);

    strbuf_add(out, ".RS\n");
    if (home) {
        strbuf_add(out, "The fields of %s, of ", home->name);
        add_route_name(route_of(home->name), out);
        strbuf_add(out, "%s.\n",
                   s->optional ? "; none is required, and null is a field's default" : "");
    } else {
        add_fields(api_schema_fields(s), answer, out);
    }
    for (const struct field *f = s->also; f && f->name; f++)
        if (!f->secret)
            add_field(f, answer, out);
    if (s->status)
        add_status(api_schema_find(s->status), out);
    strbuf_add(out, ".RE\n");
}

/* After its name: where it is, or here. */
static void add_schema(const struct api_route *r, const char *name, struct strbuf *out)
{
    const struct api_route *at = route_of(name);

    strbuf_add(out, "\\fI%s\\fR", name);
    if (at != r) {
        strbuf_add(out, " (see ");
        add_route_name(at, out);
        strbuf_add(out, ").\n");
        return;
    }
    strbuf_add(out, ":\n");
    add_members(api_schema_find(name), !r->body || strcmp(r->body, name) != 0, out);
}

/* ---- routes ---- */

static void add_answer(const struct api_route *r, struct strbuf *out)
{
    strbuf_add(out, ".PP\nAnswer: %d", r->status);
    if (!r->answer) {
        strbuf_add(out, "%s.\n", r->bytes ? ", with the bytes" : "");
        return;
    }
    strbuf_add(out, "%s", r->list ? ", a list of " : ", ");
    add_schema(r, r->answer, out);
}

static void add_route(const struct api_route *r, struct strbuf *out)
{
    strbuf_add(out, ".SS ");
    add_route_name(r, out);
    strbuf_add(out, "\n");
    docs_roff(out, r->doc);
    strbuf_add(out, ".\nRight: \\fB%s\\fR.\n", api_right_name(r->right));
    if (r->query) {
        strbuf_add(out, ".PP\nQuery:\n.RS\n");
        add_fields(r->query, false, out);
        strbuf_add(out, ".RE\n");
    }
    if (r->bytes && strcmp(r->method, "GET") != 0)
        strbuf_add(out, ".PP\nBody: bytes, application/octet\\-stream.\n");
    if (r->body) {
        strbuf_add(out, ".PP\nBody: ");
        add_schema(r, r->body, out);
    }
    add_answer(r, out);
}

static void add_routes(struct strbuf *out)
{
    for_each_api_part(p) {
        strbuf_add(out, ".SH ");
        for (const char *c = (*p)->title; *c; c++)
            strbuf_add(out, "%c", *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        strbuf_add(out, "\n");
        for (const struct api_route *r = (*p)->routes; r->method; r++)
            add_route(r, out);
    }
}

/* ---- what is true of all ---- */

/* clang-format off */
static const char head[] =
    ".SH NAME\nsocle\\-api \\- what socled answers programs over HTTP\n"
    ".SH DESCRIPTION\n"
    "\\fBsocled\\fR(8) answers HTTP/1.1 and JSON on the unix socket DIR/api.sock and, with \\-\\-listen, over HTTPS.\n"
    "\\fBsocle\\fR(1) and the pages in a browser use nothing else.\n"
    "GET /1.0/openapi.json gives the same as this page to programs, as OpenAPI 3.1.\n"
    "Unknown fields and parameters are refused.\n"
    ".SH UNIX SOCKET\n"
    "The user whose folder it is, and root, have all rights there; others are refused.\n"
    "DIR is ~/.local/share/socle, of root /var/lib/socle.\n"
    ".PP\n.RS\n.nf\n"
    "sock=~/.local/share/socle/api.sock\n"
    "curl \\-\\-unix\\-socket $sock http://socle/1.0/instances\n"
    "curl \\-\\-unix\\-socket $sock http://socle/1.0/instances/web1/action \\e\n"
    "     \\-d \\(aq{\"action\": \"start\"}\\(aq\n"
    "curl \\-\\-unix\\-socket $sock \\-N \\(aqhttp://socle/1.0/events?since=120\\(aq\n"
    ".fi\n.RE\n"
    ".SH HTTPS AND TOKENS\n"
    "Port 7443 unless another is said; TLS 1.2 and 1.3.\n"
    "A client knows a certificate that socled made by its fingerprint, which \\fBsocle info\\fR shows.\n"
    "Programs show a token, which POST /1.0/tokens, or \\fBsocle token create\\fR, tells once.\n"
    "It gives at most its role, and what its user may do at that moment.\n"
    ".PP\n.RS\n.nf\n"
    "curl \\-\\-cacert cert.pem \\-H \"Authorization: Bearer $TOKEN\" \\e\n"
    "     https://lab.example:7443/1.0/instances\n"
    ".fi\n.RE\n"
    ".PP\n"
    "A browser logs in by POST /1.0/login and has a cookie; a request with that which changes something needs the header X\\-Socle: 1.\n"
    ".SH RIGHTS\n"
    "Each route needs one right.\n"
    "\\fBpublic\\fR: anybody.\n"
    "\\fBself\\fR: whoever is logged in.\n"
    "\\fBview\\fR, \\fBoperate\\fR: by role on everything, or by a grant on an instance, or on all with a tag.\n"
    "\\fBadmin\\fR: the role admin.\n"
    "\\fBshell\\fR: the role admin, with a token only when it was made for that.\n"
    "What somebody may not see does not exist for him: 404.\n"
    ".SH TYPES\n"
    "A number may be written as text, too, where it can be beyond what JSON is exact to; \"0x10\" is one.\n"
    "A \\fIsize\\fR is a number of bytes, or text as \"512M\" or \"2G\".\n"
    "A \\fIword\\fR is one of those that are named.\n"
    "\\fITexts\\fR are a list of texts; a \\fImap\\fR is an object whose members are texts; a \\fIlist\\fR has objects with the fields that follow it.\n"
    "Times are in seconds since 1970.\n";

static const char rest[] =
    ".SH EDITS\n"
    "GET of an instance or a network has an ETag.\n"
    "A PATCH with If\\-Match is done only when nobody else has changed it meanwhile, else refused with 412.\n"
    "In a PATCH what is left out stays as it is, and null stands for a field's default.\n"
    ".SH TASKS\n"
    "What takes time answers 202 with a task's number and a revision.\n"
    "GET /1.0/tasks/{number} tells how it is; the events after that revision tell how it goes.\n"
    "An instance has one task at a time; another is refused with 409.\n"
    ".SH EVENTS\n"
    "GET /1.0/events is a stream of server\\-sent events; with Upgrade it is a WebSocket, whose messages are lists of events.\n"
    "An event's id is a revision: who comes again gives the last as since, or as Last\\-Event\\-ID, and misses nothing.\n"
    "When that is too long ago the answer is 410: read the lists, then follow from revision of GET /1.0.\n";
/* clang-format on */

static void add_lists(struct strbuf *out)
{
    strbuf_add(out,
               ".SH LISTS\nA list is {\"list\": [...], \"next\": \"web9\"}.\n"
               "With after=web9 the next page comes; without next there is none.\n"
               "A page has %d elements unless limit says another number, at most %d.\n"
               "Some lists have filters: GET /1.0/instances?state=running&tag=web.\n",
               API_PAGE, API_PAGE_MAX);
}

static void add_keys(struct strbuf *out)
{
    strbuf_add(out,
               ".SH IDEMPOTENCY KEYS\nA request that changes something may have the header "
               "Idempotency\\-Key: 1 to %d printable characters without a space, random ones.\n"
               "Sent again by the same user within %d hours, with the same path and body, it is "
               "done once and answered as the first time, also when socled was killed between.\n"
               "With another request the same key is refused with 422.\n",
               ONCE_KEY_MAX, ONCE_KEPT_SECONDS / 3600);
}

static void add_errors(struct strbuf *out)
{
    strbuf_add(
        out,
        ".SH ERRORS\nAn error is {\"error\": {\"code\": ..., \"sentence\": ..., \"field\": ...}}: "
        "a code for programs, a sentence for people, and the field at fault when one is.\n"
        "A body has at most %d bytes.\n",
        API_BODY_MAX);
    for (const struct api_code *c = api_codes; c->name; c++) {
        if (!c->doc)
            continue;
        strbuf_add(out, ".TP\n%d \\fB%s\\fR\n", c->status, c->name);
        docs_roff(out, c->doc);
        strbuf_add(out, "\n");
    }
}

void api_docs_man(struct strbuf *out)
{
    strbuf_add(out, ".TH SOCLE\\-API 7 \"\" \"socle %s\" \"Socle\"\n%s", SOCLE_VERSION, head);
    strbuf_add(out, "%s", rest);
    add_lists(out);
    add_keys(out);
    add_errors(out);
    add_routes(out);
    strbuf_add(out, ".SH SEE ALSO\n\\fBsocle\\fR(1), \\fBsocled\\fR(8)\n");
}
