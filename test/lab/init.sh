#!/bin/sh
# test/lab/init.sh: /init of the lab's initramfs: makes this machine's root usable inside the lab and runs one command.
# Everything is read-only by 9p but for the scratch tmpfs and the output folder; see run.sh for the kernel's options.
# Runs under busybox; a failure before the command ends the lab with status 125 (run.sh's own number).
export PATH=/bin

busybox mkdir -p /proc /sys /dev /root /out
busybox mount -t proc proc /proc # --install asks it where busybox is
busybox --install -s /bin
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

status=125
finish() {
    [ ! -d /out/.lab ] || echo "$status" >/out/.lab/status
    sync
    umount /out 2>/dev/null
    poweroff -f
}

fail() {
    echo "lab: $*" >/dev/kmsg
    echo "lab: $*" >>/out/.lab/stderr
    finish
}

# Value of a word NAME=VALUE of the kernel's command line.
option() {
    tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"
}

for module in virtio_pci virtio_console 9pnet_virtio 9p kvm_amd $(option lab.modules | tr ',' ' '); do
    modprobe "$module" || echo "lab: no module $module" >/dev/kmsg
done

nine_p() { # TAG FOLDER OPTIONS
    mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$3" "$1" "$2"
}

nine_p out /out rw,cache=mmap || fail "cannot mount the output folder"
nine_p host /root ro,cache=loose || fail "cannot mount the host's root"
tree=$(cat /out/.lab/tree)
out=$(cat /out/.lab/out)

cd /root || fail "no root"
mount -t proc proc proc
mount -t sysfs sys sys
mount --bind /dev dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
for scratch in run tmp var/tmp; do
    [ ! -d $scratch ] || mount -t tmpfs -o mode=1777 tmpfs $scratch
done
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t debugfs debug sys/kernel/debug 2>/dev/null
mount -t tracefs trace sys/kernel/tracing 2>/dev/null
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
hostname lab
ip link set lo up

# The tree again by its own path, for a tree that lies under a folder that a tmpfs now hides.
if [ ! -d "/root$tree/test/lab" ]; then
    mkdir -p "/root$tree"
    nine_p tree "/root$tree" ro,cache=loose || fail "cannot mount the tree"
fi
mkdir -p "/root$out" 2>/dev/null
mount --bind /out "/root$out" || fail "cannot show the output folder at $out"

# Waits for the two relays to end, but not for a process that the command left behind with its output open.
end_relays() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        kill -0 "$@" 2>/dev/null || return
        usleep 100000
    done
}

# With the caller's terminal the command has a terminal of its own: the caller's is raw, so this one does the line work.
# Else its output passes by pipes into files that the caller reads while they grow: nothing is lost at the end.
if [ -s /out/.lab/terminal ]; then
    exec 3<>/dev/hvc0 # kept open: the size of a terminal is lost when nobody has it open
    stty -F /dev/hvc0 sane $(cat /out/.lab/terminal)
    setsid -c chroot /root /bin/bash "$out/.lab/command" </dev/hvc0 >/dev/hvc0 2>&1
    status=$?
else
    mkfifo /stdout /stderr
    cat </stdout >>/out/.lab/stdout &
    relays=$!
    cat </stderr >>/out/.lab/stderr &
    relays="$relays $!"
    setsid chroot /root /bin/bash "$out/.lab/command" </dev/null >/stdout 2>/stderr
    status=$?
    end_relays $relays
fi
finish
