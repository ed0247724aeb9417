# test/sys/installed_guest.bash: Socle installed on a host with systemd, in the guest that installed.py boots.  Three containers ping each other all the while, two
# machines count what they are asked; the host is restarted in the end, and what comes after that is the second part.
# shellcheck source=test/sys/guest_vm.bash
. /mnt/guest_vm.bash
export PATH=/usr/local/bin:$PATH
export SOCLE_DIR=/var/lib/socle
here=/var/lib/installed-test # over the restart, too
all="c1 c2 c3 h1 h2"
groups=/sys/fs/cgroup/system.slice/socle-machines.service/machines
mkdir -p $here

# As meson does it: each file is a new one.  `make uninstall` removes what it had made.
install_files() {
    cp -a --remove-destination /mnt/stage/. /
    systemctl daemon-reload
    networkctl reload
}
remove_files() {
    (cd /mnt/stage && find . -type f -print0) | (cd / && xargs -0 rm)
    systemctl daemon-reload
}

quick() { timeout 60 socle "$@"; }
# "NAME STATE PID" of each.
records() {
    local name
    for name in $all; do
        quick show "$name" -o json | tr -d ' \n' | sed -n "s/.*\"status\":{\(.*\)/\1/; s/.*\"state\":\"\([a-z]*\)\".*\"pid\":\([0-9]*\).*/$name \1 \2\n/p"
    done
}
runs() {
    local name
    for name; do
        records | grep "^$name running " >/dev/null || return 1
    done
}
inside() { quick exec "$1" sh -c "$2"; }
# What the machine says to a byte.
ask() { # NAME BYTE
    (printf '%s' "$2"; sleep 1.5) | timeout 20 socle console "$1" | tr -d '\r' | sed -n 's/^count //p' | tail -n 1
}
# Each machine was asked so often, and has forgotten none.
count() {
    local n
    n=$(($(cat $here/asked) + 1))
    echo $n >$here/asked
    is "h1 counts" "$(ask h1 x)" $n
    is "h2 counts" "$(ask h2 x)" $n
}
# No number is missing among the answers, of which there are more than before.
pings() {
    local name said=""
    for name in c1 c2 c3; do
        inside $name 'sed -n "s/.* seq=\([0-9]*\) .*/\1/p" /tmp/ping' >/run/test/seq || fail "what $name pinged"
        awk '$1 != NR - 1 { exit 1 }' /run/test/seq || fail "$name lost an answer: $(tr '\n' ' ' </run/test/seq)"
        [ "$(wc -l </run/test/seq)" -gt "$(cat $here/pings.$name)" ] || fail "$name pings no more: $(inside $name 'tail -n 3 /tmp/ping')"
        wc -l </run/test/seq >$here/pings.$name
        said+=" $name $(cat $here/pings.$name)"
    done
    echo "guest: answers without a gap:$said"
}
limits() {
    local name pid
    while read -r name _ pid; do
        has "the group of $name" "$(cat "/proc/$pid/cgroup")" "0::/system.slice/socle-machines.service/machines/"
    done <$here/records
    grep -qx 50331648 $groups/*/memory.max || fail "the memory of c1"
    grep -qx "30000 100000" $groups/*/cpu.max || fail "the CPU time of h2"
}
# One that is made now: a group, an address and a name service.
newcomer() {
    quick launch box new --memory 32M --net network=lab -- /bin/sh -c 'while :; do sleep 0.2; done' >/dev/null || fail "a new container"
    has "it reaches c1 by name" "$(inside new 'ping -c 1 -W 10 c1')" " 0% packet loss"
    quick delete --force new >/dev/null || fail "delete it"
}
# Nothing has happened to any of the five.
as_before() {
    is "the records" "$(records)" "$(cat $here/records)"
    is "an exec" "$(inside c1 'echo on')" on
    limits
    count
    pings
}

