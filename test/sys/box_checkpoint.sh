#!/bin/bash
# test/sys/box_checkpoint.sh: socle-box checkpoint and restore, and podman's, by CRIU in a Debian under the software engine.
# time limit: 600
# only in check-full
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
export PATH=$PATH:/usr/sbin:/sbin
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
for program in criu iptables tar; do
    command -v "$program" >/dev/null || { echo "no $program"; exit 77; }
done
for program in socle socle-box socle-box-systemd socle-box-criu; do
    [ -x "$SOCLE_BUILD/src/cmd/$program" ] || { echo "no $program"; exit 77; }
done
"$tree/tools/guest/build.sh" || { echo "no sample guest"; exit 77; }
exec python3 "$tree/test/sys/box_checkpoint.py" "$SOCLE_BUILD/src/cmd" "$tree" "$TMPDIR" "$@"
