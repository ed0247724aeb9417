#!/bin/bash
# bench/image.sh: disk images under Socle and under qemu-img, in turn, on the file system of TMPDIR; ratios of the medians.
# Usage: bench/image.sh [--rounds N] [--only NAME,NAME] [--size MIB]   (5 rounds; all rows; 512 MiB)
# Requests: `socle image bench` and `qemu-img bench` with the same depth, block size, cache mode and places, and our own raw beside
# our qcow2.  qemu-img is given its quickest of io_uring, native and threads for each row.  "scattered" steps 1 MiB + 4 KiB, since
# qemu-img knows no random places.  All requests of a run have one buffer, as qemu-img's have.  Growing: each round begins with an empty image.
# Copies: `socle image convert` and `qemu-img convert -m 2 -t writeback`; both have synced when they end.
# A ratio of the table is the peer's time by ours: above 1 Socle is the quicker.  A figure is our time by the peer's, as those of other
# measurements are.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
rounds=5 size=512 only=

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --only) only=${2//,/ }; shift 2 ;;
    --size) size=$2; shift 2 ;;
    --prepare) exit ;;
    *) echo "image: unknown option '$1'" >&2; exit 2 ;;
    esac
done
command -v qemu-img >/dev/null || { echo "image: no qemu-img; run tools/deps.sh check" >&2; exit 1; }

# Name, operation, block in KiB, step in KiB, requests a MiB of the image, image (full: written before, growing: empty).
rows() {
    cat <<'ROWS'
read-scattered    read   4    1028  64 full
read-4k           read   4    4     256 full
read-64k          read   64   64    16 full
read-sequential   read   1024 1024  1  full
write-scattered   write  4    1028  64 full
write-4k          write  4    4     256 full
write-64k         write  64   64    16 full
write-sequential  write  1024 1024  1  full
grow-scattered    write  4    1028  16 growing
grow-4k           write  4    4     256 growing
grow-64k          write  64   64    16 growing
grow-sequential   write  1024 1024  1  growing
ROWS
}
copies="raw-qcow2 qcow2-raw raw-zstd zstd-raw"

wanted() { [ -z "$only" ] || [[ " $only " == *" $1 "* ]]; }

# Half of it is data, in runs of 1 MiB; it compresses a little.
make_source() {
    python3 - "$1" "$size" <<'MAKE'
import random, sys
rand = random.Random(1)
with open(sys.argv[1], "wb") as f:
    f.truncate(int(sys.argv[2]) << 20)
    for i in range(0, int(sys.argv[2]), 2):
        f.seek(i << 20)
        f.write(b"".join(rand.randbytes(512) + bytes(rand.randbytes(1)) * 512 for _ in range(1024)))
MAKE
}

now() { date +%s%N; }
seconds() { # COMMAND…: how long it took
    local start
    start=$(now)
    "$@" >/dev/null
    awk -v a="$start" -v b="$(now)" 'BEGIN { printf "%.6f\n", (b - a) / 1e9 }'
}

fresh() { # FORMAT STATE OPERATION: the image for a round; reads leave it as it is
    image=$scratch/full.$1
    [ "$3" != read ] || return 0
    image=$scratch/image
    rm -f "$image"
    if [ "$2" = growing ]; then
        qemu-img create -q -f "$1" "$image" "${size}M"
    else
        cp --reflink=auto "$scratch/full.$1" "$image"
        sync "$image"
    fi
}

ours() { # FORMAT OPERATION KIB STEP COUNT
    local more=()
    [ "$2" = read ] || more=(--write)
    "$socle" image bench --json --format "$1" --depth 32 --block "$3K" --step "$4K" --count "$5" "${more[@]}" "$image" |
        sed -n 's/.*"seconds": \([0-9.e-]*\).*/\1/p'
}

