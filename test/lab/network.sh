#!/bin/bash
# test/lab/network.sh: a network, a machine on it and its limits on Debian's own kernel, which has what the machine of the tests may lack:
# control groups with all controllers.  Called by suite.sh; guests that talk are test/sys/network.py's.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
SOCLE_DIR=$(mktemp -d)
export SOCLE_DIR PATH=$PATH:/usr/sbin:/sbin
socle=$SOCLE_BUILD/src/cmd/socle
ip link set lo up
"$SOCLE_BUILD/src/cmd/socled" &
trap 'kill $!' EXIT

state() {
    nft list ruleset
    ip -br link
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
    find /sys/fs/cgroup -name 'socle*'
}
expect() { # FILE WORDS
    grep -qx "$2" "$1" || { echo "'$1' is '$(cat "$1")', not '$2'"; exit 1; }
}

before=$(state)
"$socle" network create lab --ipv4 10.90.0.1/24
"$socle" launch a --kernel "$tree/.cache/guest/vmlinuz" --initrd "$INITRD" --engine kvm --memory 128M \
    --net network=lab,bandwidth_in=1M,bandwidth_out=1M,forward=tcp:8080:80 --limits cpu_weight=200,cpu_max=150,cpu_set=0,memory=256M,io_weight=50
"$socle" pause a
if [ ! -d /run/systemd/system ]; then # else groups are systemd's, and we have none
    group=$(echo /sys/fs/cgroup/socle/*-i*)
    expect "$group/cpu.weight" 200
    expect "$group/cpu.max" "150000 100000"
    expect "$group/cpuset.cpus" 0
    expect "$group/memory.max" 402653184
    expect "$group/io.weight" "default 50"
    [ -n "$(cat "$group/cgroup.procs")" ] || { echo "nobody is in $group"; exit 1; }
    "$socle" set a limits=cpu_max=50,memory=128M memory=64M
    expect "$group/memory.max" 268435456 # its RAM is what it was started with
    expect "$group/cpu.max" "50000 100000"
    expect "$group/cpu.weight" 100
    "$socle" show a | grep -q '^memory_used: [1-9]' || { echo "its use of memory is not known"; exit 1; }
fi

ruleset=$(nft list ruleset)
for words in 'chain from_s' 'hook egress' 'arp saddr ip != ' 'dnat ip to 10.90.0.2:80' masquerade 'limit rate over 1 mbytes/second'; do
    [[ $ruleset == *"$words"* ]] || { echo "no '$words' in: $ruleset"; exit 1; }
done
[ -n "$(ip link show master lab)" ] || { echo "no port on the bridge"; exit 1; }
"$socle" delete --force a
"$socle" network delete lab
after=$(state)
[ "$before" = "$after" ] || { diff <(echo "$before") <(echo "$after"); exit 1; }
