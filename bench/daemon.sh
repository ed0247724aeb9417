#!/bin/bash
# bench/daemon.sh: socled with 0, 100, 1,000 and 10,000 recorded instances: memory, `list` over its socket, `socle list` end to end; what wakes it
# while nobody asks; `socle launch` of a payload that sleeps, on the software engine.
# Usage: bench/daemon.sh [--rounds N]    (needs the build)
# Times are medians, and beside them the CPU time that both sides spent, which other work on the machine disturbs less.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
rounds=20
[ "${1:-}" = --rounds ] && rounds=$2
case ${1:-} in --prepare) exit 0 ;; esac
build=${SOCLE_BUILD:-$tree/build/rel}
[ -x "$build/src/cmd/socled" ] || build=$tree/build/dev
mkdir -p "$tree/build/bench"
"$tree/test/payload/build.sh" "$tree/build/bench" "$tree/bench/idle.S"
exec python3 "$tree/bench/daemon.py" "$build/src/cmd" "$tree/build/bench/idle" "$rounds"
