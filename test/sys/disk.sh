#!/bin/bash
# test/sys/disk.sh: the long form of disk/'s own tests: 280 histories of qcow2 images that qemu-img judges, each write as a crash point, 200
# kills of a writer.  Each has a sample in the unit tests.
# time limit: 3600
# only in check-full
set -eu -o pipefail
tests=$SOCLE_BUILD/src/disk_tests
[ -x "$tests" ] || { echo "no $tests: tools/build.sh dev all meson-test-prereq"; exit 77; }

# What it counted, and not what each crash said.
run() { timeout 1700 env "$2" "$tests" "$1" 2>&1 | grep -E '^  [0-9]|FAILED|want|false:|row:|sector at' | sort -u; [ "${PIPESTATUS[0]}" -eq 0 ]; }

run qcow2_histories RIG_ROUNDS=10
run qcow2_kills RIG_KILLS=200
run qcow2_power_cuts RIG_STEP=1
run qcow2_failed_io RIG_STEP=1
