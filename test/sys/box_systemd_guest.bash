# test/sys/box_systemd_guest.bash: socle-box under systemd, in the guest that box_systemd.py boots.
# shellcheck source=test/sys/guest_vm.bash
. /mnt/guest_vm.bash

box() { timeout 60 socle-box --root /run/test/state --systemd-cgroup "$@"; }
# The same without the flag: what is there says of itself who made its cgroup.
later() { timeout 60 socle-box --root /run/test/state "$@"; }
make() { (cd "/mnt/bundles/$1" && box create "$1" >"/run/test/$1.out" 2>&1 </dev/null); }
unit() { systemctl show --value --property "$2" "$1"; }

gone() { # UNIT CGROUP: neither unit nor cgroup nor state is there
    is "unit $1" "$(unit "$1" LoadState)" not-found
    [ ! -e "/sys/fs/cgroup/$2" ] || fail "cgroup $2 is left"
    is "state" "$(ls -A /run/test/state)" ""
}
says() { grep -q "$2" "/run/test/$1.out"; }

test_memory() {
    local said
    said=$(cd /mnt/bundles/memory && box run memory)
    is "the kernel ended it" "$said" "ended 137"
    gone test-memory.scope system.slice/test-memory.scope
}

test_pids() {
    local group=/sys/fs/cgroup/system.slice/test-pids.scope
    make pids || fail "$(cat /run/test/pids.out)"
    later start pids
    until_true "no more processes" says pids "can't fork"
    until_true "as many as may be" sh -c "[ \$(wc -l <$group/cgroup.procs) = 4 ]"
    later exec pids true 2>/dev/null && fail "one more"
    is "at most" "$(unit test-pids.scope TasksMax)" 4
    later delete --force pids || fail delete
    gone test-pids.scope system.slice/test-pids.scope
}

test_cpu() {
    local group=/sys/fs/cgroup/system.slice/test-cpu.scope periods used
    make cpu || fail "$(cat /run/test/cpu.out)"
    later start cpu
    until_true "it is throttled" throttled $group
    # Each period has 10 ms; what was taken too much, a slice of 5 ms a CPU, is paid back.
    used=$(sed -n 's/^usage_usec //p' $group/cpu.stat)
    periods=$(sed -n 's/^nr_periods //p' $group/cpu.stat)
    [ "$used" -le $(((periods + 3) * 10000 + 200000)) ] || fail "$used us in $periods periods"
    is "quota" "$(unit test-cpu.scope CPUQuotaPerSecUSec)" 100ms
    later delete --force cpu || fail delete
    gone test-cpu.scope system.slice/test-cpu.scope
}

test_cpuset() {
    is "CPUs" "$(cd /mnt/bundles/cpuset && box run cpuset | tr -s '\t ' ' ')" "Cpus_allowed_list: 1"
    gone test-cpuset.scope system.slice/test-cpuset.scope
}

test_life() {
    local scope=test-life.scope group=/sys/fs/cgroup/machine.slice/machine-box.slice/test-life.scope said
    make life || fail "$(cat /run/test/life.out)"
    later start life
    is "active" "$(unit $scope ActiveState)" active
    is "its cgroup" "/sys/fs/cgroup$(unit $scope ControlGroup)" $group
    is "slice" "$(unit $scope Slice)" machine-box.slice
    is "delegated" "$(unit $scope Delegate)" yes
    is "memory" "$(unit $scope MemoryMax)" 67108864
    is "spared" "$(unit $scope MemoryLow)" 16777216
    is "high" "$(unit $scope MemoryHigh)" 50331648
    is "weight" "$(unit $scope CPUWeight)" 79
    is "quota" "$(unit $scope CPUQuotaPerSecUSec)" 500ms
    is "CPUs" "$(unit $scope AllowedCPUs)" 0-1
    is "processes" "$(unit $scope TasksMax)" 50
    is "annotation" "$(unit $scope TimeoutStopUSec)" 7s
    has "annotation" "$(unit $scope After)" dbus.service
    is "memory's file" "$(cat $group/memory.max)" 67108864
    is "CPU's file" "$(cat $group/cpu.max)" "50000 100000"
    until_true "it speaks" says life 0::/
    is "its cgroup namespace" "$(cat /run/test/life.out)" 0::/
    is "exec" "$(later exec life cat /proc/self/cgroup)" 0::/

    later update --memory 50331648 --pids-limit 40 --cpu-quota 30000 --cpu-period 100000 --cpuset-cpus 0 life || fail update
    is "memory, changed" "$(unit $scope MemoryMax)" 50331648
    is "its file, changed" "$(cat $group/memory.max)" 50331648
    is "processes, changed" "$(unit $scope TasksMax)" 40
    is "quota, changed" "$(unit $scope CPUQuotaPerSecUSec)" 300ms
    is "CPUs, changed" "$(unit $scope AllowedCPUs)" 0
    systemctl daemon-reload
    systemctl set-property --runtime $scope CPUWeight=50
    is "after a reload" "$(cat $group/memory.max $group/pids.max $group/cpu.max $group/cpuset.cpus | tr '\n' ' ')" "50331648 40 30000 100000 0 "
    said=$(later update --cpuset-cpus 99 life 2>&1) && fail "a CPU that is not there"
    has "its error" "$said" cpuset

    later pause life && is "paused" "$(cat $group/cgroup.freeze)" 1
    later resume life
    later kill life KILL
    until_true "stopped" sh -c "! [ -s $group/cgroup.procs ]"
    later delete life || fail delete
    gone $scope machine.slice/machine-box.slice/$scope
    # The name is free at once.
    make life || fail "$(cat /run/test/life.out)"
    later delete --force life || fail "delete again"
}

