#!/bin/bash
# test/sys/installed.sh: Socle as `make install` puts it, in a Debian with systemd under the software engine: its units, five instances that notice neither
# upgrade nor kill nor removal of socled, and what becomes of them when the host is restarted.
# time limit: 600
# only in check-full
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
[ -x /usr/sbin/dnsmasq ] || { echo "no dnsmasq"; exit 77; }
for program in socle socle-box socle-os socle-share socle-unpack socle-vm socled; do
    [ -x "$SOCLE_BUILD/src/cmd/$program" ] || { echo "no $program"; exit 77; }
done
export PATH=$PATH:/usr/sbin:/sbin
"$tree/tools/guest/build.sh" || { echo "no sample guest"; exit 77; }
exec python3 "$tree/test/sys/installed.py" "$SOCLE_BUILD" "$tree" "$TMPDIR" "$@"
