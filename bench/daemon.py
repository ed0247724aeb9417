#!/usr/bin/env python3
"""bench/daemon.py: measures for bench/daemon.sh: FOLDER-OF-PROGRAMS ROUNDS"""

import json
import os
import resource
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

programs, rounds = sys.argv[1], int(sys.argv[2])


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


print(f"{'instances':>9} {'RSS MiB':>8} {'list ms':>8} {'CPU ms':>7} {'socle list ms':>14} {'CPU ms':>7}")
for n in (0, 1000, 10000):
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
        p.terminate()
        p.wait()
