#!/usr/bin/env python3
"""test/sys/network.py: networks with two real guests.  test/sys/network.py GUEST_FOLDER, in a network namespace of its own

A NAT network: addresses by DHCP, names, the way out, a forward from the host and from outside; kill -9 of socled while its rules, its name
service and its bridge are taken away; forged addresses and rate limits, by the filter's counters.  A bridged network: a guest on the LAN behind
a link of the host, and on a bridge of the host.  kill -9 at random instants of a script that makes and deletes networks.  In the end the host is
what it was.
"""

import atexit
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

from lan import GUEST, SECONDS, UP, Guest, get, leave_nothing, machine, ours, run, socle
from socled import BUILD, DIR, Socled, answers, until

FLOOD = 1000  # datagrams
KILLS = 8

SERVE = ("perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => 80, Listen => 9, ReuseAddr => 1) or die; "
         '$| = 1; print "serv", "ing\\n"; while ($c = $s->accept) { print $c "hello ", $c->peerhost, "\\n"; close $c }\' & ')
SEND = ("perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Proto => \"udp\", PeerAddr => \"%s\", PeerPort => 9); "
        f"$s->send(\"x\" x 1400) for 1..{FLOOD}'; ")


def start_socled():
    return Socled().p


def host():
    """All of this host that networks change."""
    links = sorted((k["ifname"], k.get("master"), k["flags"], k["address"]) for k in json.loads(run("ip", "-j", "link")))
    settings = [open(f"/proc/sys/net/{f}", encoding="ascii").read() for f in ("ipv4/ip_forward", "ipv6/conf/all/forwarding")]
    rules = re.sub(r"packets \d+ bytes \d+", "", run("nft", "list", "ruleset"))
    addresses = run("ip", "-o", "address").replace(" tentative", "")
    return links, settings, rules, addresses, run("ip", "route"), ours("dnsmasq")


def drops(name, way):
    """Packets that the rules of a machine's card have dropped."""
    number = get("/instances/" + name)["status"]["id"][1:]
    total = 0
    for o in json.loads(run("nft", "-j", "list", "ruleset"))["nftables"]:
        rule = o.get("rule", {})
        if rule.get("family") == "netdev" and re.fullmatch(f"{way}_s....{int(number):x}n0", rule["chain"]):
            total += sum(x["counter"]["packets"] for x in rule["expr"] if "counter" in x)
    return total


def ask(address, within=(), port=8080):
    """What the port says, by default the host's that is forwarded, and how the guest saw the caller."""
    program = f"import socket; s = socket.create_connection(('{address}', {port}), {SECONDS}); print(s.recv(100).decode())"
    return run(*within, sys.executable, "-c", program)


