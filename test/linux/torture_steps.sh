#!/bin/bash
# test/linux/torture_steps.sh: work whose results are known or the same on every machine: run in a guest, and natively to compare.
# Usage: torture_steps.sh [SCALE] [STEP]...   (SCALE: percent of the usual amount; without STEP, all)
# One line a step: "torture: STEP STATUS SUM", SUM over what the step printed; a step that verifies itself prints nothing.
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1
scale=${1:-100}
[ $# -eq 0 ] || shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

data() { # MIB: the same bytes every time, half of them text
    openssl enc -aes-128-ctr -K 00112233445566778899aabbccddeeff -iv 00000000000000000000000000000000 -in /dev/zero \
        2>/dev/null | head -c "$(($1 * 524288))"
    seq 1 $(($1 * 90000)) | head -c "$(($1 * 524288))"
}

amount() { # N: of the usual scale, at least 1
    echo $((($1 * scale + 99) / 100))
}

digests() {
    data 4 >d
    for kind in md5 sha1 sha256 sha512 sha3-256 blake2b512 blake2s256 sm3 ripemd160; do
        openssl dgst -provider default -provider legacy -$kind d
    done
    for cipher in aes-256-cbc aes-192-ctr aes-128-ofb chacha20 camellia-256-cbc aria-128-ctr sm4-cbc; do
        openssl enc -$cipher -K "$(printf '%064d' 7)" -iv "$(printf '%032d' 9)" -in d 2>/dev/null >c
        sha256sum <c
        openssl enc -d -$cipher -K "$(printf '%064d' 7)" -iv "$(printf '%032d' 9)" -in c 2>/dev/null | cmp - d && echo "$cipher same"
    done
    for mac in "HMAC -digest SHA256" "CMAC -cipher AES-128-CBC" "GMAC -cipher AES-128-GCM -macopt hexiv:000102030405060708090a0b"; do
        # shellcheck disable=SC2086
        openssl mac ${mac#* } -macopt hexkey:000102030405060708090a0b0c0d0e0f -in d "${mac%% *}"
    done
}

keys() { # made, used, and checked
    data 1 >d
    for kind in "RSA -pkeyopt rsa_keygen_bits:2048" "EC -pkeyopt ec_paramgen_curve:P-256" \
        "EC -pkeyopt ec_paramgen_curve:P-384" "EC -pkeyopt ec_paramgen_curve:secp256k1"; do
        for _ in $(seq "$(amount 3)"); do
            # shellcheck disable=SC2086
            openssl genpkey -algorithm $kind -out k 2>/dev/null || return 1
            openssl pkey -in k -pubout -out p && openssl dgst -sha256 -sign k -out s d || return 1
            openssl dgst -sha256 -verify p -signature s d || return 1
        done
    done
    for kind in ED25519 ED448; do
        openssl genpkey -algorithm $kind -out k && openssl pkey -in k -pubout -out p || return 1
        openssl pkeyutl -sign -rawin -inkey k -in k -out s || return 1
        openssl pkeyutl -verify -rawin -pubin -inkey p -in k -sigfile s || return 1
    done
    openssl prime -generate -bits 512 >prime && openssl prime "$(cat prime)" | grep -o 'is prime'
}

speed() { # its figures are for people
    openssl speed -seconds 1 -bytes 1024 -evp aes-128-gcm sha256 rsa2048 ecdsap256 ecdhx25519 >&2 2>speed.err
}

packers() {
    local n
    n=$(amount 4)
    data "$n" >d
    for packer in "gzip -n9" "gzip -n1" "bzip2" "xz -2 -T1" "xz -6 --x86 --lzma2 -T1" "zstd -q -3" "zstd -q -15" "zstd -q --long -T2"; do
        $packer -c d >p || return 1
        sha256sum <p
        ${packer%% *} -dc p | cmp - d || return 1
    done
}

compiler() {
    cat >t.c <<'C'
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SIZEOF_INT128__
typedef unsigned __int128 wide;
#else
typedef uint64_t wide;
#endif
typedef double v4 __attribute__((vector_size(32)));
static uint64_t s = 88172645463325252ull;
static uint64_t next(void) { s ^= s << 13; s ^= s >> 7; return s ^= s << 17; }
static int order(const void *a, const void *b) { uint64_t x = *(uint64_t *)a, y = *(uint64_t *)b; return (x > y) - (x < y); }
static long double ack(long double x) { return x < 1 ? 1 : x * ack(x - 1); }
int main(void)
{
    static uint64_t a[200000];
    static double m[64][64], n[64][64], r[64][64];
    v4 acc = { 1, 2, 3, 4 };
    uint64_t h = 0;
    for (unsigned i = 0; i < 200000; i++) a[i] = next();
    qsort(a, 200000, 8, order);
    for (unsigned i = 0; i < 200000; i++) h = (h ^ a[i]) * 1099511628211ull + (a[i] % (i + 1)) + (wide)a[i] * h / (i + 7);
    for (int i = 0; i < 64; i++) for (int j = 0; j < 64; j++) { m[i][j] = (double)(int64_t)next() / 1e18; n[i][j] = sin(m[i][j]); }
    for (int i = 0; i < 64; i++) for (int j = 0; j < 64; j++) for (int k = 0; k < 64; k++) r[i][j] += m[i][k] * n[k][j];
    for (int i = 0; i < 64; i++) acc = acc * 1.0000001 + (v4){ r[i][0], r[0][i], r[i][i], r[63 - i][i] };
    printf("%016llx %a %a %a %a %La %La\n", (unsigned long long)h, acc[0], acc[1], acc[2], acc[3], ack(30), sqrtl(ack(7)));
    float f = 0; for (int i = 1; i < 100000; i++) f += 1.0f / i * (i & 1 ? 1 : -1);
    printf("%a %a %a %a %.17g\n", f, pow(1.1, 3.3), exp(0.5) + log(3), tgamma(4.5), strtod("1e-310", 0));
    return 0;
}
C
    for flags in "-O0" "-O2" "-O3 -msse4.2 -mpopcnt" "-O3 -mavx2 -mfma -mbmi -mbmi2 -mlzcnt" "-Os -mfpmath=387" "-O2 -flto"; do
        # shellcheck disable=SC2086
        gcc $flags -ffp-contract=off -frandom-seed=1 -Wl,--build-id=none t.c -o t -lm || return 1
        ./t || return 1
        objdump -d t | tail -n +4 | sha256sum
    done
}

floats() {
    python3 - "$(amount 20000)" <<'P'
import cmath, decimal, fractions, hashlib, math, random, struct, sys
random.seed(20260601)
h = hashlib.sha256()
one = [f for f in (math.sin, math.cos, math.tan, math.atan, math.exp, math.expm1, math.log1p, math.sqrt, math.erf, math.gamma,
                   math.lgamma, math.sinh, math.tanh, math.asinh, math.floor, math.frexp, math.modf, math.log2, math.log10)]
for i in range(int(sys.argv[1])):
    x = random.choice((random.random(), random.uniform(-700, 700), random.lognormvariate(0, 50), struct.unpack('<d', random.randbytes(8))[0]))
    y = random.uniform(-5, 5)
    for f in one:
        try:
            h.update(repr(f(x)).encode())
        except (ValueError, OverflowError) as e:
            h.update(str(e).encode())
    try:
        h.update(repr((x + y, x * y, x / (y or 1), math.fmod(x, y or 1), math.hypot(x, y), math.atan2(x, y), float(repr(x)) == x,
                       struct.pack('<f', y), int(x) if abs(x) < 1e300 else 0, round(y, 3), x.hex())).encode())
        h.update(repr(abs(x) ** y).encode())
        h.update(repr(cmath.exp(complex(y, x % 9))).encode())
    except (ValueError, OverflowError, ZeroDivisionError) as e:
        h.update(str(e).encode())
n = 3 ** 20000 // 7 ** 3000
h.update(hex(n * n % (10 ** 500 + 7)).encode())
h.update(str(decimal.Decimal(2).sqrt(decimal.Context(prec=300))).encode())
h.update(str(sum(fractions.Fraction(1, i) for i in range(1, 300))).encode())
print(h.hexdigest())
P
}

python_tests() { # Python's own
    python3 -m test -q --timeout 900 test_float test_cmath test_complex test_struct test_strtod test_int test_long test_hash test_zlib \
        test_binascii test_array >p.log 2>&1 ||
        { cat p.log >&2; return 1; }
}

# stress-ng with its words.  Now and then it says that it could not run as it should: statuses 1, 3 and 7, for want of threads or as its
# processes ended in an unusual order; natively, too, once in twenty runs.  Then once more; never where it found something wrong.
ng() {
    local status try
    for try in 1 2 3; do
        stress-ng -q --verify --temp-path "$work" --seed 7 "$@" >&2
        status=$?
        case $status in 1 | 3 | 7) echo "stress: try $try, status $status: $*" >&2 ;; *) return $status ;; esac
    done
    return $status
}

