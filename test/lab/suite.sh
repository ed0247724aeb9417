#!/bin/bash
# test/lab/suite.sh: what runs on real KVM, in the lab or wherever KVM is fast: the engine's unit tests, the payloads, and Linux with
# both interrupt controller arrangements, a disk without room, and a network.  Called by test/sys/lab.sh; $SOCLE_BUILD and $INITRD are set.
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
export TMPDIR=/tmp
failed=0

step() { # NAME COMMAND...
    local name=$1 status start=$SECONDS
    shift
    "$@" >"/tmp/step" 2>&1 </dev/null
    status=$?
    if [ $status = 0 ]; then
        echo "ok: $name ($((SECONDS - start)) s)"
    else
        echo "FAILED: $name: status $status"
        cat /tmp/step
        failed=1
    fi
}

linux() { # CPUS OPTION...: boots to init, which reports and switches off
    local cpus=$1
    shift
    "$SOCLE_BUILD/src/cmd/socle" run --engine kvm --memory 256M --cpus "$cpus" --kernel "$tree/.cache/guest/vmlinuz" \
        --initrd "$INITRD" --append "console=ttyS0 panic=-1" --net none --timeout 200 "$@" | tee /tmp/console
    [ "${PIPESTATUS[0]}" = 0 ] && grep -q "bench: init" /tmp/console && grep -q "Brought up 1 node, $cpus CPU" /tmp/console
}

# The software engine's own tests say nothing new on KVM, and on an emulated CPU its comparison with silicon has none to compare with.
step "engine unit tests" "$SOCLE_BUILD/src/cpu_tests" "kvm_*"
step "state moves between the engines" "$SOCLE_BUILD/src/cpu_tests" "cross_*"
step "payloads" "$tree/test/sys/payload.sh"
step "Linux, in-kernel irqchip, 1 CPU" linux 1 --irqchip kernel
step "Linux, split irqchip, 4 CPUs" linux 4 --irqchip split
step "Linux, CPU model x86-64-v2" linux 1 --cpu-model x86-64-v2
step "it has no more than that" grep "x86/fpu: .*FXSAVE" /tmp/console
if [ "$(id -u)" = 0 ]; then
    step "a full disk, and a balloon" unshare --mount "$tree/test/lab/disk.sh"
    step "a network, and limits" unshare --net --mount "$tree/test/lab/network.sh"
fi
exit $failed
