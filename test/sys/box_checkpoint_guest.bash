# test/sys/box_checkpoint_guest.bash: checkpoint and restore, in the guest that box_checkpoint.py boots.
# shellcheck source=test/sys/guest_vm.bash
. /mnt/guest_vm.bash
cp -a /mnt/usr/. /usr/
ldconfig

box() { timeout 120 socle-box --root /run/test/state "$@"; }
# Its program begins; it has no file of this console.
begin() {
    rm -f "/mnt/rootfs/tmp/$1"
    (cd "/mnt/bundles/$1" && box create "$1" >/dev/null 2>&1 </dev/null) || fail "create $1"
    box start "$1" || fail "start $1"
}
number() { tail -n 1 "/mnt/rootfs/tmp/$1" 2>/dev/null; }
counts() { # NAME FROM: it is past that number
    local now
    now=$(number "$1")
    [ -n "$now" ] && [ "$now" -gt "$2" ]
}
status() { box state "$1" | sed -n 's/.*"status": "\(.*\)".*/\1/p'; }
pid() { box state "$1" | sed -n 's/.*"pid": \([0-9]*\).*/\1/p'; }
dump() { # NAME [OPTION…]
    local name=$1
    shift
    box checkpoint --image-path "/run/test/$name.images" --work-path "/run/test/$name.work" "$@" "$name" || fail "checkpoint $name: $(grep -m 3 Error "/run/test/$name.work/dump.log")"
}
again() { # NAME [OPTION…]
    local name=$1
    shift
    box restore --detach --bundle "/mnt/bundles/$name" --image-path "/run/test/$name.images" --work-path "/run/test/$name.work" --pid-file "/run/test/$name.pid" "$@" "$name" \
        >/dev/null 2>"/run/test/$name.err" </dev/null || fail "restore $name: $(cat "/run/test/$name.err"; grep Error "/run/test/$name.work/restore.log" | head -3)"
}
finish() {
    box delete --force "$1" || fail "delete $1"
    is "state" "$(ls -A /run/test/state)" ""
}

test_a_count() {
    local before inside
    begin count
    until_true "it counts" counts count 5
    inside=$(box exec count cat /proc/self/mountinfo | cut -d' ' -f4- | sed 's/[0-9]* - / - /' | sort)
    dump count
    is "stopped" "$(status count)" stopped
    before=$(number count)
    sleep 1
    is "it stands still" "$(number count)" "$before"
    again count
    is "its pid" "$(cat /run/test/count.pid)" "$(pid count)"
    is "it runs" "$(status count)" running
    until_true "it goes on" counts count "$before"
    [ "$(number count)" -lt $((before + 600)) ] || fail "it began elsewhere: $(number count) after $before"
    is "its cgroup" "$(cat "/proc/$(pid count)/cgroup")" 0::/socle-box-count
    is "its cgroup namespace" "$(box exec count cat /proc/self/cgroup)" 0::/
    is "as process 1" "$(box exec count cat /proc/1/comm)" sh
    is "its mounts" "$(box exec count cat /proc/self/mountinfo | cut -d' ' -f4- | sed 's/[0-9]* - / - /' | sort)" "$inside"
    has "masked" "$(box exec count sh -c 'cat /proc/kcore | wc -c')" 0
    finish count
}

test_b_leave_running() {
    local before now
    begin count
    until_true "it counts" counts count 5
    dump count --leave-running
    before=$(number count)
    is "it runs" "$(status count)" running
    until_true "it goes on" counts count "$((before + 20))"
    now=$(number count)
    finish count
    again count
    sleep 1
    [ "$(number count)" -lt "$now" ] || fail "$(number count) is not from the time of the checkpoint, $before"
    finish count
}

