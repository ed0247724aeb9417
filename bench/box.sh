#!/bin/bash
# bench/box.sh: what it costs to run /bin/true in a container: socle-box beside crun and runc, same bundle, all namespaces, in turn.
# Usage: bench/box.sh [--rounds N] [--idle N]   (100; 500)   as root; crun and runc of Debian, where they are installed
# Prints wall (median, least) and CPU time of a run, peak memory of the runtime, and each figure's ratio to crun's; and what so many idle
# containers at once take of the host's memory.
# The bundle has no device rules: crun wants to raise a limit for them, which not every machine allows.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
box=${SOCLE_BOX:-$tree/build/rel/src/cmd/socle-box}
rounds=100 idle=500
while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --idle) idle=$2; shift 2 ;;
    *) echo "box: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ -x "$box" ] || { echo "bench: no $box; run tools/build.sh rel" >&2; exit 1; }

# A mount namespace where cgroup v2 is alone, whatever the host has.
if [ -z "${BOX_INSIDE:-}" ]; then
    BOX_INSIDE=1 exec unshare -m --propagation private "$0" --rounds "$rounds" --idle "$idle"
fi
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || { umount -R /sys/fs/cgroup 2>/dev/null || true; mount -t cgroup2 cgroup /sys/fs/cgroup; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cc -std=gnu2x -O2 -Wall -Wextra -D_GNU_SOURCE -o "$work/time" "$tree/bench/box_time.c"
mkdir -p "$work"/b/rootfs/{bin,proc,sys,dev}
cp /bin/busybox "$work/b/rootfs/bin/true"
"$box" spec --bundle "$work/b"
python3 - "$work/b/config.json" <<'P'
import json, sys
c = json.load(open(sys.argv[1]))
c["ociVersion"] = "1.0.2"
c["process"].update(terminal=False, args=["/bin/true"], rlimits=[])
del c["linux"]["resources"]
json.dump(c, open(sys.argv[1], "w"))
P
cd "$work/b"
commands=(socle-box "$box" --root "$work/s" run s)
for peer in crun runc; do
    ! command -v $peer >/dev/null || commands+=(-- $peer $peer --root "$work/$peer" run $peer)
done
"$work/time" "$rounds" "${commands[@]}" >"$work/figures"
awk 'NR == FNR { if ($1 == "crun") { m = $2; c = $4; r = $5 } next }
     FNR == 1 { printf "%-10s %9s %9s %9s %9s   %s\n", "run", "median_ms", "least_ms", "cpu_ms", "peak_KiB", "to crun: wall cpu memory" }
     { printf "%-10s %9.2f %9.2f %9.2f %9d", $1, $2 / 1000, $3 / 1000, $4 / 1000, $5
       if (m) printf "   %.2f %.2f %.2f", $2 / m, $4 / c, $5 / r
       print "" }' "$work/figures" "$work/figures"

[ "$idle" -gt 0 ] || exit 0
each() { # ACTION…: of every idle container
    local i
    for i in $(seq "$idle"); do "$box" --root "$work/idle" "$@" "idle-$i"; done
}
available() { awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo; }
sed -i 's|"/bin/true"|"/bin/sleep", "100000"|' config.json
cp /bin/busybox rootfs/bin/sleep
before=$(available)
trap 'each delete --force 2>/dev/null || true; rm -rf "$work"' EXIT
SECONDS=0
each run --detach
took=$SECONDS
running=$("$box" --root "$work/idle" list --format json | python3 -c 'import json, sys; print(sum(c["status"] == "running" for c in json.load(sys.stdin)))')
after=$(available)
SECONDS=0
each delete --force
echo "idle       $running of $idle run, started in $took s; $(((before - after) / idle)) KiB of the host's memory each; gone in $SECONDS s"
trap 'rm -rf "$work"' EXIT
[ "$running" = "$idle" ]
