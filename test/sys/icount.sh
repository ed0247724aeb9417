#!/bin/bash
# test/sys/icount.sh: the beginning of a Debian kernel's boot under two configurations of the software engine, with time by count
# of instructions: registers are alike at each look, RAM at the end, and two runs of one configuration are one.
# time limit: 240
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
kernel=$tree/.cache/guest/vmlinuz

[ -r "$kernel" ] || { echo "no kernel: tools/guest/build.sh makes it"; exit 77; }
ninja -C "$SOCLE_BUILD" src/icount_boot >"$TMPDIR/build" 2>&1 || { cat "$TMPDIR/build"; exit 1; }
for i in 1 2; do
    "$SOCLE_BUILD/src/icount_boot" "$kernel" 60 50000 >"$TMPDIR/out$i" || { tail -n 8 "$TMPDIR/out$i"; exit 1; }
done
cmp "$TMPDIR/out1" "$TMPDIR/out2"
