/*
 * bench/soft_guest/compute.c: integer, memory, floating-point and vector code.
 */
#include "loads.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { KIB = 1024, BUFFER = 1024 * KIB };

/* What most loads work on. */
static _Alignas(64) unsigned char from[BUFFER], to[BUFFER];

static uint32_t rotr(uint32_t v, unsigned by)
{
    return v >> by | v << (32 - by);
}

static uint32_t noise(uint32_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    *s ^= *s << 5;
    return *s;
}

static uint64_t sum_of(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static void fill(unsigned char *p, size_t size)
{
    uint32_t s = 88172645;

    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(noise(&s) >> 7);
}

/* The rounds of SHA-256 with constants that are easier to come by. */
static void sha_block(uint32_t h[8], const unsigned char *p)
{
    uint32_t w[64], v[8];

    memcpy(w, p, 64);
    for (unsigned i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(w[i]);
    for (unsigned i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];

        w[i] = w[i - 16] + w[i - 7] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) +
               (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof(v));
    for (unsigned i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) +
                      ((v[4] & v[5]) ^ (~v[4] & v[6])) + 0x9e3779b9 * (i + 1) + w[i];
        uint32_t t2 = (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) +
                      ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

        memmove(v + 1, v, 7 * sizeof(*v));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        h[i] += v[i];
}

static uint64_t sha256(uint32_t n)
{
    unsigned char p[64 * KIB]; /* several threads do this */
    uint32_t h[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };

    fill(p, sizeof(p));
    while (n--)
        for (size_t i = 0; i < 64 * KIB; i += 64)
            sha_block(h, p + i);
    return sum_of(h, sizeof(h));
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t sort(uint32_t n)
{
    enum { COUNT = 50000 };
    static uint32_t p[COUNT];
    uint32_t s = 1;
    uint64_t sum = 0;

    while (n--) {
        for (unsigned i = 0; i < COUNT; i++)
            p[i] = noise(&s);
        qsort(p, COUNT, sizeof(*p), by_value);
        sum += p[COUNT / 3];
    }
    return sum;
}

static uint64_t sieve(uint32_t n)
{
    enum { LIMIT = 1 << 20 };
    unsigned char *p = to;
    uint64_t primes = 0;

    while (n--) {
        memset(p, 1, LIMIT);
        for (unsigned i = 2; i * i < LIMIT; i++)
            for (unsigned k = i * i; p[i] && k < LIMIT; k += i)
                p[k] = 0;
        for (unsigned i = 2; i < LIMIT; i++)
            primes += p[i];
    }
    return primes;
}

__attribute__((noinline, noclone, optimize("O1"))) static uint64_t fib(uint32_t n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static uint64_t calls(uint32_t n)
{
    uint64_t sum = 0;

    while (n--)
        sum += fib(24);
    return sum;
}

/* A stack machine that counts down and adds up. */
static uint64_t interpreter(uint32_t n)
{
    enum op { PUSH, ADD, MUL, DUP, SWAP, DROP, DEC, JNZ, END };
    static const unsigned char code[] = { PUSH, 3,   ADD, PUSH, 7,    MUL, SWAP,
                                          DEC,  DUP, JNZ, 0,    DROP, END };
    uint64_t stack[16], sum = 0;

    while (n--) {
        uint64_t *sp = stack;
        unsigned pc = 0;

        *++sp = 30000;
        *++sp = sum;
        for (bool on = true; on;) {
            switch ((enum op)code[pc++]) {
            case PUSH:
                *++sp = code[pc++];
                break;
            case ADD:
                sp--;
                *sp += sp[1];
                break;
            case MUL:
                sp--;
                *sp *= sp[1];
                break;
            case DUP:
                sp++;
                *sp = sp[-1];
                break;
            case SWAP: {
                uint64_t t = *sp;
                *sp = sp[-1];
                sp[-1] = t;
                break;
            }
            case DROP:
                sp--;
                break;
            case DEC:
                --*sp;
                break;
            case JNZ:
                if (*sp--) {
                    uint64_t t = *sp;

                    *sp = sp[-1];
                    sp[-1] = t;
                    pc = code[pc];
                } else {
                    pc++;
                }
                break;
            case END:
                on = false;
                break;
            }
        }
        sum = *sp;
    }
    return sum;
}

static uint64_t gzip(uint32_t n)
{
    unsigned char *p = from, *out = to;
    uint64_t sum = 0;

    fill(p, 256 * KIB);
    for (unsigned i = 0; i < 256 * KIB; i++)
        p[i] = "the quick brown fox jumps over it"[p[i] % 32 & (i / 64 | 3)];
    while (n--) {
        uLongf size = 512 * KIB;

        compress2(out, &size, p, 256 * KIB, 6);
        sum += sum_of(out, size);
    }
    return sum;
}

static uint64_t copy(uint32_t n)
{
    unsigned char *a = from, *b = to;
    uint64_t sum = 0;

    fill(a, BUFFER);
    for (; n; n--) {
        a[n % BUFFER]++;
        memcpy(b, a, BUFFER);
        sum += b[n * 7919 % BUFFER];
    }
    return sum;
}

static uint64_t set(uint32_t n)
{
    unsigned char *a = to;
    uint64_t sum = 0;

    for (; n; n--) {
        memset(a, (int)n, BUFFER);
        sum += a[n * 7919 % BUFFER];
    }
    return sum;
}

static uint64_t rep_movs(uint32_t n)
{
    unsigned char *a = from, *b = to;
    uint64_t sum = 0;

    fill(a, BUFFER);
    for (; n; n--) {
        void *src = a, *dst = b;
        size_t size = BUFFER;

        __asm__ volatile("rep movsb" : "+S"(src), "+D"(dst), "+c"(size) : : "memory");
        sum += b[n * 7919 % BUFFER];
    }
    return sum;
}

static uint64_t scalar_fp(uint32_t n)
{
    volatile double start = 0.5;
    double x = start, y = 1.25, z = 0;

    for (uint32_t i = 0; i < n * 1000; i++) {
        x = x * 1.000001 + y / 3.0;
        y = y * 0.999999 - x * 1e-7;
        z += x > 100 ? 1.0 : x;
        x = x > 100 ? 0.5 : x;
    }
    x += y + z;
    return sum_of(&x, sizeof(x));
}

static uint64_t x87(uint32_t n)
{
    volatile long double start = 0.5;
    long double x = start, y = 1.25;
    double d;

    for (uint32_t i = 0; i < n * 1000; i++) {
        x = x * 1.000001L + y / 3.0L;
        y = y * 0.999999L - x * 1e-7L;
        x = x > 100 ? 0.5L : x;
    }
    d = (double)(x + y);
    return sum_of(&d, sizeof(d));
}

static uint64_t sse(uint32_t n)
{
    float *a = (float *)(void *)from, *b = (float *)(void *)to;

    for (unsigned i = 0; i < 16 * KIB; i++) {
        a[i] = (float)i;
        b[i] = 1.0f / (float)(i + 1);
    }
    while (n--)
        for (unsigned i = 0; i < 16 * KIB; i += 4)
            _mm_store_ps(a + i, _mm_add_ps(_mm_mul_ps(_mm_load_ps(a + i), _mm_set1_ps(0.99f)),
                                           _mm_load_ps(b + i)));
    return sum_of(a, 64 * KIB);
}

__attribute__((target("avx2"))) static uint64_t avx2(uint32_t n)
{
    uint32_t *a = (uint32_t *)(void *)from;

    memset(a, 7, 64 * KIB);
    while (n--)
        for (unsigned i = 0; i < 16 * KIB; i += 8) {
            __m256i v = _mm256_load_si256((const __m256i *)(const void *)(a + i));

            v = _mm256_add_epi32(_mm256_xor_si256(v, _mm256_slli_epi32(v, 3)),
                                 _mm256_set1_epi32((int)i));
            _mm256_store_si256((__m256i *)(void *)(a + i), v);
        }
    return sum_of(a, 64 * KIB);
}

__attribute__((target("aes"))) static uint64_t aes(uint32_t n)
{
    __m128i v = _mm_set1_epi32(1), key = _mm_set1_epi32(0x1234567);

    for (uint32_t i = 0; i < n * 1000; i++) {
        v = _mm_aesenc_si128(v, key);
        key = _mm_add_epi32(key, v);
    }
    return sum_of(&v, sizeof(v));
}

const struct load compute_loads[] = {
    { "sha256", sha256, 400 },
    { "qsort", sort, 20 },
    { "sieve", sieve, 25 },
    { "calls", calls, 400 },
    { "interpreter", interpreter, 40 },
    { "gzip", gzip, 16 },
    { "memcpy", copy, 600 },
    { "memset", set, 1000 },
    { "rep-movs", rep_movs, 60 },
    { "scalar-fp", scalar_fp, 4000 },
    { "x87", x87, 4000 },
    { "sse", sse, 2000 },
    { "avx2", avx2, 2000 },
    { "aes", aes, 10000 },
    {},
};
