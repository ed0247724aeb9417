#!/bin/bash
# test/linux/kernels.sh: fetches Debian's kernels and a busybox for each width by apt, into .cache/kernels, kept until removed.
#   .cache/kernels/{amd64,686-pae,686}/vmlinuz, .cache/kernels/{amd64,i386}/busybox
# i386 comes through lists of its own, so that this machine's own architectures stay as they are.  An ordinary user can run it.
set -euo pipefail
tree=$(cd "$(dirname "$0")/../.." && pwd)
out=$tree/.cache/kernels
[ ! -e "$out/done" ] || exit 0
mkdir -p "$tree/.cache"
exec 9>"$tree/.cache/kernels.lock"
flock 9
[ ! -e "$out/done" ] || exit 0

work=$(mktemp -d "$tree/.cache/kernels.XXXXXX")
trap 'rm -rf "$work"' EXIT

# apt ARCHITECTURE COMMAND...: apt with state of its own
apt() {
    local arch=$1
    shift
    mkdir -p "$work/$arch"/{lists,cache/archives}/partial "$work/$arch/debs"
    touch "$work/$arch/status"
    cat >"$work/$arch/apt.conf" <<CONF
APT::Architecture "$arch";
APT::Architectures "$arch";
APT::Sandbox::User "";
Dir::State::Lists "$work/$arch/lists";
Dir::State::status "$work/$arch/status";
Dir::Cache "$work/$arch/cache";
CONF
    (cd "$work/$arch/debs" && APT_CONFIG=$work/$arch/apt.conf "$@")
}

unpack() { # ARCHITECTURE PACKAGE: into $work/root
    rm -rf "$work/root" "$work/$1/debs"/*
    mkdir "$work/root"
    apt "$1" apt-get -q download "$2"
    dpkg-deb -x "$work/$1"/debs/*.deb "$work/root"
}

for arch in amd64 i386; do
    apt "$arch" apt-get -q update || echo "kernels: some lists of $arch are not there; going on" >&2
    unpack "$arch" busybox-static
    mkdir -p "$work/new/$arch"
    cp "$work/root/bin/busybox" "$work/new/$arch/busybox"
done
for kernel in amd64 686-pae 686; do
    arch=${kernel/686*/i386}
    unpack "$arch" "$(apt "$arch" apt-cache depends "linux-image-$kernel" | awk '$1 == "Depends:" { print $2; exit }')"
    mkdir -p "$work/new/$kernel"
    cp "$work/root"/boot/vmlinuz-* "$work/new/$kernel/vmlinuz"
done
touch "$work/new/done"
rm -rf "$out"
mv "$work/new" "$out"
