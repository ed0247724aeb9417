# bench/idle.S: says 'r' on the serial port, and sleeps for ever: a machine that costs only what it is.  (Multiboot 0.6.96, 3.1)
    .section .text
    .code32
    .globl _start
    .align 4
    .long 0x1badb002
    .long 0
    .long -0x1badb002
_start:
    mov $0x3f8, %edx
    mov $'r', %al
    out %al, %dx
    cli
1:  hlt
    jmp 1b
