/*
 * cpu/soft/code_main.c: `soft_code [seconds [seed]]`: random programs as code_fuzz.c runs them; prints how many.
 * `soft_code 0 seed mode flags place`: one program, as a failure names it: at which instruction do the engines part?
 */
#include "base/clock.h"
#include "cpu/soft/code_run.h"

#include <stdio.h>

/* The i-th argument, or `otherwise`. */
static u64 number(int argc, char **argv, int i, u64 otherwise)
{
    u64 v;

    return i < argc && str_u64(argv[i], &v) >= 0 ? v : otherwise;
}

int main(int argc, char **argv)
{
    u64 seconds = number(argc, argv, 1, 10), seed = number(argc, argv, 2, 1);
    u64 end = clock_mono_ns() + seconds * NSEC_PER_SEC;
    struct code_count count = {};
    u8 in[11] = { (u8)number(argc, argv, 3, 0), (u8)number(argc, argv, 4, 0),
                  (u8)number(argc, argv, 5, 0) };

    if (argc > 5) {
        memcpy(in + 3, &seed, 8);
        code_search(in, sizeof(in));
        code_run(in, sizeof(in), &count);
    }
    seed = seed * 2 + 1;
    while (clock_mono_ns() < end) {
        u64 r = code_rand(&seed), choice = code_rand(&seed);

        in[0] = (u8)choice;
        in[1] = (u8)(choice >> 8 & choice >> 16);
        in[2] = (u8)(choice >> 24);
        if (choice >> 62 == 0) { /* alone may have the user window */
            in[0] = CODE_LONG;
            in[1] |= CODE_RING3;
        }
        memcpy(in + 3, &r, 8);
        code_run(in, sizeof(in), &count);
    }
    printf(
        "%llu programs, %llu instructions, at least %llu blocks, %llu pages of the user window\n",
        count.programs, count.insns, count.blocks, count.mapped);
    return 0;
}
