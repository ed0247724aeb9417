#!/bin/bash
# test/linux/initrd.sh: makes an initramfs of a static busybox and test/linux/init.sh: initrd.sh BUSYBOX OUTPUT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir "$root"/{bin,dev,proc,tmp}
cp "$1" "$root/bin/busybox"
cp "$here/init.sh" "$root/init"
chmod 755 "$root/init" "$root/bin/busybox"
# Device nodes cannot be made without privilege: the kernel's own initramfs brings /dev/console.
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$2.new"
mv "$2.new" "$2"
