#!/bin/bash
# bench/daemon.sh: socled with 0, 1,000 and 10,000 recorded instances: memory, `list` over its socket, `socle list` end to end.
# Usage: bench/daemon.sh [--rounds N]    (needs the build; no guest runs)
# Times are medians, and beside them the CPU time that both sides spent, which other work on the machine disturbs less.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
rounds=20
[ "${1:-}" = --rounds ] && rounds=$2
case ${1:-} in --prepare) exit 0 ;; esac
build=${SOCLE_BUILD:-$tree/build/rel}
[ -x "$build/src/cmd/socled" ] || build=$tree/build/dev
exec python3 "$tree/bench/daemon.py" "$build/src/cmd" "$rounds"
