#!/bin/busybox sh
# shellcheck shell=dash
# test/linux/init.sh: /init of the small guest of test/linux: work on every CPU, and then the end that the command line asks for.
# boots.end=poweroff (without it, too), reboot (once: the second start powers off), panic (the same), wait.
# Says "boots: N CPUs MACHINE" when each CPU came to the right sum, and before it what the kernel complained of.
busybox mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
busybox mount -t proc proc /proc
busybox mkdir -p /bin /tmp
busybox --install -s /bin
export PATH=/bin

end=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^boots.end=//p')
cpus=$(nproc)
for cpu in $(seq 0 $((cpus - 1))); do
    (taskset -c "$cpu" sh -c 'seq 1 3000 | sha256sum' >"/tmp/sum.$cpu") &
done
wait
sleep 0.1
dmesg | grep -E 'BUG:|Oops|WARNING:|stall|lockup|unchecked MSR|general protection|segfault|unstable|spurious' | head -n 20
sums=$(cat /tmp/sum.* | sort -u)
if [ "$sums" = "2e57c67a8bbe706a08d6638ec67da02b67b3743ae7d35948cbcf8d1f45cae0a5  -" ]; then
    echo "boots: $cpus CPUs $(uname -m)"
else
    echo "boots: wrong sums: $sums"
fi

# The machine's clock outlives a reset: its year says that this is the second start.
if [ "$(date +%Y)" -lt 2036 ]; then
    date -s '2036-06-06 06:06:06' >/dev/null && hwclock -u -w
    case $end in
    reboot) reboot -f ;;
    panic) echo c >/proc/sysrq-trigger ;;
    esac
fi
while [ "$end" = wait ]; do
    sleep 1
done
poweroff -f
sleep 60
