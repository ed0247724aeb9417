# bench/fill.S: writes to each page from 8 MiB to the end of low RAM, says "F", and waits for another VM generation id: then the machine
# was restored, it says the character 2 and ends with value 0.  With a '+' in its command line it reads 1024 pages here and there before, and
# then waits for ever.  (src/fw/layout.h: LAYOUT_VMGENID; Multiboot 0.6.96, 3.3: mem_upper, cmdline)
.include "start.inc"
main:
    mov 8(%ebx), %ecx           # KiB above 1 MiB
    shr $2, %ecx
    sub $(7 * 256), %ecx        # pages from 8 MiB on
    mov %ecx, pages
    mov $0x800000, %edi
1:  mov %edi, (%edi)
    add $4096, %edi
    loop 1b
    mov 0xef000, %ebp
    mov $full, %esi
    call puts
2:  pause
    cmp %ebp, 0xef000
    je 2b
    mov 16(%ebx), %esi
3:  lodsb
    cmp $'+', %al
    je reads
    test %al, %al
    jne 3b
    mov $restored, %esi
    call puts
    xor %eax, %eax
    jmp exit

reads:
    mov $1024, %ecx
    mov $1, %eax
4:  imul $1103515245, %eax      # the usual linear congruence
    add $12345, %eax
    push %eax
    shr $8, %eax
    xor %edx, %edx
    divl pages                  # edx: which page
    shl $12, %edx
    mov 0x800000(%edx), %edx
    pop %eax
    loop 4b
    mov $restored, %esi
    call puts
5:  pause
    jmp 5b

pages:    .long 0
full:     .asciz "F\n"
restored: .asciz "\002\n"
