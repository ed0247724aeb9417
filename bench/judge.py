#!/usr/bin/env python3
"""bench/judge.py: compares a run's figures with the targets and adds them to the history.

Usage: bench/judge.py FIGURES HISTORY WHERE NAMES, called by bench/run.sh.  FIGURES has lines "NAME VALUE UNIT"; WHERE is "here"
or "lab"; NAMES are the measurements that were asked for.  Exit status 1: a target is missed, or has no figure.
"""

import datetime
import json
import os
import platform
import subprocess
import sys

# measurement, figure, at most, what it is
TARGETS = [
    ("boot", "boot/microvm", 0.60, "start to init's line, by QEMU microvm's time"),
    ("boot", "boot/microvm-rtc", 0.60, "the same, microvm with an RTC, for which the kernel waits else"),
    ("boot", "boot/q35", 0.50, "the same, by QEMU q35's time"),
    ("memory", "memory-socle-tap", 4096, "KiB beyond guest RAM, one disk and one tap"),
    ("memory", "memory-socle-user", 4096, "KiB beyond guest RAM, one disk and one user network"),
    ("restore", "restore-entry-256", 10.0, "ms wall from `socle run --restore` to the guest, 256 MiB"),
    ("restore", "restore-entry-1024", 10.0, "the same, 1 GiB"),
    ("restore", "restore-entry-4096", 10.0, "the same, 4 GiB"),
    ("restore", "restore-cpu-4096", 10.0, "ms of CPU time of socle-vm until there, 4 GiB"),
    ("restore", "restore-clones", 500, "ms until 20 clones run"),
    ("restore", "snapshot-pause", 50.0, "ms that an idle guest of 1 GiB stands still for a snapshot"),
    *(("image", f"image-{row}/{peer}", most, what)
      for row in ("read-scattered", "read-4k", "read-64k", "read-sequential", "write-scattered", "write-4k", "write-64k",
                  "write-sequential", "grow-scattered", "grow-4k", "grow-64k", "grow-sequential")
      for peer, most, what in (("qemu", 0.83, "qcow2, by qemu-img bench's time"), ("raw", 1.10, "qcow2, by our raw's time"))),
    *(("image", f"image-{copy}/qemu", 1.0, "convert, by qemu-img convert's time")
      for copy in ("raw-qcow2", "qcow2-raw", "raw-zstd", "zstd-raw")),
    ("daemon", "daemon-rss", 12.0, "MiB of socled when nothing runs"),
    ("daemon", "daemon-wakes", 0, "times that it is woken in 10 s, when nothing runs and nobody looks"),
    ("daemon", "daemon-list-1000", 20.0, "ms until all of 1,000 instances are listed over its socket"),
    ("daemon", "daemon-list-10000", 150.0, "the same, 10,000"),
    ("daemon", "daemon-socle-list-100", 15.0, "ms of `socle list`, 100 instances"),
    ("daemon", "daemon-launch", 150.0, "ms of `socle launch` until the machine runs, its process's own start included"),
    ("web", "web-first-load", 350, "KiB that the console in the browser loads at first"),
    ("web", "web-interactive", 1000, "ms until it can be used"),
    ("web", "web-performance-lost", 5.0, "points of 100, by the two above and by what shifts"),
    ("web", "web-accessibility-lost", 5.0, "points of 100, by axe's rules on each page"),
    ("web", "web-practice-lost", 5.0, "points of 100, by checks"),
    ("host", "host-watch-cpu", 5.0, "% of a CPU for 100 watchers of 100 events a second, beside the edits that make them"),
    ("host", "host-many-start", 60.0, "s until 200 machines of 32 MiB run"),
    ("host", "host-list/libvirt", 0.33, "`socle list`, by virsh's time"),
    ("host", "host-life/libvirt", 0.33, "create, start, stop, delete, by virsh's time"),
    ("start", "start-entry-here", 5.0, "ms wall from `socle run` to the first KVM_RUN"),
    ("start", "start-entry-here-cpu", 5.0, "ms of CPU time from exec of socle-vm to there"),
]


def git_revision(tree):
    def git(*words):
        done = subprocess.run(["git", "-C", tree, *words], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def read_figures(path):
    figures = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, value, unit = line.split()
            figures[name] = (float(value), unit)
    return figures


def add_to_history(path, figures, where):
    host = f"{platform.node()} {platform.release()} {os.cpu_count()} CPUs, {'the lab' if where == 'lab' else 'own KVM'}"
    head = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "revision": git_revision(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
        "host": host,
    }
    with open(path, "a", encoding="utf-8") as file:
        for name, (value, unit) in figures.items():
            file.write(json.dumps({**head, "figure": name, "value": value, "unit": unit}) + "\n")


def main():
    figures_path, history, where, names = sys.argv[1:]
    figures = read_figures(figures_path)
    add_to_history(history, figures, where)

    missed = 0
    print(f"\n{'target':<22}{'figure':>9}{'at most':>9}  {'':<7}what")
    for measurement, name, at_most, what in TARGETS:
        if measurement not in names.split():
            continue
        value = figures[name][0] if name in figures else None
        verdict = "none" if value is None else "met" if value <= at_most else "MISSED"
        missed += verdict != "met"
        print(f"{name:<22}{'-' if value is None else f'{value:g}':>9}{at_most:>9g}  {verdict:<7}{what}")
    for name in figures:
        if name.startswith("failed-"):
            print(f"bench: {name[len('failed-'):]} failed with status {figures[name][0]:g}")
            missed += 1
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
