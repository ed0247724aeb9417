# bench/exits.S: what a round trip out of the guest costs, in the guest's own cycles; prints a line "exit NAME CYCLES" each.
# Wants the PCI test device (src/dev/pci/testdev.c).  Without it: says so, ends with value 1.
.include "start.inc"
    .set WARM, 200          # exits before the measured ones: whatever is made on the first use is made
    .set LOOPS, 2000
    .set TESTDEV, 0x00051b36
    .set CONFIG, 0x80000000 # PCI configuration mechanism 1: address at port 0xcf8, data at 0xcfc
    .set NO_DOORBELL, 0     # the device's tests
    .set DOORBELL, 1

# Times LOOPS rounds of one or two instructions.  They find dx = serial line status, edi = the device's BAR 0,
# esi = where its test wants writes, al = the byte that it wants; only ebp and esp must be kept.
.macro row name, first, second
    mov $WARM, %ebp
    call load
10: \first
    \second
    dec %ebp
    jnz 10b
    mov $LOOPS, %ebp
    rdtsc
    mov %eax, began
    mov %edx, began + 4
    call load
11: \first
    \second
    dec %ebp
    jnz 11b
    rdtsc
    sub began, %eax
    sbb began + 4, %edx
    mov $LOOPS, %ecx
    div %ecx
    mov $12f, %esi
    call report
    jmp 13f
12: .asciz "exit \name "
13:
.endm

main:
    call find
    mov %eax, bar
    mov $NO_DOORBELL, %al
    call choose
    row cpuid, cpuid                    # stays in the kernel: the floor below which no VMM comes
    row pio-out, "out %al, $0x80"
    row pio-in, "in %dx, %al"
    row mmio-write, "mov %al, (%esi)"
    row mmio-read, "mov 4(%edi), %eax"
    mov $DOORBELL, %al
    call choose
    row doorbell, "mov %al, (%esi)"
    xor %eax, %eax
    ret

find:                                   # eax = BAR 0 of the test device, switched on
    mov $CONFIG, %ebx
1:  xor %ecx, %ecx
    call config
    cmp $TESTDEV, %eax
    je 2f
    add $0x800, %ebx
    cmp $(CONFIG + 0x10000), %ebx
    jb 1b
    mov $missing, %esi
    call puts
    mov $1, %eax
    jmp exit
2:  mov $4, %ecx                        # command: decode ports and memory
    call config
    or $3, %eax
    mov $0xcfc, %edx
    out %eax, %dx
    mov $0x10, %ecx
    call config
    and $-16, %eax
    ret

config:                                 # eax = register ecx of the function that ebx names, which the data port shows from now on
    lea (%ebx, %ecx), %eax
    mov $0xcf8, %edx
    out %eax, %dx
    mov $0xcfc, %edx
    in %dx, %eax
    ret

choose:                                 # the device's test al; learns where it wants its writes
    mov bar, %edi
    mov %al, (%edi)
    mov 4(%edi), %esi
    add %edi, %esi
    mov %esi, target
    mov 8(%edi), %al
    mov %al, byte
    ret

load:
    mov $0x3fd, %edx
    mov bar, %edi
    mov target, %esi
    movzbl byte, %eax
    ret

report:                                 # text at esi, then eax in decimal
    push %eax
    call puts
    pop %eax
    mov $digits_end, %esi
    mov $10, %ecx
1:  xor %edx, %edx
    div %ecx
    add $'0', %dl
    dec %esi
    mov %dl, (%esi)
    test %eax, %eax
    jnz 1b
    jmp puts

missing: .asciz "exits: no test device\n"
    .skip 10
digits_end: .asciz "\n"
    .align 8
began:  .quad 0
bar:    .long 0
target: .long 0
byte:   .byte 0
