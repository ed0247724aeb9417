#!/bin/bash
# test/sys/box.sh: socle-box as engines use it: the life of a container, what it may, and the attacks on other runtimes.
# time limit: 400
set -eu
box=$SOCLE_BUILD/src/cmd/socle-box
[ "$(id -u)" = 0 ] || { echo "only root may make containers here"; exit 77; }
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
[ -x "$box" ] || { echo "no $box"; exit 77; }
unshare -m true 2>/dev/null || { echo "this machine allows no namespaces"; exit 77; }
here=$(dirname "$0")
"${CC:-cc}" -std=gnu2x -O2 -Wall -Wextra -D_GNU_SOURCE -o "$TMPDIR/box_fault" "$here/box_fault.c"
exec python3 "$here/box.py" "$box" "$TMPDIR" "$@"
