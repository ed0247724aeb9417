#!/bin/bash
# test/lab/guest.sh: boots the sample guest with its selftest on KVM, here or in the lab, and judges what it says.
# Usage: test/lab/guest.sh [--cpus N] [--memory MIB] [--engine E] [--jit=off] [--engine-check] [--vmm qemu] [--timeout S] [--log FILE] [--out DIR]
# Passes (status 0) when the guest printed "selftest: N passed, 0 failed", the VMM ended with status 0, and both came in time.
# --vmm qemu runs the same under QEMU: it tells a fault of the guest or the lab from one of ours.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
guest=$tree/.cache/guest
socle=${SOCLE:-$tree/build/rel/src/cmd/socle}
out=$tree/build/lab-guest
cpus=2 memory=1024 engine=kvm vmm=socle limit=400 log= jit=()

while [ $# -gt 0 ]; do
    case $1 in
    --cpus) cpus=$2; shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    --engine) engine=$2; shift 2 ;;
    --jit=* | --engine-check) jit+=("$1"); shift ;;
    --vmm) vmm=$2; shift 2 ;;
    --timeout) limit=$2; shift 2 ;;
    --log) log=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    *) echo "guest: unknown option '$1'" >&2; exit 2 ;;
    esac
done

log=${log:-$out/console.log}
"$tree/tools/guest/build.sh"
mkdir -p "$out" "$(dirname "$log")"
cp --sparse=always "$guest/root.img" "$out/root.img" # the guest writes: each run starts from the same disk
trap 'rm -f "$out/root.img"' EXIT

append="console=ttyS0 root=/dev/vda rw panic=-1 socle.selftest socle.cpus=$cpus socle.net"
case $vmm in
socle)
    command=("$socle" run --engine "$engine" "${jit[@]}" --cpus "$cpus" --memory "${memory}M" --kernel "$guest/vmlinuz"
        --initrd "$guest/initrd" --append "$append" --disk "$out/root.img" --net user --console stdio --verbose)
    ;;
qemu)
    command=(qemu-system-x86_64 -accel "$engine" -cpu host -M q35 -smp "$cpus" -m "$memory" -nodefaults
        -no-user-config -display none -no-reboot -serial stdio -kernel "$guest/vmlinuz" -initrd "$guest/initrd"
        -append "$append" -drive "file=$out/root.img,format=raw,if=virtio" -netdev "user,id=net"
        -device "virtio-net-pci,netdev=net" -device virtio-rng-pci -device virtio-balloon-pci)
    ;;
*) echo "guest: --vmm is socle or qemu, not '$vmm'" >&2; exit 2 ;;
esac

status=0
if [ "$engine" = kvm ]; then
    "$tree/test/lab/run.sh" --auto --timeout "$limit" --out "$out" -- "${command[@]}" </dev/null | tee "$log" || status=$?
else
    timeout --kill-after=5 "$limit" "${command[@]}" </dev/null | tee "$log" || status=$?
fi

verdict=$(tr -d '\r' <"$log" | sed -n 's/.*\(selftest: [0-9]* passed, [0-9]* failed\).*/\1/p' | tail -n 1)
case $status,$verdict in
"0,selftest: "[1-9]*" passed, 0 failed")
    echo "guest: $verdict, exit status 0"
    ;;
*)
    echo "guest: ${verdict:-no verdict}, exit status $status (console: $log)" >&2
    exit 1
    ;;
esac
