"""test/sys/box_bundle.py: bundles for tests of socle-box: a root of busybox, a config.json, and what is on the host before and after."""

import copy
import json
import os
import shutil
import subprocess
import time

APPLETS = "sh true false ls cat ps id mount sleep hostname echo env head ip test kill readlink dd touch pwd tty stat mknod ulimit grep seq".split()
LIMIT = 30  # seconds, for each command


class Bundle:
    """A folder with a root file system, and `spec`, which `write` makes its config.json."""

    def __init__(self, box, folder):
        self.ids = {"c", "d"}  # of its containers
        self.box, self.folder, self.rootfs = box, folder, os.path.join(folder, "rootfs")
        self.state = os.path.join(folder, "state")
        for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "root"):
            os.makedirs(os.path.join(self.rootfs, name))
        shutil.copy("/bin/busybox", os.path.join(self.rootfs, "bin/busybox"))
        for name in APPLETS:
            os.symlink("busybox", os.path.join(self.rootfs, "bin", name))
        subprocess.run([box, "spec", "--bundle", folder], check=True, timeout=LIMIT)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
            self.first = json.load(f)
        self.first["process"]["terminal"] = False
        self.reset()

    def reset(self):
        self.spec = copy.deepcopy(self.first)
        return self.spec

    def write(self, *args):
        if args:
            self.spec["process"]["args"] = list(args)
        with open(os.path.join(self.folder, "config.json"), "w", encoding="utf-8") as f:
            json.dump(self.spec, f)

    def command(self, *words):
        return [self.box, "--root", self.state, *words]

    def __call__(self, *words, **more):
        """Runs a command of socle-box in the bundle; its CompletedProcess."""
        more = {"input": "", "capture_output": True, **more}
        if "stdin" in more:
            del more["input"]
        return subprocess.run(self.command(*words), cwd=self.folder, text=True, timeout=LIMIT, check=False, **more)

    def run(self, *args, name="c", options=()):
        """One container from begin to end."""
        self.write(*args)
        return self("run", *options, name)

    def create(self, *args, name="c", options=(), **more):
        """As engines do: its output goes where it does not hold us up."""
        self.write(*args)
        with open(os.path.join(self.folder, "output"), "w", encoding="utf-8") as out:
            return self("create", *options, name, capture_output=False, stdout=out, stderr=out, **more)

    def output(self):
        with open(os.path.join(self.folder, "output"), encoding="utf-8") as f:
            return f.read()

    def status(self, name="c"):
        return json.loads(self("state", name).stdout)["status"]


def cgroup_root():
    return next(p for p in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if os.path.exists(p + "/cgroup.procs") and os.path.exists(p + "/cgroup.controllers"))


def traces(bundle):
    """All that a container could leave on the host: mounts, cgroups, processes (and with them namespaces), state, files of the bundle."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        found = {"mount " + line.split(" ", 4)[4] for line in f}
    names = {"socle-box-" + i for i in bundle.ids}
    for folder, _, _ in os.walk(cgroup_root()):
        if os.path.basename(folder) in names:
            found.add("cgroup " + folder)
    ours = {os.stat(f).st_ino for f in (bundle.rootfs + "/bin/busybox", bundle.box)}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            exe = os.stat(f"/proc/{pid}/exe")
        except OSError:
            continue
        if exe.st_ino in ours:
            found.add(f"process {pid}")
    for folder, folders, files in os.walk(bundle.folder):
        found.update("file " + os.path.join(folder, name) for name in folders + files)
    return found


def check(what, got, want):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}")


def has(what, text, part):
    if part not in text:
        raise AssertionError(f"{what}: {part!r} is not in {text!r}")


def until(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not in time: {what}")
        time.sleep(0.01)


def passes(b, script, want="", status=0, **more):
    r = b.run("sh", "-c", script, **more)
    check(f"status of {script!r} ({r.stderr})", r.returncode, status)
    check(f"output of {script!r}", r.stdout.strip(), want)
