/*
 * fw/multiboot_fuzz.c: any bytes as a Multiboot kernel: refused, or loaded so that the entry and all that it points to lie in RAM.
 */
#include "fw/kernel_fuzz.h"

FUZZ(multiboot)
{
    kernel_fuzz(data, size);
}