theirs() { # FORMAT OPERATION KIB STEP COUNT AIO
    local more=()
    [ "$2" = read ] || more=(-w)
    LC_ALL=C qemu-img bench -f "$1" -t writeback -i "$6" -d 32 -s "$3k" -S "$4k" -c "$5" "${more[@]}" "$image" 2>/dev/null |
        sed -n 's/^Run completed in \([0-9.]*\) seconds.*/\1/p'
}

# native wants O_DIRECT, which writeback has not.
aios="threads io_uring"

bench_row() { # NAME OPERATION KIB STEP PER_MIB STATE
    local count=$(($5 * size)) round aio best='' value
    for round in $(seq 0 "$rounds"); do
        for format in qcow2 raw; do
            fresh $format "$6" "$2"
            ours $format "$2" "$3" "$4" $count >>"$scratch/ours.$format"
        done
        for aio in $aios; do
            fresh qcow2 "$6" "$2"
            theirs qcow2 "$2" "$3" "$4" $count "$aio" >>"$scratch/$aio"
        done
        # The first round fills the caches of files.
        [ "$round" -ne 0 ] || rm -f "$scratch"/ours.* "$scratch"/threads "$scratch"/io_uring
    done
    for aio in $aios; do
        value=$(median <"$scratch/$aio")
        best=$(printf '%s\n%s\n' "$best" "$value" | awk 'NF' | sort -n | head -n 1)
    done
    value=$(median <"$scratch/ours.qcow2")
    printf '%-18s %10s %10s %10s %8s %8s\n' "$1" "$value" "$best" "$(median <"$scratch/ours.raw")" "$(ratio "$best" "$value")" \
        "$(ratio "$(median <"$scratch/ours.raw")" "$value")"
    figure "image-$1/qemu" "$(ratio "$value" "$best")" ratio
    figure "image-$1/raw" "$(ratio "$value" "$(median <"$scratch/ours.raw")")" ratio
    rm -f "$scratch"/ours.* "$scratch"/threads "$scratch"/io_uring
}

copy() { # WHO NAME
    local from=${2%-*} to=${2#*-} form=qcow2 more=()
    rm -f "$scratch/copy"
    case $to in raw) form=raw ;; esac
    if [ "$1" = socle ]; then
        [ "$to" != zstd ] || more=(--compress --compression zstd)
        seconds "$socle" image convert --quiet --to $form "${more[@]}" "$scratch/full.$from" "$scratch/copy"
    else
        [ "$to" != zstd ] || more=(-c -o compression_type=zstd)
        seconds qemu-img convert -m 2 -t writeback -f "$([ "$from" = raw ] && echo raw || echo qcow2)" -O $form "${more[@]}" \
            "$scratch/full.$from" "$scratch/copy"
    fi
}

copy_row() { # NAME
    local round who
    for round in $(seq 0 "$rounds"); do
        for who in socle qemu; do
            copy $who "$1" >>"$scratch/$who"
        done
        [ "$round" -ne 0 ] || rm -f "$scratch/socle" "$scratch/qemu"
    done
    printf '%-18s %10s %10s %10s %8s\n' "$1" "$(median <"$scratch/socle")" "$(median <"$scratch/qemu")" "" \
        "$(ratio "$(median <"$scratch/qemu")" "$(median <"$scratch/socle")")"
    figure "image-$1/qemu" "$(ratio "$(median <"$scratch/socle")" "$(median <"$scratch/qemu")")" ratio
    rm -f "$scratch/socle" "$scratch/qemu"
}

make_source "$scratch/full.raw"
qemu-img convert -f raw -O qcow2 -S 0 "$scratch/full.raw" "$scratch/full.qcow2"
qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$scratch/full.raw" "$scratch/full.zstd"

printf '%-18s %10s %10s %10s %8s %8s\n' image socle_s qemu_s raw_s qemu/us raw/us
rows | while read -r name operation kib step per_mib state; do
    ! wanted "$name" || bench_row "$name" "$operation" "$kib" "$step" "$per_mib" "$state" </dev/null
done
for name in $copies; do
    ! wanted "$name" || copy_row "$name"
done
