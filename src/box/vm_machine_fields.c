/*
 * box/vm_machine_fields.c: the table of struct vm_machine, which socle-box and socle-box-vm have.
 */
#include "box/vm_machine.h"

const struct field vm_machine_fields[] = {
    FIELD_STR(vm_machine, dir, "folder of its state", .required = true),
    FIELD_STR(vm_machine, root, "root file system", .required = true),
    FIELD_STR(vm_machine, program, "socle-vm", .required = true),
    FIELD_STR(vm_machine, kernel, "kernel", .required = true),
    FIELD_STR(vm_machine, initrd, "initial RAM disk", .required = true),
    FIELD_STR(vm_machine, process, "what runs in it", .required = true),
    FIELD_INT(vm_machine, memory, "bytes", .required = true),
    FIELD_INT(vm_machine, cpus, "CPUs", .required = true),
    {},
};
