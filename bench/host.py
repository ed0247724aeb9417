#!/usr/bin/env python3
"""bench/host.py: measures for bench/host.sh: FOLDER-OF-PROGRAMS PAYLOAD PART…"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

programs, payload = sys.argv[1:3]
WATCHERS, RATE, SECONDS = 100, 100, 10  # events a second, measured for so long
MANY = 200
LISTED, ROUNDS = 10, 5  # machines that run while both list; rounds of each


def figure(name, value, unit):
    if os.environ.get("BENCH_FIGURES"):
        with open(os.environ["BENCH_FIGURES"], "a", encoding="ascii") as f:
            f.write(f"host-{name} {value:g} {unit}\n")


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return sum(map(int, f.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")


class Socled:
    """One in a folder of its own; `with` ends it and its machines."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="host")
        self.p = subprocess.Popen([programs + "/socled", "--dir", self.dir], stderr=subprocess.DEVNULL)
        while True:
            try:
                self.c = self.connect()
                return self
            except OSError:
                time.sleep(0.01)

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.connect(self.dir + "/api.sock")
        return s

    def take(self):
        data = self.c.recv(1 << 20)
        if not data:
            raise ConnectionResetError("socled has closed the connection")
        return data

    def ask(self, method, path, body=None):
        text = "" if body is None else json.dumps(body)
        self.c.sendall(f"{method} /1.0{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.take()
        head, _, got = data.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        length = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
        while len(got) < length:
            got += self.take()
        if status >= 300:
            sys.exit(f"{method} {path}: {status} {got.decode()}")
        return json.loads(got) if got.strip() else None

    def all(self, requests):
        """Asks for what begins tasks, and waits for all of them; seconds.  One that fails ends it all."""
        began = time.perf_counter()
        waiting = [self.ask(*r)["task"] for r in requests]
        while waiting:
            tasks = {t["number"]: t for t in self.ask("GET", "/tasks")["list"]}
            bad = [tasks[n] for n in waiting if tasks[n]["state"] in ("failed", "cancelled")]
            if bad:
                sys.exit(f"{len(bad)} tasks failed: {bad[0]}")
            waiting = [n for n in waiting if tasks[n]["state"] != "done"]
            time.sleep(0.02)
        return time.perf_counter() - began

    def run(self, *words):
        subprocess.run([programs + "/socle", *words, "--dir", self.dir], stdout=subprocess.DEVNULL, check=True)

    def __exit__(self, *_):
        with contextlib.suppress(OSError, SystemExit):
            self.c = self.connect()  # the other one may have been idle for too long
            self.all([("DELETE", f"/instances/{i['name']}?force=on") for i in self.ask("GET", "/instances")["list"]])
        self.p.terminate()
        self.p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def machine(name):
    return {"name": name, "kernel": payload, "memory": "32M", "engine": "soft"}


# ---- watchers ----

def drain(sockets, until):
    """Reads what comes until then; events that came."""
    poll, n = select.poll(), 0
    by_fd = {s.fileno(): s for s in sockets}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    while (left := until - time.perf_counter()) > 0:
        for fd, _ in poll.poll(left * 1000):
            n += by_fd[fd].recv(1 << 18).count(b"data: ")
    return n


def changes(s, until):
    """RATE edits a second, each of which is an event; how many."""
    n, began = 0, time.perf_counter()
    while time.perf_counter() < until:
        s.ask("PATCH", "/instances/w", {"notes": str(n)})
        n += 1
        time.sleep(max(0, began + n / RATE - time.perf_counter()))
    return n


def share(s, watchers):
    """(edits a second, events that all watchers got a second, percent of a CPU that socled took)"""
    sockets = []
    for _ in range(watchers):
        sockets.append(s.connect())
        sockets[-1].sendall(b"GET /1.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
        sockets[-1].recv(1 << 16)
    until = time.perf_counter() + SECONDS
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # who watches, so that it does not hold up who edits
        os.write(writer, str(drain(sockets, until + 0.5)).encode())
        os._exit(0)
    before = cpu(s.p.pid)
    edits = changes(s, until)
    took = cpu(s.p.pid) - before
    os.waitpid(child, 0)
    seen = int(os.read(reader, 32))
    for x in sockets:
        x.close()
    return edits / SECONDS, seen / SECONDS, took / SECONDS * 100


def watch():
    with Socled() as s:
        s.all([("POST", "/instances", machine("w"))])
        print(f"{'watchers':>9} {'edits/s':>8} {'events sent/s':>14} {'CPU of socled %':>16}")
        percents = []
        for n in (0, WATCHERS):
            edits, seen, percent = share(s, n)
            percents.append(percent)
            print(f"{n:9} {edits:8.0f} {seen:14.0f} {percent:16.1f}", flush=True)
        print(f"{WATCHERS} watchers of {RATE} events a second take {percents[1] - percents[0]:.1f} % of a CPU beside the edits")
        figure("watch-cpu", max(0, percents[1] - percents[0]), "percent")


# ---- many machines ----

def many():
    with Socled() as s:
        names = [f"m{n:03}" for n in range(MANY)]
        created = s.all([("POST", "/instances", machine(n)) for n in names])
        started = s.all([("POST", f"/instances/{n}/action", {"action": "start"}) for n in names])
        began = time.perf_counter()
        running = [i for i in s.ask("GET", "/instances")["list"] if i["state"] == "running"]
        listed = time.perf_counter() - began
        before = cpu(s.p.pid)
        time.sleep(5)
        idle = (cpu(s.p.pid) - before) / 5 * 100
        stopped = s.all([("POST", f"/instances/{n}/action", {"action": "stop", "force": True}) for n in names])
        deleted = s.all([("DELETE", f"/instances/{n}") for n in names])
        if len(running) != MANY:
            sys.exit(f"{len(running)} of {MANY} machines run")
        print(f"{MANY} machines of 32 MiB, no error: created in {created:.1f} s, started {started:.1f} s, listed {listed * 1000:.1f} ms, "
              f"stopped {stopped:.1f} s, deleted {deleted:.1f} s; socled beside them: {idle:.1f} % of a CPU")
        for name, value in (("create", created), ("start", started), ("stop", stopped)):
            figure(f"many-{name}", value, "s")


# ---- libvirt ----

class Libvirt:
    """A daemon of its own; its folders are empty ones (bench/host.sh has made the mount namespace)."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="libvirt")
        for folder in ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/run/libvirt", "/var/log/libvirt"):
            os.makedirs(folder, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
        os.makedirs("/run/libvirt", exist_ok=True)
        with open("/etc/libvirt/qemu.conf", "w", encoding="ascii") as f:
            f.write('security_driver = "none"\nuser = "root"\ngroup = "root"\ncgroup_controllers = []\nstdio_handler = "file"\nnamespaces = []\n'
                    "dynamic_ownership = 0\nremember_owner = 0\n")
        with open("/etc/libvirt/libvirtd.conf", "w", encoding="ascii") as f:
            f.write('auth_unix_rw = "none"\n')
        self.log = open(self.dir + "/log", "wb")
        self.p = subprocess.Popen(["libvirtd"], stdout=self.log, stderr=self.log)
        while not self.answers():
            if self.p.poll() is not None:
                sys.exit("libvirtd does not start: " + open(self.dir + "/log", encoding="utf-8").read()[-500:])
            time.sleep(0.1)
        return self

    def answers(self):
        with contextlib.suppress(subprocess.SubprocessError):
            self.run("list", stderr=subprocess.DEVNULL, timeout=5)
            return True
        return False

    def run(self, *words, timeout=60, **more):
        subprocess.run(["virsh", "-q", "-c", "qemu:///system", *words], stdout=subprocess.DEVNULL, timeout=timeout, check=True, **more)

    def define(self, name):
        path = f"{self.dir}/{name}.xml"
        with open(path, "w", encoding="ascii") as f:
            f.write(f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type>"
                    f"<kernel>{payload}</kernel></os><on_crash>destroy</on_crash><devices><emulator>/usr/bin/qemu-system-x86_64</emulator>"
                    f"<controller type='usb' model='none'/><memballoon model='none'/><serial type='file'><source path='{self.dir}/{name}.out'/></serial>"
                    "</devices></domain>")
        self.run("define", path)

    def __exit__(self, *_):
        left = subprocess.run(["virsh", "-q", "-c", "qemu:///system", "list", "--name"], capture_output=True, text=True, check=False).stdout.split()
        for name in left:
            subprocess.run(["virsh", "-q", "-c", "qemu:///system", "destroy", name], stdout=subprocess.DEVNULL, check=False)
        self.p.terminate()
        self.p.wait()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def timed(what):
    began = time.perf_counter()
    what()
    return (time.perf_counter() - began) * 1000


def life_of_ours(s):
    s.run("create", "life", "--kernel", payload, "--memory", "32M", "--engine", "soft", "--net", "none")
    s.run("start", "life")
    s.run("stop", "--force", "life")
    s.run("delete", "life")


def life_of_theirs(v):
    v.define("life")
    v.run("start", "life")
    v.run("destroy", "life")
    v.run("undefine", "life")


def libvirt():
    if not shutil.which("libvirtd") or not shutil.which("qemu-system-x86_64"):
        print("libvirt or QEMU is absent: nothing to compare with")
        return
    with Socled() as s, Libvirt() as v:
        s.all([("POST", "/instances", machine(f"m{n}")) for n in range(LISTED)])
        s.all([("POST", f"/instances/m{n}/action", {"action": "start"}) for n in range(LISTED)])
        for n in range(LISTED):
            v.define(f"m{n}")
            v.run("start", f"m{n}")
        print(f"{'':<30} {'socle ms':>9} {'libvirt ms':>11} {'times':>6}")
        for name, what, ours, theirs in (
                ("list", f"list, {LISTED} that run", lambda: s.run("list"), lambda: v.run("list")),
                ("life", "create, start, stop, delete", lambda: life_of_ours(s), lambda: life_of_theirs(v))):
            both = [(timed(ours), timed(theirs)) for _ in range(ROUNDS)]  # by turns: other work on the machine disturbs both
            a, b = (statistics.median(x[k] for x in both) for k in (0, 1))
            print(f"{what:<30} {a:9.1f} {b:11.1f} {b / a:6.1f}", flush=True)
            figure(f"{name}/libvirt", a / b, "ratio")


signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that what was started is ended, too
for part in sys.argv[3:]:
    {"watch": watch, "many": many, "libvirt": libvirt}[part]()
