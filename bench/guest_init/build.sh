#!/bin/bash
# bench/guest_init/build.sh: makes build/bench/initrd, an initramfs that holds init.c's program alone.
# Usage: bench/guest_init/build.sh.  Quick when it is newer than its sources.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/bench/guest_init
out=$tree/build/bench
mkdir -p "$out"
if [ ! -s "$out/initrd" ] || [ "$here/init.c" -nt "$out/initrd" ] || [ "$here/build.sh" -nt "$out/initrd" ]; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir "$root/dev"
    "${CC:-cc}" -std=gnu2x -Os -static -nostdlib -ffreestanding -fno-stack-protector -fcf-protection=none \
        -fno-pie -no-pie -Wall -Wextra -Wl,--build-id=none -s -o "$root/init" "$here/init.c"
    # The kernel's own built-in initramfs brings /dev/console.
    (cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$out/initrd.new"
    mv "$out/initrd.new" "$out/initrd"
fi
