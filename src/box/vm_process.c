/*
 * box/vm_process.c: the table of VM_PROCESS, which both sides have.
 */
#include "box/oci.h"
#include "box/vm_guest.h"

const struct field vm_process_fields[] = {
    FIELD_STR(vm_process, config, "config.json", .required = true),
    FIELD_STR(vm_process, process, "another process than the first"),
    {},
};
