#!/usr/bin/env python3
"""test/sys/upgrade.py: an upgrade of socled under five Linux guests.  test/sys/upgrade.py GUEST_FOLDER, in a network namespace of its own

Each of five sample guests pings the next one, five times a second, through one managed network.  Meanwhile socled is killed, killed again while it
starts, ended, and replaced by a copy of the programs in another folder, as an upgrade does it.  No packet may be lost, each machine keeps its
process, and in the end the new socled has them all.
"""

import atexit
import os
import random
import re
import select
import shutil
import time

from lan import UP, Guest, get, leave_nothing, machine, ours, socle
from socled import BUILD, Socled, until

NAMES = "abcde"
PINGS = 300  # of each guest, 0.2 s apart
NEW = os.environ["TMPDIR"] + "/new/"


def running():
    return {i["name"]: i["status"]["pid"] for i in (get("/instances/" + n) for n in NAMES) if i["status"]["state"] == "running"}


def install():
    """The programs in another folder: a copy of each, so that none is the file that runs."""
    os.mkdir(NEW)
    for name in ("socle", "socle-more", "socle-vm", "socled"):
        shutil.copy(BUILD + name, NEW)


def replace():
    """socled four times another one, in the ways in which that happens; what it was, and how long nobody answered."""
    socled = Socled()
    for what, programs, end in (("killed", BUILD, lambda: socled.kill()), ("killed as it started", BUILD, lambda: socled.kill()),
                                ("ended and upgraded", NEW, lambda: socled.end()), ("killed, and upgraded anew", NEW, lambda: socled.kill())):
        yield None
        before = time.monotonic()
        end()
        if what == "killed as it started":
            p = Socled.begin(programs)
            time.sleep(random.uniform(0, 0.1))
            p.kill()
            p.wait()
        socled = Socled(programs=programs)
        yield f"{what}: {(time.monotonic() - before) * 1000:.0f} ms"
    assert os.readlink(f"/proc/{get('')['pid']}/exe") == NEW + "socled"


def boot():
    socle("network", "create", "lab", "--ipv4", "10.90.0.1/24")
    for name in NAMES:
        machine(name, memory="96M")
    socle("start", *NAMES)
    guests = [Guest(name, "# ") for name in NAMES]
    for g in guests:
        g.begin(UP)
    for g in guests:
        g.end()
    return guests


def main():
    atexit.register(leave_nothing)
    install()
    steps = replace()
    next(steps)
    guests = boot()
    before, dnsmasq = running(), ours("dnsmasq")
    assert len(before) == len(NAMES) and len(dnsmasq) == 1, (before, dnsmasq)
    for k, g in enumerate(guests):
        g.begin(f"ping -q -n -i 0.2 -c {PINGS} -W 20 10.90.0.{2 + (k + 1) % len(guests)};")
    for g in guests:
        g.wait("bytes of data.\n")
    for said in steps:
        if said:
            print(said)
            assert running() == before, (running(), before)
        else:
            time.sleep(random.uniform(1, 4))
    early = select.select([g.socket for g in guests], [], [], 0)[0]
    assert not early, "the pings ended before the last socled had come"
    for g in guests:
        said = g.end()
        assert f"{PINGS} packets transmitted, {PINGS} received, 0% packet loss" in said, f"{g.name}: {said}"
        print(f"{g.name}: {PINGS} of {PINGS} came back, {re.search('rtt .*', said).group(0)}")
    assert running() == before and ours("dnsmasq") == dnsmasq, (running(), before, ours("dnsmasq"), dnsmasq)
    assert guests[0].ping("c", "-4"), "by name"
    socle("restart", "--force", "e")
    assert running().keys() == before.keys() and running()["e"] != before["e"]
    socle("delete", "--force", *NAMES)
    socle("network", "delete", "lab")
    until("nothing is left", lambda: not ours("socle-vm") and not ours("dnsmasq"))


main()
