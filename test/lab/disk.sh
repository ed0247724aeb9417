#!/bin/bash
# test/lab/disk.sh: a Linux guest whose disk image lies where there is no room: the machine waits, says why, and goes on when there is;
# then its balloon takes memory away.  Called by test/lab/suite.sh as root, in a mount namespace of its own.
# $SOCLE_BUILD is set; wants the initrd of bench/guest_memory/build.sh, whose init writes 4 MiB to its disk.
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
work=$(mktemp -d)
limit=200 # seconds for each thing to come

fail() {
    echo "FAILED: $*; status: $(ask status 2>&1); output: $(tail -n 5 "$work/out")"
    exit 1
}

ask() {
    "$socle" ctl "$work/sock" "$@"
}

wait_for() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + limit))
    shift
    until "$@" >/dev/null 2>&1; do
        kill -0 $vm 2>/dev/null || fail "the machine ended before: $what"
        [ $SECONDS -lt $end ] || fail "not in time: $what"
        sleep 2 # in the lab each question costs much of a second
    done
    echo "ok: $what"
}

asked() { # TEXT REQUEST...: does the answer hold the text?
    local text=$1
    shift
    ask "$@" | grep -q -- "$text"
}

mkdir "$work/small"
mount -t tmpfs -o size=2M small "$work/small" || exit 1
truncate -s 64M "$work/small/disk"
"$socle" run --engine kvm --memory 256M --kernel "$tree/.cache/guest/vmlinuz" --initrd "$tree/build/bench/memory-initrd" \
    --append "console=ttyS0 quiet panic=-1" --disk "$work/small/disk" --net none --control "$work/sock" >"$work/out" 2>&1 </dev/null &
vm=$!
trap 'kill -KILL $vm 2>/dev/null; wait $vm 2>/dev/null; umount -l "$work/small"; rm -rf "$work"' EXIT

wait_for "it waits for room" asked '^state: paused' status
wait_for "it says why" asked "^reason: .*No space left" status
! grep -q "bench: ready" "$work/out" || fail "the guest's writes are acknowledged although there is no room"
ask resume || fail "resume without room"
wait_for "it waits again" asked '^state: paused' status
mount -o remount,size=64M "$work/small"
ask resume || fail "resume"
wait_for "all is written, without an error in the guest" grep -q "bench: ready 0" "$work/out"
[ "$(du -k "$work/small/disk" | cut -f1)" -ge 4096 ] || fail "what was written is not in the image"
ask balloon 192M || fail "balloon"
wait_for "the balloon is as large as asked for" asked '"ballooned": 67108864' stats
ask power off || fail "power off"
wait $vm || fail "its exit status is $?"
