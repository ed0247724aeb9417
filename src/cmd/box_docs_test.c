/*
 * cmd/box_docs_test.c: manual and completion of socle-box know every command and option; so does the manual of socled, and that of the API every route.
 */
#include "cmd/box_docs.h"

#include "api/api.h"
#include "cmd/api_docs.h"
#include "cmd/box_opts.h"
#include "cmd/docs.h"
#include "cmd/socled_docs.h"
#include "cmd/socled_opts.h"
#include "testlib/test.h"

static void check_options(const struct opt *opts, const char *man, const struct strbuf *shells)
{
    for (const struct opt *o = opts; o->name; o++) {
        AUTO(strbuf) struct strbuf name = {};

        for (const char *p = o->name; *p; p++)
            strbuf_add(&name, *p == '-' ? "\\-" : "%c", *p);
        CHECK_HAS(man, name.text);
        for (unsigned i = 0; shells && i < 3; i++)
            CHECK_HAS(shells[i].text, o->name);
    }
}

TEST(box_docs_have_every_command_and_option)
{
    AUTO(strbuf) struct strbuf man = {};
    struct strbuf shells[3] = {};

    box_docs_man(&man);
    CHECK(box_docs_completion("bash", &shells[0]));
    CHECK(box_docs_completion("zsh", &shells[1]));
    CHECK(box_docs_completion("fish", &shells[2]));
    CHECK(!box_docs_completion("csh", &shells[0]));
    check_options(box_global_opts, man.text, shells);
    for (const struct box_command *c = box_commands; c->name; c++) {
        AUTO(strbuf) struct strbuf head = {};

        strbuf_add(&head, ".SS socle\\-box %s", c->name);
        CHECK_HAS(man.text, head.text);
        for (unsigned i = 0; i < 3; i++)
            CHECK_HAS(shells[i].text, c->name);
        check_options(c->opts, man.text, shells);
    }
    CHECK_HAS(man.text, "NOTIFY_SOCKET");
    CHECK_HAS(man.text, BOX_OCI_VERSION);
    for (unsigned i = 0; i < ARRAY_LEN(shells); i++)
        strbuf_fini(&shells[i]);
}

TEST(socled_docs_have_every_option)
{
    AUTO(strbuf) struct strbuf man = {};

    socled_docs_man(&man);
    check_options(socled_opts, man.text, NULL);
    CHECK_HAS(man.text, ".TH SOCLED 8 ");
    CHECK_HAS(man.text, "turned off (default 60"); /* what a row says besides its name */
    CHECK_HAS(man.text, ".SH ADDRESSES OF INSTANCES\n");
    CHECK_HAS(man.text, "older than 30 seconds");
}

/* Of one route: what follows its line, up to the next route's. */
static void route_page(const char *man, const struct api_route *r, struct strbuf *out)
{
    AUTO(strbuf) struct strbuf line = {};
    const char *at, *end;

    strbuf_add(&line, "\n.SS %s ", r->method);
    docs_roff(&line, r->path);
    strbuf_add(&line, "\n");
    CHECK_HAS(man, line.text);
    at = strstr(man, line.text) + line.len;
    CHECK(!strstr(at, line.text)); /* once */
    end = strstr(at, "\n.S");
    strbuf_add_mem(out, at, end ? (size_t)(end - at) : strlen(at));
}

static void check_fields(const struct field *fields, const char *page)
{
    for (const struct field *f = fields; f && f->name; f++) {
        AUTO(strbuf) struct strbuf text = {};

        strbuf_add(&text, ".TP\n\\fB%s\\fR, ", f->name);
        CHECK_HAS(page, text.text);
        strbuf_fini(&text);
        docs_roff(&text, f->doc);
        CHECK_HAS(page, text.text);
        for (u32 i = 0; f->kind == FIELD_KIND_ENUM && f->words[i]; i++) {
            AUTO(strbuf) struct strbuf word = {};

            docs_roff(&word, f->words[i]);
            CHECK_HAS(page, word.text);
        }
        check_fields(f->sub, page);
    }
}

TEST(api_docs_have_every_route)
{
    AUTO(strbuf) struct strbuf man = {};

    api_docs_man(&man);
    for_each_api_route(r) {
        AUTO(strbuf) struct strbuf page = {}, text = {};

        route_page(man.text, r, &page);
        docs_roff(&text, r->doc);
        strbuf_add(&text, ".\nRight: \\fB%s\\fR.", api_right_name(r->right));
        CHECK_HAS(page.text, text.text);
        check_fields(r->query, page.text);
        if (r->body)
            CHECK_HAS(page.text, r->body);
        if (r->answer)
            CHECK_HAS(page.text, r->answer);
    }
    for_each_api_schema(s)
        check_fields(api_schema_fields(s), man.text);
    for (const struct api_code *c = api_codes; c->name; c++)
        CHECK_HAS(man.text, c->name);
    for (const char *p = man.text; *p; p++)
        CHECK((unsigned char)*p < 128);
}

TEST(api_docs_say_what_a_body_needs)
{
    AUTO(strbuf) struct strbuf man = {}, page = {};

    api_docs_man(&man);
    for_each_api_route(r)
        if (strcmp(r->path, "/1.0/instances/{name}/action") == 0)
            route_page(man.text, r, &page);
    CHECK_HAS(page.text, "\\fBaction\\fR, word, required\n");
    CHECK_HAS(page.text, "what it shall do; one of: start, stop, restart, ");
    CHECK_HAS(page.text, "then it is turned off (default 60, 0 to ");
    CHECK_HAS(page.text, "Answer: 202, \\fITaskStarted\\fR (see POST /1.0/instances).");
    CHECK_HAS(man.text, "The fields of InstanceNew, of POST /1.0/instances; none is required");
}
