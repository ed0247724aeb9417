#!/usr/bin/env python3
"""bench/restore.py: times restored machines until they say the character 2, for bench/restore.sh.

Usage: bench/restore.py clones SOCLE FILE N     milliseconds until N clones that are started at once have all said it
       bench/restore.py cold SOCLE FILE ROUNDS  the same of one whose file the host does not have in memory: the medians without and with the
                                                record of the pages that it will need, which is made here
"""

import os
import select
import signal
import statistics
import subprocess
import sys
import time

SECONDS = 60


class Machine:
    def __init__(self, socle, file, *more):
        self.process = subprocess.Popen([socle, "run", "--restore", file + ",clone", *more], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def until_it_speaks(self):
        end = time.monotonic() + SECONDS
        while select.select([self.process.stdout], [], [], max(end - time.monotonic(), 0))[0]:
            data = os.read(self.process.stdout.fileno(), 4096)
            if b"\2" in data:
                return
            if not data:
                break
        self.end()
        sys.exit("restore: a machine that says nothing")

    def end(self):
        while self.process.poll() is None:  # first it is the power button, which no guest here obeys
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.02)


def forget(file):
    """The host's memory has it no longer."""
    with open(file, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def clones(socle, file, n):
    start = time.monotonic()
    machines = [Machine(socle, file) for _ in range(n)]
    for m in machines:
        m.until_it_speaks()
    print(f"{(time.monotonic() - start) * 1000:.0f}")
    for m in machines:
        m.end()


def record(socle, file):
    m = Machine(socle, file, "--control", file + ".control")
    m.until_it_speaks()
    subprocess.run([socle, "ctl", file + ".control", "record-pages", file + ".pages"], check=True, stdout=subprocess.DEVNULL)
    m.end()


def once(socle, file):
    forget(file)
    start = time.monotonic()
    m = Machine(socle, file)
    m.until_it_speaks()
    took = time.monotonic() - start
    m.end()
    return took


def cold(socle, file, rounds):
    record(socle, file)
    pages, away = file + ".pages", file + ".away"
    without, recorded = [], []
    for _ in range(rounds):
        os.rename(pages, away)
        without.append(once(socle, file))
        os.rename(away, pages)
        recorded.append(once(socle, file))
    print(f"{statistics.median(without) * 1000:.1f} {statistics.median(recorded) * 1000:.1f}")


def main():
    what, socle, file, n = sys.argv[1:]
    {"clones": clones, "cold": cold}[what](socle, file, int(n))


main()
