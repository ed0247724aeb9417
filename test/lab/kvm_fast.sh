#!/bin/bash
# test/lab/kvm_fast.sh: builds kvm_fast.c where needed and runs it; its exit status says whether KVM is usable and fast.
# Prints its one line on standard error, so that a caller's output stays its own.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
source=$tree/test/lab/kvm_fast.c
program=$tree/.cache/lab/kvm_fast
if [ ! -x "$program" ] || [ "$source" -nt "$program" ]; then
    mkdir -p "$tree/.cache/lab"
    "${CC:-cc}" -std=gnu2x -O2 -Wall -Wextra -o "$program.$$" "$source"
    mv "$program.$$" "$program"
fi
exec "$program" >&2
