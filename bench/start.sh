#!/bin/bash
# bench/start.sh: time from the start of the process to the guest's first instructions, under Socle and under QEMU, in turn.
# Usage: bench/start.sh [--rounds N] [--only NAME,NAME] [--prepare]   (5 rounds; socle microvm q35)
# "entry" is Socle's own log line right before the first KVM_RUN: wall time from the start of `socle run`, which starts socle-vm,
# and socle-vm's CPU time until then.  "first" is the first character of the guest's serial port, "end" the end of the process.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
rounds=5 limit=60 rows="socle microvm q35"

prepare() {
    "$tree/bench/boot.sh" --prepare # the stopwatch
    payload start
}

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --only) rows=${2//,/ }; shift 2 ;;
    --prepare) prepare; exit ;;
    *) echo "start: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ -x "$stopwatch" ] && [ -s "$made/start" ] || prepare

# Sets command to the row's.
row() {
    case $1 in
    socle | entry)
        command=("$socle" run --engine kvm --memory 256M --kernel "$made/start" --net none)
        [ "$1" = socle ] || command+=(--verbose)
        ;;
    microvm | q35)
        qemu "$1" 256
        command=("${peer[@]}" -kernel "$made/start" -device "isa-debug-exit,iobase=0xf4")
        ;;
    *) echo "start: no row '$1'" >&2; exit 2 ;;
    esac
}

once() { # ROW MARKER
    row "$1"
    if "$stopwatch" "$2" "$limit" "${command[@]}" >>"$scratch/$1" 2>"$scratch/log"; then
        sed -n 's/.*enters its guest after \([0-9]*\) us.*/\1/p' "$scratch/log" >>"$scratch/cpu"
    else
        echo "start: $1 failed: $(tail -n 3 "$scratch/log")" >&2
    fi
}

ms() { # ROW COLUMN: median; nothing where the row failed
    awk -v c="$2" '{ print $c }' "$scratch/$1" | median | awk '{ printf "%.2f", $1 / 1000 }'
}

[[ " $rows " != *" socle "* ]] || rows="socle entry ${rows/socle/}"
for name in $rows cpu; do
    : >"$scratch/$name"
done
for round in $(seq 0 "$rounds"); do
    for name in $rows; do
        if [ "$name" = entry ]; then
            once entry "enters its guest"
        else
            once "$name" $'\x02'
        fi
        # The first round fills the caches of files.
        [ "$round" -ne 0 ] || : >"$scratch/$name"
    done
done

printf '%-8s %10s %10s %12s\n' start first_ms end_ms socle/first
for name in $rows; do
    [ "$name" != entry ] || continue
    first=$(ms "$name" 1)
    printf '%-8s %10s %10s %12s\n' "$name" "${first:-failed}" "$(ms "$name" 2)" "$(ratio "$(ms socle 1)" "$first")"
    figure "start-first-$name" "$first" ms
    [ "$name" = socle ] || figure "start-first/$name" "$(ratio "$(ms socle 1)" "$first")" ratio
done
if [[ " $rows " == *" entry "* ]]; then
    echo "entry    $(ms entry 1) ms wall since the start of socle run, $(ms cpu 1) ms CPU of socle-vm"
    figure start-entry "$(ms entry 1)" ms
    figure start-entry-cpu "$(ms cpu 1)" ms
fi
