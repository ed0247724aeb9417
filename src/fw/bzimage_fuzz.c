/*
 * fw/bzimage_fuzz.c: any bytes as a bzImage: refused, or loaded so that the entry and all that it points to lie in RAM.
 */
#include "fw/kernel_fuzz.h"

FUZZ(bzimage)
{
    kernel_fuzz(data, size);
}
