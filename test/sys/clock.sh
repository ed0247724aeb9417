#!/bin/bash
# test/sys/clock.sh: what a guest's clocks show after it stood still: suspended and restored, back at a snapshot, and as a clone.  Debian's
# kernel under the software engine.  The monotonic clocks go on where they stood; the hardware's clock and the host's (PTP) are right at once,
# and so is `date` after `hwclock --hctosys`; the kernel trusts its clock source as before.  Another of Debian's kernels, if it was fetched
# (test/linux/kernels.sh), has the driver of the generation id: it mixes its random numbers anew each time.
# time limit: 900
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
guest=$tree/.cache/guest
dir=$TMPDIR
. "$tree/test/sys/guest.bash"
still=6
"$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
cp --sparse=always "$guest/root.img" "$dir/root.img"

# Monotonic, raw monotonic and real time, what PTP shows, all in seconds; then the RTC, the clock source, complaints of the kernel about it.
cat >"$dir/clocks" <<'PERL'
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_REALTIME);
sub get { my $ts = "\0" x 16; syscall(228, $_[0], $ts) == 0 or return 0; my ($s, $n) = unpack("qq", $ts); return sprintf("%d.%09d", $s, $n); }
open(my $ptp, "<", "/dev/ptp0"); my $id = $ptp ? (~fileno($ptp) << 3 | 3) & 0xffffffff : 99;
sub line { open(my $f, "<", $_[0]) or return "-"; my $l = <$f>; chomp $l; return $l; }
my $log = `dmesg`;
my $bad = () = $log =~ /unstable|clocksource.*skew|TSC warp/gi;
print "clocks $ARGV[0] ", join(" ", get(1), get(4), get(0), get($id), line("/sys/class/rtc/rtc0/since_epoch"),
    line("/sys/devices/system/clocksource/clocksource0/current_clocksource"), $bad), " end\n";
PERL
debugfs -w -R "write $dir/clocks /clocks" "$dir/root.img" >/dev/null 2>&1 || fail "write into the guest's disk"

start() { # OUTPUT ARGUMENT…
    local out=$1
    shift
    rm -f "$dir/c"
    timeout 400 "$socle" run --timeout 390 --control "$dir/c" "$@" <"$dir/in" >"$dir/out-$out" 2>"$dir/err-$out" &
    run=$!
}

