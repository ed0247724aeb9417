#!/bin/bash
# tools/guest/build.sh: builds the sample guest, a Debian 12 with its stock cloud kernel, from Debian's packages only.
# Usage: tools/guest/build.sh [--force] [--print]
#   Result: .cache/guest/{vmlinuz,vmlinux,initrd,root.img,version}, kept until the recipe (this folder) changes.
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
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN)|$(CODENAME)|$(SITE)|$(RELEASE)|$(COMPONENT)' \
        'Created-By: Packages' 2>/dev/null |
        awk -F'|' '$1 == "Debian" && $2 ~ /^bookworm/ && $5 == "main" { print "deb " $3 " " $4 " " $5 }' | sort -u
}

# mmdebstrap's modes, the first that works is taken: unshare needs user namespaces and a line in /etc/subuid.
modes() {
    [ "$(id -u)" -ne 0 ] || echo root
    echo unshare
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

# Unpacks the root and makes the image of it, as root or under fakeroot: files keep the owners of the archive.
make_image() {
    local root=$work/root new=$work/new
    rm -rf "$root" "$new"
    mkdir -p "$root" "$new"
    tar -C "$root" -xf "$work/root.tar" --numeric-owner
    # Fixed identifiers: the same packages give the same file system.
    mke2fs -q -t ext4 -d "$root" -L socle-guest -U 50c1e000-0000-4000-8000-000000000001 \
        -E hash_seed=50c1e000-0000-4000-8000-000000000002 "$new/root.img" "$image_size" >/dev/null
    cp "$root"/boot/vmlinuz-* "$new/vmlinuz"
    cp "$root"/boot/initrd.img-* "$new/initrd"
    basename "$root"/lib/modules/* >"$new/version"
    cp "$root/var/lib/dpkg/status" "$new/dpkg-status"
    chmod 644 "$new"/*
    rm -rf "$root"
}

build() {
    rm -rf "$work"
    mkdir -p "$work"
    bootstrap
    if [ "$(id -u)" -eq 0 ]; then
        make_image
    else
        fakeroot -- bash "$here/build.sh" --make-image
    fi
    python3 "$here/vmlinux.py" "$work/new/vmlinuz" "$work/new/vmlinux"
    recipe_hash >"$work/new/recipe"

    # The hash is the last file of a complete result, and the folder changes in one step.
    rm -rf "$out"
    mv "$work/new" "$out"
    rm -rf "$work"
    log "built in $SECONDS s: kernel $(cat "$out/version"), in $out"
}

main() {
    case ${1:-} in
    --make-image) make_image; return ;;
    --print) echo "$out"; return ;;
    --force) rm -f "$out/recipe" ;;
    "") ;;
    *) log "unknown option '$1'; there are: --force --print"; return 2 ;;
    esac

    mkdir -p "$tree/.cache"
    exec 9>"$tree/.cache/guest.lock"
    flock 9 # two makes at once build it once
    if [ "$(cat "$out/recipe" 2>/dev/null)" != "$(recipe_hash)" ]; then
        "$tree/tools/deps.sh" guest
        build
    fi
}

main "$@"
