#!/bin/bash
# test/sys/network.sh: networks of root's socled, in a network namespace of their own: test/sys/network.py.
# time limit: 400
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
if [ "${1:-}" != inside ]; then
    [ "$(id -u)" = 0 ] || { echo "only root's socled has such networks"; exit 77; }
    for program in dnsmasq nft ip; do
        [ -n "$(PATH=$PATH:/usr/sbin:/sbin command -v $program)" ] || { echo "no program '$program'"; exit 77; }
    done
    "$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
    probe='ip link add name probe0 type bridge; ip tuntap add name probe1 mode tap; nft add table inet t; nft add table netdev t
        nft add chain netdev t c "{ type filter hook egress device \"probe1\" priority 0; }"'
    unshare -n -m sh -ec "$probe" 2>/dev/null || {
        echo "this machine's kernel or rights lack network namespaces, bridges, taps or nftables with the egress hook"
        exit 77
    }
    exec unshare -n -m "$0" inside
fi
ip link set lo up
exec python3 "$tree/test/sys/network.py" "$tree/.cache/guest"
