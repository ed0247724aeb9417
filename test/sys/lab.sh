#!/bin/bash
# test/sys/lab.sh: the KVM engine with a real KVM under it, in the lab where this machine has none: test/lab/suite.sh.
# A lab whose own kernel stands still is started anew; what a living lab says is the verdict.  A lab that stands still each time, or whose
# time is over on a slow machine, judges nothing.
# time limit: 1000
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
"$tree/tools/guest/build.sh" || exit 1
"$tree/bench/boot.sh" --prepare || exit 1
"$tree/bench/guest_memory/build.sh" || exit 1
export INITRD=$tree/build/bench/initrd
ninja -C "$SOCLE_BUILD" src/cpu_tests || exit 1
"$tree/test/lab/run.sh" --auto --tries 2 --timeout 400 --out "$tree/build/lab-suite" -- \
    env SOCLE_BUILD="$SOCLE_BUILD" INITRD="$INITRD" "$tree/test/lab/suite.sh"
status=$?
case $status in
124 | 125) echo "not judged: the lab stood still, or its time was over"; exit 77 ;;
esac
exit $status
