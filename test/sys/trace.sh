#!/bin/bash
# test/sys/trace.sh: what a running machine tells of itself under the software engine, and on this machine's /dev/kvm where there is
# one: traces of exits, a profile by function.
# time limit: 120
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
pay=$TMPDIR/payload
failed=0

"$tree/test/payload/build.sh" "$pay" || exit 1

want() { # WHAT TEXT WORD...: the answer to the words has the text
    local what=$1 text=$2 got
    shift 2
    got=$("$socle" ctl "$TMPDIR/sock" "$@" 2>&1)
    if grep -q -- "$text" <<<"$got"; then
        echo "ok: $engine: $what"
    else
        echo "FAILED: $engine: $what: no '$text' in: ${got:0:600}"
        failed=1
    fi
}

run() { # PAYLOAD: in the background, until it is ready
    rm -f "$TMPDIR/sock"
    "$socle" run --timeout 50 --engine "$engine" --memory 16M --kernel "$pay/$1" --net none --control "$TMPDIR/sock" </dev/null >"$TMPDIR/out" 2>"$TMPDIR/err" &
    for _ in $(seq 200); do grep -q ready "$TMPDIR/out" && return; sleep 0.05; done
    echo "FAILED: $1 is not ready: $(cat "$TMPDIR/err")"
    failed=1
}

finish() {
    "$socle" ctl "$TMPDIR/sock" power off
    wait
}

exits() { # of a guest that polls its serial port
    want "turned on" '^1$' trace set cpu_pio_read
    want "exits with port and value" 'vcpu0 cpu_pio_read port 0x3fd len 1: 0x60' trace dump
    want "turned off" '^1$' trace set cpu_pio_read off
}

entered() { # how often translated code was, or went on when a quantum ended
    "$socle" ctl "$TMPDIR/sock" jit | python3 -c 'import json, sys
print(sum(n for name, n in json.load(sys.stdin)["vcpu0"].items() if name == "quanta" or name.startswith("exits_")))'
}

hot() { # a loop that runs translated until it is traced, and then again
    local before after
    "$socle" ctl "$TMPDIR/sock" trace set cpu_block
    sleep 0.5
    before=$(entered)
    want "blocks of a hot loop" "vcpu0 cpu_block rip 0x" trace dump
    after=$(entered)
    [ "$before" -gt 0 ] && [ "$before" = "$after" ] || { echo "FAILED: $engine: translated code was entered: $before, $after"; failed=1; }
    "$socle" ctl "$TMPDIR/sock" trace set cpu_block off
    for _ in $(seq 50); do
        [ "$(entered)" -gt "$after" ] && return
        sleep 0.1
    done
    echo "FAILED: $engine: no translated code after the trace"
    failed=1
}

profiles() {
    run count
    nm "$pay/count" >"$TMPDIR/map"
    want "a profile by page" '0x400000 (page)' profile 1
    want "a profile by function" ' tick' profile 1 --map "$TMPDIR/map"
    want "too long a one" 'allowed are 1 to 60' profile 61
    want "a map that is none" 'no line is' profile 1 --map "$0"
    "$socle" ctl "$TMPDIR/sock" pause
    want "none while the guest stands still" 'the machine is paused' profile 1
    finish
}

engine=soft
run echo
exits
want "instructions" '^1$' trace set cpu_insn
want "… of them" 'vcpu0 cpu_insn rip 0x4' trace dump
want "… no more" '^1$' trace set cpu_insn off
want "blocks" '^1$' trace set cpu_block
want "… of them" 'vcpu0 cpu_block rip 0x4' trace dump
finish
run count
hot
finish
profiles

if [ -r /dev/kvm ] && [ -w /dev/kvm ]; then
    engine=auto
    run echo
    want "which engine, and why" 'million instructions a second' status
    finish
    engine=kvm
    run echo
    exits
    want "what no CPU tells" '"cpu_insn": null' trace list
    want "it cannot be asked for" "does not see" trace set 'cpu_insn'
    finish
    profiles
else
    echo "no access to /dev/kvm: with the software engine only"
fi
exit $failed
