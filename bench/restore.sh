#!/bin/bash
# bench/restore.sh: how long a restore, twenty clones and the pause of a live snapshot take, under the software engine with a small guest.
# Usage: bench/restore.sh [--rounds N] [--clones N]   (5; 20)
# "entry" is from the start of `socle run --restore` to the line before the guest goes on; "first" to the guest's first character after it.
# The guest has written to each page of its RAM, so that its file is as large as its RAM.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
rounds=5 clones=20

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --clones) clones=$2; shift 2 ;;
    --prepare) "$tree/bench/boot.sh" --prepare; payload fill; exit ;;
    *) echo "restore: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ -x "$stopwatch" ] && [ -s "$made/fill" ] || "$0" --prepare

# A guest of MIB that filled its RAM, in the background: its state goes to $scratch/MIB.
save() { # MIB COMMAND
    "$socle" run --engine soft --memory "$1M" --kernel "$made/fill" --net none --console "file:$scratch/console" \
        --control "$scratch/control" &
    for _ in $(seq 600); do
        ! grep -q F "$scratch/console" 2>/dev/null || break
        sleep 0.1
    done
    "$socle" ctl "$scratch/control" "$2" "$scratch/$1" >"$scratch/report"
    [ "$2" = suspend ] || "$socle" ctl "$scratch/control" power off
    wait $! || true
    rm -f "$scratch/console"
}

once() { # MIB entry|first
    local command=("$socle" run --restore "$scratch/$1,clone") marker=$'\x02'
    [ "$2" = first ] || { command+=(--verbose); marker="enters its guest"; }
    "$stopwatch" "$marker" 30 "${command[@]}" >>"$scratch/$2" 2>"$scratch/log" ||
        echo "restore: failed: $(tail -n 2 "$scratch/log")" >&2
}

ms() { # FILE
    awk '{ print $1 }' "$1" | median | awk '{ printf "%.2f", $1 / 1000 }'
}

printf '%-10s %10s %10s %10s\n' restore MiB/file entry_ms first_ms
for mib in 256 1024; do
    save "$mib" suspend
    for kind in entry first; do
        : >"$scratch/$kind"
        for _ in $(seq "$rounds"); do
            once "$mib" "$kind"
        done
    done
    printf '%-10s %10s %10s %10s\n' "$mib MiB" "$(du -m "$scratch/$mib" | cut -f1)" "$(ms "$scratch/entry")" "$(ms "$scratch/first")"
    figure "restore-entry-$mib" "$(ms "$scratch/entry")" ms
    figure "restore-first-$mib" "$(ms "$scratch/first")" ms
done

# All at once; the last of their first characters counts.
start=$(date +%s%N)
for i in $(seq "$clones"); do
    "$socle" run --restore "$scratch/256,clone" --console "file:$scratch/clone$i" --timeout 30 >/dev/null 2>&1 &
done
until [ "$(find "$scratch" -name 'clone*' -size +0 | wc -l)" -ge "$clones" ]; do
    [ $((($(date +%s%N) - start) / 1000000000)) -lt 30 ] || { echo "restore: clones that say nothing" >&2; break; }
    sleep 0.005
done
took=$((($(date +%s%N) - start) / 1000000))
kill $(jobs -p) 2>/dev/null || true
wait || true
echo "clones     $clones of 256 MiB all run after $took ms"
figure restore-clones "$took" ms

save 1024 snapshot
pause=$(sed -n 's/.*"pause_us": \([0-9]*\).*/\1/p' "$scratch/report" | awk '{ printf "%.2f", $1 / 1000 }')
echo "snapshot   of 1024 MiB that run on: a pause of $pause ms"
figure snapshot-pause "$pause" ms
