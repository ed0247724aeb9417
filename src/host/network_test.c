/*
 * host/network_test.c: what networks and cards may be, and what the packet filter and dnsmasq are told.  Nothing of the host is changed:
 * test/sys/network.sh does.
 */
#include "host/network.h"

#include "host/nic.h"
#include "testlib/test.h"

#include <stdlib.h>

static int parse(const char *text, struct network_cfg *c, struct err *e)
{
    json_t *j = json_loads(text, 0, NULL);
    int r;

    must(j);
    r = network_parse(c, j, e);
    json_decref(j);
    return r;
}

TEST(network_checks)
{
    static const struct {
        const char *why, *text, *error; /* error NULL: accepted */
    } rows[] = {
        { "least", "{\"name\": \"a\"}", NULL },
        { "all",
          "{\"name\": \"a\", \"kind\": \"isolated\", \"ipv4\": \"10.1.0.1/16\", \"ipv6\": "
          "\"fd00::1/64\", \"domain\": \"x.y\"}",
          NULL },
        { "no IPv6", "{\"name\": \"a\", \"ipv6\": \"none\"}", NULL },
        { "a folder of /proc/sys", "{\"name\": \"all\"}", "'name' is" },
        { "long", "{\"name\": \"abcdefghijklmnop\"}", "'name' is" },
        { "a path", "{\"name\": \"a/b\"}", "'name' is" },
        { "digit first", "{\"name\": \"1a\"}", "'name' is" },
        { "the network's own address", "{\"name\": \"a\", \"ipv4\": \"10.1.0.0/24\"}",
          "'ipv4' is" },
        { "everybody's address", "{\"name\": \"a\", \"ipv4\": \"10.1.0.255/24\"}", "'ipv4' is" },
        { "too large", "{\"name\": \"a\", \"ipv4\": \"10.1.0.1/15\"}", "'ipv4' is" },
        { "too small", "{\"name\": \"a\", \"ipv4\": \"10.1.0.1/30\"}", "'ipv4' is" },
        { "loopback", "{\"name\": \"a\", \"ipv4\": \"127.1.0.1/24\"}", "'ipv4' is" },
        { "group", "{\"name\": \"a\", \"ipv4\": \"224.1.0.1/24\"}", "'ipv4' is" },
        { "IPv6 as IPv4", "{\"name\": \"a\", \"ipv4\": \"fd00::1/64\"}", "'ipv4' is" },
        { "IPv6 with other bits", "{\"name\": \"a\", \"ipv6\": \"fd00::1/63\"}", "'ipv6' is" },
        { "IPv6 of a link", "{\"name\": \"a\", \"ipv6\": \"fe80::1/64\"}", "'ipv6' is" },
        { "IPv6 of a router", "{\"name\": \"a\", \"ipv6\": \"fd00::/64\"}", "'ipv6' is" },
        { "domain with a line", "{\"name\": \"a\", \"domain\": \"a\\nuser=root\"}", "'domain' is" },
        { "domain with an empty part", "{\"name\": \"a\", \"domain\": \"a..b\"}", "'domain' is" },
        { "bridged to nothing", "{\"name\": \"a\", \"kind\": \"bridged\"}",
          "'interface' is missing" },
        { "bridged with a quote",
          "{\"name\": \"a\", \"kind\": \"bridged\", \"interface\": \"a'b\"}", "'interface' is" },
        { "bridged with a range",
          "{\"name\": \"a\", \"kind\": \"bridged\", \"interface\": \"e\", \"ipv4\": "
          "\"10.1.0.1/24\"}",
          "'ipv4' is for" },
        { "interface of a nat network", "{\"name\": \"a\", \"interface\": \"eth0\"}",
          "'interface' is for" },
        { "user with a range", "{\"name\": \"a\", \"kind\": \"user\", \"ipv6\": \"fd00::1/64\"}",
          "'ipv6' is for" },
        { "no member", "{\"name\": \"a\", \"mtu\": 5}", "mtu" },
    };

    for_each_row(row, rows) {
        struct network_cfg c = {};
        struct err e = {};
        int r = parse(row->text, &c, &e);

        ROW(row);
        if (row->error) {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, row->error);
        } else {
            CHECK_OK(r, &e);
        }
        conf_fini(network_fields, &c);
    }
}

