# test/sys/guest_vm.bash: what scripts that guest_vm.py runs in the guest begin with; to be sourced.  They define functions test_*, and
# `tell`, which says what there is after a failure and removes it; run_tests runs all, or those that are named, each in a subshell that ends with its
# first failure.  With CHAIN each needs those before it; the guest does END in the end.
exec >/dev/console 2>&1 </dev/null
set -u
export PATH=/mnt/bin:$PATH
mkdir -p /run/test
cp --no-clobber /mnt/lib/*.so* /usr/lib/x86_64-linux-gnu/
if [ ! -e /mnt/stage ]; then # else who sources this installs it
    mkdir -p /usr/local/libexec/socle
    cp /mnt/bin/socle* /usr/local/libexec/socle/
fi
ldconfig
systemctl start dbus.socket systemd-logind.service # the command line's own target wants less than a Debian has

fail() {
    echo "FAILED: $*"
    exit 1
}
is() { # WHAT GOT WANT
    [ "$2" = "$3" ] || fail "$1: '$2', wanted '$3'"
}
has() { # WHAT TEXT PART
    case $2 in *"$3"*) ;; *) fail "$1: '$2' has no '$3'" ;; esac
}
until_true() { # WHAT COMMAND…
    local what=$1
    shift
    for _ in $(seq 300); do
        "$@" && return
        sleep 0.1
    done
    fail "not in time: $what"
}
# The group's processes had to wait for their CPU time.
throttled() { [ "$(sed -n 's/^nr_throttled //p' "$1/cpu.stat")" -ge 5 ]; }

# For who looks for a fault: our processes, and what they wait for.
processes() {
    local pid
    for pid in /proc/[0-9]*; do
        case $(cat "$pid/comm" 2>/dev/null) in
        socle* | sleep) echo "$pid $(grep State "$pid/status") $(tr '\0' ' ' <"$pid/cmdline") $(cat "$pid/cgroup" "$pid/wchan" "$pid/syscall")" ;;
        esac
    done
}

run_tests() {
    local name began passed=0 failed=0
    for name in $(declare -F | sed -n 's/^declare -f test_//p'); do
        [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
        began=$SECONDS
        if (test_"$name"); then
            passed=$((passed + 1))
            echo "guest: $name: ok, $((SECONDS - began)) s"
        else
            failed=$((failed + 1))
            echo "guest: $name: FAILED"
            journalctl --no-pager -n 12 -o cat
            tell
            [ -z "${CHAIN:-}" ] || break
        fi
    done
    echo "guest_vm: $passed passed, $failed failed"
    sleep 1 # the console is slow
    [ $failed -eq 0 ] || END=poweroff
    systemctl --no-block "${END:-poweroff}"
}
