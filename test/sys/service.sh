#!/bin/bash
# test/sys/service.sh: socled as a service of a host: what it measures of a real guest, and that it rests when nothing runs.
# time limit: 300
set -eu
here=$(dirname "$0")
"$here/../../tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
    exec unshare -n "$0" inside
fi
[ "${1:-}" != inside ] || ip link set lo up
cd "$here/../.."
exec python3 test/sys/service.py "$PWD/.cache/guest"
