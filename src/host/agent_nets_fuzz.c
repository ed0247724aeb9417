/*
 * host/agent_nets_fuzz.c: a hostile guest's answer about its network cards.
 * Oracle: what is kept is an address in its only form, could be reached from elsewhere, is there once, and IPv4 comes first; and the same is kept
 * of an answer that says everything twice.
 */
#include "host/agent_nets.h"

#include "host/agent_text.h"
#include "testlib/fuzz.h"

#include <arpa/inet.h>

static const struct agent_card cards[] = {
    { .mac = { 0x52, 0x54, 0x00, 0xab, 0xcd, 0xef } },
    { .mac = { 0x52, 0x54, 0x00, 0x00, 0x00, 0x02 } },
};

static void check_text(const char *text, bool v4)
{
    static const u8 none[16], loopback[16] = { [15] = 1 };
    char again[AGENT_ADDRESS_TEXT];
    u8 ip[16];

    must(inet_pton(v4 ? AF_INET : AF_INET6, text, ip) == 1);
    must(strcmp(inet_ntop(v4 ? AF_INET : AF_INET6, ip, again, sizeof(again)), text) == 0);
    if (v4)
        must(ip[0] && ip[0] != 127 && ip[0] < 224 && (ip[0] != 169 || ip[1] != 254));
    else
        must(memcmp(ip, none, 16) != 0 && memcmp(ip, loopback, 16) != 0 && ip[0] != 0xff &&
             (ip[0] != 0xfe || ip[1] >> 6 != 2));
}

static void check_card(const struct agent_card *c)
{
    must(c->n <= AGENT_CARD_ADDRESSES && c->n_v4 <= c->n);
    for (u32 i = 0; i < c->n; i++) {
        check_text(c->address[i], i < c->n_v4);
        for (u32 k = 0; k < i; k++)
            must(strcmp(c->address[i], c->address[k]) != 0);
    }
}

/* But for what fell out. */
static void check_same(const struct agent_card *a, const struct agent_card *b)
{
    must(a->n == b->n);
    for (u32 i = 0; a->n < AGENT_CARD_ADDRESSES && i < a->n; i++)
        must(strcmp(a->address[i], b->address[i]) == 0);
}

FUZZ(agent_nets)
{
    struct agent_card once[ARRAY_LEN(cards)], twice[ARRAY_LEN(cards)];
    struct err e = {};
    json_t *j = agent_answer((const char *)data, size, &e);

    if (!j)
        return;
    memcpy(once, cards, sizeof(cards));
    if (agent_nets(j, once, ARRAY_LEN(once), &e) < 0) {
        must(e.code == -EBADMSG && !json_is_array(j));
    } else {
        for_each_row(c, once)
            check_card(c);
        memcpy(twice, once, sizeof(once));
        must(agent_nets(j, twice, ARRAY_LEN(twice), &e) == 0);
        for_each_row(c, once)
            check_same(c, &twice[c - once]);
    }
    json_decref(j);
}