test_tree() {
    make tree || fail "$(cat /run/test/tree.out)"
    later start tree
    until_true "three processes" sh -c '[ "$(wc -l </sys/fs/cgroup/system.slice/tree.scope/cgroup.procs)" = 3 ]'
    later delete --force tree || fail delete
    gone tree.scope system.slice/tree.scope
}

test_a_name_of_ours() {
    make plain || fail "$(cat /run/test/plain.out)"
    is "active" "$(unit socle-box-plain.scope ActiveState)" active
    later delete --force plain || fail delete
    gone socle-box-plain.scope system.slice/socle-box-plain.scope
}

# WHAT BUNDLE PART: it is refused with that text, and nothing is left
refused() {
    make "$2" && fail "$1 was taken"
    has "$1" "$(cat "/run/test/$2.out")" "$3"
    gone "test-$2.scope" "system.slice/test-$2.scope"
}

test_errors() {
    refused "a property that systemd does not know" wrong "start 'test-wrong.scope': Cannot set property NoSuchThing"
    refused "a path" path "'/a/b' is not SLICE:PREFIX:NAME"
    export SOCLE_BOX_SYSTEMD=/nosuch
    refused "without the program" memory "--systemd-cgroup: start '/nosuch': No such file"
    unset SOCLE_BOX_SYSTEMD
    export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nosuch
    refused "without a bus" memory "connect to the system bus: No such file"
    unset DBUS_SYSTEM_BUS_ADDRESS
}

test_a_name_that_is_taken() {
    make tree || fail "$(cat /run/test/tree.out)"
    (cd /mnt/bundles/tree && box create other >/run/test/other.out 2>&1) && fail "two of a name"
    has "its error" "$(cat /run/test/other.out)" "tree.scope was already loaded"
    has "the first goes on" "$(later state tree)" '"status": "created"'
    is "its scope" "$(unit tree.scope ActiveState)" active
    later delete --force tree || fail delete
    gone tree.scope system.slice/tree.scope
}

# Killed at any time, the runtime leaves neither process nor unit; what is left of its state, delete removes.
test_a_killed_runtime() {
    local delay pid
    for delay in 0.02 0.06 0.1 0.14 0.17 0.2 0.22 0.24 0.26 0.28 0.3 0.32 0.34 0.37 0.4 0.5 0.6; do
        (cd /mnt/bundles/plain && exec socle-box --root /run/test/state --systemd-cgroup create killed >/dev/null 2>&1 </dev/null) &
        pid=$!
        sleep $delay
        kill -9 $pid 2>/dev/null
        wait $pid 2>/dev/null
        later delete --force killed || fail "delete after $delay s"
        until_true "no unit after $delay s" sh -c '[ "$(systemctl show --value --property LoadState socle-box-killed.scope)" = not-found ]'
        until_true "no process after $delay s" sh -c '! grep -qx socle-box /proc/[0-9]*/comm 2>/dev/null'
        gone socle-box-killed.scope system.slice/socle-box-killed.scope
    done
}

as_user() {
    setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/run/test/home XDG_RUNTIME_DIR=/run/user/1000 PATH="$PATH" "$@"
}

