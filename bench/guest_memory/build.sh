#!/bin/bash
# bench/guest_memory/build.sh: makes build/bench/memory-initrd: busybox, init.sh, and the sample guest's virtio modules.
# Usage: bench/guest_memory/build.sh.  Quick when it is newer than its sources; needs tools/guest/build.sh first.
set -euo pipefail
tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/bench/guest_memory
initrd=$tree/build/bench/memory-initrd
guest=$tree/.cache/guest/initrd
[ -r "$guest" ] || { echo "memory: no $guest; run tools/guest/build.sh" >&2; exit 1; }
for source in "$here/init.sh" "$here/build.sh" "$guest"; do
    [ ! "$source" -nt "$initrd" ] || stale=yes
done
[ -n "${stale:-}" ] || exit 0

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/bin" "$root/usr" "$root/lib" "$(dirname "$initrd")"
lz4 -dc "$guest" | (cd "$root" && cpio --quiet -idm 'usr/lib/modules/*/modules.*' 'usr/lib/modules/*virtio*' \
    'usr/lib/modules/*failover*' 'usr/lib/modules/*rng*')
mv "$root/usr/lib/modules" "$root/lib/modules"
rm -rf "${root:?}/usr"
cp /bin/busybox "$root/bin/busybox"
cp "$here/init.sh" "$root/init"
chmod 755 "$root/init"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$initrd.new"
mv "$initrd.new" "$initrd"
