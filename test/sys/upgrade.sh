#!/bin/bash
# test/sys/upgrade.sh: five Linux guests on one network, which ping each other while socled is killed, ended and replaced: test/sys/upgrade.py.
# time limit: 450
# only in check-full
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "only root's socled has such networks"; exit 77; }
    for program in dnsmasq nft ip; do
        [ -n "$(PATH=$PATH:/usr/sbin:/sbin command -v $program)" ] || { echo "no program '$program'"; exit 77; }
    done
    "$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
    unshare -n -m sh -ec 'ip link add name probe0 type bridge; ip tuntap add name probe1 mode tap; nft add table netdev t
        nft add chain netdev t c "{ type filter hook egress device \"probe1\" priority 0; }"' 2>/dev/null || {
        echo "this machine's kernel or rights lack network namespaces, bridges, taps or nftables with the egress hook"
        exit 77
    }
    exec unshare -n -m "$0" inside
fi
ip link set lo up
exec python3 "$tree/test/sys/upgrade.py" "$tree/.cache/guest"
