# bench/common.sh: what the scripts of bench share; to be sourced, after `tree` is set.
# shellcheck shell=bash disable=SC2034,SC2154
made=$tree/build/bench
socle=${SOCLE:-$tree/build/rel/src/cmd/socle}
stopwatch=$made/stopwatch
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# One measured value for run.sh's table and history: figure NAME VALUE UNIT.  Nothing where there is no value.
figure() {
    [ -z "$2" ] || [ -z "${BENCH_FIGURES:-}" ] || echo "$1 $2 $3" >>"$BENCH_FIGURES"
}

median() { # of the numbers on standard input; nothing of nothing
    sort -n | awk '{ v[NR] = $1 } END { if (NR) print v[int((NR + 1) / 2)] }'
}

ratio() { # A / B with two digits; nothing where one is missing
    awk -v a="$1" -v b="$2" 'BEGIN { if (a != "" && b > 0) printf "%.2f", a / b }'
}

# Multiboot payloads and the stopwatch, made anew where their sources are newer.
payload() { # NAME
    if [ ! -s "$made/$1" ] || [ "$tree/bench/$1.S" -nt "$made/$1" ]; then
        "$tree/test/payload/build.sh" "$made" "$tree/bench/$1.S"
    fi
}

# Sets peer to the head of QEMU's command line; memory in MiB.
# Without ARCH_CAPABILITIES: some nested hosts offer that MSR and then refuse it, and QEMU dies of it.  No guest here looks.
qemu() { # MACHINE MEMORY
    peer=(qemu-system-x86_64 -accel kvm -cpu "host,-arch-capabilities" -machine "$1" -smp 1 -m "$2" -nodefaults
        -no-user-config -display none -no-reboot -serial stdio)
}

[ -x "$socle" ] || { echo "bench: no $socle; run tools/build.sh rel" >&2; exit 1; }
