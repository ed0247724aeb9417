#!/bin/bash
# test/sys/pool.sh: the pool of images, and requests that are sent again, with a real socled.
# time limit: 600
# Root's socled makes a network for its machines: in a network namespace of the test's own, so that the host's links and rules stay as they are.
set -eu
here=$(dirname "$0")
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    exec unshare -n "$0" inside
fi
[ "${1:-}" != inside ] || ip link set lo up
cd "$here/../.."
python3 test/sys/pool.py
