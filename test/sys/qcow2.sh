#!/bin/bash
# test/sys/qcow2.sh: the sample guest on a qcow2 image over its disk: boots, passes its selftest, powers off; the image is whole.
# time limit: 400
# only in check-full
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
guest=$tree/.cache/guest
image=$TMPDIR/root.qcow2
log=$TMPDIR/console.log

command -v qemu-img >/dev/null || { echo "no qemu-img (package qemu-utils)"; exit 77; }
[ -r "$guest/root.img" ] || { echo "no guest: tools/guest/build.sh makes it"; exit 77; }
qemu-img create -q -f qcow2 -b "$guest/root.img" -F raw "$image" || exit 1
before=$(cksum <"$guest/root.img")
timeout -k 5 360 "$SOCLE_BUILD/src/cmd/socle" run --engine soft --cpus 2 --memory 512M --kernel "$guest/vmlinuz" \
    --initrd "$guest/initrd" --append "console=ttyS0 root=/dev/vda rw panic=-1 socle.selftest socle.cpus=2 socle.net" \
    --disk "$image" --net user --console stdio </dev/null >"$log" 2>&1
status=$?
if [ $status -ne 0 ] || ! tr -d '\r' <"$log" | grep -q 'selftest: [1-9][0-9]* passed, 0 failed'; then
    tail -n 40 "$log"
    echo "exit status $status"
    exit 1
fi
[ "$before" = "$(cksum <"$guest/root.img")" ] || { echo "the backing file changed"; exit 1; }
qemu-img check "$image"
