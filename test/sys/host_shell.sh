#!/bin/bash
# test/sys/host_shell.sh: shells of the host by the API and `socle host shell`: rights, environment, ends, hostile clients.
# time limit: 400
# Root's socled makes a network for its machines: in a network namespace of the test's own.
set -eu
here=$(dirname "$0")
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    exec unshare -n "$0" inside
fi
[ "${1:-}" != inside ] || ip link set lo up
exec python3 "$here/host_shell.py"
