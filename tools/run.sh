#!/bin/bash
# tools/run.sh: boots the sample guest.  With a terminal: to its login prompt.  Without: its selftest, whose verdict is the status.
# Usage: E=auto|kvm|soft tools/run.sh [OPTION OF socle run]...
# E=auto (the default) takes whichever engine is the quicker here; socle says which and why.  E=kvm on a machine whose KVM is absent or
# emulated boots in the lab (test/lab/run.sh): real KVM in an emulated machine.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
guest=$tree/.cache/guest
socle=$tree/build/dev/src/cmd/socle
kept=$tree/.cache/run
engine=${E:-auto}

case $engine in
auto | kvm | soft) ;;
*)
    echo "run: engine '$engine': allowed are auto, kvm and soft" >&2
    exit 2
    ;;
esac

"$tree/tools/deps.sh" build guest
"$tree/tools/guest/build.sh"
where=()
if [ "$engine" = kvm ] && ! "$tree/test/lab/kvm_fast.sh"; then
    echo "run: this machine's KVM is absent or emulates guest kernels, so the guest boots in the lab: real KVM in an" >&2
    echo "run: emulated machine.  Expect one to three minutes." >&2
    "$tree/tools/deps.sh" lab
    where=("$tree/test/lab/run.sh" --timeout 86400 --stdin --out "$kept" --)
fi

if [ ! -t 0 ] || [ ! -t 1 ]; then
    SOCLE=$socle exec "$tree/test/lab/guest.sh" --engine "$engine" --cpus 2
fi
disk=$kept/root.img # its own, kept from run to run; remove it to begin anew
mkdir -p "$kept"
[ -f "$disk" ] || cp --sparse=always "$guest/root.img" "$disk"
echo "run: log in as root, without a password; Ctrl-A x ends the machine" >&2
exec "${where[@]}" "$socle" run --engine "$engine" --verbose --cpus 2 --memory 1G --kernel "$guest/vmlinuz" --initrd "$guest/initrd" \
    --append "console=ttyS0 root=/dev/vda rw" --disk "$disk" --net user "$@"
