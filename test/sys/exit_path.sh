#!/bin/bash
# test/sys/exit_path.sh: on the path of an exit nothing is allocated, logged or locked but the one device: counted over some 10,000 exits
# of bench/exits.S (a port, the serial port, a PCI device's memory), under each engine that runs here.
# time limit: 120
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
"${CC:-cc}" -std=gnu2x -O2 -Wall -Wextra -D_GNU_SOURCE -shared -fPIC -o "$TMPDIR/exit_path.so" "$tree/test/sys/exit_path.c"
"$tree/test/payload/build.sh" "$TMPDIR" "$tree/bench/exits.S"

check() { # ENGINE: exits with 2 × 0 + 1
    local status=0 allocations formats locks most runs
    LD_PRELOAD=$TMPDIR/exit_path.so timeout 50 "$SOCLE_BUILD/src/cmd/socle" run --no-jail --engine "$1" --memory 16M --kernel "$TMPDIR/exits" \
        --net none --testdev >"$TMPDIR/out" 2>"$TMPDIR/err" </dev/null || status=$?
    [ $status -eq 1 ] || { echo "FAILED: $1: status $status"; cat "$TMPDIR/out" "$TMPDIR/err"; exit 1; }
    read -r _ _ allocations _ formats _ locks _ most _ runs < <(grep '^exit_path: ' "$TMPDIR/err")
    echo "$1: allocations $allocations, texts formatted $formats, locks $locks, most of one lock $most, KVM_RUN $runs"
    [ "$locks" -ge 8800 ] || { echo "FAILED: $1: these are not all exits"; exit 1; }
    [ "$allocations" -eq 0 ] && [ "$formats" -eq 0 ] || { echo "FAILED: $1: an exit allocates or logs"; exit 1; }
    # 2,200 exits to each of the first two devices, 4,400 to the third.
    [ "$most" -le 6600 ] || { echo "FAILED: $1: one lock is common to the devices"; exit 1; }
    [ "$runs" -eq 0 ] || [ "$locks" -le $((runs + 500)) ] || { echo "FAILED: $1: more locks than exits"; exit 1; }
}

check soft
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    check kvm
else
    echo "not under kvm: no access to /dev/kvm"
fi
