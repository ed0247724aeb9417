# test/payload/button.S: polls the event register for the power button, then switches itself off.
.include "start.inc"
main:
    mov $ready, %esi
    call puts
1:  mov $0x600, %edx
    in %dx, %eax
    test $1, %eax
    jz 1b
    mov $bye, %esi
    call puts
    mov $0x604, %edx
    mov $0x34, %al
    out %al, %dx
2:  hlt
    jmp 2b
ready: .asciz "ready\n"
bye:   .asciz "bye\n"
