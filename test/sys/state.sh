#!/bin/bash
# test/sys/state.sh: suspend, snapshots, clones and restores of a small guest, jailed, and kills in the midst of it: no number that the
# guest says is lost or said twice, and a file is complete or not there.
# time limit: 600
# With SOCLE_FULL, 100 kills of each kind instead of 6.
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
dir=$TMPDIR
failed=0 round=0 kills=6
[ -z "${SOCLE_FULL:-}" ] || kills=100

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

wait_for() { # FILE or SOCKET
    for _ in $(seq 200); do
        [ -e "$1" ] && return
        sleep 0.02
    done
    fail "no $1"
}

# A guest that says numbers until its input has a q: start OUTPUT ARGUMENT…, in the background; its socket is $socket.
start() {
    local out=$1
    shift
    round=$((round + 1))
    socket=$dir/c$round.sock
    mkfifo "$dir/in$round"
    nice -n 19 timeout 60 "$socle" run --control "$socket" --timeout 50 "$@" <>"$dir/in$round" >"$out" 2>"$out.err" &
    pid=$!
    wait_for "$socket"
}

says() { # OUTPUT: waits until there are five lines
    for _ in $(seq 500); do
        [ "$(wc -l <"$1")" -ge 5 ] && return
        sleep 0.02
    done
    fail "$1 says nothing"
}

# The fifo is opened for both, so that nobody waits for a reader that has gone.
quit() {
    echo q 1<>"$dir/in$round"
}

finish() { # STATUS: the guest ends by itself
    quit
    wait "$pid"
    local status=$?
    [ "$status" -eq "$1" ] || fail "status $status, not $1: $(cat "$dir"/*.err)"
}

# All outputs in a row are the numbers from FIRST on, without a gap.
numbers() { # FIRST OUTPUT…
    local first=$1
    shift
    cat "$@" | awk -v n="$first" 'NR == 1 && n == 0 { n = $1 } $1 != n++ { print "line " NR " is " $1; exit 1 }' ||
        fail "numbers of $*"
}

"$tree/test/payload/build.sh" "$dir/payload" || exit 1
boot=(--engine soft --net none --kernel "$dir/payload/steps")

echo "suspend and restore, four times in a row"
start "$dir/out0" --memory 64M "${boot[@]}"
for i in 1 2 3 4; do
    says "$dir/out$((i - 1))"
    "$socle" ctl "$socket" suspend "$dir/s" >/dev/null || fail "suspend $i"
    wait "$pid"
    [ $? -eq 118 ] || fail "a suspended machine ends with another status"
    start "$dir/out$i" --restore "$dir/s"
done
says "$dir/out4"
finish 5
numbers 1 "$dir"/out[0-4]

echo "a chain of snapshots, and clones of each"
start "$dir/run" --memory 64M "${boot[@]}"
for name in base d1 d2 full; do
    mode=${name/d[12]/diff}
    "$socle" ctl "$socket" snapshot "$dir/$name" "$mode" >/dev/null || fail "snapshot $name"
done
finish 5
numbers 1 "$dir/run"
for name in base d1 d2 full d2; do
    start "$dir/clone" --restore "$dir/$name,clone"
    says "$dir/clone"
    finish 5
    numbers 0 <(tail -n +2 "$dir/clone") # its first line may be the end of one
done
mv "$dir/d1" "$dir/gone"
"$socle" run --restore "$dir/d2" >/dev/null 2>"$dir/error" </dev/null && fail "restored from a chain with a gap"
grep -q "d1.*which.*builds on" "$dir/error" || fail "a gap is not explained: $(cat "$dir/error")"

echo "kill -9 of the machine while it is suspended: the file is complete or not there"
whole=0
for i in $(seq $kills); do
    rm -f "$dir/k"
    start "$dir/kill" --memory 256M --prealloc "${boot[@]}" # so that it takes a while
    says "$dir/kill"
    vm=$(pgrep -P "$(pgrep -P "$pid" -x socle)" -x socle-vm)
    "$socle" ctl "$socket" suspend "$dir/k" >/dev/null 2>&1 &
    ctl=$!
    sleep "0.0$((i % 8))"
    kill -9 "$vm" 2>/dev/null
    wait "$ctl" "$pid" 2>/dev/null
    [ -e "$dir/k" ] || continue
    whole=$((whole + 1))
    start "$dir/kill2" --restore "$dir/k"
    says "$dir/kill2"
    finish 5
    numbers 1 "$dir/kill" "$dir/kill2"
done
echo "$whole of $kills were complete"

echo "kill -9 of the client: the machine goes on or its state is complete"
for i in $(seq $kills); do
    rm -f "$dir/k"
    start "$dir/kill" --memory 64M "${boot[@]}"
    says "$dir/kill"
    "$socle" ctl "$socket" suspend "$dir/k" >/dev/null 2>&1 &
    ctl=$!
    sleep "0.00$((i % 10))"
    kill -9 "$ctl" 2>/dev/null
    wait "$ctl" 2>/dev/null
    quit
    wait "$pid"
    case $? in
    5) numbers 1 "$dir/kill" ;;
    118)
        start "$dir/kill2" --restore "$dir/k"
        says "$dir/kill2"
        finish 5
        numbers 1 "$dir/kill" "$dir/kill2"
        ;;
    *) fail "the machine ended otherwise: $(cat "$dir/kill.err")" ;;
    esac
done
leftover=$(find "$dir" -name '*.[0-9X]*.[0-9]*')
[ -z "$leftover" ] || fail "left behind: $leftover"

[ "$failed" -eq 0 ]
