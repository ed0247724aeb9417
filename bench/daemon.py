#!/usr/bin/env python3
"""bench/daemon.py: measures for bench/daemon.sh: FOLDER-OF-PROGRAMS PAYLOAD ROUNDS"""

import glob
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

programs, payload, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
QUIET = 10  # seconds


def figure(name, value, unit):
    if os.environ.get("BENCH_FIGURES"):
        with open(os.environ["BENCH_FIGURES"], "a", encoding="ascii") as f:
            f.write(f"daemon-{name} {value:g} {unit}\n")


def fill(folder, n):
    """Records of n instances that are off, as socled writes them."""
    db = sqlite3.connect(folder + "/records.db")
    for i in range(1, n + 1):
        record = {"name": f"web-{i:05}", "kernel": "/k", "uuid": f"00000000-0000-4000-a000-{i:012}", "memory": 1 << 30,
                  "nets": [{"kind": "user", "mac": "52:54:00:00:00:01"}]}
        for key, value in ((f"instance/i{i}", record), (f"name/web-{i:05}", {"id": f"i{i}"}), (f"run/i{i}", {"state": "off"})):
            db.execute("INSERT INTO record VALUES (?, ?, 1)", (key, json.dumps(value)))
    db.execute("INSERT INTO record VALUES ('next', ?, 1)", (json.dumps({"next": n + 1}),))
    db.commit()
    db.close()


def start(folder):
    p = subprocess.Popen([programs + "/socled", "--dir", folder])
    while True:
        try:
            fetch(folder, 1)
            return p
        except OSError:
            time.sleep(0.01)


def fetch(folder, limit):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(folder + "/api.sock")
        s.sendall(f"GET /1.0/instances?limit={limit} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        size = 0
        while data := s.recv(1 << 20):
            size += len(data)
        return size


def cpu(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return sum(map(int, f.read().split()[13:15])) / os.sysconf("SC_CLK_TCK")


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) / 1024


def timed(what):
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        what()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def wakes(pid):
    """How often its threads have been woken."""
    n = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="ascii") as f:
            n += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M)[1])
    return n


def idle(pid):
    time.sleep(3)  # what it still had to do at first
    before = wakes(pid)
    time.sleep(QUIET)
    print(f"with nothing that runs, and nobody who looks: {rss(pid):.1f} MiB; woken {wakes(pid) - before} times in {QUIET} s")
    figure("rss", rss(pid), "MiB")
    figure("wakes", wakes(pid) - before, "times")


def lists():
    print(f"{'instances':>9} {'RSS MiB':>8} {'list ms':>8} {'CPU ms':>7} {'socle list ms':>14} {'CPU ms':>7}")
    for n in (0, 100, 1000, 10000):
        with tempfile.TemporaryDirectory() as folder:
            start(folder).terminate()
            while subprocess.run(["flock", "-n", folder + "/lock", "true"], check=False).returncode:
                time.sleep(0.01)
            fill(folder, n)
            p = start(folder)
            memory = rss(p.pid)
            before = cpu(p.pid)
            api = timed(lambda: fetch(folder, 20000))
            served = (cpu(p.pid) - before) / rounds * 1000
            own = resource.getrusage(resource.RUSAGE_CHILDREN)
            cli = timed(lambda: subprocess.run([programs + "/socle", "list", "--dir", folder], stdout=subprocess.DEVNULL, check=True))
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = (now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime) / rounds * 1000
            print(f"{n:9} {memory:8.1f} {api:8.1f} {served:7.1f} {cli:14.1f} {spent:7.1f}", flush=True)
            figure(f"list-{n}", api, "ms")
            figure(f"socle-list-{n}", cli, "ms")
            if n == 0:
                idle(p.pid)
            p.terminate()
            p.wait()


def launch():
    """From a ready image with a disk until the machine runs: what socled takes, and all that the machine's process needs before its guest does."""
    with tempfile.TemporaryDirectory() as folder:
        p = start(folder)

        def socle(*words):
            subprocess.run([programs + "/socle", *words, "--dir", folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

        subprocess.run([programs + "/socle", "image", "create", folder + "/disk", "10G"], stdout=subprocess.DEVNULL, check=True)
        socle("pool", "import", "ready", "--kernel", payload, "--disk", folder + "/disk")
        names = iter(range(10**6))
        try:
            ms = timed(lambda: socle("launch", "ready", f"m{next(names)}", "--memory", "64M", "--engine", "soft", "--net", "none"))
        finally:
            for n in range(next(names)):
                socle("delete", "--force", f"m{n}")
            p.terminate()
            p.wait()
    print(f"socle launch, from an image with a disk of 10 GiB to a machine that runs: {ms:.1f} ms, the start of its process included")
    figure("launch", ms, "ms")


signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
lists()
launch()
