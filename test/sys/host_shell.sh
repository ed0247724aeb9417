#!/bin/bash
# test/sys/host_shell.sh: shells of the host by the API and `socle host shell`: rights, environment, ends, hostile clients.
# time limit: 400
# Root's socled makes a network for its machines: in a network namespace of the test's own.  And root's home is an empty one: what a home's
# dotfiles start, and keep locked when their shell is killed, is not looked at here.
set -eu
here=$(dirname "$0")
if [ "${1:-}" != inside ] && [ "$(id -u)" = 0 ] && unshare -m -n true 2>/dev/null; then
    exec unshare -m -n "$0" inside
fi
if [ "${1:-}" = inside ]; then
    ip link set lo up
    export HOME=$TMPDIR/root
    mkdir "$HOME"
    sed "s|^\(root:[^:]*:0:0:[^:]*:\)[^:]*:|\1$HOME:|" /etc/passwd >"$TMPDIR/passwd"
    mount --bind "$TMPDIR/passwd" /etc/passwd
fi
exec python3 "$here/host_shell.py"
