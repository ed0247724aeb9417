#!/bin/sh
# tools/guest/customize.sh: turns a fresh Debian root into the sample guest; called by mmdebstrap's customize hook.
# Usage: customize.sh ROOT; the files of the guest stand in root/ beside this script.
set -eu
root=$1
here=$(dirname "$0")

# Units that cost time at each boot and do nothing for a guest that lives for minutes.
masked="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
    fstrim.timer systemd-networkd-wait-online.service systemd-timesyncd.service systemd-pstore.service
    systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-journal-flush.service
    dev-hugepages.mount sys-fs-fuse-connections.mount sys-kernel-debug.mount sys-kernel-tracing.mount
    getty@tty1.service modprobe@drm.service modprobe@fuse.service"
enabled="systemd-networkd.service serial-getty@ttyS0.service socle-selftest.service"

cp -R --no-preserve=ownership "$here/root/." "$root/"
for unit in $masked; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# shellcheck disable=SC2086
chroot "$root" systemctl --quiet enable $enabled
chroot "$root" passwd --quiet --delete root
: >"$root/etc/machine-id"
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf" # of the user-mode network
chmod 644 "$root/etc/resolv.conf" "$root/etc/hostname"

# A file whose contents only the recipe decides, for the disk check.
seq 1 150000 >"$root/usr/lib/socle/known"
(cd "$root/usr/lib/socle" && sha256sum known >known.sha256)

cat >>"$root/etc/initramfs-tools/modules" <<'LIST'
virtio_pci
virtio_blk
virtio_console
virtio_net
virtio_rng
virtio_balloon
LIST
# The kernel's own package made one before the list was there.
version=$(basename "$root"/lib/modules/*)
chroot "$root" mkinitramfs -o "/boot/initrd.img-$version" "$version"

# Nothing under /tmp or apt's folders: mmdebstrap still needs its own files there and cleans up after this.
rm -rf "$root"/usr/share/man/* "$root"/usr/share/doc/* "$root"/usr/share/locale/* "$root"/var/log/*.log
