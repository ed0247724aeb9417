#!/bin/bash
# bench/soft_debian.sh: a Debian's shell loop, compiler and package manager under Socle's software engine, under QEMU's TCG and natively, in
# turn: CPU seconds and ratios.
# Usage: bench/soft_debian.sh [--rounds N] [--cpus N] [--no-tcg]   (3 rounds, of which the least time of each load counts; 1 vCPU; as root)
# What a load comes to is compared, too.  The image is made once (bench/soft_debian/build.sh).
set -euo pipefail
tree=$(cd "$(dirname "$0")/.." && pwd)
. "$tree/bench/common.sh"
guest=$tree/.cache/guest
rounds=3 limit=600 tcg=tcg cpus=1

while [ $# -gt 0 ]; do
    case $1 in
    --rounds) rounds=$2; shift 2 ;;
    --cpus) cpus=$2; shift 2 ;;
    --no-tcg) tcg=; shift ;;
    *) echo "soft_debian: unknown option '$1'" >&2; exit 2 ;;
    esac
done
[ -r "$guest/vmlinuz" ] || { echo "soft_debian: no $guest/vmlinuz; run tools/guest/build.sh" >&2; exit 1; }
"$tree/bench/soft_debian/build.sh"

append="console=ttyS0 quiet panic=-1 no_timer_check tsc=reliable root=/dev/vda ro init=/sbin/bench-init"
command_of() { # ENGINE: sets command
    case $1 in
    socle)
        command=("$socle" run --engine soft --memory 1G --cpus "$cpus" --kernel "$guest/vmlinuz" --initrd "$guest/initrd"
            --disk "$made/debian.img" --append "$append" --console stdio --net none)
        ;;
    tcg)
        # shellcheck disable=SC2054
        command=(qemu-system-x86_64 -accel tcg,thread=multi -cpu max,la57=off -machine q35 -smp "$cpus" -m 1024 -nodefaults
            -no-user-config -display none -no-reboot -serial stdio -kernel "$guest/vmlinuz" -initrd "$guest/initrd"
            -drive "file=$made/debian.img,if=virtio,format=raw" -append "$append")
        ;;
    native) command=(chroot "$made/debian_root" /sbin/bench-init native) ;;
    esac
}

for _ in $(seq "$rounds"); do
    for engine in socle $tcg native; do
        command_of "$engine"
        python3 "$tree/bench/soft_run.py" "$limit" "${command[@]}" >>"$scratch/$engine" 2>"$scratch/$engine.log" ||
            { echo "soft_debian: $engine did not come to its end:" >&2; tail -n 5 "$scratch/$engine.log" >&2; }
    done
done
[ -n "$tcg" ] || : >"$scratch/tcg"
awk -v figures="${BENCH_FIGURES:-/dev/null}" -f "$tree/bench/soft_table.awk" "$scratch/socle" "$scratch/tcg" "$scratch/native"
