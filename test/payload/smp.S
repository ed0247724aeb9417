# test/payload/smp.S: starts the other CPUs by INIT and SIPI (Intel SDM volume 3, 9.4); each adds itself; prints how many there are.
.include "start.inc"
    .set LAPIC, 0xfee00000
    .set TRAMPOLINE, 0x8000
main:
    mov $trampoline, %esi
    mov $TRAMPOLINE, %edi
    mov $(trampoline_end - trampoline), %ecx
    rep movsb
    movl $0x1ff, LAPIC + 0xf0          # enable the APIC
    movl $0x000c4500, LAPIC + 0x300    # INIT, all but self
    mov $10000, %ecx
1:  pause
    loop 1b
    movl $0x000c4608, LAPIC + 0x300    # SIPI, vector 8
    mov $200000, %ecx
2:  pause
    cmpl $3, TRAMPOLINE + 0x100
    jae 3f
    loop 2b
3:  mov TRAMPOLINE + 0x100, %eax
    add $'1', %al
    mov %al, text
    mov $text, %esi
    call puts
    mov $0, %eax
    jmp exit
text: .asciz "0 CPUs\n"
trampoline:
    .code16
    xor %ax, %ax
    mov %ax, %ds
    lock incl TRAMPOLINE + 0x100
4:  hlt
    jmp 4b
trampoline_end:
    .code32
