#!/bin/bash
# test/sys/full.sh: socled on a disk that is full, with a real guest on the software engine: test/sys/full.py.
# time limit: 200
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    "$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
    [ "$(id -u)" = 0 ] && unshare -n -m true 2>/dev/null || { echo "a small disk needs root, and mounts of the test's own"; exit 77; }
    exec unshare -n -m "$0" inside
fi
ip link set lo up
mkdir "$TMPDIR/d"
mount -t tmpfs -o size=96m,mode=0700 small "$TMPDIR/d"
exec python3 "$tree/test/sys/full.py" "$tree/.cache/guest"
