#!/usr/bin/env python3
"""bench/soft_run.py: runs the loads of bench/soft_guest once under one command, and prints the CPU seconds that each took.

Usage: bench/soft_run.py LIMIT COMMAND...; the command's input and output are the guest's console.  CPU time is that of the command
and all processes below it, from the moment the guest is let go to its answer.  Lines "NAME SECONDS CHECK"; "smp ONE TWO" as the
guest says it.  Exit status 1: it did not come to its end in LIMIT seconds.
"""

import os
import select
import subprocess
import sys
import time


def below(pid):
    """pid and its descendants."""
    yield pid
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
            for child in file.read().split():
                yield from below(int(child))


def cpu_seconds(pid):
    """Of all threads that are there; children that a native run has waited for are counted in clock ticks."""
    total = 0.0
    for process in below(pid):
        for task in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0]) / 1e9
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
    return total


def lines(child, end):
    """The console's lines, until it closes or time is up."""
    rest = b""
    while time.monotonic() < end:
        if not select.select([child.stdout], [], [], 1)[0]:
            continue
        got = os.read(child.stdout.fileno(), 4096)
        if not got:
            return
        *whole, rest = (rest + got).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").strip()


def follow(child, limit):
    start = 0.0
    for line in lines(child, time.monotonic() + limit):
        words = line.split()
        if words[:1] == ["ready"]:
            start = cpu_seconds(child.pid)
            child.stdin.write(b"\n")
            child.stdin.flush()
        elif words[:1] == ["done"] and len(words) == 3:
            print(words[1], f"{cpu_seconds(child.pid) - start:.4f}", words[2], flush=True)
        elif words[:1] == ["smp"]:
            print(line, flush=True)
        elif words == ["end"]:
            return True
    return False


def main():
    with subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        ended = follow(child, float(sys.argv[1]))
        try:
            child.wait(10 if ended else 0)
        except subprocess.TimeoutExpired:
            child.kill()
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
