#!/bin/bash
# test/linux/torture_init.sh: init of the torture's guest: runs torture_steps.sh with the words of torture=A,B,… and powers off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm -o X-mount.mkdir
words=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^torture=//p' | tr ',' ' ')
# shellcheck disable=SC2086
/torture_steps.sh $words </dev/null >/dev/console 2>&1
dmesg | grep -E 'BUG:|Oops|WARNING:|stall|lockup|unchecked MSR|general protection|unstable|segfault at|traps:' >/dev/console
busybox poweroff -f
