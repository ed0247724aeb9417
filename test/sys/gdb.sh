#!/bin/bash
# test/sys/gdb.sh: a real gdb attached to a payload, under the software engine and on this machine's /dev/kvm where there is one:
# registers, memory, break- and watchpoints, steps, several CPUs, the guest's end.
# time limit: 180
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
pay=$TMPDIR/payload
failed=0

command -v gdb >/dev/null || { echo "gdb is not installed"; exit 77; }
"$tree/test/payload/build.sh" "$pay" || exit 1

fail() {
    echo "FAILED: $*"
    failed=1
}

address() { # SYMBOL of the payload
    nm "$pay/count" | awk -v name="$1" '$3 == name { print "0x" $1 }'
}

start() { # PAYLOAD [OPTION...]: the machine in the background, its stub at $TMPDIR/gdb
    local payload=$1
    shift
    rm -f "$TMPDIR/gdb"
    "$socle" run --timeout 60 --engine "$engine" --memory 16M --kernel "$pay/$payload" --net none "$@" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
    vm=$!
    for _ in $(seq 200); do
        [ -S "$TMPDIR/gdb" ] && return
        sleep 0.05
    done
    fail "no debugger's socket: $(cat "$TMPDIR/err")"
}

debug() { # COMMAND...: gdb's output on stdout
    local args=()
    for c in "$@"; do args+=(-ex "$c"); done
    timeout 30 gdb -nx -q -batch -ex 'set pagination off' -ex 'set confirm off' -ex "target remote $TMPDIR/gdb" "${args[@]}" 2>&1
}

want() { # WHAT TEXT: the last output has it
    if grep -q -- "$2" "$TMPDIR/gdb.out"; then echo "ok: $engine: $1"; else fail "$engine: $1: no '$2' in: $(cat "$TMPDIR/gdb.out")"; fi
}

ends() { # WHAT STATUS
    local status
    wait $vm
    status=$?
    [ $status = "$2" ] && echo "ok: $engine: $1" || fail "$engine: $1: status $status, want $2; stderr: $(cat "$TMPDIR/err")"
}

tick=$(address tick) counter=$(address counter) stop=$(address stop)
after=$(printf '0x%x' $((tick + 6))) # incl counter has 6 bytes

suite() { # with $engine
    start count --gdb "unix:$TMPDIR/gdb,wait" --cpus 2
    debug 'info threads' \
        "break *$tick" continue 'printf "at %lx\n", $rip' "printf \"before %d\\n\", {int}$counter" \
        stepi 'printf "then %lx\n", $rip' "printf \"after %d\\n\", {int}$counter" \
        'printf "cr0 %x\n", $cr0 & 1' 'set $rax = 0x1234' 'printf "rax %lx\n", $rax' \
        continue "printf \"again %d\\n\", {int}$counter" \
        'monitor phys on' "printf \"physical %d\\n\", {int}$counter" 'monitor phys off' "monitor translate $counter" \
        'info breakpoints' >"$TMPDIR/gdb.out"
    want "two vCPUs are two threads" 'Thread 2'
    want "a breakpoint" "at $(printf '%x' "$tick")"
    want "memory" 'before 0'
    want "a step" "then ${after#0x}"
    want "what it did" 'after 1'
    want "a control register" 'cr0 1'
    want "a register is set" 'rax 1234'
    want "the breakpoint once more" 'again 1'
    want "physical memory" 'physical 1'
    want "an address is translated" "$(printf '0x%x' "$counter")"
    want "gdb counts" 'breakpoint already hit 2 times'

    debug "set {int}$stop = 1" detach >"$TMPDIR/gdb.out" # gdb's end above let the guest go on
    ends "the guest sees what gdb wrote" 43
    grep -q ready "$TMPDIR/out" || fail "the guest did not come to its loop"

    start count --gdb "unix:$TMPDIR/gdb"
    for _ in $(seq 100); do grep -q ready "$TMPDIR/out" && break; sleep 0.1; done
    breaks=()
    for i in 0 6 13 15; do breaks+=("hbreak *$((tick + i))"); done
    debug "break *$((tick - 7))" "break *$((tick - 2))" "${breaks[@]}" continue continue continue continue continue 'info breakpoints' \
        kill >"$TMPDIR/gdb.out"
    hits=$(grep -c 'already hit' "$TMPDIR/gdb.out")
    [ "$hits" -ge 4 ] && echo "ok: six breakpoints" || fail "of six breakpoints $hits were hit: $(cat "$TMPDIR/gdb.out")"
    ends "killed by gdb" 143
    [ -e "$TMPDIR/gdb" ] && fail "the socket is still there"

    start count --gdb "unix:$TMPDIR/gdb,wait" --control "$TMPDIR/sock"
    "$socle" ctl "$TMPDIR/sock" status >"$TMPDIR/gdb.out"
    want "status tells who holds the guest" 'held by the debugger'
    "$socle" ctl "$TMPDIR/sock" power off
    wait $vm

    start triple --gdb "unix:$TMPDIR/gdb,wait"
    debug continue 'info threads' continue >"$TMPDIR/gdb.out"
    want "a triple fault stops" 'received signal SIGABRT'
    want "and then ends the machine" 'terminated with signal SIGABRT'
    ends "a crash is a crash" 126
}

watchpoints() { # not every KVM has them
    start count --gdb "unix:$TMPDIR/gdb"
    debug "watch *(int *)$counter" continue "rwatch *(int *)$stop" 'delete 1' continue 'printf "at %lx\n", $rip' kill >"$TMPDIR/gdb.out"
    want "a written word" 'New value'
    want "a read one, told after its instruction" "at $(printf '%x' $((tick + 13)))"
    ends "killed by gdb" 143
}

engine=soft
suite
watchpoints
if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    engine=kvm
    suite
else
    echo "no access to /dev/kvm: with the software engine only"
fi

"$socle" run --kernel "$pay/count" --gdb wait </dev/null >/dev/null 2>"$TMPDIR/err" && fail "--gdb wait"
grep -q 'unix:PATH or tcp:PORT' "$TMPDIR/err" || fail "--gdb wait: $(cat "$TMPDIR/err")"
exit $failed
