#!/bin/bash
# test/sys/snapshot.sh: Debian's kernel and tools under the software engine write with checksums to two disks: live snapshots, going back,
# a branch, the middle deleted, all of a chain deleted under a running machine, clones, and kills of machine and client around snapshots: every file system is clean, every checksum right,
# every image sound, and nothing that was flushed is lost.
# time limit: 3600
# With SOCLE_FULL, 200 kills instead of 6.
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
guest=$tree/.cache/guest
dir=$TMPDIR
. "$tree/test/sys/guest.bash"
steps=160 kills=6
[ -z "${SOCLE_FULL:-}" ] || kills=200
"$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
command -v qemu-img >/dev/null || { echo "no qemu-img (package qemu-utils)"; exit 77; }
cp --sparse=always "$guest/root.img" "$dir/root.img"
truncate -s 1M "$dir/data.img"

ctl() {
    timeout 100 "$socle" ctl "$dir/c" "$@"
}

# stty waits until all is sent that was said: what SysRq has the kernel say would come in between.
# Each line of /log has the sum of all before it, which the shell keeps; each step is on the second disk, and flushed, before it is said.  Steps are slow, so
# that a guest on a quick host is not done before a slow disk has what is asked of it meanwhile.
program='mount -t proc p /proc; mount -t devtmpfs d /dev; n=0 s=0; while [ $n -lt STEPS ]; do n=$((n+1)) s=$((s+n)); echo "$n $s" >>/log; '
program+='[ $((n % 10)) -ne 0 ] || sync /log; printf %07d $n | dd of=/dev/vdb bs=512 seek=$n conv=sync,fsync,notrunc 2>/dev/null; echo "step $n"; sleep 0.1; done; '
program+='sync; echo 3 >/proc/sys/vm/drop_caches; n=0 s=0; while read -r a b; do n=$((n+1)) s=$((s+n)); [ "$a $b" = "$n $s" ] || echo "wrong $n"; '
program+='done </log; echo "all $n, sum $s"; stty echo; echo u >/proc/sysrq-trigger; echo o >/proc/sysrq-trigger; while :; do :; done'
sum=$((steps * (steps + 1) / 2))

start() { # OUTPUT ARGUMENT…: in the background, its socket is c
    local out=$1
    shift
    rm -f "$dir/c"
    timeout 250 "$socle" run --timeout 240 --control "$dir/c" "$@" <"$dir/in" >"$dir/out-$out" 2>"$dir/err-$out" &
    run=$!
}

ends_right() { # OUTPUT: the machine that writes to it
    wait "$run" || fail "$1 has status $?"
    grep -q -a "all $steps, sum $sum" "$dir/out-$1" || fail "$1 has not written all"
    ! grep -q -a '^wrong [0-9]' "$dir/out-$1" || fail "$1 reads something else than it wrote"
}

# A disk image with all that is below it: what is in it, after a power cut as it were.
check_root() { # IMAGE LINES: at least so many
    rm -f "$dir/check.raw"
    "$socle" image convert --quiet --to raw "$1" "$dir/check.raw" || fail "convert $1"
    e2fsck -fp "$dir/check.raw" >"$dir/out-fsck" 2>&1
    [ $? -le 1 ] || fail "file system of $1"
    e2fsck -fn "$dir/check.raw" >"$dir/out-fsck" 2>&1 || fail "file system of $1 is not clean"
    debugfs -R "cat /log" "$dir/check.raw" 2>/dev/null | tr -d '\000' |
        awk -v least="$2" 'NF == 2 { if ($1 != ++n || $2 != (s += n)) exit bad = 1 } END { exit bad || n < least }' || fail "/log of $1"
}

check_data() { # IMAGE STEPS: these are there
    rm -f "$dir/data.raw"
    "$socle" image convert --quiet --to raw "$1" "$dir/data.raw" || fail "convert $1"
    dd if="$dir/data.raw" bs=512 skip=1 count="$2" status=none | tr -d '\000' | fold -w 7 |
        awk -v want="$2" '$1 + 0 != ++n { exit bad = 1 } END { exit bad || n != want }' || fail "the first $2 steps on $1"
}

