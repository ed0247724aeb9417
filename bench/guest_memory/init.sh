#!/bin/busybox sh
# shellcheck shell=dash
# bench/guest_memory/init.sh: /init of the guest that bench/memory.sh looks at from outside: uses its disk and its net, then waits.
# Prints "bench: ready DISK NET", 0 for what worked.
export PATH=/bin
busybox mkdir -p /bin /proc /sys /dev
busybox mount -t proc proc /proc # --install asks it where busybox is
busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in virtio_pci virtio_mmio virtio_blk virtio_net virtio_balloon virtio_rng; do
    modprobe "$module" 2>/dev/null
done

dd if=/dev/vda of=/dev/null bs=64k count=512 2>/dev/null &&
    dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null
disk=$?

# The address of the host's side is that of libslirp in Socle and in QEMU, and bench/memory.sh gives it to the tap.
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ping -c 5 -i 0.2 -s 1400 -w 10 10.0.2.2 >/dev/null
net=$?

echo "bench: ready $disk $net"
while :; do
    sleep 1000
done
