#!/bin/bash
# tools/guest/build.sh: builds the sample guest, a Debian 12 with its stock cloud kernel, from Debian's packages only.
# Usage: tools/guest/build.sh [--force] [--print]
#   Result: .cache/guest/{vmlinuz,vmlinux,initrd,root.img,modules.txt}, kept until the recipe (this folder) changes.
#   --print only says where the result is (its folder), building nothing.
# root.img is a sparse raw ext4 of 1 GiB without a partition table; root logs in at the console without a password.
# Nothing is mounted on a loop device, so a container's root or an ordinary user can build it.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/tools/guest
out=$tree/.cache/guest
work=$tree/.cache/guest.work
image_size=1G

log() {
    echo "guest: $*" >&2
}

# What the recipe is: every file of this folder, in a fixed order.
recipe_hash() {
    (cd "$here" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# Prints apt source lines of the host's own Debian 12, or nothing: then mmdebstrap takes its default mirror.
host_sources() {
    apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(SITE)|$(RELEASE)|$(COMPONENT)' \
        'Created-By: Packages' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 ~ /^bookworm/ && $5 == "main" { print "deb " $3 " " $4 " " $5 }' | sort -u
}

# mmdebstrap's modes in the order of how much they can do; the first that works is taken.
modes() {
    if [ "$(id -u)" -eq 0 ]; then
        echo root unshare
    else
        echo unshare fakechroot
    fi
}

bootstrap() {
    local packages mode sources=$work/sources.list
    packages=$(grep -v '^#' "$here/packages.txt" | paste -sd,)
    host_sources >"$sources"
    [ -s "$sources" ] || sources=

    for mode in $(modes); do
        log "mmdebstrap in mode $mode (log: $work/mmdebstrap-$mode.log)"
        if mmdebstrap --mode="$mode" --variant=minbase --include="$packages" \
            --aptopt='Apt::Install-Recommends "false"' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/bash-completion/*' \
            --customize-hook="'$here/customize.sh' \"\$1\"" \
            bookworm "$work/root.tar" ${sources:+"$sources"} >"$work/mmdebstrap-$mode.log" 2>&1; then
            return 0
        fi
        tail -n 5 "$work/mmdebstrap-$mode.log" >&2
    done
    log "no mode of mmdebstrap works here"
    return 1
}

# Runs a command so that files keep the owners they have in the archive.
as_owner() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        fakeroot -- "$@"
    fi
}

# The kernel inside a bzImage: the boot header says where its payload lies (Linux x86 boot protocol, 2.08).
extract_vmlinux() {
    python3 - "$1" <<'PY' | lz4_or_other >"$2"
import struct, sys
image = open(sys.argv[1], "rb").read()
setup = (image[0x1f1] or 4) + 1
offset, length = struct.unpack_from("<II", image, 0x248)
start = setup * 512 + offset
sys.stdout.buffer.write(image[start : start + length])
PY
}

make_image() {
    rm -rf "$work/root" && mkdir "$work/root"
    tar -C "$work/root" -xf "$work/root.tar" --numeric-owner
    # Fixed identifiers: the same packages give the same file system.
    mke2fs -q -t ext4 -d "$work/root" -L socle-guest -U 50c1e000-0000-4000-8000-000000000001 \
        -E hash_seed=50c1e000-0000-4000-8000-000000000002 "$work/new/root.img" "$image_size"
    cp "$work"/root/boot/vmlinuz-* "$work/new/vmlinuz"
    cp "$work"/root/boot/initrd.img-* "$work/new/initrd"
    chmod 644 "$work/new/initrd"
}
