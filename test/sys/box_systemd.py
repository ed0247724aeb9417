"""test/sys/box_systemd.py: bundles for box_systemd_guest.bash, and the guest that it runs in.  box_systemd.py PROGRAMS TREE FOLDER [TEST…]"""

import json
import os
import shutil
import subprocess
import sys

from guest_vm import boot, copy_containerd, copy_podman, copy_programs, copy_rootfs, judge

USER = 1000
DBUS_USER = "/usr/lib/systemd/user/dbus."
# What each container is; its program is a script for busybox.
BUNDLES = {
    "memory": ({"memory": {"limit": 32 << 20, "swap": 32 << 20}}, "dd if=/dev/zero of=/dev/null bs=96M count=1 2>/dev/null; echo ended $?"),
    "pids": ({"pids": {"limit": 4}}, "sh -c 'for i in 1 2 3 4 5; do sleep 1000 & done; wait'; sleep 1000; true"),
    "cpu": ({"cpu": {"quota": 10000, "period": 100000}}, "while :; do :; done"),
    "cpuset": ({"cpu": {"cpus": "1", "mems": "0"}}, "grep Cpus_allowed_list /proc/self/status"),
    "life": ({"memory": {"limit": 64 << 20, "reservation": 16 << 20}, "cpu": {"shares": 2048, "quota": 50000, "period": 100000, "cpus": "0-1"},
              "pids": {"limit": 50}, "unified": {"memory.high": str(48 << 20)}}, "cat /proc/self/cgroup; sleep 1000"),
    "tree": ({"pids": {"limit": 50}}, "sleep 1000 & sleep 1000 & wait"),
    "plain": ({}, "sleep 1000"),
    "wrong": ({"memory": {"limit": 64 << 20}}, "true"),
    "path": ({}, "true"),
    "user": ({"memory": {"limit": 24 << 20, "swap": 24 << 20}, "pids": {"limit": 20}},
             "cat /proc/self/cgroup; dd if=/dev/zero of=/dev/null bs=96M count=1 2>/dev/null; echo ended $?"),
}
PATHS = {"life": "machine-box.slice:test:life", "path": "/a/b", "plain": "", "tree": "system.slice::tree"}
NOTES = {"life": {"org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.After": "['dbus.service']"},
         "wrong": {"org.systemd.property.NoSuchThing": "true"}}


def make_bundle(disk, box, name, resources, script):
    folder = f"{disk}/bundles/{name}"
    os.makedirs(folder)
    user = name == "user"
    subprocess.run([box, "spec", "--bundle", folder, *(["--rootless"] if user else [])], check=True)
    with open(folder + "/config.json", encoding="utf-8") as f:
        spec = json.load(f)
    spec["root"]["path"] = "/mnt/rootfs"
    spec["process"].update(terminal=False, args=["sh", "-c", script])
    spec["linux"].update(cgroupsPath=PATHS.get(name, f"system.slice:test:{name}"))
    spec["linux"].setdefault("resources", {}).update(resources)
    spec["annotations"] = NOTES.get(name, {})
    if user:
        spec["linux"]["cgroupsPath"] = "user.slice:test:user"
        for kind in ("uidMappings", "gidMappings"):
            spec["linux"][kind][0]["hostID"] = USER
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump(spec, f)


def make_disk(programs, disk):
    copy_programs(programs, ("socle-box", "socle-box-systemd"), disk)
    copy_rootfs(disk)
    copy_podman(disk)
    copy_containerd(disk)
    for kind in ("service", "socket"):
        if os.path.exists(DBUS_USER + kind):
            shutil.copy(DBUS_USER + kind, disk + "/lib")
    for name, (resources, script) in BUNDLES.items():
        make_bundle(disk, programs + "/socle-box", name, resources, script)


def main():
    programs, tree, folder, *tests = sys.argv[1:]
    make_disk(programs, folder + "/disk")
    judge(boot(programs, tree, folder, folder + "/disk", " ".join(["box_systemd_guest.bash", *tests])))


main()