test_c_limits_and_hooks() {
    local before group=/sys/fs/cgroup/socle-box-hard
    rm -f /run/test/hooks
    begin hard
    until_true "it counts" counts hard 5
    dump hard
    before=$(number hard)
    box delete hard || fail delete
    again hard
    until_true "it goes on" counts hard "$before"
    is "memory" "$(cat $group/memory.max)" 67108864
    is "processes" "$(cat $group/pids.max)" 20
    is "hooks, at both" "$(cat /run/test/hooks)" "ran
ran"
    box exec hard sh -c 'echo >/etc/x' 2>/dev/null && fail "its root can be written to"
    is "loopback" "$(nsenter -t "$(pid hard)" -n ip -o link show lo | grep -c 'LOOPBACK,UP')" 1
    is "devices" "$(box exec hard sh -c 'busybox mknod /tmp/m b 8 0 2>&1; dd if=/tmp/m of=/dev/null count=1 2>&1' | grep -c 'not permitted')" 1
    finish hard
}

test_d_pipes_and_the_foreground() {
    local before
    (cd /mnt/bundles/speak && box create speak </dev/null 2>/dev/null | cat >/run/test/speak.1) &
    until_true "created" box state speak >/dev/null 2>&1
    until_true "it speaks" sh -c 'socle-box --root /run/test/state start speak 2>/dev/null; grep -q "said 5" /run/test/speak.1'
    dump speak
    wait
    before=$(tail -n 1 /run/test/speak.1)
    box delete speak
    (box restore --bundle /mnt/bundles/speak --image-path /run/test/speak.images --work-path /run/test/speak.work speak </dev/null 2>/run/test/speak.err | cat >/run/test/speak.2) &
    until_true "it speaks again" grep -q said /run/test/speak.2
    is "where it was" "$(head -n 1 /run/test/speak.2)" "said $((${before#said } + 1))"
    box kill speak KILL
    wait
    is "nothing is left" "$(ls -A /run/test/state)" ""
}

test_e_terminal() {
    local before
    touch /run/test/tty.1 /run/test/tty.2
    script -qfc "socle-box --root /run/test/state run --bundle /mnt/bundles/tty tty" /run/test/tty.1 >/dev/null 2>&1 </dev/null &
    until_true "it speaks" grep -q "said 5" /run/test/tty.1
    dump tty
    wait
    before=$(grep -o 'said [0-9]*' /run/test/tty.1 | tail -n 1)
    script -qfc "socle-box --root /run/test/state restore --bundle /mnt/bundles/tty --image-path /run/test/tty.images --work-path /run/test/tty.work tty" /run/test/tty.2 >/dev/null 2>&1 </dev/null &
    until_true "it speaks again" grep -q said /run/test/tty.2
    is "where it was" "$(grep -o 'said [0-9]*' /run/test/tty.2 | head -n 1)" "said $((${before#said } + 1))"
    has "its terminal" "$(box exec tty sh -c 'busybox ls -l /proc/1/fd/0')" /dev/pts/0
    box kill tty KILL
    wait
    is "nothing is left" "$(ls -A /run/test/state)" ""
}

test_f_another_network() {
    local before
    ip netns add one && ip netns add two
    begin net
    until_true "it counts" counts net 5
    dump net
    before=$(number net)
    box delete net
    ip netns delete one
    box restore --detach --bundle /mnt/bundles/net2 --image-path /run/test/net.images --work-path /run/test/net.work net >/dev/null 2>/run/test/net.err </dev/null ||
        fail "$(cat /run/test/net.err; grep Error /run/test/net.work/restore.log | head -3)"
    until_true "it goes on" counts net "$before"
    is "its network" "$(stat -Lc %i "/proc/$(pid net)/ns/net")" "$(stat -Lc %i /run/netns/two)"
    finish net
}

