#!/bin/bash
# bench/compute.sh: plain computing under Socle's software engine and under QEMU's TCG, in turn: CPU seconds, without what a start costs.
# Usage: bench/compute.sh [--rounds N] [--jit=off]   (3 rounds; the least time of each counts; --jit=off: without the engine's translator)
# Also: how many million guest instructions a second the engine runs where the payload's loops say how many there are.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
rounds=3 limit=120 jit=()

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --jit=*) jit=("$1"); shift ;;
    *) echo "compute: unknown option '$1'" >&2; exit 2 ;;
    esac
done
payload compute

cpu_seconds() { # NAME COMMAND...: user and system time of a run that ends with the payload's own status, 2 × 0 + 1
    local name=$1 status=0
    shift
    TIMEFORMAT='%U %S'
    { time timeout --kill-after=5 "$limit" "$@" </dev/null >"$scratch/out" 2>"$scratch/err" || echo "status $?"; } >"$scratch/times" 2>&1
    grep -q '^status 1$' "$scratch/times" || { echo "compute: $name: $(cat "$scratch/times" "$scratch/err")" >&2; return 0; }
    awk '$1 != "status" { print $1 + $2 }' "$scratch/times" >>"$scratch/$name"
}

least() { # of the numbers in a file
    sort -n "$scratch/$1" 2>/dev/null | head -n 1
}

# Kind, its letter, million guest instructions in it (0: not to be counted so).
kinds="nothing:n:0 integer:i:400 calls:c:210 memory:m:52.4 scalar-fp:f:25 simd:s:14 x87:x:21 rep-movs:r:0"
for _ in $(seq "$rounds"); do
    for kind in $kinds; do
        IFS=: read -r name letter _ <<<"$kind"
        cpu_seconds "socle-$name" "$socle" run --engine soft "${jit[@]}" --memory 32M --kernel "$made/compute" --append "kind@$letter" --net none
        cpu_seconds "tcg-$name" qemu-system-x86_64 -accel tcg,thread=multi -cpu max,la57=off -machine q35 -m 32 -nodefaults \
            -no-user-config -display none -no-reboot -kernel "$made/compute" -append "kind@$letter" \
            -device isa-debug-exit,iobase=0xf4
    done
done

printf '%-12s %10s %10s %10s %14s\n' compute socle_s tcg_s socle/tcg socle_Minsn/s
for kind in $kinds; do
    IFS=: read -r name _ count <<<"$kind"
    awk -v n="$name" -v c="$count" -v o="$(least "socle-$name")" -v t="$(least "tcg-$name")" -v o0="$(least socle-nothing)" \
        -v t0="$(least tcg-nothing)" 'BEGIN {
        if (o == "" || t == "") { printf "%-12s %10s\n", n, "failed"; exit }
        if (n != "nothing") { o -= o0; t -= t0 }
        if (o <= 0) o = 0.001
        if (t <= 0) t = 0.001
        printf "%-12s %10.3f %10.3f %10.2f %14s\n", n, o, t, o / t, (c > 0 ? sprintf("%.0f", c / o) : "") }'
done | tee "$scratch/table"
awk '$1 != "nothing" && $4 != "" { print "compute-" $1 "/tcg", $4, "ratio" }' "$scratch/table" >>"${BENCH_FIGURES:-/dev/null}"
