#!/bin/bash
# bench/host.sh: socled with many: 100 watchers of 100 events a second; 200 machines started, listed and stopped; beside libvirt.
# Usage: bench/host.sh [watch] [many] [libvirt]    (without a word: all; needs the build; figures go to bench/run.sh's history, too)
# The machines are on the software engine, and libvirt's on QEMU's TCG: the time is of what keeps them, not of the guest, which sleeps.
# libvirt and QEMU are Debian's; where libvirt is absent and this is root, tools/deps.sh installs it.  Its daemon is one of our own, in a mount
# namespace where its folders are empty, so the host's is left alone.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
case ${1:-} in --prepare) exit 0 ;; esac
build=${SOCLE_BUILD:-$tree/build/rel}
[ -x "$build/src/cmd/socled" ] || build=$tree/build/dev
parts=${*:-watch many libvirt}

if [[ " $parts " == *" libvirt "* ]] && ! command -v libvirtd >/dev/null; then
    echo "libvirt is absent; installing Debian's"
    "$tree/tools/deps.sh" libvirt || echo "libvirt cannot be installed: it is left out"
fi
mkdir -p "$tree/build/bench"
"$tree/test/payload/build.sh" "$tree/build/bench" "$tree/bench/idle.S"
alone=() # and whatever becomes of the measurement, its processes end with it.  The shell is their init: libvirt waits until somebody has
         # reaped a machine's process.
# shellcheck disable=SC2016
[ "$(id -u)" != 0 ] || alone=(unshare -n -m --propagation private --pid --fork --kill-child --mount-proc bash -c '"$@"; exit $?' -)
# shellcheck disable=SC2086
exec "${alone[@]}" python3 "$tree/bench/host.py" "$build/src/cmd" "$tree/build/bench/idle" $parts
