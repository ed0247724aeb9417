#!/bin/bash
# test/sys/os_limits.sh: limits of instances of kind os hold: socled as a service of systemd in a Debian that has all controllers, under the software engine.
# time limit: 600
# only in check-full
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
for program in socle socle-box socle-os socle-unpack socled; do
    [ -x "$SOCLE_BUILD/src/cmd/$program" ] || { echo "no $program"; exit 77; }
done
export PATH=$PATH:/usr/sbin:/sbin
"$tree/tools/guest/build.sh" || { echo "no sample guest"; exit 77; }
exec python3 "$tree/test/sys/os_limits.py" "$SOCLE_BUILD/src/cmd" "$tree" "$TMPDIR" "$@"
