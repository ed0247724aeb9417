#!/bin/bash
# test/payload/suite.sh: payloads of a few instructions under `socle run`: how machines end, the serial console, resets, several
# CPUs, the control socket.  Usage: suite.sh ENGINE, with test/run.sh's environment.
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
engine=$1
socle=$SOCLE_BUILD/src/cmd/socle
pay=$TMPDIR/payload
failed=0

"$tree/test/payload/build.sh" "$pay" || exit 1

fail() {
    echo "FAILED: $*"
    failed=1
}

# run NAME WANTED-STATUS WANTED-OUTPUT [OPTION...]
run() {
    local name=$1 want=$2 text=$3 got status
    shift 3
    got=$("$socle" run --timeout 60 --engine "$engine" --memory 16M --kernel "$pay/$name" --net none "$@" </dev/null 2>"$TMPDIR/err")
    status=$?
    got=$(tr -d '\r\n' <<<"$got")
    if [ $status = "$want" ] && [ "$got" = "$text" ]; then
        echo "ok: $name $*"
    else
        fail "$name $*: status $status (want $want), output '$got' (want '$text'), stderr: $(cat "$TMPDIR/err")"
    fi
}

run hello 43 "hello from the guest"
run hello 43 "hello from the guest" --no-jail
run hello 43 "hello from the guest" --testdev
run triple 126 ""
run poweroff 0 ""
run reset 7 "01234"
run smp 1 "4 CPUs" --cpus 4

ask() { # REQUEST: one line to the control socket, its answer
    "$socle" ctl "$TMPDIR/sock" "$@" 2>&1
}

wait_for() { # FILE TEXT
    for _ in $(seq 200); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        sleep 0.05
    done
    return 1
}

start() { # PAYLOAD: in the background, with a control socket; its output in $TMPDIR/out
    rm -f "$TMPDIR/sock"
    "$socle" run --timeout 100 --engine "$engine" --memory 16M --kernel "$pay/$1" --net none --control "$TMPDIR/sock" \
        </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
    vm=$!
    wait_for "$TMPDIR/out" ready || fail "$1 does not say that it is ready: $(cat "$TMPDIR/err")"
}

ends() { # WHAT STATUS
    local status
    wait $vm
    status=$?
    [ $status = "$2" ] && echo "ok: $1" || fail "$1: status $status, want $2; stderr: $(cat "$TMPDIR/err")"
}

start button
ask status | grep -q running || fail "status: $(ask status)"
ask pause || fail "pause"
ask status | grep -q paused || fail "status while paused: $(ask status)"
ask inspect vcpu0 | grep -q '"rip"' || fail "inspect vcpu0: $(ask inspect vcpu0 | head -c 300)"
ask inspect nosuch && fail "inspect of a device that is not there"
ask resume || fail "resume"
ask stats | grep -q '"io"' || fail "stats: $(ask stats)"
ask inspect pm >/dev/null || fail "inspect pm"
ask power button || fail "power button"
ends "the power button, by the control socket" 0
grep -q bye "$TMPDIR/out" || fail "the guest did not see its power button"

start button
kill -TERM $vm
ends "the power button, by SIGTERM" 0

start echo
ask power off || fail "power off"
ends "power off, by the control socket" 0

start echo
kill -TERM $vm
sleep 0.3
kill -TERM $vm
ends "two SIGTERM cut the power" 143
exit $failed