part_1() {
    test_0_installed() {
        local name said
        cp /mnt/bin/dnsmasq /usr/sbin/
        install_files
        for name in system user; do # there is no program `man` in the guest
            said=$(XDG_RUNTIME_DIR=/run/test systemd-analyze --$name verify /usr/local/lib/systemd/$name/soc* 2>&1 | grep -v "Command 'man ")
            is "what systemd finds in the units of $name" "$said" ""
        done
        for name in /usr/local/share/bash-completion/completions/socle*; do
            bash -n "$name" || fail "$name"
        done
        quick list >/dev/null || fail "socle list without a service"
        systemctl enable --now --quiet socled.socket || fail "enable socled.socket"
        is "the socket" "$(systemctl is-active socled.socket)" active
        is "the service before anybody asked" "$(systemctl is-active socled.service)" inactive
        quick list >/dev/null || fail "socle list"
        is "the service since then" "$(systemctl is-active socled.service)" active
        is "who has the folder" "$(cat $SOCLE_DIR/lock)" "$(systemctl show -P MainPID socled.service)"
        is "its type" "$(systemctl show -P Type socled.service)" notify
        is "the others" "$(systemctl is-active socle-machines.service socle-shutdown.service | tr '\n' ' ')" "active active "
        is "where it answers" "$(stat -c '%a %U' /var/lib/socle/api.sock /var/lib/socle | tr '\n' ' ')" "600 root 700 root "
        systemctl enable --now --quiet socled.service || fail "enable socled.service"
        echo "guest: $(systemd-analyze security socled.service --no-pager | tail -n 1)"
    }

    test_1_five_instances() {
        local name
        quick pool import box --rootfs /mnt/rootfs.tar >/dev/null || fail "an image"
        quick network create lab --ipv4 10.91.0.1/24 >/dev/null || fail "a network"
        container c1 c2 --autostart
        container c2 c3
        container c3 c1
        machine h1 --autostart
        machine h2
        quick set h2 limits=cpu_max=30 || fail "a limit"
        for name in c1 c2 c3; do
            echo 0 >$here/pings.$name
            until_true "$name has an answer" inside $name 'grep -q seq= /tmp/ping'
        done
        records >$here/records
        echo 0 >$here/asked
        cat $here/records
        is "all run" "$(cut -d' ' -f1,2 $here/records | tr '\n' ' ')" "c1 running c2 running c3 running h1 running h2 running "
        as_before
        newcomer
    }

    test_2_upgrade() {
        local _
        for _ in 1 2 3; do
            install_files
            systemctl restart socled || fail restart
            is "the service" "$(systemctl is-active socled)" active
            as_before
        done
        newcomer
    }

    # With all that is in its group, as the name service of the network.
    test_3_kill() {
        local was
        was=$(systemctl show -P MainPID socled)
        systemctl kill -s KILL socled
        until_true "systemd starts another one" sh -c "[ \$(systemctl show -P MainPID socled) != $was ] && systemctl is-active -q socled"
        as_before
        newcomer
    }

    test_4_removed_and_installed() {
        remove_files
        sleep 2
        is "c1 runs on" "$(cut -d' ' -f3 $here/records | xargs -I{} sh -c 'test -e /proc/{} && echo on' | sort -u)" on
        install_files
        systemctl restart socled || fail restart
        as_before
        newcomer
    }

    test_5_stop() {
        systemctl stop socled.socket socled.service || fail stop
        is "the service" "$(systemctl is-active socled.service)" inactive
        is "nobody was ended" "$(cut -d' ' -f3 $here/records | xargs -I{} sh -c 'test -e /proc/{} && echo on' | wc -l)" 5
        systemctl start socled.socket || fail start
        as_before
        newcomer
    }

    # Of a user who is not logged in.
    test_6_user() {
        useradd --create-home ann || fail "a user"
        loginctl enable-linger ann || fail "who lingers"
        until_true "her systemd runs" test -S "/run/user/$(id -u ann)/systemd/private"
        as_ann systemctl --user enable --now --quiet socled.socket || fail "her socket"
        as_ann socle launch mine --kernel /mnt/heart --memory 16M --engine soft --net none || fail "her machine"
        is "her service" "$(as_ann systemctl --user is-active socled.service socle-shutdown.service | tr '\n' ' ')" "active active "
    }

    test_7_deaf() {
        is "h2 was asked" "$(ask h2 d)" $(($(cat $here/asked) + 1))
        echo 'SOCLED_STOP_OPTIONS="--timeout 8"' >/etc/default/socled
    }
}

container() { # NAME WHOM-IT-PINGS OPTION…
    quick launch box "$1" --memory 48M --net network=lab "${@:3}" -- /bin/sh -c "trap 'echo clean end of $1; exit 0' TERM
        (until ping -c 1 -W 5 $2; do sleep 1; done >/dev/null 2>&1; exec ping -i 0.5 $2 >/tmp/ping 2>&1) &
        while :; do sleep 0.2; done" >/dev/null || fail "launch $1"
}
machine() { # NAME OPTION…
    quick launch "$1" --kernel /mnt/heart --memory 16M --engine soft --net network=lab "${@:2}" >/dev/null || fail "launch $1"
}

as_ann() { timeout 60 runuser -u ann -- env -u SOCLE_DIR HOME=/home/ann XDG_RUNTIME_DIR="/run/user/$(id -u ann)" "$@"; }

tell() {
    records
    processes
    journalctl --no-pager -n 30 -o cat -u 'socle*'
    tail -n 3 $SOCLE_DIR/instances/*/vm.log $SOCLE_DIR/networks/*/log
    ip link
}

part_2() {
    test_8_stopped_with_the_host() {
        local name
        for name in c1 c2 c3; do
            has "the last words of $name" "$(quick logs $name)" "clean end of $name"
        done
        has "the last words of h1" "$(quick logs h1)" bye
        has "the last words of ann's" "$(cat /home/ann/.local/share/socle/instances/*/console.log)" bye
        case $(quick logs h2) in *bye*) fail "h2 was deaf" ;; esac
    }

    test_9_started_with_the_host() {
        until_true "those that start with the host run" runs c1 h1
        is "and only those" "$(records | cut -d' ' -f1,2 | tr '\n' ' ')" "c1 running c2 off c3 off h1 running h2 off "
        is "c1" "$(inside c1 'echo on')" on
        is "h1 begins anew" "$(ask h1 x)" 1
        quick start c2 || fail "start c2"
        until_true "c1 has an answer" inside c1 'grep -q seq= /tmp/ping'
    }
}

if [ -e $here/part_2 ]; then
    part_2
    run_tests "$@"
else
    touch $here/part_2
    part_1
    END=reboot CHAIN=1 run_tests "$@"
fi
