#!/bin/bash
# bench/soft_guest/build.sh: makes build/bench/soft_guest, the loads of bench/soft.sh as one static program, and
# build/bench/soft_initrd, an initramfs that holds it alone.  Quick when they are newer than their sources.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/bench/soft_guest
out=$tree/build/bench
mkdir -p "$out"
if [ ! -s "$out/soft_initrd" ] || [ -n "$(find "$here" -newer "$out/soft_initrd" -type f)" ]; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    "${CC:-cc}" -std=gnu2x -D_GNU_SOURCE -O2 -static-pie -fPIE -Wall -Wextra -s -o "$out/soft_guest" "$here"/*.c -lz -lpthread
    cp "$out/soft_guest" "$root/init"
    mkdir "$root/dev"
    (cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$out/soft_initrd.new"
    mv "$out/soft_initrd.new" "$out/soft_initrd"
fi