stress() {
    ng --cpu 2 --cpu-method all --cpu-ops "$(amount 300)" &&
        ng --matrix 2 --matrix-ops "$(amount 100)" &&
        ng --str 2 --str-ops "$(amount 200)" &&
        ng --vm 2 --vm-bytes 8M --vm-ops "$(amount 6000)" &&
        ng --bsearch 1 --bsearch-ops "$(amount 10)" --qsort 1 --qsort-ops "$(amount 3)" &&
        ng --fp 1 --fp-ops "$(amount 20)" --vecmath 1 --vecmath-ops "$(amount 20)" --vecwide 1 --vecwide-ops "$(amount 20)" &&
        ng --fork 2 --fork-ops "$(amount 300)" --switch 2 --switch-ops "$(amount 20000)" --pipe 1 --pipe-ops "$(amount 20000)" &&
        ng --mutex 2 --mutex-ops "$(amount 20000)" --futex 1 --futex-ops "$(amount 5000)" --atomic 2 --atomic-ops "$(amount 200)" &&
        ng --sigsegv 1 --sigsegv-ops "$(amount 2000)" --sigfpe 1 --sigfpe-ops "$(amount 2000)" --sigtrap 1 --sigtrap-ops "$(amount 2000)" &&
        ng --longjmp 1 --longjmp-ops "$(amount 2000)" --tsc 1 --tsc-ops "$(amount 1000)" --memcpy 1 --memcpy-ops "$(amount 20)" &&
        ng --mmap 1 --mmap-bytes 8M --mmap-ops "$(amount 10)" --tlb-shootdown 2 --tlb-shootdown-ops "$(amount 20)" --membarrier 1 --membarrier-ops "$(amount 500)"
}

memory() {
    memtester "$(amount 8)M" 1 >m.log 2>&1 || { tail -n 5 m.log >&2; return 1; }
}

[ $# -gt 0 ] || set -- digests packers floats compiler memory stress keys speed python_tests
for step; do
    "$step" >"$work/out.$step"
    status=$?
    echo "torture: $step $status $(sha256sum <"$work/out.$step" | cut -c1-16)"
done
echo "torture: end"
