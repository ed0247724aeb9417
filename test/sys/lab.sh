#!/bin/bash
# test/sys/lab.sh: the KVM engine with a real KVM under it, in the lab where this machine has none: test/lab/suite.sh.
# time limit: 900
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
"$tree/tools/guest/build.sh" || exit 1
"$tree/bench/boot.sh" --prepare || exit 1
export INITRD=$tree/build/bench/initrd
[ -x "$SOCLE_BUILD/src/cpu_tests" ] || ninja -C "$SOCLE_BUILD" src/cpu_tests || exit 1
for try in 1 2; do # the lab itself hangs now and then, under QEMU too: only then once more
    "$tree/test/lab/run.sh" --auto --timeout 300 --out "$tree/build/lab-suite" -- \
        env SOCLE_BUILD="$SOCLE_BUILD" INITRD="$INITRD" "$tree/test/lab/suite.sh"
    status=$?
    [ $status = 124 ] || exit $status
    echo "try $try ran out of time"
done
echo "both tries ran out of time: guests in the lab hang now and then, QEMU's too"
exit 77
