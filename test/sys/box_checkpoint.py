"""test/sys/box_checkpoint.py: bundles for box_checkpoint_guest.bash, and the guest that it runs in.  box_checkpoint.py PROGRAMS TREE FOLDER [TEST…]"""

import json
import os
import shutil
import subprocess
import sys

from guest_vm import LIBRARIES, boot, copy_libraries, copy_podman, copy_programs, copy_rootfs, judge

# Counts into a file of its root; the shell keeps the number.
COUNT = "n=0; while :; do n=$((n+1)); echo $n >>/tmp/NAME; sleep 0.1; done"
SPEAK = "n=0; while :; do n=$((n+1)); echo said $n; sleep 0.1; done"
BUNDLES = {
    "count": {},
    "hard": {"resources": {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}}, "readonly": True},
    "speak": {"script": SPEAK},
    "tty": {"script": SPEAK, "terminal": True},
    "net": {"net": "/run/netns/one"},
    "net2": {"net": "/run/netns/two", "script": COUNT.replace("NAME", "net")},
    "refused": {},
    "joined": {"ipc": "/proc/1/ns/ipc"},
}


def copy_criu(disk):
    for name in ("criu", "tar"):
        shutil.copy(shutil.which(name), disk + "/bin")
        copy_libraries(shutil.which(name), disk + "/lib")
    os.makedirs(disk + "/usr/sbin")
    tables = os.path.realpath(shutil.which("iptables"))
    shutil.copy(tables, disk + "/usr/sbin")
    copy_libraries(tables, disk + "/lib")
    for name in ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore"):
        os.symlink(os.path.basename(tables), f"{disk}/usr/sbin/{name}")
    shutil.copytree(LIBRARIES + "xtables", disk + "/usr/lib/x86_64-linux-gnu/xtables")


def make_bundle(disk, box, name, what):
    folder = f"{disk}/bundles/{name}"
    os.makedirs(folder)
    subprocess.run([box, "spec", "--bundle", folder], check=True)
    with open(folder + "/config.json", encoding="utf-8") as f:
        spec = json.load(f)
    spec["root"] = {"path": "/mnt/rootfs", "readonly": what.get("readonly", False)}
    spec["process"].update(terminal=what.get("terminal", False), args=["sh", "-c", what.get("script", COUNT.replace("NAME", name))])
    spec["mounts"] += [{"destination": "/var/tmp", "source": "/mnt/shared", "options": ["rbind", "rw"]},
                       {"destination": "/tmp", "source": "/mnt/rootfs/tmp", "options": ["rbind", "rw"]}]
    spec["linux"]["resources"].update(what.get("resources", {}))
    for namespace in spec["linux"]["namespaces"]:
        if namespace["type"] in ("network", "ipc") and what.get(namespace["type"].replace("network", "net")):
            namespace["path"] = what[namespace["type"].replace("network", "net")]
    if name == "hard":
        script = "read -r state; cat >/run/test/hooks.new <<<ran; echo ran >>/run/test/hooks"
        spec["hooks"] = {"createRuntime": [{"path": "/bin/bash", "args": ["bash", "-c", script]}]}
    with open(folder + "/config.json", "w", encoding="utf-8") as f:
        json.dump(spec, f)


def main():
    programs, tree, folder, *tests = sys.argv[1:]
    disk = folder + "/disk"
    copy_programs(programs, ("socle-box", "socle-box-systemd", "socle-box-criu"), disk)
    copy_rootfs(disk)
    os.makedirs(disk + "/shared")
    copy_criu(disk)
    copy_podman(disk)
    for name, what in BUNDLES.items():
        make_bundle(disk, programs + "/socle-box", name, what)
    judge(boot(programs, tree, folder, disk, " ".join(["box_checkpoint_guest.bash", *tests])))


main()