test_g_refused() {
    local said before
    # Its output is a file of the host, which CRIU cannot find again.
    (cd /mnt/bundles/refused && box create refused >/run/test/refused.out 2>/dev/null </dev/null) || fail create
    box start refused
    until_true "it counts" counts refused 5
    said=$(box checkpoint --image-path /run/test/refused.images --work-path /run/test/refused.work refused 2>&1) && fail "it was taken"
    has "its error" "$said" "log: '/run/test/refused.work/dump.log'"
    is "it runs" "$(status refused)" running
    before=$(number refused)
    until_true "it goes on" counts refused "$before"
    said=$(box checkpoint --lazy-pages refused 2>&1) && fail "lazy pages"
    has "its error" "$said" "--lazy-pages"
    said=$(box checkpoint --empty-ns ipc refused 2>&1) && fail "another namespace"
    has "its error" "$said" "'ipc' is not network"
    said=$(PATH=/nowhere SOCLE_BOX_CRIU=/nosuch /mnt/bin/socle-box --root /run/test/state checkpoint --image-path /run/test/r refused 2>&1) && fail "without the program"
    has "its error" "$said" "start '/nosuch'"
    mv /mnt/bin/criu /mnt/bin/not-criu
    said=$(box checkpoint --image-path /run/test/r refused 2>&1) && fail "without CRIU"
    mv /mnt/bin/not-criu /mnt/bin/criu
    has "its error" "$said" "Debian's package criu"
    said=$(box restore --detach --bundle /mnt/bundles/refused --image-path /run/test/r refused 2>&1) && fail "over one that runs"
    has "its error" "$said" "already exists"
    finish refused
    said=$(box restore --detach --bundle /mnt/bundles/refused --image-path /run/test/r refused 2>&1) && fail "of nothing"
    has "its error" "$said" "restore.log"
    is "state" "$(ls -A /run/test/state)" ""
    [ ! -e /sys/fs/cgroup/socle-box-refused ] || fail "a cgroup is left"
}

test_g_two_steps() {
    local before
    begin count
    until_true "it counts" counts count 5
    box checkpoint --image-path /run/test/first.images --pre-dump count || fail "the memory first"
    is "it runs" "$(status count)" running
    before=$(number count)
    until_true "it goes on" counts count "$before"
    dump count --parent-path ../first.images
    before=$(number count)
    [ -L /run/test/count.images/parent ] || fail "no second step"
    again count
    until_true "it goes on" counts count "$before"
    finish count
}

test_h_joined() {
    local said
    begin joined
    said=$(box checkpoint --image-path /run/test/joined.images joined 2>&1) && fail "it was taken"
    has "its error" "$said" "is a joined ipc namespace"
    finish joined
}

pod() { timeout 200 podman --runtime /mnt/bin/socle-box --cgroup-manager cgroupfs --storage-driver vfs --events-backend file --log-level error "$@"; }

test_i_podman() {
    local before
    command -v podman >/dev/null || { echo "no podman"; return; }
    mkdir -p /etc/containers && cp /mnt/etc/containers/policy.json /etc/containers/
    tar -C /mnt/rootfs -c . | pod import - counting:1 >/dev/null || fail "make an image"
    pod run -d --name p1 --network none -v /mnt/rootfs/tmp:/tmp counting:1 sh -c 'n=0; while :; do n=$((n+1)); echo $n >>/tmp/pod; sleep 0.1; done' >/dev/null || fail run
    until_true "it counts" counts pod 5
    pod container checkpoint --keep p1 || fail checkpoint
    before=$(number pod)
    is "stopped" "$(pod inspect --format '{{.State.Status}}' p1)" exited
    pod container restore --keep p1 || fail restore
    until_true "it goes on" counts pod "$before"
    pod exec p1 true || fail exec
    pod container checkpoint --export /run/test/p1.tar p1 || fail export
    before=$(number pod)
    pod rm -f -t 0 p1 >/dev/null || fail rm
    pod container restore --import /run/test/p1.tar || fail import
    until_true "it goes on after the import" counts pod "$before"
    pod rm -f -t 0 p1 >/dev/null || fail rm
}

tell() {
    local state
    processes
    for state in /run/test/state/*; do
        [ -e "$state" ] || continue
        box delete --force "${state##*/}"
    done
}

run_tests "$@"
