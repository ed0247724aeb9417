#!/bin/bash
# test/sys/box_lab.sh: socle-box in the lab, where cgroup v2 has all its controllers: limits, the life of a container again, engines.
# time limit: 700
# only in check-full
set -eu -o pipefail
tree=$(cd "$(dirname "$0")/../.." && pwd)
[ -x "$SOCLE_BUILD/src/cmd/socle-box" ] || { echo "no socle-box"; exit 77; }
command -v qemu-system-x86_64 >/dev/null || { echo "no QEMU for the lab"; exit 77; }
"$tree/test/lab/run.sh" --timeout 680 --memory 1024 --out "$TMPDIR/lab" -- \
    env SOCLE_BUILD="$SOCLE_BUILD" TMPDIR=/tmp bash -c "'$tree/test/sys/box.sh' limits life devices made_in_a_chroot && mkdir -p /tmp/engines &&
        { TMPDIR=/tmp/engines '$tree/test/sys/box_engines.sh' containerd podman || [ \$? = 77 ]; }" | tee "$TMPDIR/said"
! grep -q "^skipped" "$TMPDIR/said"
