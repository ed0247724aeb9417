#!/bin/bash
# bench/web.sh: the console in the browser, looked at as an audit does: how much it loads and when it can be used, whether everybody can use
# it, and what is good practice.  Debian's chromium, a socled with a few machines that are off.  Usage: bench/web.sh [--rounds N]
# Points are lost, of 100: performance by targets (350 KiB, 1 s until it can be used, no shifts of what is shown), accessibility by axe's
# rules on each page, practice by checks.  Each that fails is printed.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
rounds=5 inside=

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --inside) inside=1; shift ;;
    --prepare) "$tree/tools/guest/build.sh" >/dev/null; "$tree/tools/web.py"; exit ;;
    *) echo "web: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ -x "${CHROMIUM:-/usr/bin/chromium}" ] || { echo "web: no chromium; run tools/deps.sh check" >&2; exit 1; }
# Root's socled makes a network for its machines: in a network namespace of its own.
if [ -z "$inside" ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    exec unshare -n "$0" --inside --rounds "$rounds"
fi
[ -z "$inside" ] || ip link set lo up

TMPDIR=$scratch SOCLE_BUILD=$(dirname "$(dirname "$(dirname "$socle")")") node "$tree/bench/web.mjs" "$rounds" >"$scratch/out"
cat "$scratch/out"
while read -r name value unit; do
    case $name in web-*) figure "$name" "$value" "$unit" ;; esac
done <"$scratch/out"
