#!/bin/bash
# test/sys/tap.sh: a Linux guest whose card is a tap interface, with several queues, sends and receives streams; their sums are right,
# and frames larger than the wire's cross in both directions (segmentation offload).
# time limit: 300
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
guest=$tree/.cache/guest
dir=$TMPDIR
"$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
if [ "${1:-}" != inside ]; then
    as_root=-r
    [ "$(id -u)" != 0 ] || as_root=
    # shellcheck disable=SC2086
    unshare $as_root -n ip tuntap add probe mode tap 2>/dev/null || { echo "no right to make a tap interface"; exit 77; }
    # shellcheck disable=SC2086
    exec unshare $as_root -n "$0" inside
fi

fail() {
    echo "FAILED: $*"
    tail -n 30 "$dir/out" "$dir/err" "$dir/peer"
    exit 1
}

# "FRAMES BYTES" since the interface was made, from the guest (rx) or to it (tx).
counters() { # rx|tx
    ip -s -j link show tap0 | python3 -c "import json,sys; s=json.load(sys.stdin)[0]['stats64']['$1']; print(s['packets'], s['bytes'])"
}

ip link set lo up
ip tuntap add tap0 mode tap multi_queue vnet_hdr && ip address add 10.77.0.1/24 dev tap0 && ip link set tap0 up || fail "no tap interface"
cp --sparse=always "$guest/root.img" "$dir/root.img"

cat >"$dir/peer.py" <<'END'
import hashlib, socket
server = socket.create_server(("10.77.0.1", 5000))
stream, _ = server.accept()
seen = hashlib.sha256()
total = 0
while data := stream.recv(1 << 20):
    seen.update(data)
    total += len(data)
print("received", total, seen.hexdigest(), flush=True)
stream, _ = server.accept()
data = bytes(range(251)) * 40000
stream.sendall(data)
stream.close()
print("sent", len(data), hashlib.sha256(data).hexdigest(), flush=True)
END
timeout 250 python3 "$dir/peer.py" >"$dir/peer" 2>&1 &

program='mount -t proc p /proc; mount -t sysfs s /sys; modprobe -q virtio_net; for d in /sys/class/net/e*; do i=${d##*/}; done; '
program+='ip address add 10.77.0.2/24 dev $i; ip link set $i up; echo "queues $(ls -d $d/queues/rx-* | wc -l)"; '
program+='bash -c "seq 1 500000 | tee >(sha256sum >/dev/shm/sum) >/dev/tcp/10.77.0.1/5000"; sleep 1; echo "sent $(cat /dev/shm/sum)"; '
program+='bash -c "sha256sum </dev/tcp/10.77.0.1/5000" | sed "s/^/received /"; echo o >/proc/sysrq-trigger; sleep 100'
mkfifo "$dir/in"
exec 3<>"$dir/in"
echo "mount -t devtmpfs d /dev; mkdir -p /dev/shm; mount -t tmpfs t /dev/shm; ln -sf /proc/self/fd /dev/fd; $program" >&3
timeout 250 "$socle" run --engine soft --cpus 2 --memory 256M --kernel "$guest/vmlinuz" --initrd "$guest/initrd" \
    --net tap=tap0,queues=2 --append "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh" --disk "$dir/root.img" \
    <"$dir/in" >"$dir/out" 2>"$dir/err" || fail "the machine has status $?"
wait
tr -d '\r' <"$dir/out" >"$dir/text"
sums=$(sed -n 's/^\(sent\|received\) .*\([0-9a-f]\{64\}\).*/\2/p' "$dir/peer")
[ "$(wc -w <<<"$sums")" = 2 ] || fail "the peer did not see two streams"
for sum in $sums; do
    grep -q "$sum" "$dir/text" || fail "a stream has not the sum $sum at its other end"
done
grep -q "^queues 2$" "$dir/text" || fail "the guest sees other than two queues"
for way in rx tx; do
    read -r frames bytes < <(counters $way)
    echo "tap $way: $frames frames of $((bytes / frames)) bytes"
    [ $((bytes / frames)) -gt 3000 ] || fail "frames are not larger than the wire's"
done