/* A host that is records only: whose user has no right to change anything. */
struct rig {
    struct loop loop;
    struct host host;
};

static void add_network(struct host *h, const char *name, const char *text)
{
    struct err e = {};

    CHECK_OK(network_load_locked(h, name, text, strlen(text), 1, &e), &e);
}

static void rig_open(struct rig *r, const char *name)
{
    AUTO(free) char *dir = str_new("%s/%s", test_dir(), name);
    struct err e = {};

    *r = (struct rig){};
    CHECK_EQ(loop_init(&r->loop, "test"), 0);
    CHECK_OK(host_open(&r->host, dir, &r->loop, &e), &e);
    r->host.uid = 1;
    r->host.cgroup_asked = true; /* there are none */
    add_network(&r->host, "n",
                "{\"name\": \"n\", \"ipv4\": \"10.1.0.1/29\", \"ipv6\": \"fd01::1/64\"}");
    add_network(
        &r->host, "i",
        "{\"name\": \"i\", \"kind\": \"isolated\", \"ipv4\": \"10.2.0.1/24\", \"ipv6\": \"none\"}");
    add_network(&r->host, "u", "{\"name\": \"u\", \"kind\": \"user\"}");
}

static void rig_close(struct rig *r)
{
    host_close(&r->host);
    loop_fini(&r->loop);
}

/* An instance with these cards; its tasks wait for ever. */
static int add(struct rig *r, const char *name, const char *nets, struct err *e)
{
    AUTO(free)
    char *text = str_new("{\"name\": \"%s\", \"kernel\": \"/k\", \"nets\": [%s]}", name, nets);
    json_t *j = json_loads(text, 0, NULL);
    const struct host_who who = { 0 };
    struct instance_cfg cfg = {};
    u64 task;
    int code;

    must(j);
    *e = (struct err){};
    code = instance_parse(&cfg, j, e);
    json_decref(j);
    if (code >= 0)
        code = host_create(&r->host, &cfg, &who, &task, e);
    instance_cfg_fini(&cfg);
    return code;
}

static const struct vm_net *card(struct rig *r, const char *name, u32 k)
{
    const struct instance *i = host_find_locked(&r->host, name);

    must(i && k < i->cfg.spec.nets.n);
    return spec_net(&i->cfg.spec, k);
}

TEST(nic_addresses)
{
    struct rig r;
    struct err e;

    rig_open(&r, "nic_addresses");
    CHECK_OK(add(&r, "a", "{\"network\": \"n\"}, {\"network\": \"n\"}, {\"network\": \"u\"}", &e),
             &e);
    CHECK_STR(card(&r, "a", 0)->address, "10.1.0.2");
    CHECK_STR(card(&r, "a", 1)->address, "10.1.0.3");
    CHECK(!card(&r, "a", 2)->address);
    CHECK_OK(add(&r, "b", "{\"network\": \"n\", \"address\": \"10.1.0.5\"}", &e), &e);
    CHECK_EQ(add(&r, "c", "{\"network\": \"n\", \"address\": \"10.1.0.5\"}", &e), -EEXIST);
    CHECK_EQ(add(&r, "c", "{\"network\": \"n\", \"address\": \"10.1.0.1\"}", &e),
             -EEXIST); /* the host's */
    CHECK_EQ(add(&r, "c", "{\"network\": \"n\", \"address\": \"10.1.0.7\"}", &e),
             -EEXIST); /* everybody's */
    CHECK_EQ(add(&r, "c", "{\"network\": \"n\", \"address\": \"10.1.0.8\"}", &e), -EINVAL);
    CHECK_EQ(add(&r, "c", "{\"network\": \"x\"}", &e), -ENOENT);
    CHECK_EQ(add(&r, "c", "{\"network\": \"u\", \"address\": \"10.1.0.4\"}", &e), -EINVAL);
    CHECK_OK(add(&r, "c", "{\"network\": \"n\"}, {\"network\": \"n\"}", &e), &e);
    CHECK_STR(card(&r, "c", 0)->address, "10.1.0.4");
    CHECK_STR(card(&r, "c", 1)->address, "10.1.0.6");
    CHECK_EQ(add(&r, "d", "{\"network\": \"n\"}", &e), -ENOSPC);
    CHECK_STR(e.field, "nets");
    rig_close(&r);
}