check_images() { # [leaks]: clusters may be lost by a kill, which is no error of qcow2 (doc/disks.md)
    for image in "$dir"/*.img "$dir"/*.img.s*; do
        head -c 3 "$image" | grep -q QFI || continue
        qemu-img check -q "$image" >"$dir/out-check" 2>&1
        case $?:${1:-} in
        0:* | 3:leaks) ;;
        *) fail "qemu-img check $image: $(cat "$dir/out-check")" ;;
        esac
    done
}

last_step() { # OUTPUT
    tr -d '\r' <"$dir/out-$1" | sed -n 's/^\(.*[^0-9]\)\?step \([0-9]*\)$/\2/p' | tail -n 1
}

echo "snapshots of a guest that writes"
mkfifo "$dir/in"
exec 3<>"$dir/in"
start first --engine soft --cpus 2 --memory 256M --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --net none --disk "$dir/root.img" \
    --disk "$dir/data.img" --append "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh"
until_says "$dir/out-first" '# ' 200
echo "${program/STEPS/$steps}" >&3
until_says "$dir/out-first" "step 20" 100
ctl snapshot one || fail "snapshot one"
until_says "$dir/out-first" "step 40" 100
ctl snapshot two || fail "snapshot two"
until_says "$dir/out-first" "step 60" 100
ctl snapshot three disks || fail "snapshot three"
ctl snapshot two && fail "a name was taken twice"
"$socle" snapshot restore "$dir/root.img" one && fail "went back under a running machine"
ends_right first
check_root "$dir/root.img" "$steps"
check_data "$dir/data.img" "$steps"
check_root "$dir/root.img.s3" 50
check_data "$dir/data.img.s3" 59
check_images

echo "back to the second, and a branch"
"$socle" run --restore "$dir/root.img.s2.state" >"$dir/out-stale" 2>&1 && fail "restored over disks that changed"
grep -q "not as it was at the snapshot" "$dir/out-stale" || fail "changed disks are not explained"
"$socle" snapshot restore "$dir/root.img" two || fail "restore two"
start branch --restore "$dir/root.img.s2.state"
until_says "$dir/out-branch" "step 80" 100
grep -q -a "step 40" "$dir/out-branch" && fail "it began before the snapshot"
ctl snapshot four || fail "snapshot four"
until_says "$dir/out-branch" "step 110" 100
ctl restore three 2>/dev/null && fail "went back to a snapshot without a state"
ctl restore four || fail "restore four while it runs"
ctl snapshots | grep -q "four.*<- now" || fail "it is not at the fourth"
ends_right branch
[ "$(grep -c -a "step 100" "$dir/out-branch")" -eq 2 ] || fail "it did not go back"
check_data "$dir/data.img" "$steps"

echo "the middle one is deleted, and what was built on it stays as it was"
"$socle" snapshot delete --quiet "$dir/root.img" two || fail "delete two"
[ ! -e "$dir/root.img.s2" ] && [ ! -e "$dir/data.img.s2" ] && [ ! -e "$dir/root.img.s2.state" ] || fail "files of a deleted snapshot"
for i in 1 3 4; do
    check_root "$dir/root.img.s$i" 10
done
check_data "$dir/data.img.s1" 19
check_data "$dir/data.img.s3" 59
check_data "$dir/data.img.s4" 79
check_data "$dir/data.img" "$steps"
check_images

echo "while the machine writes, what it builds on is deleted: directly below, further down, the base; and clones read on"
cp --sparse=always "$guest/root.img" "$dir/live.img"
truncate -s 1M "$dir/data2.img"
start live --engine soft --cpus 2 --memory 256M --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --net none --disk "$dir/live.img" \
    --disk "$dir/data2.img,iops=10000" --append "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh"
until_says "$dir/out-live" '# ' 200
echo "${program/STEPS/$steps}" >&3
for i in 1 2 3 4 5; do
    until_says "$dir/out-live" "step $((i * 10))" 100
    ctl snapshot "l$i" $([ $i -eq 4 ] || echo disks) || fail "snapshot l$i"
done
"$socle" run --restore "$dir/live.img.s4.state,clone" --timeout 240 </dev/null >"$dir/out-reader" 2>"$dir/err-reader" &
reader=$!
until_says "$dir/out-reader" "step" 60
for i in 5 2 4 1 3; do
    ctl delete-snapshot "l$i" || fail "delete l$i while it runs"
    [ ! -e "$dir/live.img.s$i" ] && [ ! -e "$dir/data2.img.s$i" ] || fail "files of l$i"
    ls -l "/proc/$(pgrep -P "$(pgrep -P "$run" -x socle)" -x socle-vm)/fd" | grep -q "live.img.s$i" && fail "the machine has not let go of l$i"
done
ctl snapshots | grep -q . && fail "there are snapshots left"
[ "$(last_step live)" -lt $steps ] || fail "it was over before all were deleted"
ctl snapshot l6 disks || fail "a snapshot after all that"
ends_right live
wait $reader || fail "the clone that read on has status $?"
grep -q -a "all $steps, sum $sum" "$dir/out-reader" || fail "the clone that read on has not written all"
grep -q -a '^wrong [0-9]' "$dir/out-reader" && fail "the clone reads something else than it wrote"
check_root "$dir/live.img" "$steps"
check_data "$dir/data2.img" "$steps"
check_images
rm -f "$dir"/live.img* "$dir"/data2.img*

echo "clones of a running machine, all at once"
"$socle" snapshot restore "$dir/root.img" four || fail "restore four"
start again --restore "$dir/root.img.s4.state"
until_says "$dir/out-again" "step" 100
ctl clone 5 >"$dir/clones" || fail "clone 5"
timeout 200 python3 - "$dir" <<'READ' || fail "what clones say"
import json, socket, sys, threading
clones = json.load(open(sys.argv[1] + "/clones"))
assert len({c["name"] for c in clones}) == 5
consoles = [socket.socket(socket.AF_UNIX) for c in clones]
for c, s in zip(clones, consoles):
    s.connect(c["console"])
def read(c, s):
    with open(sys.argv[1] + "/out-clone" + c["control"][-1], "wb") as f:
        for data in iter(lambda: s.recv(65536), b""):
            f.write(data)
# all at once: what a socket cannot hold of a clone that ended is lost
threads = [threading.Thread(target=read, args=a) for a in zip(clones, consoles)]
for t in threads:
    t.start()
for t in threads:
    t.join()
READ
for i in 1 2 3 4 5; do
    grep -q -a "all $steps, sum $sum" "$dir/out-clone$i" || fail "clone $i has not written all"
    ! grep -q -a '^wrong [0-9]' "$dir/out-clone$i" || fail "clone $i reads something else than it wrote"
done
ends_right again
check_root "$dir/root.img" "$steps"
check_images

echo "kill -9 around snapshots and deletions: nothing that was flushed is lost"
complete=0
for i in $(seq $kills); do
    "$socle" snapshot restore "$dir/root.img" one >/dev/null || fail "restore one, round $i"
    start kill --restore "$dir/root.img.s1.state"
    until_says "$dir/out-kill" "step" 60
    vm=$(pgrep -P "$(pgrep -P "$run" -x socle)" -x socle-vm)
    mode=full
    [ $((i % 2)) -eq 0 ] || mode=disks
    command="snapshot killed $mode" after=0.$((i % 5))$((RANDOM % 10))
    if [ $((i % 4)) -eq 1 ]; then
        ctl snapshot killed disks >/dev/null || fail "a snapshot to be deleted, round $i"
        command="delete-snapshot killed" after=0.0$((RANDOM % 10))
    fi
    # shellcheck disable=SC2086
    "$socle" ctl "$dir/c" $command >/dev/null 2>&1 &
    ctl=$!
    sleep "$after"
    if [ $((i % 3)) -eq 2 ]; then
        kill -9 $ctl 2>/dev/null
        wait $ctl
        ctl power off >/dev/null 2>&1
    else
        kill -9 "$vm"
        wait $ctl
    fi
    wait "$run"
    step=$(last_step kill)
    step=${step:-0} # killed before the first was said in full
    check_data "$dir/data.img" "$step"
    if "$socle" snapshot list "$dir/root.img" | grep -q killed; then
        "$socle" snapshot list "$dir/root.img" | grep -q 'killed.*\(interrupted\|being deleted\)' || complete=$((complete + 1))
        "$socle" snapshot delete --quiet "$dir/root.img" killed || fail "delete what was interrupted, round $i"
        check_data "$dir/data.img" "$step"
    fi
    check_images leaks
done
echo "$kills kills, $complete snapshots were complete"
check_root "$dir/root.img" 10
check_root "$dir/root.img.s4" 70
leftover=$(find "$dir" -name '*.img.s[6-9]*' -o -name '*.img.s[1-9][0-9]*')
[ -z "$leftover" ] || fail "left behind: $leftover"
exit 0
