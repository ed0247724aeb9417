#!/bin/bash
# bench/boot.sh: boots one kernel and one tiny initrd under Socle and under QEMU in turn, and prints medians and ratios.
# Usage: bench/boot.sh [--engine kvm|soft] [--jit=off] [--rounds N] [--only NAME,NAME]   (5 rounds; all of the table below that are there)
# With --engine soft Socle's software engine runs beside QEMU's TCG, on this machine: no lab is needed.  --jit=off: without its translator.
# Times run from the start of the process to init's first line, and to the end of the process, in milliseconds.
# A first round is not counted: it fills the caches of files.
# Where KVM is slow the times are those of the lab; only the ratios mean anything:
#   tools/guest/build.sh && bench/boot.sh --prepare && test/lab/run.sh --timeout 1200 -- bench/boot.sh
set -euo pipefail

tree=$(cd "$(dirname "$0")/.." && pwd)
kernel=$tree/.cache/guest/vmlinuz
elf=$tree/.cache/guest/vmlinux
initrd=$tree/build/bench/initrd
stopwatch=$tree/build/bench/stopwatch
socle=${SOCLE:-$tree/build/rel/src/cmd/socle}
marker="bench: init"
limit=120
rounds=5
only=
engine=kvm
jit=()
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
# git ignores build/
history=${SOCLE_LAB_OUT:-$tree/build/lab-out}/bench-boot.history

# One command line for all.  Less of it would be unfair to nobody: what a guest of a cloud does not have is not probed.
append="console=ttyS0 quiet reboot=t panic=-1 no_timer_check tsc=reliable i8042.noaux i8042.nomux i8042.nopnp i8042.dumbkbd"
memory=256

qemu() { # MACHINE KERNEL: what each peer gives at best for a serial console and one CPU, without a disk or a card
    local accel=(-accel kvm -cpu host)
    [ $engine = kvm ] || accel=(-accel tcg,thread=multi -cpu max,la57=off)
    command=(qemu-system-x86_64 "${accel[@]}" -machine "$1" -smp 1 -m "$memory" -nodefaults -no-user-config
        -display none -no-reboot -serial stdio -kernel "$2" -initrd "$initrd" -append "$append")
}

# Sets command to the row's; fails where the row has nothing to run here.
row() {
    case $1 in
    socle)
        [ -x "$socle" ] || return 1
        command=("$socle" run --engine "$engine" "${jit[@]}" --memory "${memory}M" --cpus 1 --kernel "$kernel" --initrd "$initrd"
            --append "$append" --console stdio --net none)
        ;;
    microvm) qemu microvm "$kernel" ;;
    microvm-rtc) qemu microvm,rtc=on "$kernel" ;; # as it comes it has no RTC, and the kernel looks for one for seconds
    microvm-elf) [ -r "$elf" ] && qemu microvm,rtc=on "$elf" ;;
    q35) qemu q35 "$kernel" ;;
    q35-elf) [ -r "$elf" ] && qemu q35 "$elf" ;;
    *) echo "boot: no row '$1'; there are: $rows" >&2; return 1 ;;
    esac
}
rows="socle microvm microvm-rtc microvm-elf q35 q35-elf"

prepare() {
    "$tree/bench/guest_init/build.sh"
    if [ ! -x "$stopwatch" ] || [ "$tree/bench/stopwatch.c" -nt "$stopwatch" ]; then
        "${CC:-cc}" -std=gnu2x -D_GNU_SOURCE -O2 -Wall -Wextra -o "$stopwatch" "$tree/bench/stopwatch.c"
    fi
}

run_rounds() {
    local round name
    for round in $(seq 0 "$rounds"); do
        for name in $1; do
            [ "$round" -ne 1 ] || rm -f "$results/$name" # round 0
            row "$name"
            if "$stopwatch" "$marker" "$limit" "${command[@]}" >>"$results/$name" 2>"$results/$name.log"; then
                echo "boot: round $round $name $(tail -n 1 "$results/$name") us" >&2
            else
                echo "boot: round $round $name failed; the end of its output:" >&2
                tail -n 5 "$results/$name.log" >&2
            fi
        done
    done
}

median() { # FILE COLUMN; nothing where there is no result
    [ -s "$1" ] || return 0
    awk -v c="$2" '{ print $c }' "$1" | sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'
}

# A row a machine; the ratio is Socle's time by the machine's, so below 1 Socle is the faster.
report() {
    local name init end ours_init ours_end
    ours_init=$(median "$results/socle" 1)
    ours_end=$(median "$results/socle" 2)
    printf '%-12s %10s %10s %12s %12s\n' boot init_ms end_ms socle/init socle/end
    for name in $1; do
        init=$(median "$results/$name" 1)
        end=$(median "$results/$name" 2)
        awk -v n="$name" -v i="$init" -v e="$end" -v oi="$ours_init" -v oe="$ours_end" 'BEGIN {
            if (i == "") { printf "%-12s %10s\n", n, "failed"; exit }
            printf "%-12s %10.1f %10.1f", n, i / 1000, e / 1000
            if (oi != "") printf " %12.2f %12.2f", oi / i, oe / e
            print "" }'
    done
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --only) only=${2//,/ }; shift 2 ;;
    --engine) engine=$2; shift 2 ;;
    --jit=*) jit=("$1"); shift ;;
    --prepare) prepare; exit ;;
    *) echo "boot: unknown option '$1'" >&2; exit 2 ;;
    esac
done

mkdir -p "$(dirname "$history")"
[ -x "$stopwatch" ] && [ -s "$initrd" ] || prepare
[ -r "$kernel" ] || { echo "boot: no $kernel; run tools/guest/build.sh" >&2; exit 1; }
present=
for name in ${only:-$rows}; do
    if row "$name"; then
        present="$present $name"
    else
        echo "boot: no $name here" >&2
    fi
done
run_rounds "$present"
report "$present" | tee "$results/report"
{
    echo "$(date -u +%FT%TZ) $engine"
    cat "$results/report"
} >>"$history"
