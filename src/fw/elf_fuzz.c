/*
 * fw/elf_fuzz.c: any bytes as an ELF kernel: refused, or loaded so that the entry and all that it points to lie in RAM.
 */
#include "fw/kernel_fuzz.h"

FUZZ(elf)
{
    kernel_fuzz(data, size);
}
