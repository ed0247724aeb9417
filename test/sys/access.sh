#!/bin/bash
# test/sys/access.sh: socled over HTTPS: users, logins, tokens, grants, the audit log; consoles and events by WebSocket; hostile clients.
# time limit: 600
set -eu
cd "$(dirname "$0")/../.."
guest=$PWD/.cache/guest
tools/guest/build.sh >/dev/null || { echo "no sample guest"; exit 77; }
python3 test/sys/access.py "$guest/vmlinuz" "$guest/initrd"
