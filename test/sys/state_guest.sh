#!/bin/bash
# test/sys/state_guest.sh: Debian's kernel and tools under the software engine: suspended while a program writes to the disk, restored, it
# goes on where it was; what it wrote is right, its clock of the hardware is the host's, its disk is recognised.
# time limit: 400
# only in check-full
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
guest=$tree/.cache/guest
dir=$TMPDIR
. "$tree/test/sys/guest.bash"
"$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
cp --sparse=always "$guest/root.img" "$dir/root.img"

# Each line has the sum of all before it, which the shell keeps: a lost or doubled one shows.
program='mount -t proc p /proc; mount -t devtmpfs d /dev; n=0 s=0; while [ $n -lt 400 ]; do n=$((n+1)) s=$((s+n)); echo "$n $s" >>/log; '
program+='echo "step $n"; [ $((n % 20)) -ne 0 ] || sync; done; sum=$(cksum </log); sync; echo 3 >/proc/sys/vm/drop_caches; '
program+='echo "clock $(cat /sys/class/rtc/rtc0/since_epoch)"; '
program+='[ "$sum" = "$(cksum </log)" ] && echo "all $n, sum $s, written right"; stty echo; sync; echo o >/proc/sysrq-trigger; sleep 100'

mkfifo "$dir/in"
exec 3<>"$dir/in"
"$socle" run --engine soft --cpus 2 --memory 256M --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --net none \
    --append "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh" --disk "$dir/root.img" --control "$dir/c" \
    <"$dir/in" >"$dir/out1" 2>"$dir/err1" &
until_says "$dir/out1" '# ' 150
echo "$program" >&3
until_says "$dir/out1" "step 30" 60
"$socle" ctl "$dir/c" suspend "$dir/state" || fail "suspend"
wait $!
[ $? -eq 118 ] || fail "the suspended machine has another status"
grep -q -a "step 399" "$dir/out1" && fail "it was over before it was suspended"

# Clones first: what they write must not be on the original's disk.
for clone in 1 2; do
    "$socle" run --restore "$dir/state,clone" --timeout 240 </dev/null >"$dir/out-clone$clone" 2>"$dir/err-clone$clone" &
    clones[clone]=$!
done
for clone in 1 2; do
    wait "${clones[clone]}" || fail "clone $clone has status $?"
    tr -d '\r' <"$dir/out-clone$clone" | grep -q "all 400, sum 80200, written right" || fail "what clone $clone wrote is wrong"
done
"$socle" run --restore "$dir/state" --timeout 120 </dev/null >"$dir/out2" 2>"$dir/err3"
status=$?
[ $status -eq 0 ] || fail "status $status"
tr -d '\r' <"$dir/out2" >"$dir/text"
grep -q "all 400, sum 80200, written right" "$dir/text" || fail "what was written is wrong"
cat "$dir/out1" "$dir/out2" | tr -d '\r' | sed -n 's/.*\bstep \([0-9]*\)$/\1/p' | awk '$1 != ++n { print "step", $1, "for", n; exit 1 }' ||
    fail "steps are missing"
clock=$(sed -n 's/^clock //p' "$dir/text")
[ $((clock - $(date +%s))) -le 2 ] && [ $(($(date +%s) - clock)) -le 60 ] || fail "the clock shows $clock at $(date +%s)"

"$socle" run --restore "$dir/state" </dev/null >"$dir/out4" 2>"$dir/err4" && fail "restored although the disk changed"
grep -q "was changed at" "$dir/err4" || fail "a changed disk is not explained"
grep -o "all 400.*" "$dir/text"