TEST(nic_macs)
{
    static const char nets[] = "{\"network\": \"n\", \"mac\": \"52:54:00:00:00:0A\"}";
    struct rig r;
    struct err e;

    rig_open(&r, "macs");
    CHECK_OK(add(&r, "a", "{\"kind\": \"user\"}, {\"network\": \"i\"}", &e), &e);
    CHECK(card(&r, "a", 0)->mac && strcmp(card(&r, "a", 0)->mac, card(&r, "a", 1)->mac) != 0);
    CHECK_OK(add(&r, "b", nets, &e), &e);
    CHECK_EQ(add(&r, "c", "{\"kind\": \"user\", \"mac\": \"52:54:00:00:00:0a\"}", &e), -EEXIST);
    rig_close(&r);
}

TEST(nic_forwards)
{
    struct rig r;
    struct err e;

    rig_open(&r, "forwards");
    CHECK_OK(add(&r, "a",
                 "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:80:8080\"}, {\"rule\": "
                 "\"udp:80:80\"}]}",
                 &e),
             &e);
    CHECK_EQ(add(&r, "b", "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:80:1\"}]}", &e),
             -EEXIST);
    CHECK_EQ(
        add(&r, "b", "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:192.0.2.1:80:1\"}]}", &e),
        -EEXIST);
    CHECK_EQ(
        add(&r, "b",
            "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:1:1\"}, {\"rule\": \"tcp:1:2\"}]}",
            &e),
        -EEXIST);
    CHECK_EQ(
        add(&r, "b", "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:127.0.0.1:1:1\"}]}", &e),
        -EINVAL);
    CHECK_EQ(add(&r, "b", "{\"network\": \"i\", \"forward\": [{\"rule\": \"tcp:1:1\"}]}", &e),
             -EINVAL);
    CHECK_OK(
        add(&r, "b", "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:192.0.2.1:81:1\"}]}", &e),
        &e);
    CHECK_OK(
        add(&r, "c", "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:192.0.2.2:81:1\"}]}", &e),
        &e);
    rig_close(&r);
}

/* What a running machine's card was promised stays; anything else of it may be edited. */
TEST(nic_edits)
{
    struct rig r;
    struct err e;
    bool restart;
    json_t *nets = json_pack("{s:[{s:s}]}", "nets", "network", "i"),
           *notes = json_pack("{s:s}", "notes", "x");

    rig_open(&r, "nic_edits");
    CHECK_OK(add(&r, "a", "{\"network\": \"n\"}", &e), &e);
    CHECK_OK(host_edit(&r.host, "a", nets, 0, &restart, &e), &e);
    CHECK_STR(card(&r, "a", 0)->address, "10.2.0.2");
    host_find_locked(&r.host, "a")->run.state = HOST_RUNNING;
    CHECK_OK(host_edit(&r.host, "a", notes, 0, &restart, &e), &e);
    json_object_set_new(nets, "nets", json_array());
    CHECK_EQ(host_edit(&r.host, "a", nets, 0, &restart, &e), -EBUSY);
    host_find_locked(&r.host, "a")->run.state = HOST_OFF;
    CHECK_OK(host_edit(&r.host, "a", nets, 0, &restart, &e), &e);
    json_decref(nets);
    json_decref(notes);
    rig_close(&r);
}

