#!/bin/bash
# tools/run.sh: boots the sample guest.  With a terminal: to its login prompt.  Without: its selftest, whose verdict is the status.
# Usage: E=auto|kvm tools/run.sh [OPTION OF socle run]...
# Runs on this machine's KVM when it is fast, else in the lab (test/lab/run.sh), and says which.
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
guest=$tree/.cache/guest
socle=$tree/build/dev/src/cmd/socle
kept=$tree/.cache/run
engine=${E:-auto}

case $engine in
auto | kvm) ;;
soft)
    echo "run: this version has no software engine yet; E=kvm or nothing" >&2
    exit 2
    ;;
*)
    echo "run: engine '$engine': allowed are auto and kvm" >&2
    exit 2
    ;;
esac

"$tree/tools/deps.sh" build guest
"$tree/tools/guest/build.sh"
if "$tree/test/lab/kvm_fast.sh"; then
    echo "run: on this machine's KVM" >&2
    where=()
else
    echo "run: this machine's KVM is absent or emulates guest kernels, so the guest boots in the lab: real KVM in an" >&2
    echo "run: emulated machine.  Expect one to three minutes." >&2
    "$tree/tools/deps.sh" lab
    where=("$tree/test/lab/run.sh" --timeout 86400 --stdin --out "$kept" --)
fi

if [ ! -t 0 ] || [ ! -t 1 ]; then
    SOCLE=$socle exec "$tree/test/lab/guest.sh" --cpus 2
fi
disk=$kept/root.img # its own, kept from run to run; remove it to begin anew
mkdir -p "$kept"
[ -f "$disk" ] || cp --sparse=always "$guest/root.img" "$disk"
echo "run: log in as root, without a password; Ctrl-A x ends the machine" >&2
exec "${where[@]}" "$socle" run --engine kvm --cpus 2 --memory 1G --kernel "$guest/vmlinuz" --initrd "$guest/initrd" \
    --append "console=ttyS0 root=/dev/vda rw" --disk "$disk" --net user "$@"
