#!/bin/bash
# test/lab/prepare.sh: makes .cache/lab/{vmlinuz,initrd}: Debian's stock kernel and an initramfs of busybox and modules.
# Quick when they are there: the kernel is fetched once, the initramfs is made anew when this folder's files change.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/test/lab
cache=$tree/.cache/lab

# With what each depends on.  The first five make the lab, the others are for tests.
modules="virtio_pci virtio_console 9pnet_virtio 9p kvm_amd
    virtio_rng virtio_net virtio_blk virtio_balloon vmw_vsock_virtio_transport
    tun tap bridge veth vhost_net vhost_vsock overlay softdog loop ext4 nf_tables
    crc32c_generic nft_ct nft_chain_nat nft_nat nft_masq nft_fib_inet nft_limit"

fetch_kernel() {
    local package
    "$tree/tools/deps.sh" lab
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$package" ] || { echo "lab: apt knows no linux-image-amd64" >&2; return 1; }

    echo "lab: fetching $package" >&2
    rm -rf "$cache/kernel.new"
    mkdir -p "$cache/kernel.new/deb"
    (cd "$cache/kernel.new/deb" && apt-get -qq -o APT::Sandbox::User=root download "$package")
    dpkg -x "$cache"/kernel.new/deb/*.deb "$cache/kernel.new"
    rm -rf "$cache/kernel.new/deb" "$cache/kernel"
    mv "$cache/kernel.new" "$cache/kernel"
    depmod -b "$cache/kernel" "$(basename "$cache"/kernel/lib/modules/*)"
}

make_initrd() {
    local version root=$cache/initrd.root module file
    version=$(basename "$cache"/kernel/lib/modules/*)
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/lib/modules/$version"
    cp /bin/busybox "$root/bin/busybox"
    cp "$here/init.sh" "$root/init"
    ln -s busybox "$root/bin/sh"
    chmod 755 "$root/init"
    for module in $modules; do
        modprobe -d "$cache/kernel" -S "$version" --show-depends "$module" |
            sed -n 's/^insmod \([^ ]*\).*/\1/p'
    done | sort -u | while read -r file; do
        cp "$file" "$root/lib/modules/$version/"
    done
    cp "$cache/kernel/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/"
    depmod -b "$root" "$version"
    (cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0) >"$cache/initrd.new"
    cp "$cache"/kernel/boot/vmlinuz-* "$cache/vmlinuz"
    mv "$cache/initrd.new" "$cache/initrd"
    rm -rf "$root"
}

mkdir -p "$cache"
exec 8>"$cache/prepare.lock"
flock 8
[ -d "$cache/kernel" ] || fetch_kernel
hash=$(cat "$here/init.sh" "$here/prepare.sh" /bin/busybox | sha256sum | cut -d' ' -f1)
if [ "$(cat "$cache/recipe" 2>/dev/null)" != "$hash" ]; then
    make_initrd
    echo "$hash" >"$cache/recipe"
fi
