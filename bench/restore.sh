#!/bin/bash
# bench/restore.sh: how long a restore, twenty clones and the pause of a live snapshot take, under the software engine with a small guest.
# Usage: bench/restore.sh [--rounds N] [--clones N]   (5; 20)
# "entry" is from the start of `socle run --restore` to the line before the guest goes on, "cpu" what CPU time socle-vm took until then; "first"
# is to the guest's first character after it.  The guest has written to each page of its RAM below 4 GiB, so that its file is as large.
# "cold": the host has not the file in memory, and the guest reads pages of it here and there.
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
[ -x "$stopwatch" ] || "$0" --prepare
payload fill

# A guest of MIB that filled its RAM, in the background: its state goes to $scratch/MIB.
save() { # MIB COMMAND [ARGUMENT…]
    "$socle" run --engine soft --memory "$1M" --kernel "$made/fill" "${@:3}" --net none --console "file:$scratch/console" \
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
    sed -n 's/.*enters its guest after \([0-9]*\) us.*/\1/p' "$scratch/log" >>"$scratch/cpu"
}

ms() { # FILE
    awk '{ print $1 }' "$1" | median | awk '{ printf "%.2f", $1 / 1000 }'
}

printf '%-10s %10s %10s %10s %10s\n' restore MiB/file entry_ms cpu_ms first_ms
for mib in 256 1024 4096; do
    save "$mib" suspend
    : >"$scratch/cpu"
    for kind in entry first; do
        : >"$scratch/$kind"
        for _ in $(seq "$rounds"); do
            once "$mib" "$kind"
        done
    done
    printf '%-10s %10s %10s %10s %10s\n' "$mib MiB" "$(du -m "$scratch/$mib" | cut -f1)" "$(ms "$scratch/entry")" "$(ms "$scratch/cpu")" \
        "$(ms "$scratch/first")"
    figure "restore-entry-$mib" "$(ms "$scratch/entry")" ms
    figure "restore-cpu-$mib" "$(ms "$scratch/cpu")" ms
    figure "restore-first-$mib" "$(ms "$scratch/first")" ms
done

took=$("$tree/bench/restore.py" clones "$socle" "$scratch/256" "$clones")
echo "clones     $clones of 256 MiB all run after $took ms"
figure restore-clones "$took" ms

rm -f "$scratch/4096"
save 1024 suspend --append +
read -r without recorded <<<"$("$tree/bench/restore.py" cold "$socle" "$scratch/1024" "$rounds")"
echo "cold       1024 pages of 1024 MiB are read after $without ms, with a record of them after $recorded ms"
figure restore-cold "$without" ms
figure restore-cold-recorded "$recorded" ms
figure restore-recorded/cold "$(ratio "$recorded" "$without")" ratio

save 1024 snapshot
pause=$(sed -n 's/.*"pause_us": \([0-9]*\).*/\1/p' "$scratch/report" | awk '{ printf "%.2f", $1 / 1000 }')
echo "snapshot   of 1024 MiB that run on: a pause of $pause ms"
figure snapshot-pause "$pause" ms
