#!/bin/bash
# tools/build.sh: configures (once) and builds one tree: tools/build.sh dev|asan|tsan|rel|fuzz|cov|clang [NINJA TARGET…]
# Quiet when all is well; the compiler's words in full when it is not.
set -eu -o pipefail
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8

tree=${1:?usage: tools/build.sh dev|asan|tsan|rel|fuzz|cov|clang [TARGET…]}
shift
dir=build/$tree

case $tree in
dev) cc=gcc opts=() ;;
asan) cc=gcc opts=("-Db_sanitize=address,undefined" -Db_lundef=false) ;;
tsan) cc=gcc opts=(-Db_sanitize=thread -Db_lundef=false) ;;
rel) cc=gcc opts=(--buildtype=release -Dprefer_static=true) ;;
cov) cc=gcc opts=(-Db_coverage=true --buildtype=debug) ;;
clang) cc=clang opts=() ;;
fuzz) cc=clang opts=(-Dfuzzers=libfuzzer "-Db_sanitize=address,undefined" -Db_lundef=false) ;;
*)
    echo "tools/build.sh: no tree '$tree'; there are dev asan tsan rel fuzz cov clang" >&2
    exit 2
    ;;
esac

log=$(mktemp)
trap 'rm -f "$log"' EXIT
quietly() {
    "$@" >"$log" 2>&1 && return
    local status=$?
    cat "$log" >&2
    return $status
}

if [ ! -e "$dir/build.ninja" ]; then
    # A set-up that failed leaves a folder which meson would then take for configured.
    quietly env CC=$cc meson setup "$dir" "${opts[@]}" || { rm -rf "$dir"; exit 1; }
fi
if [ -t 1 ]; then
    ninja -C "$dir" "$@"
else
    quietly ninja -C "$dir" "$@"
fi
