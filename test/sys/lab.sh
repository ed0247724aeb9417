#!/bin/bash
# test/sys/lab.sh: the KVM engine with a real KVM under it, in the lab where this machine has none: test/lab/suite.sh.
# In the lab guests hang or crash now and then, under QEMU too: it has two tries there, and then says so instead of judging.
# time limit: 700
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
"$tree/tools/guest/build.sh" || exit 1
"$tree/bench/boot.sh" --prepare || exit 1
export INITRD=$tree/build/bench/initrd
ninja -C "$SOCLE_BUILD" src/cpu_tests || exit 1
tries="1 2"
"$tree/test/lab/kvm_fast.sh" 2>/dev/null && tries=1
for try in $tries; do
    "$tree/test/lab/run.sh" --auto --timeout 300 --out "$tree/build/lab-suite" -- \
        env SOCLE_BUILD="$SOCLE_BUILD" INITRD="$INITRD" "$tree/test/lab/suite.sh" && exit 0
done
[ "$tries" = 1 ] && exit 1
echo "not judged: the suite failed twice in the lab, where QEMU's guests fail now and then too"
exit 77
