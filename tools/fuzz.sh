#!/bin/bash
# tools/fuzz.sh: runs one fuzz target for S seconds and keeps, minimised, what it learned: T=name S=60 tools/fuzz.sh
set -eu
cd "$(dirname "$0")/.."

target=${T:-}
seconds=${S:-60}
if [ -z "$target" ]; then
    echo "usage: make fuzz T=name [S=60]; the targets are:" >&2
    find src -name '*_fuzz.c' -printf '%f\n' | sed 's/_fuzz\.c$//' | sort | sed 's/^/    /' >&2
    exit 2
fi
case $seconds in *[!0-9]* | '')
    echo "make fuzz: S='$seconds' is not a number of seconds" >&2
    exit 2
    ;;
esac

tools/build.sh fuzz "src/fuzz_$target"
corpus=fuzz/corpus/$target
found=build/fuzz/found/$target
mkdir -p "$corpus" "$found"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
"build/fuzz/src/fuzz_$target" -max_total_time="$seconds" -timeout=10 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/$target-" "$found" "$corpus"
"build/fuzz/src/fuzz_$target" -merge=1 "$corpus" "$found" 2>/dev/null
echo "$target: $(find "$corpus" -type f | wc -l) inputs in $corpus"
