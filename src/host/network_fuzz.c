/*
 * host/network_fuzz.c: any JSON text as a network with a card on it: refused, or what the packet filter is told is JSON, and dnsmasq is told
 * nothing that we do not know.
 * Input: a network, a NUL, a card.
 */
#include "host/host.h"
#include "host/nic.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

static void check_json(char *text)
{
    json_t *j = json_loads(text, 0, NULL);

    must(j);
    json_decref(j);
    free(text);
}

static bool is_known(const char *line, size_t len)
{
    static const char *const starts[] = {
        "# Written by socled",
        "interface=",
        "except-interface=lo",
        "bind-interfaces",
        "no-hosts",
        "domain=",
        "local=/",
        "expand-hosts",
        "domain-needed",
        "bogus-priv",
        "dhcp-authoritative",
        "dhcp-range=",
        "dhcp-no-override",
        "dhcp-leasefile=",
        "pid-file=/f/pid",
        "user=nobody",
        "log-facility=-",
        "quiet-dhcp",
        "quiet-ra",
        "enable-ra",
        "no-resolv",
        "dhcp-option=3",
        "dhcp-host=",
        "host-record=",
    };

    for_each_row(s, starts)
        if (len >= strlen(*s) && strncmp(line, *s, strlen(*s)) == 0)
            return true;
    return false;
}

static void check_names(char *text)
{
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
        must(is_known(line, strcspn(line, "\n")));
    free(text);
}

FUZZ(network)
{
    const u8 *nul = memchr(data, 0, size);
    const size_t len = nul ? (size_t)(nul - data) : size;
    struct host h = { .dir = (char[]){ "/f" } };
    struct network_cfg c = {};
    struct vm_net card = {};
    json_t *j;

    if (conf_load((const char *)data, len, &j, NULL) < 0)
        return;
    if (network_parse(&c, j, NULL) >= 0 && (c.ipv4 || !network_is_managed(&c))) {
        json_t *again = conf_print(network_fields, &c);
        AUTO(free) char *text = json_dumps(again, 0);

        must(network_load_locked(&h, c.name, text, strlen(text), 1, NULL) == 0);
        json_decref(again);
        check_json(network_rules_locked(&h));
        if (network_is_managed(&c))
            check_names(network_names_text_locked(&h, h.nets.list[0], "/f"));
        if (nul &&
            conf_parse_text(conf_field_at(spec_fields, offsetof(struct vm_spec, nets))->sub, &card,
                            (const char *)nul + 1, size - len - 1, NULL) >= 0 &&
            card.mac)
            check_json(network_card_rules("socle", "t0", &card, &c));
        conf_fini(conf_field_at(spec_fields, offsetof(struct vm_spec, nets))->sub, &card);
        network_free(h.nets.list[0]);
        free(h.nets.list);
    }
    conf_fini(network_fields, &c);
    json_decref(j);
}
