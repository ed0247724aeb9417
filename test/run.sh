#!/bin/bash
# test/run.sh: runs whole-system tests and ends with "N passed, N failed, N skipped": test/run.sh [NAME…]
# A test is an executable test/sys/NAME.sh.  Status 0: passed; 77: skipped, its last line says why; else failed, and all that it
# printed is shown.  It may have SECONDS of time: `# time limit: SECONDS` in its first lines, 120 without; with a line
# `# only in check-full` there it runs only when it is named, or SOCLE_FULL is set.  It finds the programs in $SOCLE_BUILD/src/cmd
# and has an empty folder of its own in $TMPDIR.
set -u
cd "$(dirname "$0")/.." || exit
export SOCLE_BUILD=${SOCLE_BUILD:-$PWD/build/dev}

passed=0 failed=0 skipped=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

run_one() {
    local file=$1 name limit status
    name=$(basename "$file" .sh)
    limit=$(sed -n '1,10s/^# time limit: \([0-9]*\).*/\1/p' "$file")
    mkdir "$scratch/$name"
    TMPDIR=$scratch/$name timeout -k 10 "${limit:-120}" "$file" >"$scratch/$name.log" 2>&1 </dev/null
    status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    77)
        skipped=$((skipped + 1))
        echo "skipped: $name: $(tail -n 1 "$scratch/$name.log")"
        ;;
    *)
        failed=$((failed + 1))
        [ $status -eq 124 ] && echo "$name: still running after ${limit:-120} s" >>"$scratch/$name.log"
        echo "--- FAILED: $name (status $status)"
        cat "$scratch/$name.log"
        ;;
    esac
}

for file in test/sys/*.sh; do
    name=$(basename "$file" .sh)
    [ -x "$file" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    [ $# -gt 0 ] || [ -n "${SOCLE_FULL:-}" ] || ! head -n 10 "$file" | grep -q '^# only in check-full' || continue
    run_one "$file"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
