#!/bin/bash
# test/sys/access.sh: socled over HTTPS: users, logins, tokens, grants, the audit log; consoles and events by WebSocket; hostile clients.
# time limit: 400
set -eu
cd "$(dirname "$0")/../.."
guest=$PWD/.cache/guest
[ -f "$guest/vmlinuz" ] || { echo "no sample guest: make guest"; exit 77; }
python3 test/sys/access.py "$guest/vmlinuz" "$guest/initrd"
