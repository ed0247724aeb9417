#!/bin/bash
# test/lab/run.sh: runs a command inside the lab: a QEMU whose emulated CPU has AMD-V, so that Linux's real KVM works there.
# Usage: test/lab/run.sh [OPTION]... -- COMMAND [ARGUMENT]...
#   --cpus N       CPUs of the lab (1: see note 021)  --timeout S  seconds until the lab is ended (300; status 124)
#   --memory MIB   memory of the lab (3072)           --modules M,M  more kernel modules to load (tun,bridge,...)
#   --out DIR      a folder that the command may write, under the same path (build/lab-out)
#   --stdin        gives the caller's standard input to the command: a terminal as it is, else all of it up to its end
#   --auto         runs the command right here if this machine's own KVM is fast
# The command sees this machine's root file system and the tree read-only, an own /dev, /proc, /sys and cgroup2,
# an empty /tmp and /run, and /dev/kvm by kvm_amd.  Its output comes back as it is, and its exit status;
# 125 says that the lab itself failed.  The lab's kernel log is DIR/.lab/kernel.log.
# It is about 50 times slower than real hardware: compare times only within one run.
set -euo pipefail

tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/test/lab
cpus=1 memory=3072 limit=300 out=$tree/build/lab-out modules= input=no auto=no

die() {
    echo "lab: $*" >&2
    exit 125
}

while [ $# -gt 0 ]; do
    case $1 in
    --cpus) cpus=$2; shift 2 ;;
    --memory) memory=$2; shift 2 ;;
    --timeout) limit=$2; shift 2 ;;
    --modules) modules=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --stdin) input=yes; shift ;;
    --auto) auto=yes; shift ;;
    --) shift; break ;;
    *) die "unknown option '$1'; the options stand in the head of $0" ;;
    esac
done
[ $# -gt 0 ] || die "no command after --"

mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ $auto = yes ] && "$here/kvm_fast.sh"; then
    exec timeout --kill-after=5 "$limit" env SOCLE_LAB_OUT="$out" "$@"
fi

"$here/prepare.sh" >&2 || die "cannot prepare the lab's kernel"
cache=$tree/.cache/lab

# What init and the command need to know, in a folder that only this run uses.
rm -rf "$out/.lab"
mkdir "$out/.lab"
echo "$tree" >"$out/.lab/tree"
echo "$out" >"$out/.lab/out"
redirect="</dev/null"
if [ $input = yes ] && [ -t 0 ]; then
    redirect=
    stty size | sed 's/\(.*\) \(.*\)/rows \1 cols \2/' >"$out/.lab/terminal"
elif [ $input = yes ]; then
    cat >"$out/.lab/stdin"
    redirect="<${out@Q}/.lab/stdin"
fi
{
    echo "export SOCLE_LAB=1 SOCLE_LAB_OUT=${out@Q} HOME=/tmp TERM=${TERM:-dumb} PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    echo "cd ${PWD@Q} 2>/dev/null || cd ${tree@Q}"
    echo "exec ${*@Q} $redirect"
} >"$out/.lab/command"

exec 9>"$cache/lock"
if ! flock -n 9; then
    echo "lab: another lab runs in this tree; waiting for its end" >&2
    flock 9
fi

# To look at a lab that hangs: LAB_ACCEL replaces the accelerator's options, LAB_CPU the CPU, LAB_APPEND adds to those of the
# kernel, and DIR/.lab/monitor is QEMU's monitor.
# One CPU: QEMU's translator may keep the old code of what another CPU patches meanwhile, and Linux patches itself whenever KVM makes
# a machine (doc/notes/021).
read -r -a accel <<<"${LAB_ACCEL:--accel tcg,tb-size=512}"
command=(qemu-system-x86_64 -name lab "${accel[@]}" -cpu "${LAB_CPU:-max,+svm}" -M q35
    -smp "$cpus" -m "$memory" -nodefaults -no-user-config -display none -no-reboot
    -kernel "$cache/vmlinuz" -initrd "$cache/initrd"
    -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off random.trust_cpu=on lab.modules=$modules ${LAB_APPEND:-}"
    -serial "file:$out/.lab/kernel.log" -monitor "unix:$out/.lab/monitor,server=on,wait=off"
    -device virtio-rng-pci)
add_export() { # TAG PATH OPTIONS
    command+=(-fsdev "local,id=$1,path=${2//,/,,},security_model=none,multidevs=remap$3"
        -device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
}
add_export host / ,readonly=on
add_export tree "$tree" ,readonly=on
add_export out "$out" ""

# The limit holds whatever happens inside; --foreground keeps the caller's terminal readable.
start_lab() {
    local lab status=0
    touch "$out"/.lab/{stdout,stderr}
    if [ -z "$redirect" ]; then
        timeout --foreground --kill-after=5 "$limit" "${command[@]}" \
            -device virtio-serial-pci -chardev "stdio,id=console,signal=off" -device "virtconsole,chardev=console"
        return
    fi
    timeout --kill-after=5 "$limit" "${command[@]}" </dev/null 2>"$out/.lab/qemu.log" 9>&- &
    lab=$!
    trap 'kill '$lab' 2>/dev/null || true' EXIT # a caller that is interrupted leaves no lab behind
    tail -c +1 -s 0.2 -f --pid=$lab "$out/.lab/stdout" 9>&- &
    tail -c +1 -s 0.2 -f --pid=$lab "$out/.lab/stderr" >&2 9>&- &
    wait $lab || status=$?
    wait
    return $status
}

status=0
start_lab || status=$?
if [ $status -eq 124 ] || [ $status -eq 137 ]; then
    echo "lab: ended after $limit s" >&2
    exit 124
fi
[ $status -eq 0 ] || die "QEMU ended with status $status: $(cat "$out/.lab/qemu.log" 2>/dev/null)"
[ -s "$out/.lab/status" ] || die "the lab ended without a status; see $out/.lab/kernel.log"
exit "$(cat "$out/.lab/status")"
