# test/payload/count.S: counts in memory until someone writes to `stop`, then ends with value 21 (status 43).  For a debugger.
.include "start.inc"
main:
    mov $text, %esi
    call puts
1:  call tick
    jmp 1b
    .globl tick, counter, stop
tick:
    incl counter
    cmpl $0, stop
    jne 2f
    ret
2:  mov $21, %eax
    jmp exit
text: .asciz "ready\n"
    .section .data
    .align 4
counter: .long 0
stop: .long 0
