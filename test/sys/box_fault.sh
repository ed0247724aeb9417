#!/bin/bash
# test/sys/box_fault.sh: each system call of socle-box and of a container's processes fails in turn; what is left is counted.
# time limit: 900
# only in check-full
set -eu
box=$SOCLE_BUILD/src/cmd/socle-box
[ "$(id -u)" = 0 ] || { echo "only root may make containers here"; exit 77; }
[ -x /bin/busybox ] && [ -x "$box" ] || { echo "no /bin/busybox, or no $box"; exit 77; }
here=$(dirname "$0")
"${CC:-cc}" -std=gnu2x -O2 -Wall -Wextra -D_GNU_SOURCE -o "$TMPDIR/box_fault" "$here/box_fault.c"
# Apart from what else goes on here: other processes and mounts would be taken for something left.  The shell reaps orphans.
exec unshare -pfm --mount-proc sh -c '"$@"; exit $?' sh python3 "$here/box_fault.py" "$TMPDIR/box_fault" "$box" "$TMPDIR" "$@"
