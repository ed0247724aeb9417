#!/bin/bash
# test/sys/lab.sh: the KVM engine with a real KVM under it, in the lab where this machine has none: test/lab/suite.sh.
# time limit: 680
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
"$tree/tools/guest/build.sh" || exit 1
"$tree/bench/boot.sh" --prepare || exit 1
"$tree/bench/guest_memory/build.sh" || exit 1
export INITRD=$tree/build/bench/initrd
ninja -C "$SOCLE_BUILD" src/cpu_tests || exit 1

exec "$tree/test/lab/run.sh" --auto --timeout 600 --modules crc32c_generic,tun,bridge,nft_ct,nft_chain_nat,nft_nat,nft_masq,nft_fib_inet,nft_limit --out "$tree/build/lab-suite" -- \
    env SOCLE_BUILD="$SOCLE_BUILD" INITRD="$INITRD" "$tree/test/lab/suite.sh"