ask() { # OUTPUT WORD: has the guest tell; `words` is what it said, and the host's time
    echo "perl /clocks $2" >&3
    until_says "$dir/out-$1" "clocks $2 .* end" 60
    read -r -a words <<<"$(tr -d '\r' <"$dir/out-$1" | sed -n "s/^.*clocks $2 \(.*\) end$/\1/p") $(date +%s)"
    [ ${#words[@]} -eq 8 ] || fail "'${words[*]}' is not what clocks say"
}

# Of two asks: so much time passed for the guest, which was asked at once before and after; then all that must be right.
compare() { # WHAT MOST_SECONDS LATE: `date` may be late (1), or is right (0)
    awk -v b="${before[*]}" -v a="${words[*]}" -v most="$2" -v late="$3" 'BEGIN {
        split(b, B); split(a, A)
        if (A[1] <= B[1] || A[1] - B[1] > most) { print "monotonic went from", B[1], "to", A[1]; bad = 1 }
        if (A[2] <= B[2] || (A[1] - B[1]) - (A[2] - B[2]) > 0.1 || (A[2] - B[2]) - (A[1] - B[1]) > 0.1) { print "raw monotonic went from", B[2], "to", A[2]; bad = 1 }
        if (A[8] - A[4] > 3 || A[4] - A[8] > 3) { print "PTP shows", A[4], "at", A[8]; bad = 1 }
        if (A[8] - A[5] > 3 || A[5] - A[8] > 3) { print "the RTC shows", A[5], "at", A[8]; bad = 1 }
        if (!late && (A[8] - A[3] > 3 || A[3] - A[8] > 3)) { print "date shows", A[3], "at", A[8]; bad = 1 }
        if (A[6] != B[6]) { print "the clock source was", B[6], "and is", A[6]; bad = 1 }
        if (A[7] != B[7]) { print "the kernel complains of its clocks"; bad = 1 }
        exit bad }' || fail "clocks: $1"
    echo "$1: monotonic ${before[0]} -> ${words[0]}, date ${words[2]}, PTP ${words[3]}, RTC ${words[4]}, host ${words[7]}, ${words[5]}"
}

trap '"$socle" ctl "$dir/c" power off >/dev/null 2>&1' EXIT
mkfifo "$dir/in"
exec 3<>"$dir/in"
start first --engine soft --cpus 2 --memory 256M --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --net none --disk "$dir/root.img" \
    --append "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh"
until_says "$dir/out-first" "# " 400
echo "mount -t proc p /proc; modprobe -q ptp_kvm; stty -echo; echo prepared." >&3
until_says "$dir/out-first" '^prepared' 60
ask first a
before=("${words[@]}")
compare_at=$SECONDS
timeout 60 "$socle" ctl "$dir/c" suspend "$dir/state" >/dev/null || fail "suspend"
wait "$run"
sleep $still
start second --restore "$dir/state"
ask second b
compare "suspended for $still s" "$((SECONDS - compare_at - still + 2))" 1
echo "hwclock --hctosys --utc" >&3
ask second c
compare "after hwclock" 60 0

before=("${words[@]}")
timeout 60 "$socle" ctl "$dir/c" snapshot one >/dev/null || fail "snapshot"
sleep $still
ask second d
timeout 60 "$socle" ctl "$dir/c" restore one || fail "back to the snapshot"
compare_at=$SECONDS
ask second e
compare "back at the snapshot" $((SECONDS - compare_at + 20)) 1
timeout 20 "$socle" ctl "$dir/c" power off
wait "$run"

start clone --restore "$dir/root.img.s1.state,clone"
ask clone f
compare "a clone" $((SECONDS - compare_at + 20)) 1
timeout 20 "$socle" ctl "$dir/c" power off
wait "$run"

kernels=$tree/.cache/kernels
[ -e "$kernels/done" ] || { [ -n "${SOCLE_FULL:-}" ] && "$tree/test/linux/kernels.sh"; } || exit 0
mkdir -p "$dir/initrd.d/bin"
cp "$kernels/amd64/busybox" "$dir/initrd.d/bin/busybox"
cat >"$dir/initrd.d/init" <<'INIT'
#!/bin/busybox sh
echo "forks 0 0 end"
while read -r word; do
    echo "forks $word $(/bin/busybox dmesg | /bin/busybox grep -c 'crng reseeded due to virtual machine fork') end"
done
INIT
chmod 755 "$dir/initrd.d/init"
(cd "$dir/initrd.d" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) >"$dir/initrd"

forks() { # OUTPUT WORD COUNT
    echo "$2" >&3
    until_says "$dir/out-$1" "forks $2 $3 end" 60
    echo "random numbers: mixed anew $3 times ($1)"
}

start generation --engine soft --memory 256M --kernel "$kernels/amd64/vmlinuz" --initrd "$dir/initrd" --net none \
    --append "console=ttyS0 panic=-1 quiet"
until_says "$dir/out-generation" "forks 0 0 end" 250
forks generation before 0
timeout 60 "$socle" ctl "$dir/c" suspend "$dir/state" >/dev/null || fail "suspend"
wait "$run"
start restored --restore "$dir/state"
forks restored once 1
timeout 60 "$socle" ctl "$dir/c" suspend "$dir/state" >/dev/null || fail "suspend again"
wait "$run"
start cloned --restore "$dir/state,clone"
forks cloned twice 2
timeout 20 "$socle" ctl "$dir/c" power off
wait "$run"
exit 0
