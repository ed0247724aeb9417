#!/bin/bash
# test/sys/agent.sh: programs in a real guest, Debian on the software engine, by its agent (`socle exec` of machines).
# time limit: 900
# Root's socled makes a network for its machines: in a network namespace of the test's own, so that the host's links and rules stay as they are.
set -eu
here=$(dirname "$0")
"$here/../../tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    exec unshare -n "$0" inside
fi
[ "${1:-}" != inside ] || ip link set lo up
cd "$here/../.."
exec python3 test/sys/agent.py "$PWD/.cache/guest"
