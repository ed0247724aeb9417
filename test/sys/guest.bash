# test/sys/guest.bash: for tests that watch what guests and programs say in $TMPDIR/out* and err*.  To be sourced.

fail() {
    echo "FAILED: $*"
    tail -n 30 "$TMPDIR"/out* "$TMPDIR"/err* | cut -c1-200
    exit 1
}

until_says() { # OUTPUT PATTERN SECONDS
    for _ in $(seq $(($3 * 20))); do
        grep -q -s -a "$2" "$1" && return
        sleep 0.05
    done
    fail "no '$2' in $1"
}
