#!/bin/bash
# test/linux/boots.sh: boots a kernel and a small initrd many times, with 1, 2 and 4 vCPUs in turn, and counts what fails or hangs.
# Usage: test/linux/boots.sh [--rounds N] [--cpus "1 2 4"] [--engine E] [--kernel FILE] [--initrd FILE] [--end E] [--check] [--limit S] [--log FILE]
# A boot passes when it said what init.sh says, nothing before it, and ended with status 0 within the limit.  Consoles of those
# that do not are kept beside the log.  --check: with --engine-check.  --end: reboot and panic want the guest to come twice.
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=${SOCLE:-$tree/build/rel/src/cmd/socle}
check=() rounds=3 engine=soft limit=120 end=poweroff cpus="1 2 4"
kernel=$tree/.cache/guest/vmlinuz initrd="" log=$tree/build/boots.log

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2 ;;
    --cpus) cpus=$2 ;;
    --engine) engine=$2 ;;
    --kernel) kernel=$2 ;;
    --initrd) initrd=$2 ;;
    --end) end=$2 ;;
    --limit) limit=$2 ;;
    --log) log=$2 ;;
    --check) check=(--engine-check); shift; continue ;;
    *) echo "boots: unknown option '$1'" >&2; exit 2 ;;
    esac
    shift 2
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$(dirname "$log")"
if [ -z "$initrd" ]; then
    initrd=$scratch/initrd
    "$tree/test/linux/initrd.sh" /bin/busybox "$initrd" || exit 1
fi
case $end in
reboot | panic) starts=2 ;;
*) starts=1 ;;
esac

# The self-tests of the kernel's ciphers are half of its boot.
append="console=ttyS0 quiet panic=-1 cryptomgr.notests boots.end=$end"
passed=0 failed=0
for round in $(seq "$rounds"); do
    for n in $cpus; do
        console=$scratch/console
        began=$(date +%s%N)
        "$socle" run --engine "$engine" "${check[@]}" --timeout "$limit" --memory 256M --cpus "$n" --kernel "$kernel" --initrd "$initrd" \
            --net none --append "$append" </dev/null >"$console" 2>&1
        status=$?
        ms=$((($(date +%s%N) - began) / 1000000))
        said=$(tr -d '\r' <"$console" | grep -c "^boots: $n CPUs")
        bad=$(grep -cE 'BUG:|Oops|WARNING:|stall|lockup|wrong sums|segfault|unstable' "$console")
        [ "$end" = panic ] && bad=0
        if [ "$status $said $bad" = "0 $starts 0" ]; then
            passed=$((passed + 1)) verdict=ok
        else
            failed=$((failed + 1)) verdict=FAILED
            cp "$console" "$log.failed.$failed"
        fi
        echo "$(date +%T) round $round cpus $n $verdict status $status ${ms} ms" >>"$log"
    done
done
echo "boots: $passed passed, $failed failed (log: $log)" | tee -a "$log"
[ "$failed" -eq 0 ]
