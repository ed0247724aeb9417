#!/bin/bash
# tools/screens.sh: takes the pictures of doc/screens: a socled with a few machines, in a network namespace where it may have one.
# Of all pages, or of those that are named: tools/screens.sh [NAME…]
set -eu
cd "$(dirname "$0")/.."
export SOCLE_BUILD=${SOCLE_BUILD:-$PWD/build/dev}
if [ "${1:-}" != inside ]; then
    tools/guest/build.sh >/dev/null
    tools/web.py
    if [ "$(id -u)" = 0 ] && unshare -n true 2>/dev/null; then
        exec unshare -n "$0" inside "$@"
    fi
else
    shift
    ip link set lo up
fi
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
mkdir -p doc/screens
node tools/screens.mjs "$@"
