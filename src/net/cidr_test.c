/*
 * net/cidr_test.c: addresses with a prefix.
 */
#include "net/cidr.h"

#include "testlib/test.h"

TEST(cidr_reads)
{
    static const struct {
        const char *why, *text, *network; /* network NULL: refused */
    } rows[] = {
        { "IPv4", "10.77.3.1/22", "10.77.0.0/22" },
        { "all of IPv4", "1.2.3.4/0", "0.0.0.0/0" },
        { "one address", "10.0.0.1", "10.0.0.1/32" },
        { "IPv6", "fd12:3456:789a:1::5/63", "fd12:3456:789a::/63" },
        { "one address of IPv6", "::1", "::1/128" },
        { "too many bits", "10.0.0.1/33", NULL },
        { "too many bits of IPv6", "::1/129", NULL },
        { "no bits", "10.0.0.1/", NULL },
        { "negative bits", "10.0.0.1/-1", NULL },
        { "leading zero", "010.0.0.1/8", NULL },
        { "three parts", "10.0.1/8", NULL },
        { "nothing", "", NULL },
        { "long", "1111111111111111111111111111111111111111111111111111111111/8", NULL },
    };

    for_each_row(row, rows) {
        struct cidr c = {}, n;
        char text[CIDR_TEXT];

        ROW(row);
        if (!row->network) {
            CHECK_EQ(cidr_parse(row->text, &c), -EINVAL);
            CHECK_EQ(c.family, 0);
            continue;
        }
        CHECK_EQ(cidr_parse(row->text, &c), 0);
        n = cidr_network(&c);
        cidr_text(&n, text);
        CHECK_STR(text, row->network);
    }
}

TEST(cidr_overlap)
{
    static const struct {
        const char *why, *a, *b;
        bool overlap;
    } rows[] = {
        { "the same", "10.0.0.0/24", "10.0.0.0/24", true },
        { "one in the other", "10.0.0.0/8", "10.9.9.0/24", true },
        { "beside", "10.0.0.0/24", "10.0.1.0/24", false },
        { "everything", "0.0.0.0/0", "10.0.1.0/24", true },
        { "two families", "0.0.0.0/0", "::/0", false },
        { "IPv6", "fd00::/8", "fd12::1/64", true },
        { "IPv6 beside", "fd12:0:0:1::/64", "fd12:0:0:2::/64", false },
    };

    for_each_row(row, rows) {
        struct cidr a, b;

        ROW(row);
        CHECK(cidr_parse(row->a, &a) == 0 && cidr_parse(row->b, &b) == 0);
        CHECK_EQ(cidr_overlaps(&a, &b), row->overlap);
        CHECK_EQ(cidr_overlaps(&b, &a), row->overlap);
    }
}
