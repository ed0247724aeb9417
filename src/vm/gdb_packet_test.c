/*
 * vm/gdb_packet_test.c: framing of gdb's protocol.
 */
#include "vm/gdb_packet.h"

#include "testlib/test.h"

TEST(gdb_packet_tokens)
{
    static const struct {
        const char *why, *bytes, *tokens; /* a letter each: p packet, + - b break, g garbled */
        const char *data;
    } rows[] = {
        { "a packet", "$g#67", "p", "g" },
        { "an empty one", "$#00", "p", "" },
        { "capital digits", "$m#6D", "p", "m" },
        { "an escaped $", "$a}\004#e2", "p", "a$" },
        { "wrong checksum", "$g#68", "g", NULL },
        { "a checksum that is none", "$g#6x", "g", NULL },
        { "noise, acknowledgements, a break", "xx+-\003", "+-b", NULL },
        { "the rest was lost", "$gar$g#67", "p", "g" },
        { "two", "$g#67$m#6d", "pp", "m" },
        { "a break is data inside a packet", "$\003#03", "p", "\003" },
    };
    static const char letters[] = { [GDB_PACKET] = 'p', [GDB_ACK] = '+',     [GDB_NAK] = '-',
                                    [GDB_BREAK] = 'b',  [GDB_GARBLED] = 'g', [GDB_TOO_LONG] = 'l' };

    for_each_row(c, rows) {
        static struct gdb_reader r;
        char got[16] = {};
        size_t n = 0;

        ROW(c);
        r = (struct gdb_reader){};
        for (const char *p = c->bytes; *p; p++) {
            enum gdb_token t = gdb_packet_feed(&r, (u8)*p);

            if (t != GDB_NOTHING)
                got[n++] = letters[t];
        }
        CHECK_STR(got, c->tokens);
        if (c->data)
            CHECK_STR(r.data, c->data);
    }
}

TEST(gdb_packet_limit)
{
    static struct gdb_reader r;

    gdb_packet_feed(&r, '$');
    for (u32 i = 0; i < GDB_PACKET_MAX; i++)
        CHECK_EQ(gdb_packet_feed(&r, 'a'), GDB_NOTHING);
    CHECK_EQ(gdb_packet_feed(&r, 'a'), GDB_TOO_LONG);
    CHECK_EQ(gdb_packet_feed(&r, '+'), GDB_ACK);
}

TEST(gdb_packet_round_trip)
{
    static struct gdb_reader r;
    AUTO(strbuf) struct strbuf out = {};
    u8 all[256];

    for (u32 i = 0; i < 256; i++)
        all[i] = (u8)i;
    gdb_packet_add(&out, all, sizeof(all));
    for (size_t i = 0; i < out.len; i++)
        CHECK_EQ(gdb_packet_feed(&r, (u8)out.text[i]), i + 1 < out.len ? GDB_NOTHING : GDB_PACKET);
    CHECK_EQ(r.len, 256);
    CHECK_MEM(r.data, all, 256);
}

TEST(gdb_packet_numbers)
{
    static const struct {
        const char *why, *text;
        bool ok;
        u64 value;
        size_t used;
    } rows[] = {
        { "one digit", "7,", true, 7, 1 },
        { "16 digits", "ffffffffffffffff:", true, ~0ull, 16 },
        { "17 digits", "10000000000000000", false, 0, 0 },
        { "none", ",", false, 0, 0 },
    };

    for_each_row(c, rows) {
        const char *p = c->text;
        u64 v = 0;

        ROW(c);
        CHECK_EQ(gdb_hex_number(&p, &v), c->ok);
        CHECK_EQ(v, c->value);
        if (c->ok)
            CHECK_EQ((size_t)(p - c->text), c->used);
    }
}
