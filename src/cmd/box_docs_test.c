/*
 * cmd/box_docs_test.c: manual and completion of socle-box know every command and option; so does the manual of socled.
 */
#include "cmd/box_docs.h"

#include "cmd/box_opts.h"
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
