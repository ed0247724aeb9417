#!/bin/bash
# test/sys/os.sh: instances of kind os: images, life, exec, networks, snapshots, clones, kill -9, a whole Debian; of root and of an ordinary user.
# time limit: 600
set -eu
here=$(dirname "$0")
[ "$(id -u)" = 0 ] || { echo "only root may make networks of its own here"; exit 77; }
[ -x /bin/busybox ] || { echo "no /bin/busybox"; exit 77; }
if [ "${1:-}" != inside ]; then
    "$here/../../tools/guest/build.sh" >/dev/null || echo "os: no sample guest"
    unshare -m -n true 2>/dev/null || { echo "this machine allows no namespaces"; exit 77; }
    exec unshare -m -n "$0" inside
fi
ip link set lo up
echo "nameserver 127.0.0.1" >"$TMPDIR/resolv.conf" # os.py answers there
mount --bind "$TMPDIR/resolv.conf" "$(readlink -f /etc/resolv.conf)"
[ -c /dev/net/tun ] || { echo "no /dev/net/tun"; exit 77; }
[ -c /dev/fuse ] || { echo "no /dev/fuse"; exit 77; }
# As Debian has them: anybody may open them.
mknod -m 666 "$TMPDIR/tun" c 10 200
mknod -m 666 "$TMPDIR/fuse" c 10 229
mount --bind "$TMPDIR/tun" /dev/net/tun
mount --bind "$TMPDIR/fuse" /dev/fuse
cd "$here/../.."
python3 test/sys/os.py root
rm -rf "$TMPDIR/d"
if [ -e .cache/guest/root.img ] && mkdir "$TMPDIR/debian" && mount -o loop,ro .cache/guest/root.img "$TMPDIR/debian" 2>/dev/null; then
    python3 test/sys/os.py debian "$TMPDIR/debian"
    umount "$TMPDIR/debian"
    rm -rf "$TMPDIR/d"
else
    echo "os: the sample guest cannot be mounted here: no whole Debian in a container"
fi
if ! command -v newuidmap >/dev/null; then
    echo "os: no newuidmap: no containers of an ordinary user"
    exit 0
fi
# A user of this test's own, in a mount namespace where /etc is a copy.
mkdir "$TMPDIR/etc" && cp -a /etc/passwd /etc/group "$TMPDIR/etc/"
echo "socletest:x:64123:64123::/nonexistent:/bin/sh" >>"$TMPDIR/etc/passwd"
echo "socletest:100000000:65536" >"$TMPDIR/etc/subuid"
cp "$TMPDIR/etc/subuid" "$TMPDIR/etc/subgid"
for file in passwd subuid subgid; do
    [ -e "/etc/$file" ] || : >"/etc/$file"
    mount --bind "$TMPDIR/etc/$file" "/etc/$file"
done
for folder in "$TMPDIR" "$(dirname "$TMPDIR")"; do chmod o+x "$folder"; done
if setpriv --reuid 64123 --regid 64123 --clear-groups test -x "$SOCLE_BUILD/src/cmd/socled"; then
    install -d -o 64123 -g 64123 "$TMPDIR/d"
    python3 test/sys/os.py user 64123
    rm -rf "$TMPDIR/d"
    install -d -o 64123 -g 64123 "$TMPDIR/d"
    : >"$TMPDIR/etc/subuid"
    python3 test/sys/os.py single 64123
else
    echo "os: others cannot reach $SOCLE_BUILD: no containers of an ordinary user"
fi
