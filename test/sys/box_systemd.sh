#!/bin/bash
# test/sys/box_systemd.sh: socle-box --systemd-cgroup in a Debian with systemd and all controllers, under the software engine: limits that hold.
# time limit: 600
# only in check-full
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
for program in socle socle-box socle-box-systemd; do
    [ -x "$SOCLE_BUILD/src/cmd/$program" ] || { echo "no $program"; exit 77; }
done
export PATH=$PATH:/usr/sbin:/sbin
"$tree/tools/guest/build.sh" || { echo "no sample guest"; exit 77; }
exec python3 "$tree/test/sys/box_systemd.py" "$SOCLE_BUILD/src/cmd" "$tree" "$TMPDIR" "$@"
