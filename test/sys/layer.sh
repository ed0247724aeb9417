#!/bin/bash
# test/sys/layer.sh: images become layers: what overlayfs shows of them is what was meant, and bad ones touch nothing.
# time limit: 600
set -eu
unpack=$SOCLE_BUILD/src/cmd/socle-unpack
[ "$(id -u)" = 0 ] || { echo "only root may mount overlays and make users here"; exit 77; }
[ -x "$unpack" ] || { echo "no $unpack"; exit 77; }
unshare -m true 2>/dev/null || { echo "this machine allows no namespaces"; exit 77; }
command -v zstd >/dev/null || { echo "no zstd"; exit 77; }
exec python3 "$(dirname "$0")/layer.py" "$unpack" "$TMPDIR" "$@"
