# test/payload/echo.S: returns each character of the serial port with bit 5 flipped, until 'q' ends it with value 1.
.include "start.inc"
main:
    mov $ready, %esi
    call puts
1:  mov $0x3fd, %dx
    in %dx, %al
    test $1, %al
    jz 1b
    mov $0x3f8, %dx
    in %dx, %al
    cmp $'q', %al
    je 2f
    xor $0x20, %al
    mov %al, text
    mov $text, %esi
    call puts
    jmp 1b
2:  mov $1, %eax
    jmp exit
ready: .asciz "ready\n"
text:  .asciz "x"
