/*
 * cpu/soft/code_fuzz.c: any bytes as code, in any mode, with any segments, page tables and interrupts.  Input: code_run.h.
 * Oracle: nothing crashes or is reached outside RAM; the state stays one that can be; whole blocks and single instructions
 * come to the same.
 */
#include "cpu/soft/code_run.h"
#include "testlib/fuzz.h"

FUZZ(code)
{
    static struct code_count count;

    code_run(data, size, &count);
}
