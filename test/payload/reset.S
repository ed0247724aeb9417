# test/payload/reset.S: says what CMOS byte 0x40 holds, adds one, resets; the third time it ends with value 3.  CMOS outlives a reset.
.include "start.inc"
main:
    mov $0x40, %al
    out %al, $0x70
    in $0x71, %al
    mov %al, %bl
    add $'0', %al
    mov %al, text
    mov $text, %esi
    call puts
    inc %bl
    mov $0x40, %al
    out %al, $0x70
    mov %bl, %al
    out %al, $0x71
    cmp $3, %bl
    jne 1f
    mov $3, %eax
    jmp exit
1:  mov $0xcf9, %edx
    mov $0x06, %al
    out %al, %dx
2:  hlt
    jmp 2b
text: .asciz "0\n"
