#!/bin/bash
# bench/soft.sh: the loads of bench/soft_guest under Socle's software engine, under QEMU's TCG and natively, in turn: CPU seconds and ratios.
# Usage: bench/soft.sh [--rounds N] [--quick] [--loads NAME,NAME] [--jit=off] [--no-tcg]
# (3 rounds, of which the least time of each load counts; --quick: one, of a tenth of the work.)
# What a load computes is compared, too: an engine that is wrong fails.  smp: wall-clock ms of two threads that do as much as one each;
# 1.0 would be twice the speed of one vCPU.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
kernel=$tree/.cache/guest/vmlinuz
rounds=3 share=100 limit=600 jit=() loads= tcg=tcg
memory=256

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --quick) rounds=1 share=10; shift ;;
    --loads) loads=$2; shift 2 ;;
    --jit=*) jit=("$1"); shift ;;
    --no-tcg) tcg=; shift ;;
    --prepare) shift ;;
    *) echo "soft: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ -r "$kernel" ] || { echo "soft: no $kernel; run tools/guest/build.sh" >&2; exit 1; }
"$tree/bench/soft_guest/build.sh"

words="share=$share${loads:+ loads=$loads}"
append="console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable -- $words"
command_of() { # ENGINE: sets command
    case $1 in
    socle)
        command=("$socle" run --engine soft "${jit[@]}" --memory "${memory}M" --cpus 2 --kernel "$kernel"
            --initrd "$made/soft_initrd" --append "$append" --console stdio --net none)
        ;;
    tcg)
        command=(qemu-system-x86_64 -accel tcg,thread=multi -cpu max,la57=off -machine q35 -smp 2 -m "$memory" -nodefaults
            -no-user-config -display none -no-reboot -serial stdio -kernel "$kernel" -initrd "$made/soft_initrd" -append "$append")
        ;;
    native) read -ra command <<<"$made/soft_guest $words" ;;
    esac
}

for _ in $(seq "$rounds"); do
    for engine in socle $tcg native; do
        command_of "$engine"
        python3 "$tree/bench/soft_run.py" "$limit" "${command[@]}" >>"$scratch/$engine" 2>"$scratch/$engine.log" ||
            { echo "soft: $engine did not come to its end:" >&2; tail -n 5 "$scratch/$engine.log" >&2; }
    done
done
[ -n "$tcg" ] || : >"$scratch/tcg"

awk -v figures="${BENCH_FIGURES:-/dev/null}" -f "$tree/bench/soft_table.awk" "$scratch/socle" "$scratch/tcg" "$scratch/native"
