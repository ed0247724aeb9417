#!/bin/bash
# bench/memory.sh: memory of a VMM beyond the guest's: the Rss of all its mappings but that of guest RAM, in KiB.
# Usage: bench/memory.sh [--guest linux|button] [--only NAME,NAME] [--maps] [--prepare]
# One disk and one net each.  linux: Debian's cloud kernel that has used both; button: a payload that touches no device, which shows
# what the process costs by itself (and is quick where KVM is slow).  --maps lists Socle's mappings.
# Shared pages of libraries count in full, for everyone.  Needs root: smaps of a jailed process is nobody else's to read.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
kind=linux limit=150 maps=no rows="socle-user socle-tap microvm q35"
memory=256
tap=benchtap0
started=()

finish() {
    [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true
    [ ${#started[@]} -eq 0 ] || wait "${started[@]}" 2>/dev/null || true
    [ ! -e "/sys/class/net/$tap" ] || ip link delete "$tap"
    rm -rf "$scratch"
}
trap finish EXIT

while [ $# -gt 0 ]; do
    case $1 in
    --guest) kind=$2; shift 2 ;;
    --only) rows=${2//,/ }; shift 2 ;;
    --maps) maps=yes; shift ;;
    --prepare) exec "$tree/bench/guest_memory/build.sh" ;;
    *) echo "memory: unknown option '$1'" >&2; exit 2 ;;
    esac
done

case $kind in
linux)
    [ -s "$made/memory-initrd" ] || "$tree/bench/guest_memory/build.sh"
    kernel=(-kernel "$tree/.cache/guest/vmlinuz" -initrd "$made/memory-initrd"
        -append "console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable")
    ready="bench: ready"
    ;;
button)
    "$tree/test/payload/build.sh" "$scratch/payload"
    kernel=(-kernel "$scratch/payload/button")
    ready=ready
    ;;
*) echo "memory: --guest is linux or button, not '$kind'" >&2; exit 2 ;;
esac

# The host's side of the tap; false where there can be none.
make_tap() {
    [ "$(id -u)" -eq 0 ] && [ -c /dev/net/tun ] && ip tuntap add "$tap" mode tap vnet_hdr 2>/dev/null &&
        ip address add 10.0.2.2/24 dev "$tap" && ip link set "$tap" up
}

# Sets command to the row's; false where it cannot run here.
row() {
    case $1 in
    socle-user) command=(--net user) ;;
    socle-tap) make_tap && command=(--net "tap=$tap") ;;
    microvm | q35)
        local machine=$1
        # By PCI too: the guest's initrd has no virtio-mmio.
        [ "$1" = q35 ] || machine=microvm,pcie=on
        qemu "$machine,memory-backend=ram" $memory
        # RAM in an object of its own: then it is one mapping.
        command=("${peer[@]}" "${kernel[@]}" -object "memory-backend-memfd,id=ram,size=${memory}M"
            -drive "if=none,id=disk,file=$scratch/$1.img,format=raw" -device "virtio-blk-pci,drive=disk"
            -netdev user,id=net -device "virtio-net-pci,netdev=net")
        return
        ;;
    *) echo "memory: no row '$1'" >&2; exit 2 ;;
    esac || return 1
    command=("$socle" run --engine kvm --memory "${memory}M" "${kernel[@]/#-/--}" --disk "$scratch/$1.img" --timeout "$limit"
        "${command[@]}")
}

begin() { # ROW: starts its VMM
    truncate -s 64M "$scratch/$1.img"
    timeout --kill-after=5 "$limit" "${command[@]}" </dev/null >"$scratch/$1.out" 2>&1 &
    started+=($!)
    echo $! >"$scratch/$1.pid"
}

is_ready() { # ROW; fails when its VMM has ended
    while ! grep -aq "$ready" "$scratch/$1.out"; do
        kill -0 "$(cat "$scratch/$1.pid")" 2>/dev/null || return 1
        sleep 0.2
    done
}

# The VMM below a process of ours: `timeout`, and `socle run` with Socle.
vmm_of() { # PID
    local child name
    for child in $(cat "/proc/$1/task/$1/children"); do
        name=$(tr '\0' '\n' <"/proc/$child/cmdline" | head -n 1)
        case ${name##*/} in
        socle-vm | qemu-system-*) echo "$child"; return ;;
        *) vmm_of "$child" ;;
        esac
    done
}

# "KIB NAME" for each name that has mappings, the largest first.  A mapping's first line is its range, rights, offset, device,
# inode and name; its Size and Rss are some lines below.  Guest RAM is the one mapping that is as large as it.
by_mapping() { # PID
    awk -v ram=$((memory * 1024)) '
        /^[0-9a-f]+-[0-9a-f]+ / { name = $6 == "" ? "[anonymous]" : $6 }
        $1 == "Size:" && $2 == ram { name = "guest-ram" }
        $1 == "Rss:" { kib[name] += $2 }
        END { for (n in kib) if (kib[n]) print kib[n], n }' "/proc/$1/smaps" | sort -rn
}

beyond_ram() { # "KIB NAME" lines on standard input
    awk '$2 != "guest-ram" { sum += $1 } END { if (NR) print sum }'
}

report() { # ROW
    local kib=
    if is_ready "$1"; then
        by_mapping "$(vmm_of "$(cat "$scratch/$1.pid")")" >"$scratch/$1.maps" ||
            echo "memory: the mappings of $1 cannot be read; are you root?" >&2
        kib=$(beyond_ram <"$scratch/$1.maps")
        [ -z "${SOCLE_LAB_OUT:-}" ] || cp "$scratch/$1.maps" "$SOCLE_LAB_OUT/memory-$1.maps"
    else
        echo "memory: $1 ended early: $(tail -n 3 "$scratch/$1.out")" >&2
    fi
    [ "$1" != socle-user ] || ours=$kib
    printf '%-12s %10s %12s  %s\n' "$1" "${kib:-failed}" "$(ratio "$ours" "$kib")" \
        "$(tr -d '\r' <"$scratch/$1.out" | sed -n 's/.*bench: ready \(.\) \(.\).*/disk \1 net \2/p' | sed 's/ 0/ used/g')"
    figure "memory-$1" "$kib" KiB
    case $1 in microvm | q35) figure "memory/$1" "$(ratio "$ours" "$kib")" ratio ;; esac
}

ours=
present=
for name in $rows; do
    if row "$name"; then
        begin "$name"
        present="$present $name"
    else
        echo "memory: no $name here" >&2
    fi
done
printf '%-12s %10s %12s\n' memory KiB socle-user/
for name in $present; do
    report "$name"
done
if [ $maps = yes ]; then
    for name in $present; do
        echo "$name:"
        awk '$1 >= 64 { printf "%8d %s\n", $1, $2 }' "$scratch/$name.maps"
    done
fi
