/*
 * box/vm_link_fuzz.c: any bytes as frames of a guest or a host: what is taken from them is what adding them again makes, and the question
 * that a process is asked for with is read or refused.
 */
#include "box/vm_link.h"

#include "box/vm_guest.h"
#include "testlib/fuzz.h"

static void question(const char *text, u32 len)
{
    struct vm_process ask = {};

    (void)conf_parse_text(vm_process_fields, &ask, text, len, NULL);
    conf_fini(vm_process_fields, &ask);
}

FUZZ(vm_link)
{
    struct vm_link in, out;
    const char *bytes;
    u32 len;
    int kind = 0;

    vm_link_init(&in, -1, VM_PART_MAX);
    vm_link_init(&out, -1, VM_PART_MAX);
    strbuf_add_mem(&in.in, data, size);
    while ((kind = vm_link_next(&in, &bytes, &len)) > 0) {
        must(len <= VM_PART_MAX && bytes >= in.in.text && bytes + len <= in.in.text + in.in.len);
        vm_link_add(&out, (enum vm_frame)kind, bytes, len);
        if (kind == VM_PROCESS)
            question(bytes, len);
        vm_link_drop(&in);
    }
    must(out.out.len + in.in.len == size);
    must(!out.out.len || memcmp(out.out.text, data, out.out.len) == 0);
    vm_link_fini(&in);
    vm_link_fini(&out);
}
