# test/payload/heart.S: sleeps until it is asked: to each byte it says how many it got, `d` makes it deaf to the power button, which else switches it off.
.include "start.inc"
    .set APIC, 0xfee00000
main:
    lgdt gdt_at
    ljmp $8, $1f
1:  mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    movl $0xff, APIC + 0xe0     # flat model (SDM 3A, 11.6.2.2)
    mov $tick, %eax             # a gate for vector 0x40
    mov %ax, idt + 0x40 * 8
    movw $8, idt + 0x40 * 8 + 2
    movw $0x8e00, idt + 0x40 * 8 + 4
    shr $16, %eax
    mov %ax, idt + 0x40 * 8 + 6
    lidt idt_at
    mov $0xff, %al              # no interrupt of a PIC (8259A, OCW1), such as the button's
    out %al, $0x21
    out %al, $0xa1
    movl $0x1ff, APIC + 0xf0    # on
    movl $0xb, APIC + 0x3e0     # divided by 1
    movl $0x20040, APIC + 0x320 # periodic
    movl $100000000, APIC + 0x380
    mov $ready, %esi
    call puts
sleep:
    sti
    hlt
    cli
    cmpb $0, deaf
    jne 2f
    mov $0x600, %edx            # of the event block: the power button's bit
    in %dx, %eax
    test $1, %al
    jnz off
2:  mov $0x3fd, %edx
    in %dx, %al
    test $1, %al
    jz sleep
    mov $0x3f8, %edx
    in %dx, %al
    cmp $'d', %al
    jne 3f
    movb $1, deaf
3:  incl count
    call say_count
    jmp 2b
off:
    mov $bye, %esi
    call puts
    mov $0x604, %edx
    mov $0x34, %al
    out %al, %dx
4:  hlt
    jmp 4b

say_count:                      # "count N\n"
    mov $end, %edi
    mov count, %eax
    mov $10, %ebx
1:  xor %edx, %edx
    div %ebx
    add $'0', %dl
    dec %edi
    mov %dl, (%edi)
    test %eax, %eax
    jnz 1b
    mov $text, %esi
    call puts
    mov %edi, %esi
    call puts
    ret

tick:
    movl $0, APIC + 0xb0        # end of interrupt
    iret

ready: .asciz "ready\n"
text:  .asciz "count "
bye:   .asciz "bye\n"
    .section .data
    .align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_at: .word 23
    .long gdt
idt_at: .word 0x40 * 8 + 7
    .long idt
count: .long 0
deaf: .byte 0
    .skip 10
end: .asciz "\n"
    .section .bss
    .align 8
idt: .skip 0x41 * 8
