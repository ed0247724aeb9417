# test/payload/hello.S: says hello and ends with value 21 (status 43).
.include "start.inc"
main:
    mov $text, %esi
    call puts
    mov $21, %eax
    jmp exit
text: .asciz "hello from the guest\n"
