#!/bin/bash
# tools/lint.sh: the parts of `make lint`: tools/lint.sh layers|house|map|format|spelling|tidy|fmt …
# `house` is tools/tidy.py; `tidy` is clang-tidy on the files that changed since HEAD, or on all with ALL=1.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit
failed=0

listed() { python3 -c "import sys; sys.path.insert(0, 'tools'); import source; print(*source.files('.'), sep='\n')" | grep -E "$1"; }
sources() { listed '^(src|test|bench)/.*\.[ch]$'; }

changed() {
    if [ -n "${ALL:-}" ] || ! git rev-parse -q --verify HEAD >/dev/null; then
        sources
    else
        { git diff --name-only HEAD; git ls-files -o --exclude-standard; } | sort -u | grep -Fxf <(sources) || true
    fi
}

run_tidy() {
    # Only what the build compiles: test programs and products alike are in its database.
    local files
    files=$(changed | grep -E '^src/.*\.c$' | while read -r f; do
        grep -q -F "\"../../$f\"" build/dev/compile_commands.json && echo "$f"
    done)
    [ -n "$files" ] || return 0
    xargs -P "$(nproc)" -n 2 clang-tidy-14 -p build/dev --quiet --extra-arg=-Wno-unknown-warning-option \
        <<<"$files" 2> >(grep -v 'warnings\? generated\|Suppressed\|Use -header-filter' >&2)
}

run() {
    case $1 in
    layers) tools/layers.py ;;
    house) tools/tidy.py ;;
    map) tools/map.py --check ;;
    format) sources | xargs -r clang-format-14 --dry-run -Werror ;;
    spelling) listed '\.(c|h|md|py|sh|txt)$|^Makefile$' | grep -v '^fuzz/' | xargs -r codespell -L daa,conectix ;; # an instruction; the mark of vhd images
    tidy) run_tidy ;;
    fmt) sources | xargs -r clang-format-14 -i ;;
    *)
        echo "tools/lint.sh: no part '$1'" >&2
        return 2
        ;;
    esac
}

for part in "$@"; do
    run "$part" || { echo "lint: $part failed" >&2; failed=1; }
done
exit $failed