def make_outside():
    """A host beyond ours, which knows no way to our networks."""
    p = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
    atexit.register(p.kill)
    until("a namespace", lambda: os.readlink(f"/proc/{p.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
    run("ip", "link", "add", "wan", "type", "veth", "peer", "name", "w", "netns", str(p.pid))
    run("ip", "address", "add", "198.51.100.1/24", "dev", "wan")
    run("ip", "link", "set", "wan", "up")
    run("nsenter", "-t", str(p.pid), "-n", "sh", "-ec", "ip link set w up; ip address add 198.51.100.2/24 dev w")
    return p.pid


def check_refused():
    """What clashes is refused, and said."""
    assert "clashes with the host's route to 198.51.100.0/24 by 'wan'" in socle("network", "create", "x", "--ipv4", "198.51.100.9/24", status=1)
    assert "clashes with network 'lab'" in socle("network", "create", "x", "--ipv4", "10.90.0.1/16", status=1)
    assert "a link 'wan' already" in socle("network", "create", "wan", status=1)
    assert "has addresses" in socle("network", "create", "x", "--kind", "bridged", "--interface", "wan", status=1)
    for name in ("wan", "x"):
        assert get("/networks/" + name)["status"]["state"] == "failed"
        socle("network", "delete", name)


def check_guests(a, b, outside):
    assert a.ping("b", "-4") and b.ping("a.internal", "-4"), "by name"
    until("IPv6 by name", lambda: a.ping("b", "-6"))
    assert a.ping("198.51.100.2"), "no way out"
    assert "hello 198.51.100.2" in ask("198.51.100.1", ["nsenter", "-t", str(outside), "-n"])
    assert "hello" in ask("198.51.100.1")


def check_users():
    """Each machine is a user of its own, and in a control group of its own where there are some."""
    users, groups = set(), set()
    for pid in ours("socle-vm"):
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            users.add(re.search(r"\nUid:\s(\d+)", f.read()).group(1))
        with open(f"/proc/{pid}/cgroup", encoding="utf-8") as f:
            groups.add(re.search(r"(?m)^0::(.*)", f.read()).group(1))
    assert len(users) == 2 and not users & {"0", "65534"}, users
    assert len(groups) == 2 or "cpu_us" not in get("/instances/a")["status"], groups
    print(f"users {sorted(users)}, control groups {sorted(groups)}")


def check_repair(socled, a, b, outside):
    """kill -9, and all that it had made is taken away but the machines and their taps."""
    machines = ours("socle-vm")
    taps = {k["ifname"] for k in json.loads(run("ip", "-j", "link", "show", "master", "lab"))}
    assert len(taps) == 2
    socled.kill()
    socled.wait()
    for pid in ours("dnsmasq"):
        os.kill(pid, signal.SIGKILL)
    for table in re.findall(r"table (\w+ socle\w*)", run("nft", "list", "tables")):
        run("nft", "delete", "table", *table.split())
    run("ip", "link", "delete", "lab")
    socled = start_socled()
    until("the network is there again", lambda: get("/networks/lab")["status"]["state"] == "up")
    assert {k["ifname"] for k in json.loads(run("ip", "-j", "link", "show", "master", "lab"))} == taps
    assert ours("socle-vm") == machines
    check_guests(a, b, outside)
    return socled


def check_forged(a, b):
    before = drops("a", "from")
    a.do("ip address add 10.90.0.99/24 dev $i;")
    assert not a.ping("10.90.0.3", "-I 10.90.0.99")
    after_address = drops("a", "from")
    assert after_address > before, "a forged IPv4 address"
    a.do("mac=$(cat /sys/class/net/$i/address); ip link set $i address 52:54:00:99:99:99; ip neighbour flush dev $i;")
    assert not a.ping("10.90.0.1")
    assert drops("a", "from") > after_address, "a forged MAC"
    a.do("ip address delete 10.90.0.99/24 dev $i; ip link set $i address $mac;")
    assert a.ping("b")
    print(f"forged: {drops('a', 'from') - before} frames dropped")
    assert drops("b", "from") == 0


def check_rates(b):
    """b may send 16 KiB and be sent 32 KiB a second, with 128 KiB at once."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        s.bind(("10.90.0.1", 9))
        s.settimeout(2)
        b.do(SEND % "10.90.0.1")
        got = 0
        try:
            while s.recv(2000):
                got += 1
        except TimeoutError:
            pass
        lost = drops("b", "from")
        print(f"from b: {got} of {FLOOD} datagrams came, {lost} were over its rate")
        assert got + lost >= FLOOD and 80 <= got <= FLOOD * 3 // 4, (got, lost)
        for _ in range(FLOOD):
            s.sendto(b"x" * 1400, ("10.90.0.3", 9))
        lost = drops("b", "to")
        print(f"to b: {lost} of {FLOOD} datagrams were over its rate")
        assert FLOOD // 4 <= lost <= FLOOD - 80, lost


def kill_at_random(socled, seed):
    """Networks are made and deleted; after each kill what is there is what the records say."""
    rand = random.Random(seed)
    for _ in range(KILLS):
        name = rand.choice("xyz")
        what = ["network", "create", name, "--kind", rand.choice(("nat", "isolated"))] if rand.random() < 0.6 else ["network", "delete", name]
        p = subprocess.Popen([BUILD + "socle", *what, "--dir", DIR], stderr=subprocess.DEVNULL)
        time.sleep(rand.uniform(0, 0.3))
        socled.kill()
        socled.wait()
        p.wait(SECONDS)
        if not answers():  # the client may have started one
            socled = start_socled()
        else:
            os.kill(get("")["pid"], signal.SIGTERM)
            until("it ends", lambda: not answers())
            socled = start_socled()
        until("tasks end", lambda: all(t["state"] not in ("waiting", "running") for t in get("/tasks")["list"]))
        until("all are up", lambda: all(n["status"]["state"] == "up" for n in get("/networks")["list"]))
        names = sorted(n["name"] for n in get("/networks")["list"])
        bridges = sorted(k["ifname"] for k in json.loads(run("ip", "-j", "link", "show", "type", "bridge")))
        assert names == bridges and len(ours("dnsmasq")) == len(names), (names, bridges, ours("dnsmasq"))
    for n in get("/networks")["list"]:
        socle("network", "delete", n["name"])
    return socled


# ---- bridged ----

def settle(link):
    """It gets no address by itself, some time later."""
    with open(f"/proc/sys/net/ipv6/conf/{link}/disable_ipv6", "w", encoding="ascii") as f:
        f.write("1")
    run("ip", "link", "set", link, "up")


def make_lan():
    """What is on the other end of a cable that is plugged into our host: a router with a DHCP server.  Its process."""
    p = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
    atexit.register(p.kill)
    until("a namespace", lambda: os.readlink(f"/proc/{p.pid}/ns/net") != os.readlink("/proc/self/ns/net"))
    run("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "far", "netns", str(p.pid))
    settle("lan0")
    within = ["nsenter", "-t", str(p.pid), "-n"]
    run(*within, "sh", "-ec", "ip link set lo up; ip link set far up; ip address add 203.0.113.1/24 dev far")
    server = subprocess.Popen([*within, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--bind-interfaces", "--interface=far",
                               "--dhcp-range=203.0.113.50,203.0.113.60,255.255.255.0,10m", "--dhcp-leasefile=" + os.environ["TMPDIR"] + "/lan-leases",
                               "--pid-file", "--user=root"], stderr=subprocess.DEVNULL)
    atexit.register(server.kill)
    return within


def check_on_lan(within, name):
    """Frames go both ways as they are: the LAN gives the guest its address, and knows it by its own MAC."""
    g = Guest(name, "# ")
    g.do(UP)
    address = re.search(r"inet (203\.0\.113\.(5\d|60))/24", g.do("ip -4 -o address show dev $i;"))
    assert address, "no address of the LAN's"
    assert g.ping("203.0.113.1"), "the LAN's router"
    g.do(SERVE)
    g.wait("serving")
    assert "hello 203.0.113.1" in ask(address.group(1), within, 80), "from the LAN"
    mac = get("/instances/" + name)["nets"][0]["mac"]
    assert mac in run(*within, "ip", "neighbour", "show", address.group(1)), mac
    before = drops(name, "from")
    g.do("mac=$(cat /sys/class/net/$i/address); ip link set $i address 52:54:00:99:99:98; ip neighbour flush dev $i;")
    assert not g.ping("203.0.113.1") and drops(name, "from") > before, "a forged MAC"
    g.do("ip link set $i address $mac;")
    assert g.ping("203.0.113.1")


def check_bridged():
    within = make_lan()
    before = host()
    socle("network", "create", "lan", "--kind", "bridged", "--interface", "lan0")
    machine("c", network="lan")
    socle("start", "c")
    ports = {k["ifname"] for k in json.loads(run("ip", "-j", "link", "show", "master", "lan"))}
    assert "lan0" in ports and len(ports) == 2, ports
    check_on_lan(within, "c")
    socle("delete", "--force", "c")
    socle("network", "delete", "lan")
    until("the host is what it was", lambda: host() == before)

    run("ip", "link", "add", "name", "br9", "type", "bridge")
    settle("br9")
    run("ip", "link", "set", "lan0", "master", "br9")
    before = host()
    socle("network", "create", "taken", "--kind", "bridged", "--interface", "br9")
    machine("e", network="taken")
    socle("start", "e")
    check_on_lan(within, "e")
    socle("delete", "--force", "e")
    socle("network", "delete", "taken")
    until("the host's bridge is what it was", lambda: host() == before)
    run("ip", "link", "delete", "br9")
    run("ip", "link", "delete", "lan0")


def main():
    atexit.register(leave_nothing)
    outside = make_outside()
    run("nft", "add", "table", "inet", "mine")
    run("nft", "add", "chain", "inet", "mine", "c", "{ type filter hook input priority 5; }")
    run("nft", "add", "rule", "inet", "mine", "c", "counter")
    before = host()
    socled = start_socled()
    socle("network", "create", "lab", "--ipv4", "10.90.0.1/24")
    check_refused()
    machine("a", "forward=tcp:8080:80")
    machine("b", "bandwidth_out=16K", "bandwidth_in=32K")
    assert "is on network 'lab'" in socle("network", "delete", "lab", status=1)
    socle("start", "a", "b")
    a, b = Guest("a", "# "), Guest("b", "# ")
    a.begin(UP)
    b.begin(UP)
    a.end()
    b.end()
    assert "10.90.0.2" in a.do("ip -4 -o address show dev $i;") and "10.90.0.3" in b.do("ip -4 -o address show dev $i;")
    a.do(SERVE)
    a.wait("serving")
    check_guests(a, b, outside)
    check_users()
    socled = check_repair(socled, a, b, outside)
    check_forged(a, b)
    check_rates(b)
    socle("delete", "--force", "a", "b")
    until("taps are gone", lambda: run("ip", "-j", "link", "show", "master", "lab").strip() in ("", "[]"))
    socle("network", "delete", "lab")
    assert host() == before, (host(), before)
    check_bridged()
    assert host() == before, (host(), before)
    socled = kill_at_random(socled, int(os.environ.get("SEED", random.randrange(10**6))))
    assert host() == before, (host(), before)
    socled.terminate()
    assert socled.wait(SECONDS) == 0


main()
