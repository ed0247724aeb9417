#!/bin/bash
# test/linux/torture.sh: a guest of Debian packages runs torture_steps.sh under the software engine; this machine runs the same.
# Usage: test/linux/torture.sh [--cpus N] [--scale PERCENT] [--steps A,B] [--engine E] [--arch i386] [--limit S]
# Passes when each step ended with status 0 and came to the same sum here and there, and the guest powered off.
# Needs root or user namespaces, for the native run in a root of its own.
set -euo pipefail
tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/test/linux
cache=$tree/.cache/torture
socle=${SOCLE:-$tree/build/rel/src/cmd/socle}
cpus=2 scale=10 engine=soft arch=amd64 limit=1800 steps=digests,packers,floats,compiler,memory,stress,keys
packages=bash,coreutils,util-linux,mount,grep,sed,diffutils,gzip,bzip2,procps,binutils,busybox-static,stress-ng,memtester,openssl
packages=$packages,xz-utils,zstd,gcc,libc6-dev,python3,libpython3.11-testsuite

while [ $# -gt 0 ]; do
    case $1 in
    --cpus) cpus=$2 ;;
    --scale) scale=$2 ;;
    --steps) steps=$2 ;;
    --engine) engine=$2 ;;
    --arch) arch=$2 ;; # of the programs; the kernel is the sample guest's
    --limit) limit=$2 ;;
    *) echo "torture: unknown option '$1'" >&2; exit 2 ;;
    esac
    shift 2
done

archive=$cache/$(sha256sum <<<"$arch $packages" | cut -c1-16).tar
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$tree/tools/guest/build.sh"
if [ ! -s "$archive" ]; then
    mkdir -p "$cache"
    mmdebstrap --variant=extract --architectures="$arch" --include="$packages" --aptopt='Apt::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$cache/new.tar" 2>"$scratch/log" ||
        { tail -n 5 "$scratch/log" >&2; exit 1; }
    mv "$cache/new.tar" "$archive"
fi
mkdir "$scratch/root"
tar -C "$scratch/root" -xf "$archive" --exclude='./dev/*'
mkdir -p "$scratch/root"/{dev,proc,sys,tmp}
cp "$here"/torture_{init,steps}.sh "$scratch/root"
mke2fs -q -t ext4 -d "$scratch/root" "$scratch/root.img" 768M

status=0
"$socle" run --engine "$engine" --timeout "$limit" --cpus "$cpus" --memory 768M --kernel "$tree/.cache/guest/vmlinuz" \
    --initrd "$tree/.cache/guest/initrd" --disk "$scratch/root.img" --net none --append \
    "console=ttyS0 root=/dev/vda rw panic=-1 quiet cryptomgr.notests init=/torture_init.sh torture=$scale,$steps" \
    </dev/null >"$scratch/console" 2>&1 || status=$?

# shellcheck disable=SC2016
unshare --map-root-user --mount --pid --fork sh -c '
    mount --rbind /dev "$1/dev" && mount --rbind /proc "$1/proc" && exec chroot "$1" /bin/bash /torture_steps.sh $2' \
    sh "$scratch/root" "$scale $(tr ',' ' ' <<<"$steps")" >"$scratch/native" 2>&1

tr -d '\r' <"$scratch/console" | grep '^torture: ' >"$scratch/guest" || true
grep '^torture: ' "$scratch/native" >"$scratch/wanted" || echo "torture: the native run said nothing" >&2
if [ $status = 0 ] && [ -s "$scratch/wanted" ] && diff "$scratch/guest" "$scratch/wanted" && ! grep -E '^torture: [a-z_]+ [1-9]' "$scratch/guest"; then
    echo "torture: $(wc -l <"$scratch/guest") lines the same"
    exit 0
fi
echo "torture: failed, status $status; the guest said:" >&2
tail -n 60 "$scratch/console" >&2
echo "torture: this machine said:" >&2
tail -n 60 "$scratch/native" >&2
exit 1
