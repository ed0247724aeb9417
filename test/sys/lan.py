"""test/sys/lan.py: what tests of networks of root's socled share: sample guests of the folder that is the test's first argument, and their shells."""

import os
import signal
import socket
import subprocess
import sys

from socled import BUILD, DIR, ok

GUEST = sys.argv[1]
SECONDS = 100  # of a guest

UP = ("mount -t proc p /proc; mount -t sysfs s /sys; mount -t devtmpfs d /dev; mount -t tmpfs t /run; modprobe -q virtio_net; "
      "for d in /sys/class/net/e*; do i=${d##*/}; done; /usr/lib/klibc/bin/ipconfig -t 30 -c dhcp $i; . /run/net-$i.conf; "
      'echo "nameserver $IPV4DNS0" >/run/r; echo "search $DNSDOMAIN" >>/run/r; mount --bind /run/r /etc/resolv.conf; ')


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True, **more).stdout


def socle(*words, status=0):
    p = subprocess.run([BUILD + "socle", *words, "--dir", DIR], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert p.returncode == status, (words, p.returncode, p.stdout, p.stderr)
    return p.stdout + p.stderr


def get(path):
    return ok("GET", path)


def ours(word):
    """Process ids whose command line has the word and our folder, or that write to our folder's logs."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
                line = f.read()
            log = os.readlink(f"/proc/{pid}/fd/2")
        except OSError:
            continue
        if word in line and (DIR in line or log.startswith(DIR)):
            found.append(int(pid))
    return sorted(found)


class Guest:
    """A shell on a machine's console."""

    def __init__(self, name, mark):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        self.socket.connect(get("/instances/" + name)["status"]["console"])
        self.seen = ""
        self.n = 0
        self.wait(mark)

    def wait(self, word):
        while word not in self.seen:
            data = self.socket.recv(65536)
            assert data, f"{self.name}: its console ended after {self.seen[-400:]}"
            self.seen += data.decode(errors="replace").replace("\r", "")
        before, self.seen = self.seen.split(word, 1)
        return before

    def begin(self, command):
        self.n += 1
        self.socket.sendall(f"{command} echo end-''{self.n}-$?\n".encode())

    def end(self):
        text = self.wait(f"end-{self.n}-")
        self.wait("\n")
        return text

    def do(self, command):
        self.begin(command)
        return self.end()

    def ping(self, whom, more=""):
        return " 0% packet loss" in self.do(f"ping -c 2 -W 5 {more} {whom};")


def machine(name, *net, network="lab", memory="192M"):
    socle("create", name, "--kernel", GUEST + "/vmlinuz", "--initrd", GUEST + "/initrd", "--engine", "soft", "--memory", memory,
          "--disk", GUEST + "/root.img,readonly", "--append", "console=ttyS0 root=/dev/vda ro quiet init=/bin/sh panic=-1",
          "--net", ",".join((f"network={network}", *net)))


def leave_nothing():
    for word in ("socled", "socle-vm", "dnsmasq"):
        for pid in ours(word):
            os.kill(pid, signal.SIGKILL)
