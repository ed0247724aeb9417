#!/bin/bash
# test/sys/box_engines.sh: containerd, podman and rootless podman with socle-box as their runtime: the life of containers.
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
# Of its own, so that what it mounts and whom it knows as users is gone with it.
exec unshare -m --propagation private python3 "$here/box_engines.py" "$box" "$TMPDIR" "$@"
