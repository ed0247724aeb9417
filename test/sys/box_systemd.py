"""test/sys/box_systemd.py: makes a disk of programs and bundles, boots the sample guest with it, and judges what box_systemd_guest.bash says there.
box_systemd.py PROGRAMS TREE FOLDER [TEST…]"""

import json
import os
import re
import shutil
import subprocess
import sys

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


def copy_libraries(program, folder):
    """What the guest lacks: all that the loader would find here."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r"=> (/\S+)", said):
        if not os.path.basename(path).startswith(("libc.so", "libm.so")):
            shutil.copy(path, folder)


def copy_podman(disk):
    if not all(shutil.which(name) for name in ("podman", "conmon")):
        return
    os.makedirs(disk + "/etc/containers")
    for name in ("podman", "conmon"):
        shutil.copy(shutil.which(name), disk + "/bin")
        copy_libraries(shutil.which(name), disk + "/lib")
    with open(disk + "/etc/containers/policy.json", "w", encoding="utf-8") as f:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, f)


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


def make_disk(programs, tree, folder):
    disk = folder + "/disk"
    for name in ("bin", "lib", "bundles", "rootfs/bin", *(f"rootfs/{n}" for n in ("proc", "sys", "dev", "tmp", "etc", "run", "var/tmp"))):
        os.makedirs(f"{disk}/{name}")
    shutil.copy("/bin/busybox", disk + "/rootfs/bin/busybox")
    for name in "sh sleep cat grep dd echo true seq id".split():
        os.symlink("busybox", f"{disk}/rootfs/bin/{name}")
    for name in ("socle-box", "socle-box-systemd"):
        shutil.copy(f"{programs}/{name}", disk + "/bin")
    copy_libraries(programs + "/socle-box-systemd", disk + "/lib")
    copy_podman(disk)
    for kind in ("service", "socket"):
        if os.path.exists(DBUS_USER + kind):
            shutil.copy(DBUS_USER + kind, disk + "/lib")
    for name, (resources, script) in BUNDLES.items():
        make_bundle(disk, programs + "/socle-box", name, resources, script)
    shutil.copy(tree + "/test/sys/box_systemd_guest.bash", disk + "/run.bash")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", disk, "-E", "root_owner=0:0", folder + "/disk.img", "512M"], check=True)
    shutil.rmtree(disk)


def boot(programs, tree, folder, tests):
    guest = tree + "/.cache/guest"
    shutil.copyfile(guest + "/root.img", folder + "/root.img") if not shutil.which("cp") else subprocess.run(
        ["cp", "--sparse=always", guest + "/root.img", folder + "/root.img"], check=True)
    run = f"/bin/sh -c 'mount /dev/vdb /mnt && exec /bin/bash /mnt/run.bash {' '.join(tests)}'"
    append = f'console=ttyS0 quiet root=/dev/vda rw panic=-1 systemd.unified_cgroup_hierarchy=1 systemd.run="{run}"'
    command = [programs + "/socle", "run", "--engine", "soft", "--cpus", "2", "--memory", "1024M", "--kernel", guest + "/vmlinuz", "--initrd", guest + "/initrd",
               "--append", append, "--disk", folder + "/root.img", "--disk", folder + "/disk.img", "--net", "none", "--console", "stdio", "--timeout", "500"]
    said = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as vm:
        for line in vm.stdout:
            print(line.rstrip(), flush=True)
            said.append(line.strip())
    return said


def main():
    programs, tree, folder, *tests = sys.argv[1:]
    make_disk(programs, tree, folder)
    said = boot(programs, tree, folder, tests)
    verdict = [m for m in (re.search(r"box_systemd: (\d+) passed, (\d+) failed", line) for line in said) if m]
    if len(verdict) != 1 or int(verdict[0][1]) == 0 or int(verdict[0][2]) != 0:
        sys.exit("box_systemd: not all passed in the guest")


main()
