#!/bin/bash
# test/sys/model.sh: Linux under each CPU model of the software engine uses what that has, and a model that does not exist is refused.
# time limit: 120
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
initrd=$tree/build/bench/initrd
failed=0
"$tree/tools/guest/build.sh" || { echo "no sample guest"; exit 77; }
"$tree/bench/guest_init/build.sh" || exit 1

fail() {
    echo "FAILED: $*"
    failed=1
}

boot() { # MODEL
    "$socle" run --engine soft --cpu-model "$1" --memory 256M --kernel "$tree/.cache/guest/vmlinuz" --initrd "$initrd" \
        --append "console=ttyS0 panic=-1" --net none --timeout 60 --console "file:$TMPDIR/$1" 2>"$TMPDIR/$1.err"
}

# What Linux says of the registers that it saves for programs.
for row in "x86-64-v1 FXSAVE" "x86-64-v2 FXSAVE" "x86-64-v3 AVX"; do
    read -r model saves <<<"$row"
    if grep -q "which this host's CPU lacks" <(boot "$model" || cat "$TMPDIR/$model.err"); then
        echo "skipped: this host's CPU cannot do $model"
        continue
    fi
    grep -q "bench: init" "$TMPDIR/$model" || fail "$model: no init"
    grep -q "x86/fpu: .*$saves" "$TMPDIR/$model" || fail "$model: $(grep x86/fpu "$TMPDIR/$model")"
done
boot pentium && fail "a model that is none"
grep -q "x86-64-v3" "$TMPDIR/pentium.err" || fail "pentium: $(cat "$TMPDIR/pentium.err")"
[ $failed = 0 ] || tail -n 20 "$TMPDIR"/x86-64-*
exit $failed
