#!/bin/bash
# bench/share.sh: a folder of the host in a guest, beside the guest's own disk (virtio-blk), under the software engine: a file of 256 MiB,
# tar of 5,000 small files, stat of these, and making 1,000 files; milliseconds, each the least of three with the guest's caches dropped.
set -u
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
guest=$tree/.cache/guest
"$tree/tools/guest/build.sh" >/dev/null || { echo "bench: no sample guest" >&2; exit 1; }
mkdir "$scratch/data"
chmod 755 "$scratch"

head -c 256M /dev/urandom >"$scratch/data/big"
for d in $(seq 50); do
    mkdir -p "$scratch/data/small/$d"
    for f in $(seq 100); do echo "$d $f" >"$scratch/data/small/$d/$f"; done
done

cat >"$scratch/data/go.sh" <<'EOT'
now() { read -r up _ </proc/uptime; echo $((${up%.*} * 1000 + 10#${up#*.} * 10)); }
best() { # NAME COMMAND: with cold caches
    local least= i t
    for i in 1 2 3; do
        sync; echo 3 >/proc/sys/vm/drop_caches
        t=$(now); eval "$2" >/dev/null; t=$(($(now) - t))
        [ -n "$least" ] && [ "$least" -le $t ] || least=$t
    done
    echo "$1 $least"
}
mkdir -p /disk && cp -r /mnt/big /mnt/small /disk && sync
exec >/mnt/times.new
for where in mnt disk; do
    best "$where cat" "cat /$where/big"
    best "$where tar" "tar -C /$where -cf - small | cat"
    best "$where stat" "find /$where/small -printf '%s %m %u\n'"
    best "$where warm_stat" "find /$where/small -printf '%s %m %u\n'; find /$where/small -printf '%s %m %u\n'"
    best "$where make" "rm -rf /$where/made; mkdir /$where/made; cd /$where/made; for i in \$(seq 1000); do echo x >\$i; done; cd /"
done
mv /mnt/times.new /mnt/times
EOT

begin='
mount -t proc p /proc; modprobe virtiofs; mount -t virtiofs data /mnt && bash /mnt/go.sh; echo o >/proc/sysrq-trigger; sleep 100'
line="console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh"

# Leaves the times of a run in FILE.
finish() { # FILE
    [ -s "$scratch/data/times" ] || { echo "bench: no times; the guest said:" >&2; tail -n 20 "$scratch/out" >&2; exit 1; }
    mv "$scratch/data/times" "$1"
    rm -rf "$scratch/data/made"
}

prepare() {
    mkfifo "$scratch/in" 2>/dev/null
    cp --sparse=always "$guest/root.img" "$scratch/root.img"
    exec 3<>"$scratch/in"
    echo "$begin" >&3
}

run_socle() {
    prepare
    timeout 400 "$socle" run --engine soft --memory 1G --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --net none --append "$line" \
        --disk "$scratch/root.img" --share "data=$scratch/data" <"$scratch/in" >"$scratch/out" 2>&1
    finish "$scratch/socle"
}

of() { # FILE WHERE LOAD
    sed -n "s/^$2 $3 //p" "$scratch/$1" 2>/dev/null
}

run_socle
printf '%-10s %10s %10s %8s\n' load share disk ratio
for load in cat tar stat warm_stat make; do
    share=$(of socle mnt $load) disk=$(of socle disk $load)
    printf '%-10s %10s %10s %8s\n' $load "$share" "$disk" "$(ratio "$share" "$disk")"
    figure "share_$load" "$share" ms
done
