# test/payload/poweroff.S: the ACPI sleep control register: SLP_TYP 5, SLP_EN.  (ACPI 6.4, 4.8.3.7)
.include "start.inc"
main:
    mov $0x604, %edx
    mov $0x34, %al
    out %al, %dx
1:  hlt
    jmp 1b