test_rootless() {
    local said
    [ -e /mnt/lib/dbus.socket ] || { echo "no bus of a user"; return; }
    cp /mnt/lib/dbus.socket /mnt/lib/dbus.service /etc/systemd/user/
    useradd --uid 1000 --no-create-home --home-dir /run/test/home --shell /bin/sh test || fail useradd
    install -d -o 1000 -g 1000 /run/test/home
    systemctl start user@1000.service
    as_user systemctl --user start dbus.socket || fail "no bus of the user"
    said=$(cd /mnt/bundles/user && as_user systemd-run --user --scope --quiet socle-box --systemd-cgroup run user)
    has "the kernel ended it" "$said" "ended 137"
    has "its cgroup" "$said" 0::/
    is "unit" "$(as_user systemctl --user show --value --property LoadState test-user.scope)" not-found
    (cd /mnt/bundles/user && as_user systemd-run --user --scope --quiet socle-box --systemd-cgroup create user >/dev/null 2>&1) || fail create
    is "its limit" "$(as_user systemctl --user show --value --property TasksMax test-user.scope)" 20
    as_user socle-box update --pids-limit 19 user || fail update
    is "its limit, changed" "$(as_user systemctl --user show --value --property TasksMax test-user.scope)" 19
    as_user socle-box delete --force user || fail delete
    is "unit" "$(as_user systemctl --user show --value --property LoadState test-user.scope)" not-found
    is "state" "$(ls -A /run/user/1000/socle-box)" ""
}

pod() { timeout 120 podman --runtime /mnt/bin/socle-box --storage-driver vfs --events-backend file --log-level error "$@"; }

test_podman() {
    local id scope
    command -v podman >/dev/null || { echo "no podman"; return; }
    mkdir -p /etc/containers && cp /mnt/etc/containers/policy.json /etc/containers/
    id=$(pod run -d --name p1 --network none --memory 64m --pids-limit 30 --cpus 0.5 --ulimit nofile=1000:1000 --ulimit nproc=1000:1000 --rootfs /mnt/rootfs sleep 1000) || fail "run: $id"
    scope=libpod-$id.scope
    is "active" "$(unit "$scope" ActiveState)" active
    is "slice" "$(unit "$scope" Slice)" machine.slice
    is "memory" "$(unit "$scope" MemoryMax)" 67108864
    is "processes" "$(unit "$scope" TasksMax)" 30
    is "quota" "$(unit "$scope" CPUQuotaPerSecUSec)" 500ms
    has "exec" "$(pod exec p1 cat /proc/self/cgroup)" 0::/
    pod stop -t 0 p1 >/dev/null
    pod start p1 >/dev/null || fail "a second start"
    pod rm -f -t 0 p1 >/dev/null || fail rm
    is "unit" "$(unit "$scope" LoadState)" not-found
}

# containerd with SystemdCgroup, as ctr asks for it.
test_containerd() {
    local daemon scope=ctr-c1.scope group=/sys/fs/cgroup/system.slice/ctr-c1.scope
    command -v containerd >/dev/null || { echo "no containerd"; return; }
    containerd --config /mnt/containerd.toml >/run/test/containerd.out 2>&1 &
    daemon=$!
    until_true "containerd listens" test -S /run/containerd/containerd.sock
    timeout 120 ctr run -d --runc-binary /mnt/bin/socle-box --runc-systemd-cgroup --cgroup system.slice:ctr:c1 --memory-limit 67108864 --cpus 0.5 --rootfs \
        /mnt/rootfs c1 sleep 1000 || fail "run"
    is "active" "$(unit $scope ActiveState)" active
    is "slice" "$(unit $scope Slice)" system.slice
    is "memory" "$(unit $scope MemoryMax)" 67108864
    is "quota" "$(unit $scope CPUQuotaPerSecUSec)" 500ms
    is "memory's file" "$(cat $group/memory.max)" 67108864
    has "exec" "$(timeout 60 ctr task exec --exec-id e1 c1 cat /proc/self/cgroup)" 0::/
    timeout 60 ctr task pause c1 && is "paused" "$(cat $group/cgroup.freeze)" 1
    timeout 60 ctr task resume c1
    has "metrics" "$(timeout 60 ctr task metrics c1)" memory.usage
    timeout 60 ctr task rm -f c1 >/dev/null
    timeout 60 ctr c rm c1 || fail rm
    is "unit" "$(unit $scope LoadState)" not-found
    kill $daemon
    wait $daemon
}

tell() {
    local state
    processes
    systemctl list-units --all --type scope --no-legend
    for state in /run/test/state/*; do
        later delete --force "${state##*/}"
    done
}

run_tests "$@"
