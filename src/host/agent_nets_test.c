/*
 * host/agent_nets_test.c: what guests say about their network cards, and what is kept of it.
 */
#include "host/agent_nets.h"

#include "host/agent_text.h"
#include "testlib/test.h"

enum { CARDS = 2 };

static const struct agent_card own[CARDS] = {
    { .mac = { 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef } },
    { .mac = { 0x52, 0x54, 0x00, 0x00, 0x00, 0x02 } },
};

#define FIRST  "52:54:00:ab:cd:ef"
#define SECOND "52:54:00:00:00:02"
#define CARD(mac, list) \
    "{\"name\":\"eth0\",\"hardware-address\":\"" mac "\",\"ip-addresses\":[" list "]}"
#define IP(type, text) \
    "{\"ip-address\":\"" text "\",\"ip-address-type\":\"" type "\",\"prefix\":24}"
#define V4(text) IP("ipv4", text)
#define V6(text) IP("ipv6", text)

/* "ADDRESS ADDRESS | ADDRESS": of both cards. */
static void add_all(const struct agent_card *cards, struct strbuf *out)
{
    for (u32 i = 0; i < CARDS; i++) {
        if (i)
            strbuf_add(out, "|");
        for (u32 k = 0; k < cards[i].n; k++)
            strbuf_add(out, "%s%s", k ? " " : "", cards[i].address[k]);
    }
}

static int parse(const char *text, struct strbuf *ret)
{
    struct agent_card cards[CARDS];
    json_t *j = json_loads(text, 0, NULL);
    struct err e = {};
    int r;

    CHECK(j);
    memcpy(cards, own, sizeof(own));
    r = agent_nets(j, cards, CARDS, &e);
    CHECK_EQ(e.code, r);
    add_all(cards, ret);
    json_decref(j);
    return r;
}

TEST(agent_nets_kept)
{
    static const struct {
        const char *why, *text, *want;
    } rows[] = {
        { "none", "[]", "|" },
        { "one", "[" CARD(FIRST, V4("10.0.2.15")) "]", "10.0.2.15|" },
        { "capital letters", "[" CARD("52:54:00:AB:CD:EF", V4("10.0.2.15")) "]", "10.0.2.15|" },
        { "both, in the machine's order",
          "[" CARD(SECOND, V4("10.0.0.2")) "," CARD(FIRST, V4("10.0.0.1")) "]",
          "10.0.0.1|10.0.0.2" },
        { "IPv4 first",
          "[" CARD(FIRST, V6("2001:db8::2") "," V4("10.0.0.1") "," V6("2001:db8::1") "," V4(
                              "10.0.0.2")) "]",
          "10.0.0.1 10.0.0.2 2001:db8::2 2001:db8::1|" },
        { "twice",
          "[" CARD(FIRST, V4("10.0.0.1") "," V4("10.0.0.1")) "," CARD(FIRST, V4("10.0.0.1")) "]",
          "10.0.0.1|" },
        { "a bridge with the card's MAC", "[" CARD(FIRST, "") "," CARD(FIRST, V4("10.0.0.1")) "]",
          "10.0.0.1|" },
        { "the only form", "[" CARD(FIRST, V6("2001:0DB8:0:0:0:0:0:0001")) "]", "2001:db8::1|" },
        { "a private one is one", "[" CARD(FIRST, V6("fd00::1")) "]", "fd00::1|" },
        { "not the machine's", "[" CARD("02:42:00:00:00:01", V4("172.17.0.1")) "]", "|" },
        { "loopback", "[" CARD(FIRST, V4("127.0.0.1") "," V6("::1") "," V4("127.255.0.9")) "]",
          "|" },
        { "link-local", "[" CARD(FIRST, V4("169.254.7.7") "," V6("fe80::1") "," V6("febf::1")) "]",
          "|" },
        { "next to it",
          "[" CARD(FIRST, V4("169.253.7.7") "," V4("169.255.7.7") "," V6("fec0::1")) "]",
          "169.253.7.7 169.255.7.7 fec0::1|" },
        { "nobody's", "[" CARD(FIRST, V4("0.0.0.0") "," V6("::") "," V4("0.1.2.3")) "]", "|" },
        { "everybody's",
          "[" CARD(FIRST, V4("224.0.0.1") "," V4("255.255.255.255") "," V6("ff02::1")) "]", "|" },
        { "IPv4 in other clothes", "[" CARD(FIRST, V6("::ffff:127.0.0.1") "," V6("::10.0.0.1")) "]",
          "|" },
        { "of the other family", "[" CARD(FIRST, V4("2001:db8::1") "," V6("10.0.0.1")) "]", "|" },
        { "of no family",
          "[" CARD(FIRST, IP("ipx", "10.0.0.1") "," IP(
                              "ipv66", "2001:db8::1") ","
                                                      "{\"ip-address\":\"10.0.0.1\"}") "]",
          "|" },
        { "not quite",
          "[" CARD(FIRST, V4("10.1") "," V4("010.0.0.1") "," V4("10.0.0.1 ") "," V4(
                              "10.0.0.1/24") "," V6("fe80::1%eth0")) "]",
          "|" },
        { "a terminal's", "[" CARD(FIRST, V4("\\u001b[2J") "," V6("::\\u0007")) "]", "|" },
        { "MACs that are none",
          "[" CARD("", V4("10.0.0.1")) "," CARD("52:54:00:ab:cd", V4("10.0.0.1")) "," CARD(
              "52-54-00-ab-cd-ef",
              V4("10.0.0.1")) "," CARD(FIRST ":00", V4("10.0.0.1")) "," CARD("00:00:00:00:00:00",
                                                                             V4("10.0.0.1")) "]",
          "|" },
        { "other types",
          "[1,null,[],\"x\",{},{\"hardware-address\":7,\"ip-addresses\":[]},"
          "{\"hardware-address\":\"" FIRST "\",\"ip-addresses\":{\"a\":1}},"
          "{\"hardware-address\":\"" FIRST
          "\",\"ip-addresses\":[1,[],null,{\"ip-address\":1,\"ip-address-type\":2}]}," CARD(
              FIRST, V4("10.0.0.9")) "]",
          "10.0.0.9|" },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf got = {};

        ROW(c);
        CHECK_EQ(parse(c->text, &got), 0);
        CHECK_STR(got.text, c->want);
    }
}