/* All is one JSON text; forwards lead to machines that run only. */
TEST(network_rules)
{
    struct rig r;
    struct err e;
    char *text;
    json_t *j;

    rig_open(&r, "rules");
    CHECK_OK(add(&r, "a", "{\"network\": \"n\", \"forward\": [{\"rule\": \"tcp:80:8080\"}]}", &e),
             &e);
    text = network_rules_locked(&r.host);
    CHECK(!strstr(text, "dnat\": {"));
    free(text);
    host_find_locked(&r.host, "a")->run.state = HOST_RUNNING;
    text = network_rules_locked(&r.host);
    j = json_loads(text, 0, NULL);
    CHECK(j);
    json_decref(j);
    CHECK_HAS(text, "{\"dnat\": {\"family\": \"ip\", \"addr\": \"10.1.0.2\", \"port\": 8080}}");
    CHECK_HAS(text, "\"addr\": \"fd01::\", \"len\": 64");
    free(text);
    text = network_card_rules("socle", "t0", card(&r, "a", 0),
                              &network_find_locked(&r.host, "n")->cfg);
    j = json_loads(text, 0, NULL);
    CHECK(j);
    json_decref(j);
    CHECK_HAS(text, "[\"0.0.0.0\", \"10.1.0.2\"]");
    CHECK(!strstr(text, "limit"));
    free(text);
    host_find_locked(&r.host, "a")->run.state = HOST_OFF;
    rig_close(&r);
}

TEST(network_names)
{
    struct rig r;
    struct err e;
    char *text;

    rig_open(&r, "names");
    CHECK_OK(add(&r, "web_1.x",
                 "{\"network\": \"n\", \"mac\": \"52:54:00:00:00:01\"}, {\"network\": \"n\", "
                 "\"mac\": \"52:54:00:00:00:02\"}",
                 &e),
             &e);
    text = network_names_text_locked(&r.host, network_find_locked(&r.host, "n"), "/f");
    CHECK_HAS(text, "\ndhcp-host=52:54:00:00:00:01,10.1.0.2,web-1-x\nhost-record=web-1-x,web-1-x."
                    "internal,10.1.0.2\n"
                    "dhcp-host=52:54:00:00:00:02,10.1.0.3\n");
    CHECK_HAS(text, "\ndhcp-range=10.1.0.0,static,255.255.255.248,1h\n");
    free(text);
    text = network_names_text_locked(&r.host, network_find_locked(&r.host, "i"), "/f");
    CHECK(!strstr(text, "dhcp-host") && !strstr(text, "enable-ra"));
    CHECK_HAS(text, "\nno-resolv\n");
    free(text);
    rig_close(&r);
}

TEST(network_asked)
{
    struct network_ask any = {}, old = { .rev = 99 };
    struct network_cfg cfg = {};
    struct err e = {};
    struct rig r;
    json_t *j;

    rig_open(&r, "network_asked");
    CHECK_OK(parse("{\"name\": \"x\"}", &cfg, &e), &e);
    CHECK_EQ(network_create(&r.host, &cfg, &any, &e), -EPERM);
    conf_fini(network_fields, &cfg);
    CHECK_OK(parse("{\"name\": \"x\", \"kind\": \"user\"}", &cfg, &e), &e);
    CHECK_OK(network_create(&r.host, &cfg, &any, &e), &e);
    CHECK_OK(add(&r, "a", "{\"network\": \"x\"}, {\"network\": \"n\"}", &e), &e);
    CHECK_EQ(network_delete(&r.host, "x", &any, &e), -EBUSY);
    CHECK_EQ(network_delete(&r.host, "y", &any, &e), -ENOENT);
    j = json_pack("{s:s}", "kind", "nat");
    CHECK_EQ(network_edit(&r.host, "x", j, &any, &e), -EINVAL);
    json_decref(j);
    any.rev = 0; /* it was filled in */
    j = json_pack("{s:s}", "domain", "lan");
    CHECK_EQ(network_edit(&r.host, "x", j, &old, &e), -ESTALE);
    CHECK_OK(network_edit(&r.host, "x", j, &any, &e), &e);
    CHECK_STR(network_find_locked(&r.host, "x")->cfg.domain, "lan");
    json_decref(j);
    rig_close(&r);
    rig_open(&r, "network_asked2");
    CHECK_EQ(r.host.nets.n, 3);
    rig_close(&r);
}
