# test/sys/os_limits_guest.bash: limits of containers that socled keeps, in the guest that os_limits.py boots.
# shellcheck source=test/sys/guest_vm.bash
. /mnt/guest_vm.bash
export SOCLE_DIR=/var/lib/socle

# As their units have it; each says when it is ready.
as_unit() { # UNIT OPTION…
    systemd-run --quiet --unit="$1.service" -p Delegate=yes -p KillMode=process -p Type=notify -p TimeoutStartSec=60 /usr/local/libexec/socle/socled "${@:2}"
}
start_socled() { as_unit socled --dir $SOCLE_DIR; }

on="trap 'exit 0' TERM; while :; do sleep 0.1; done"
launch() { # NAME OPTION…
    local name=$1
    shift
    timeout 60 socle launch box "$name" --net none "$@" -- /bin/sh -c "$on" >/dev/null || fail "launch $name"
}
inside() { timeout 60 socle exec "$1" sh -c "$2"; }
# The groups of the only container; they have the number of its id.
group() { echo /sys/fs/cgroup/system.slice/socle-machines.service/machines/*-*; }
remove() {
    timeout 60 socle delete --force "$1" >/dev/null || fail "delete $1"
    until_true "no group is left" sh -c '! ls -d /sys/fs/cgroup/system.slice/socle-machines.service/machines/*-* 2>/dev/null'
}

test_memory() {
    launch c1 --memory 32M
    is "its limit" "$(cat "$(group)/memory.max")" 33554432
    has "the kernel ended it" "$(inside c1 'dd if=/dev/zero of=/dev/null bs=96M count=1 2>/dev/null; echo ended $?')" "ended 137"
    is "the container goes on" "$(inside c1 'echo on')" on
    is "it sees its limit" "$(inside c1 "grep MemTotal /proc/meminfo" | tr -s ' ')" "MemTotal: 32768 kB"
    timeout 60 socle set c1 memory=160M || fail set
    is "its limit, changed" "$(cat "$(group)/memory.max")" 167772160
    has "now it may" "$(inside c1 'dd if=/dev/zero of=/dev/null bs=96M count=1 2>/dev/null; echo ended $?')" "ended 0"
    remove c1
}

test_cpus() {
    launch c2 --memory 64M --cpus 1 --limits cpu_weight=200
    is "its CPU" "$(cat "$(group)/cpu.max")" "100000 100000"
    is "its weight" "$(cat "$(group)/cpu.weight")" 200
    inside c2 'for i in 1 2 3; do while :; do :; done & done' >/dev/null 2>&1 &
    until_true "they are throttled" throttled "$(group)"
    kill $! 2>/dev/null
    remove c2
}

test_cpu_set() {
    launch c3 --memory 64M --limits cpu_set=1
    is "its CPUs" "$(inside c3 'grep Cpus_allowed_list /proc/self/status' | tr -s '\t ' ' ')" "Cpus_allowed_list: 1"
    timeout 60 socle set c3 limits=cpu_set=0 || fail set
    is "its CPUs, changed" "$(inside c3 'grep Cpus_allowed_list /proc/self/status' | tr -s '\t ' ' ')" "Cpus_allowed_list: 0"
    is "of the first process, too" "$(inside c3 'grep Cpus_allowed_list /proc/1/status' | tr -s '\t ' ' ')" "Cpus_allowed_list: 0"
    remove c3
}

test_a_part_of_a_cpu() {
    local group used periods
    launch c4 --memory 64M --limits cpu_max=20
    group=$(group)
    is "its CPU time" "$(cat "$group/cpu.max")" "20000 100000"
    inside c4 'while :; do :; done' >/dev/null 2>&1 &
    until_true "it is throttled" throttled "$group"
    used=$(sed -n 's/^usage_usec //p' "$group/cpu.stat")
    periods=$(sed -n 's/^nr_periods //p' "$group/cpu.stat")
    # What its start took, before it was alone, is in there as well: within the limit, too.
    [ "$used" -le $(((periods + 5) * 20000 + 400000)) ] || fail "$used us in $periods periods"
    kill $! 2>/dev/null
    remove c4
}

# A fork bomb fills its container and nothing else, and whoever may can pause it, look at it and end it.
test_processes() {
    local group bomb='while :; do sleep 1000 & done' # the shell ends where it cannot fork
    launch c7 --memory 64M
    group=$(group)
    is "without a word" "$(cat "$group/box/pids.max")" 8192
    is "it sees it" "$(inside c7 'cat /sys/fs/cgroup/pids.max')" 8192
    timeout 60 socle set c7 limits=processes=40 || fail set
    is "its limit" "$(cat "$group/box/pids.max")" 40
    is "with what serves it" "$(cat "$group/pids.max")" 104
    inside c7 "$bomb" >/dev/null 2>&1
    is "it is full, but for the shell that is gone" "$(cat "$group/box/pids.current")" 39
    has "nothing more is started, which takes two" "$(inside c7 'echo on' 2>&1)" "no process more is allowed, by pids.max"
    timeout 60 socle pause c7 || fail pause
    timeout 60 socle resume c7 || fail resume
    timeout 60 socle set c7 limits=processes=50 || fail "set once more"
    is "now it may" "$(inside c7 'echo on')" on
    timeout 60 socle reset c7 || fail reset
    until_true "it is empty after its reset" sh -c "[ \"\$(cat $group/box/pids.current)\" -lt 10 ]"
    until_true "it is up again" inside c7 true
    is "its limit after that" "$(cat "$group/box/pids.max")" 50
    inside c7 "$bomb" >/dev/null 2>&1
    remove c7
}

# The runtime in a container of a user namespace: what is in it is limited by the outer one's group.
test_a_container_in_a_container() {
    launch c5 --memory 64M --nesting
    is "it runs" "$(inside c5 'socle-box run --bundle /nested n1')" "in it 1"
    is "its memory is the outer's" "$(inside c5 'socle-box run --bundle /nested --config big.json n2')" "ended 137"
    is "the outer goes on" "$(inside c5 'echo on')" on
    remove c5
}

# Another socled, while containers with limits run.
test_restart() {
    launch c6 --memory 48M
    systemctl restart socled || fail "restart"
    is "it runs on" "$(inside c6 'echo on')" on
    systemctl kill --kill-who=main -s KILL socled
    until_true "it is gone" sh -c '! systemctl is-active -q socled'
    systemctl reset-failed socled
    systemctl stop socled 2>/dev/null
    until_true "it can be started" start_socled
    is "it runs on" "$(inside c6 'echo on')" on
    is "its limit" "$(cat "$(group)/memory.max")" 50331648
    timeout 60 socle set c6 memory=64M || fail set
    is "its limit, changed" "$(cat "$(group)/memory.max")" 67108864
    remove c6
}

tell() {
    local name
    tail -n 5 $SOCLE_DIR/instances/*/*.log $SOCLE_DIR/*.log 2>/dev/null
    journalctl --no-pager -n 30 -o cat -u socled
    processes
    tail -n 20 "$(group)"/{memory.events,memory.current,cpu.stat,cgroup.events} | tr '\n' ' '
    for name in c1 c2 c3 c4 c5 c6 c7; do
        timeout 60 socle delete --force $name 2>/dev/null
    done
}

test_0_image() {
    as_unit socle-machines --hold-groups || fail "their groups are not kept"
    start_socled || fail "socled does not start"
    timeout 120 socle pool import box --rootfs /mnt/rootfs.tar || fail "no image"
}

run_tests "$@"
