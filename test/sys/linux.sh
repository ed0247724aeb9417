#!/bin/bash
# test/sys/linux.sh: Debian's generic, 686-pae and 686 kernels under the software engine with 1, 2 and 4 vCPUs, resets, a torture.
# time limit: 3600
# only in check-full
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
kernels=$tree/.cache/kernels
export SOCLE=$SOCLE_BUILD/src/cmd/socle
failed=0
"$tree/test/linux/kernels.sh" || { echo "the kernels cannot be fetched"; exit 77; }

for row in "amd64 amd64" "686-pae i386" "686 i386"; do
    read -r kernel width <<<"$row"
    initrd=$TMPDIR/initrd.$width
    [ -s "$initrd" ] || "$tree/test/linux/initrd.sh" "$kernels/$width/busybox" "$initrd" || exit 1
    for end in poweroff reboot panic; do
        cpus="1 2 4"
        [ "$end" = poweroff ] || cpus=2
        "$tree/test/linux/boots.sh" --rounds 1 --cpus "$cpus" --limit 300 --end "$end" --kernel "$kernels/$kernel/vmlinuz" \
            --initrd "$initrd" --log "$TMPDIR/$kernel.$end" || failed=1
    done
done
[ $failed = 0 ] || tail -n 100 "$TMPDIR"/*.failed.*
"$tree/test/linux/torture.sh" --scale 10 --cpus 2 || failed=1
exit $failed
