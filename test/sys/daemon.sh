#!/bin/bash
# test/sys/daemon.sh: socled with real guests on the software engine: their life, snapshots and clones, and kill -9 of socled at random instants.
# time limit: 600
set -eu
cd "$(dirname "$0")/../.."
guest=$PWD/.cache/guest
[ -f "$guest/vmlinuz" ] || { echo "no sample guest: make guest"; exit 77; }
python3 test/sys/daemon.py life "$guest/vmlinuz" "$guest/initrd"
rm -rf "$TMPDIR/d"
python3 test/sys/daemon.py snap "$guest/vmlinuz" "$guest/initrd" "$guest/root.img"
rm -rf "$TMPDIR/d"
python3 test/sys/daemon.py kill "$guest/vmlinuz" "$guest/initrd" "${SOCLE_KILLS:-$([ -n "${SOCLE_FULL:-}" ] && echo 500 || echo 50)}"
