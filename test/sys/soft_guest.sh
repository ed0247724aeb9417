#!/bin/bash
# test/sys/soft_guest.sh: the sample guest under the software engine boots, passes its selftest, powers off, translated and interpreted; a smaller
# one boots with each translation compared (--engine-check), and reboots.
# time limit: 700
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
export SOCLE=$SOCLE_BUILD/src/cmd/socle
"$tree/test/lab/guest.sh" --engine soft --jit=off --cpus 2 --timeout 300 --out "$TMPDIR/out" || exit 1
"$tree/test/lab/guest.sh" --engine soft --cpus 4 --timeout 300 --out "$TMPDIR/out" || exit 1
"$tree/test/linux/boots.sh" --rounds 1 --cpus "1 4" --check --limit 150 --log "$TMPDIR/checked.log" || { cat "$TMPDIR"/checked.log*; exit 1; }
"$tree/test/linux/boots.sh" --rounds 1 --cpus 2 --end reboot --limit 150 --log "$TMPDIR/boots.log" && exit 0
cat "$TMPDIR"/boots.log*
exit 1
