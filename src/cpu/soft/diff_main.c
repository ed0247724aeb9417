/*
 * cpu/soft/diff_main.c: `soft_diff [seconds [seed [bits [opcode]]]]`: the engine against this CPU; prints forms and findings.
 * The opcode is given as hexadecimal digits, with prefixes; what follows it is random.
 */
#include "base/clock.h"
#include "cpu/soft/diff.h"

#include <stdio.h>
#include <stdlib.h>

enum { FORMS_MAX = 16384, SHOWN_PER_MNEMONIC = 3 };

struct form {
    char name[64];
    u64 runs, differ;
};

static struct form forms[FORMS_MAX];
static u32 n_forms;
static u32 shown[ZYDIS_MNEMONIC_MAX_VALUE + 1];

static struct form *form_of(const struct diff_insn *di)
{
    char name[64];
    u32 h = 5381;

    diff_form(di, name, sizeof(name));
    for (const char *p = name; *p; p++)
        h = h * 33 + (u8)*p;
    for (u32 i = 0; i < FORMS_MAX; i++) {
        struct form *f = &forms[(h + i) % FORMS_MAX];
        if (!f->name[0]) {
            memcpy(f->name, name, sizeof(name));
            n_forms++;
            return f;
        }
        if (strcmp(f->name, name) == 0)
            return f;
    }
    return &forms[0];
}

static void show(const struct diff_insn *di, const struct oracle_test *t, const char *text)
{
    char name[64];

    if (shown[di->in.mnemonic]++ >= SHOWN_PER_MNEMONIC)
        return;
    diff_form(di, name, sizeof(name));
    printf("%s (%u bits):", name, t->bits);
    for (u32 i = 0; i < t->len; i++)
        printf(" %02x", t->code[i]);
    printf("  %s\n", text);
}

struct opcode {
    u8 bytes[16];
    u32 n;
};

static void generate_like(u64 *seed, u32 bits, const struct opcode *like, struct oracle_test *t,
                          struct diff_insn *di)
{
    u8 bytes[15];

    do {
        memcpy(bytes, like->bytes, like->n);
        for (u32 i = like->n; i < sizeof(bytes); i++) {
            *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
            bytes[i] = (u8)(*seed >> 56);
        }
    } while (!diff_prepare(seed, bits, bytes, sizeof(bytes), t, di));
}

static u64 batch(struct diff *d, struct oracle *o, u64 *seed, u32 bits, const struct opcode *only)
{
    static struct diff_insn di[ORACLE_BATCH];
    static struct diff_result r;
    static struct oracle_test before[ORACLE_BATCH];
    struct oracle_test *t = oracle_tests(o);
    char text[600];
    struct err e = {};
    u64 found = 0;

    for (u32 i = 0; i < ORACLE_BATCH; i++) {
        if (only->n == 0)
            diff_generate(seed, bits, &t[i], &di[i]);
        else
            generate_like(seed, bits, only, &t[i], &di[i]);
    }
    memcpy(before, t, sizeof(before));
    if (oracle_run(o, ORACLE_BATCH, &e) < 0) {
        printf("%s\n", e.text);
        return 0;
    }
    for (u32 i = 0; i < ORACLE_BATCH; i++) {
        struct form *f = form_of(&di[i]);
        diff_engine(d, &before[i], &r);
        f->runs++;
        if (diff_compare(&di[i], &t[i], &r, text, sizeof(text)) == 0)
            continue;
        f->differ++;
        found++;
        show(&di[i], &before[i], text);
    }
    return found;
}

static void print_forms(void)
{
    for (u32 i = 0; i < FORMS_MAX; i++) {
        if (forms[i].runs)
            printf("%8llu %6llu %s\n", forms[i].runs, forms[i].differ, forms[i].name);
    }
}

static u32 parse_hex(const char *text, u8 *bytes)
{
    u32 n = 0;
    u64 v;

    for (; n < 12 && text[0] && text[1]; text += 2) {
        char digits[] = { '0', 'x', text[0], text[1], 0 };

        if (str_u64(digits, &v) < 0)
            return 0;
        bytes[n++] = (u8)v;
    }
    return n;
}

/* The i-th argument, or `otherwise`. */
static u64 number(int argc, char **argv, int i, u64 otherwise)
{
    u64 v;

    return i < argc && str_u64(argv[i], &v) >= 0 ? v : otherwise;
}

int main(int argc, char **argv)
{
    u64 seconds = number(argc, argv, 1, 10), seed = number(argc, argv, 2, 1);
    u32 bits = (u32)number(argc, argv, 3, 64);
    u64 runs = 0, found = 0, end = clock_mono_ns() + seconds * NSEC_PER_SEC;
    struct opcode only = {};
    struct err e = {};

    if (argc > 4)
        only.n = parse_hex(argv[4], only.bytes);
    if (seed == 0 || (bits != 64 && bits != 32 && bits != 16) || (argc > 4 && only.n == 0)) {
        fprintf(stderr, "usage: soft_diff [seconds [seed [64|32|16 [opcode in hexadecimal]]]]\n");
        return 2;
    }
    struct diff *d = diff_new(&e);
    struct oracle *o = d ? oracle_new(&e) : NULL;

    if (o && !oracle_can(o, bits)) {
        fprintf(stderr, "soft_diff: this host does not run code of %u bits as a CPU does\n", bits);
        oracle_free(o);
        diff_free(d);
        return 2;
    }
    if (!o) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    while (clock_mono_ns() < end) {
        found += batch(d, o, &seed, bits, &only);
        runs += ORACLE_BATCH;
    }
    if (only.n == 0)
        print_forms();
    printf("%llu runs of %u forms, %llu differ\n", runs, n_forms, found);
    oracle_free(o);
    diff_free(d);
    return found != 0;
}
