# test/payload/reset.S: says what CMOS byte 0x40 holds, adds one, resets; the fifth time it ends with value 3.  CMOS outlives a reset.
# It resets by the reset register, port 0x92, the keyboard controller, and in real mode by a jump to the reset vector.
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
    dec %bl
    movzx %bl, %ebx
    jmp *ways(, %ebx, 4)
reset_register:
    mov $0xcf9, %edx
    mov $0x06, %al
    out %al, %dx
    jmp wait
port_92:
    mov $0x01, %al
    out %al, $0x92
    jmp wait
keyboard:
    mov $0xfe, %al
    out %al, $0x64
wait:
    hlt
    jmp wait
over:
    mov $3, %eax
    jmp exit
vector: # the 16-bit code is copied to where real mode reaches it
    cld
    mov $code16, %esi
    mov $0x6000, %edi
    mov $code16_end - code16, %ecx
    rep movsb
    lgdt gdtr
    ljmp $0x08, $0x6000
    .code16
code16:
    mov %cr0, %eax
    and $0xfe, %al
    mov %eax, %cr0
    ljmp $0xf000, $0xfff0
code16_end:
    .code32
    .align 8
gdt:
    .quad 0
    .quad 0x00009b000000ffff # 16-bit code
gdtr:
    .word gdtr - gdt - 1
    .long gdt
ways: .long reset_register, port_92, keyboard, vector, over
text: .asciz "0\n"
