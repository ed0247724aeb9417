#!/bin/bash
# test/sys/web.sh: the console in the browser: unit tests, then Debian's chromium against a socled with a guest on the software engine.
# time limit: 600
# Root's socled makes a network for its machines: in a network namespace of the test's own.
set -eu
here=$(dirname "$0")
if [ "${1:-}" != inside ]; then
    [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || { echo "no chromium"; exit 77; }
    "$here/../../tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
    "$here/../../tools/web.py"
    (cd "$here/../../web" && npm test --silent)
    if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
        exec unshare -n "$0" inside
    fi
fi
[ "${1:-}" != inside ] || ip link set lo up
exec node "$here/web.mjs"
