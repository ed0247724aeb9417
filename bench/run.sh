#!/bin/bash
# bench/run.sh: every measurement, or the one that B names (boot, exits, memory, start), in one run on real KVM: here, or in the lab.
# Prints ratios against QEMU; what each measured goes to bench/history.jsonl, which git ignores.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${BENCH_INSIDE:-}" ]; then
    "$tree/tools/guest/build.sh"
    "$tree/bench/boot.sh" --prepare
    mkdir -p "$tree/build/bench-out"
    "$tree/test/lab/run.sh" --auto --timeout 1500 --out "$tree/build/bench-out" -- \
        env BENCH_INSIDE=1 B="${B:-}" "$tree/bench/run.sh" | tee "$tree/build/bench-out/last.txt"
    printf '{"date": "%s", "revision": "%s", "what": "%s", "output": %s}\n' "$(date -u +%FT%TZ)" \
        "$(git -C "$tree" rev-parse --short HEAD)" "${B:-all}" \
        "$(python3 -c 'import json,sys; print(json.dumps(sys.stdin.read()))' <"$tree/build/bench-out/last.txt")" \
        >>"$tree/bench/history.jsonl"
    exit
fi
for name in ${B:-boot exits memory start}; do
    echo "== $name"
    "$tree/bench/$name.sh" || echo "bench: $name failed with status $?"
done
