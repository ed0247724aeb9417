#!/bin/bash
# bench/exits.sh: what a round trip out of the guest costs under Socle and under QEMU q35, in turn, in cycles of the guest's clock.
# Usage: bench/exits.sh [--rounds N] [--prepare]   (3 rounds; --prepare only builds)
# cpuid and doorbell end in the kernel, the others in the VMM.  Where KVM is slow, only the ratios in the lab mean anything:
#   bench/exits.sh --prepare && test/lab/run.sh -- bench/exits.sh
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
rounds=3 limit=60

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --prepare) payload exits; exit ;;
    *) echo "exits: unknown option '$1'" >&2; exit 2 ;;
    esac
done
payload exits

once() { # NAME COMMAND...: both end with the payload's own status, 2 × 0 + 1
    local name=$1 status=0
    shift
    timeout --kill-after=5 "$limit" "$@" </dev/null >"$scratch/out" 2>"$scratch/err" || status=$?
    if [ $status -ne 1 ]; then
        echo "exits: $name ended with status $status: $(tail -n 3 "$scratch/out" "$scratch/err")" >&2
        return 0
    fi
    tr -d '\r' <"$scratch/out" | sed -n 's/^exit //p' >>"$scratch/$name"
}

cycles() { # VMM EXIT
    awk -v k="$2" '$1 == k { print $2 }' "$scratch/$1" | median
}

qemu q35 16
touch "$scratch/socle" "$scratch/q35"
for _ in $(seq "$rounds"); do
    once socle "$socle" run --engine kvm --memory 16M --kernel "$made/exits" --net none --testdev
    once q35 "${peer[@]}" -kernel "$made/exits" -device pci-testdev -device isa-debug-exit,iobase=0xf4
done

printf '%-12s %12s %12s %10s\n' exit socle q35 socle/q35
for name in cpuid pio-out pio-in mmio-write mmio-read doorbell; do
    ours=$(cycles socle $name)
    theirs=$(cycles q35 $name)
    printf '%-12s %12s %12s %10s\n' $name "${ours:-failed}" "${theirs:-failed}" "$(ratio "$ours" "$theirs")"
    figure "exit-$name" "$ours" cycles
    figure "exit-$name/q35" "$(ratio "$ours" "$theirs")" ratio
done
