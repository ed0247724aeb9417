#!/bin/bash
# test/sys/lab.sh: the KVM engine with a real KVM under it, in the lab where this machine has none: test/lab/suite.sh.
# Two tries in the lab, and no judgement when both fail: see debian.sh.
# time limit: 680
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
"$tree/tools/guest/build.sh" || exit 1
"$tree/bench/boot.sh" --prepare || exit 1
"$tree/bench/guest_memory/build.sh" || exit 1
export INITRD=$tree/build/bench/initrd
ninja -C "$SOCLE_BUILD" src/cpu_tests || exit 1

suite() {
    "$tree/test/lab/run.sh" --auto --timeout 300 --out "$tree/build/lab-suite" -- \
        env SOCLE_BUILD="$SOCLE_BUILD" INITRD="$INITRD" "$tree/test/lab/suite.sh"
}

suite && exit 0
"$tree/test/lab/kvm_fast.sh" && exit 1
suite && exit 0
echo "not judged: the suite failed twice in the lab"
exit 77
