#!/bin/busybox sh
# test/linux/init.sh: /init of the small guest of test/linux: work on every CPU, and then what the command line asks for.
# boots.end=poweroff (without it, too), boots.end=reboot (at the first start; the second powers off), boots.end=panic, boots.end=wait.
# Says "boots: N CPUs MACHINE" when each CPU has come to the same sum; what the kernel complained of goes to the console.
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
dmesg | grep -E 'BUG:|Oops|WARNING:|stall|lockup|unchecked MSR|general protection|segfault|Unstable|unstable|Spurious' | head -n 20
sums=$(cat /tmp/sum.* | sort -u)
if [ "$sums" = "2e57c67a8bbe706a08d6638ec67da02b67b3743ae7d35948cbcf8d1f45cae0a5  -" ]; then
    echo "boots: $cpus CPUs $(uname -m)"
else
    echo "boots: wrong sums: $sums"
fi

case $end in
reboot) reboot -f ;;
panic) echo c >/proc/sysrq-trigger ;;
wait) while :; do sleep 3600; done ;;
*) poweroff -f ;;
esac
sleep 60
