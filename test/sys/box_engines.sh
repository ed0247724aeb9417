#!/bin/bash
# test/sys/box_engines.sh: containerd, podman and rootless podman with socle-box as their runtime: the life of containers, and of such that are machines.
# time limit: 240
# only in check-full
set -eu
box=$SOCLE_BUILD/src/cmd/socle-box
[ "$(id -u)" = 0 ] || { echo "only root may start these engines here"; exit 77; }
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
[ -x "$box" ] || { echo "no $box"; exit 77; }
here=$(dirname "$0")
export PATH=$PATH:/usr/sbin:/sbin
for program in containerd ctr containerd-shim-runc-v2 podman conmon newuidmap; do
    command -v "$program" >/dev/null || { echo "no $program; tools/deps.sh engines installs it"; exit 77; }
done
# Kernel and initial RAM disk of containers that are machines, of the sample guest, where it was built.
tree=$(cd "$here/../.." && pwd)
if [ -z "${ISOLATE:-}" ] && [ -e "$tree/.cache/guest/root.img" ] && command -v debugfs >/dev/null; then
    version=$(cat "$tree/.cache/guest/version")
    mkdir "$TMPDIR/modules"
    debugfs -R "rdump /usr/lib/modules/$version $TMPDIR/modules" "$tree/.cache/guest/root.img" 2>/dev/null
    "$tree/tools/isolate.sh" "$SOCLE_BUILD/src/cmd/socle-guest" "$tree/.cache/guest/vmlinux" "$TMPDIR/modules/$version" "$TMPDIR/isolate"
    export ISOLATE=$TMPDIR/isolate
fi
# Of its own, so that what it mounts and whom it knows as users is gone with it.
exec unshare -m --propagation private python3 "$here/box_engines.py" "$box" "$TMPDIR" "$@"
