#!/bin/sh
# bench/soft_debian/init.sh: process 1 of the guest of bench/soft_debian.sh: what a shell, a compiler and a package manager do, one after the other.
# Speaks as bench/soft_guest does: for each load "ready", waits for a line, "done NAME CHECK"; then "end".
# `native`: in a root of its own on the host, without an end.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive
if [ "$1" != native ]; then
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev 2>/dev/null
    mount -o remount,rw /
    exec </dev/console >/dev/console 2>/dev/null
fi
cd /bench || exit 1
[ -z "$(dpkg-query -W hello 2>/dev/null)" ] || dpkg --purge hello >/dev/null 2>&1

# Words by the shell itself, and programs started by it.
shell() {
    i=0 words=
    while [ $i -lt 20000 ]; do
        i=$((i + 1))
        case $i in *00) words="$words $i" ;; esac
    done
    for i in 1 2 3 4 5 6 7 8 9 10; do
        for word in a b c d e; do
            words="$words $(echo "$word" | tr a-e A-E)"
        done
    done
    echo "$words" | cksum | cut -d' ' -f1
}

compile() {
    gcc -O2 -c big.c -o /tmp/big.o && cksum </tmp/big.o | cut -d' ' -f1
}

install() {
    apt-get -qq -o Dir::Etc::sourcelist=/bench/sources.list -o Dir::Etc::sourceparts=- update >/dev/null 2>&1
    apt-get -qq -y -o Dir::Etc::sourcelist=/bench/sources.list -o Dir::Etc::sourceparts=- install hello >/dev/null 2>&1
    hello | cksum | cut -d' ' -f1
}

for load in shell compile install; do
    echo ready
    read -r _
    echo "done $load $($load)"
done
echo end
if [ "$1" != native ]; then
    sync
    mount -o remount,ro /
    echo o >/proc/sysrq-trigger
    sleep 10
fi
