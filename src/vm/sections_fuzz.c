/*
 * vm/sections_fuzz.c: any bytes as the state of a small machine: refused with a reason, or what it holds then can be saved, loaded into
 * another machine, and is the same there.
 * An input is edits of a good state, {le16 place, byte} each, so that it gets past the names and lengths; 0xffff, and the rest replaces all.
 */
#include "testlib/fuzz.h"
#include "vm/state_rig.h"

#include <stdio.h>
#include <sys/mman.h>

static void open_machine(struct state_rig *r)
{
    static char members[200];
    struct err e = {};

    if (!members[0]) {
        int fd = memfd_create("kernel", MFD_CLOEXEC);

        must(fd >= 0 && fd_write_all(fd, rig_payload, sizeof(rig_payload)) == 0);
        str_fmt(members, sizeof(members),
                "\"memory\": 4194304, \"engine\": \"soft\", \"cpus\": 2, \"kernel\": "
                "\"/proc/self/fd/%d\"",
                fd);
    }
    must(state_rig_new(r, members, &e) == 0);
}

static void input(const struct strbuf *good, const u8 *data, size_t size, struct strbuf *out)
{
    strbuf_add_mem(out, good->text, good->len);
    for (; size >= 3; data += 3, size -= 3) {
        u64 at = le_load(data, 2);

        if (at == 0xffff) {
            strbuf_fini(out);
            *out = (struct strbuf){};
            strbuf_add_mem(out, data + 2, size - 2);
            return;
        }
        out->text[at % out->len] = (char)data[2];
    }
}

static void save(struct state_rig *r, struct strbuf *out)
{
    struct err e = {};

    must(sections_save(r->vm, out, &e) == 0);
}

FUZZ(sections)
{
    static struct strbuf good;
    struct state_rig r, other;
    AUTO(strbuf) struct strbuf in = {}, first = {}, second = {};
    struct err e = {};

    open_machine(&r);
    if (!good.len)
        save(&r, &good);
    input(&good, data, size, &in);
    if (sections_load(r.vm, in.text, in.len, &e) < 0) {
        must(e.text[0]);
    } else {
        save(&r, &first);
        open_machine(&other);
        must(sections_load(other.vm, first.text, first.len, &e) == 0);
        save(&other, &second);
        must(first.len == second.len && memcmp(first.text, second.text, first.len) == 0);
        state_rig_free(&other);
    }
    state_rig_free(&r);
}
