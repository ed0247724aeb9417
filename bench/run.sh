#!/bin/bash
# bench/run.sh: every measurement, or those that B names (boot exits memory start restore image daemon web; and host, which installs libvirt), in one run on real KVM: here, or in the lab.
# restore, image, daemon, web and host need no KVM, and are measured here in any case.
# Ends with a table of the targets; each figure becomes a line of bench/history.jsonl, which git ignores.
# BENCH_ROUNDS (3) says how often each boot is counted; with 3, all of it takes about four minutes in the lab, and five for
# restore and image.
# Exit status 1 when a target is missed or a measurement failed.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
names=${B:-boot exits memory start restore image daemon web}
out=$tree/build/bench-out
limit=900 limit_each=360

# microvm-rtc is microvm with the clock chip for which the kernel waits else.
boot_rows=socle,microvm,microvm-rtc,q35

for name in $names; do
    case $name in
    boot | exits | memory | restore | start | image | daemon | web | host) ;;
    *) echo "bench: no '$name'; there are: boot exits memory restore start image daemon web host" >&2; exit 2 ;;
    esac
done

# Inside: on the machine or in the lab that measures.
figures_of_boot() { # boot.sh's table: NAME INIT_MS END_MS SOCLE/INIT SOCLE/END
    awk '$2 ~ /^[0-9.]+$/ { print "boot-" $1, $2, "ms"; if ($1 != "socle" && $4 != "") print "boot/" $1, $4, "ratio" }' \
        "$1" >>"$BENCH_FIGURES"
}

measure() { # NAME
    local status=0
    echo "== $1"
    case $1 in
    boot)
        timeout --kill-after=5 $limit_each "$tree/bench/boot.sh" --rounds "${BENCH_ROUNDS:-3}" --only $boot_rows \
            >"$out/boot.txt" || status=$?
        cat "$out/boot.txt"
        figures_of_boot "$out/boot.txt"
        ;;
    memory)
        timeout --kill-after=5 $limit_each "$tree/bench/memory.sh" --maps >"$out/memory.txt" || status=$?
        sed '/^socle-user:/,$d' "$out/memory.txt"
        ;;
    image) timeout --kill-after=5 $limit "$tree/bench/image.sh" --rounds "${BENCH_ROUNDS:-3}" || status=$? ;;
    *) timeout --kill-after=5 $limit_each "$tree/bench/$1.sh" || status=$? ;;
    esac
    [ $status -eq 0 ] || echo "failed-$1 $status status" >>"$BENCH_FIGURES"
}

if [ -n "${BENCH_FIGURES:-}" ]; then
    for name in $names; do
        measure "$name"
    done
    exit
fi

# Outside: prepares, lets measure, judges.
"$tree/tools/guest/build.sh"
for name in $names; do
    "$tree/bench/$name.sh" --prepare
done
mkdir -p "$out"
figures=$out/figures
: >"$figures"

# What needs no KVM first; the rest is the lab's, or stays here too.
inside=
for name in $names; do
    case $name in
    restore | image | daemon | web | host) BENCH_FIGURES=$figures measure "$name" ;;
    *) inside="$inside $name" ;;
    esac
done

# What our own code needs until the guest runs is native even where KVM is slow for guests; the lab's clock would say nothing of it.
where=here
"$tree/test/lab/kvm_fast.sh" || where=lab
if [ $where = lab ] && [[ " $names " == *" start "* ]] && [ -w /dev/kvm ]; then
    echo "== start, on this machine's own KVM: Socle alone, as guests are slow there"
    : >"$out/start.here"
    BENCH_FIGURES=$out/start.here "$tree/bench/start.sh" --only socle || true
    sed -n 's/^start-entry/start-entry-here/p' "$out/start.here" >>"$figures"
    rm -f "$out/start.here"
fi
[ -z "$inside" ] || "$tree/test/lab/run.sh" --auto --modules tun --timeout $limit --out "$out" -- \
    env BENCH_FIGURES="$figures" B="$inside" BENCH_ROUNDS="${BENCH_ROUNDS:-3}" "$tree/bench/run.sh" ||
    echo "failed-run $? status" >>"$figures"
[ $where = lab ] || sed -i '/^start-entry/{p;s/^start-entry/start-entry-here/}' "$figures"

python3 "$tree/bench/judge.py" "$figures" "$tree/bench/history.jsonl" "$where" "$names"
