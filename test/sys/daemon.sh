#!/bin/bash
# test/sys/daemon.sh: socled with real guests on the software engine: their life, snapshots and clones, and kill -9 of socled at random instants.
# time limit: 1200
# Root's socled makes a network for its machines: in a network namespace of the test's own, so that the host's links and rules stay as they are.
set -eu
here=$(dirname "$0")
"$here/../../tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    exec unshare -n "$0" inside
fi
[ "${1:-}" != inside ] || ip link set lo up
cd "$here/../.."
guest=$PWD/.cache/guest
python3 test/sys/daemon.py life "$guest/vmlinuz" "$guest/initrd"
rm -rf "$TMPDIR/d"
python3 test/sys/daemon.py snap "$guest/vmlinuz" "$guest/initrd" "$guest/root.img"
rm -rf "$TMPDIR/d"
python3 test/sys/daemon.py kill "$guest/vmlinuz" "$guest/initrd" "${SOCLE_KILLS:-$([ -n "${SOCLE_FULL:-}" ] && echo 500 || echo 50)}"