TEST(agent_nets_no_list)
{
    static const char *const bad[] = { "{}", "{\"return\": []}" };

    for_each_row(b, bad) {
        AUTO(strbuf) struct strbuf got = {};

        CHECK_EQ(parse(*b, &got), -EBADMSG);
        CHECK_STR(got.text, "|");
    }
}

/* More than is kept: IPv4 before IPv6, the first before the others. */
TEST(agent_nets_many)
{
    static const struct {
        const char *why;
        u32 n_v6, n_v4, want_v4;
    } rows[] = {
        { "IPv6", 100, 0, 0 },
        { "IPv4", 0, 100, AGENT_CARD_ADDRESSES },
        { "an IPv4 at the end", 100, 1, 1 },
        { "and many", 100, 100, AGENT_CARD_ADDRESSES },
        { "as many as are kept", 3, AGENT_CARD_ADDRESSES - 3, AGENT_CARD_ADDRESSES - 3 },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf text = {};
        AUTO(free) char *all = NULL;
        struct agent_card cards[CARDS];
        struct err e = {};
        json_t *j;

        ROW(c);
        for (u32 i = 0; i < c->n_v6 + c->n_v4; i++) {
            const bool v4 = i >= c->n_v6;

            strbuf_add(&text, "%s{\"ip-address-type\":\"%s\",\"ip-address\":\"%s%x\"}",
                       i ? "," : "", v4 ? "ipv4" : "ipv6",
                       v4 ? "10.0.0." : "2001:db8::", v4 ? (i - c->n_v6) % 10 : i + 1);
        }
        all = str_new("[{\"hardware-address\":\"" FIRST "\",\"ip-addresses\":[%s]}]", text.text);
        j = json_loads(all, 0, NULL);
        CHECK(j);
        memcpy(cards, own, sizeof(own));
        CHECK_OK(agent_nets(j, cards, CARDS, &e), &e);
        json_decref(j);
        CHECK_EQ(cards[0].n, AGENT_CARD_ADDRESSES);
        CHECK_EQ(cards[0].n_v4, c->want_v4);
        CHECK_EQ(cards[1].n, 0);
        for (u32 i = 0; i < cards[0].n; i++) {
            AUTO(free)
            char *want = i < c->want_v4 ? str_new("10.0.0.%u", i)
                                        : str_new("2001:db8::%x", i - c->want_v4 + 1);

            CHECK_STR(cards[0].address[i], want);
        }
    }
}

/* A thousand cards, of which one is the machine's; and a name as long as a line may be. */
TEST(agent_nets_hostile)
{
    AUTO(strbuf) struct strbuf line = {}, got = {};
    struct agent_card cards[CARDS];
    struct err e = {};
    json_t *j;

    strbuf_add(&line, "{\"return\":[{\"hardware-address\":\"");
    for (u32 i = 0; i < 100000; i++)
        strbuf_add(&line, "A");
    strbuf_add(&line, "\"}");
    for (u32 i = 0; i < 1000; i++)
        strbuf_add(&line, ",{\"hardware-address\":\"52:54:00:00:%02x:%02x\",\"ip-addresses\":[%s]}",
                   i >> 8, i & 255, i == 2 ? V4("10.0.0.2") : "");
    strbuf_add(&line, "]}");
    j = agent_answer(line.text, line.len, &e);
    CHECK(j);
    memcpy(cards, own, sizeof(own));
    CHECK_OK(agent_nets(j, cards, CARDS, &e), &e);
    json_decref(j);
    add_all(cards, &got);
    CHECK_STR(got.text, "|10.0.0.2");
}
