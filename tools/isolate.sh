#!/bin/bash
# tools/isolate.sh: makes the kernel and the initial RAM disk of containers that are machines (socle-box --isolate vm).
# Usage: tools/isolate.sh GUEST KERNEL MODULES OUT
#   GUEST: socle-guest.  KERNEL: a bzImage or vmlinux of Linux 5.14 or newer.  MODULES: its lib/modules/VERSION.
#   Result: OUT/{vmlinux,initrd}, where the kernel is packed as it was.
set -euo pipefail
[ $# = 4 ] || { sed -n '3,5s/^# //p' "$0" >&2; exit 2; }
guest=$1 kernel=$2 modules=$3 out=$4
version=$(basename "$modules")
export PATH=$PATH:/usr/sbin:/sbin

# With what each depends on; what the kernel has built in is no file.
names="virtio_pci virtiofs vmw_vsock_virtio_transport virtio_net virtio_rng overlay af_packet"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/tree/lib/modules" "$work/root"/{modules,proc,dev,root}
ln -s "$(realpath "$modules")" "$work/tree/lib/modules/$version"
n=100
for name in $names; do
    modprobe -d "$work/tree" -S "$version" --show-depends "$name" 2>/dev/null || true
done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
    n=$((n + 1))
    to=$work/root/modules/$n-$(basename "$file")
    case $file in
    *.xz) xz -dc "$file" >"${to%.xz}" ;;
    *.zst) zstd -qdc "$file" >"${to%.zst}" ;;
    *.gz) gzip -dc "$file" >"${to%.gz}" ;;
    *) cp "$file" "$to" ;;
    esac
done
install -m 755 "$guest" "$work/root/init"
mkdir -p "$out"
(cd "$work/root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$out/initrd.new"
cp "$kernel" "$out/vmlinux.new"
mv "$out/vmlinux.new" "$out/vmlinux"
mv "$out/initrd.new" "$out/initrd"
