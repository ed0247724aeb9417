"""test/sys/guest_vm.py: for tests that need a Debian with systemd and all controllers: a disk of programs for the sample guest, which is booted under the
software engine, runs a script of that disk, and says how many of its tests passed."""

import json
import os
import re
import shutil
import subprocess
import sys

LIBRARIES = "/usr/lib/x86_64-linux-gnu/"


def copy_libraries(program, folder):
    """What the guest lacks: all that the loader would find here."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r"=> (/\S+)", said):
        if not os.path.basename(path).startswith(("libc.so", "libm.so")):
            shutil.copy(path, folder)


def copy_programs(programs, names, disk, loaded=()):
    """`loaded`: libraries that they load while they run."""
    for name in ("bin", "lib"):
        os.makedirs(f"{disk}/{name}", exist_ok=True)
    for name in names:
        shutil.copy(f"{programs}/{name}", disk + "/bin")
        copy_libraries(f"{programs}/{name}", disk + "/lib")
    for name in loaded:
        shutil.copy(LIBRARIES + name, disk + "/lib")
        copy_libraries(LIBRARIES + name, disk + "/lib")


def copy_podman(disk):
    """Where this machine has it."""
    if not all(shutil.which(name) for name in ("podman", "conmon")):
        return
    os.makedirs(disk + "/etc/containers")
    for name in ("podman", "conmon"):
        shutil.copy(shutil.which(name), disk + "/bin")
        copy_libraries(shutil.which(name), disk + "/lib")
    with open(disk + "/etc/containers/policy.json", "w", encoding="utf-8") as f:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, f)


def copy_containerd(disk):
    """Where this machine has it."""
    programs = [shutil.which(name) for name in ("containerd", "ctr", "containerd-shim-runc-v2")]
    if not all(programs):
        return
    for path in programs:
        shutil.copy(path, disk + "/bin")
        copy_libraries(path, disk + "/lib")
    with open(disk + "/containerd.toml", "w", encoding="utf-8") as f:
        f.write('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", '
                '"io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]\n')


def copy_rootfs(disk):
    """A root of busybox at /mnt/rootfs."""
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc", "run", "var/tmp"):
        os.makedirs(f"{disk}/rootfs/{name}")
    shutil.copy("/bin/busybox", disk + "/rootfs/bin/busybox")
    for name in "sh sleep cat grep dd echo true seq id nproc free sed kill wc tr".split():
        os.symlink("busybox", f"{disk}/rootfs/bin/{name}")


def boot(programs, tree, folder, disk, script, memory="1024M", more=""):
    """Boots with the folder `disk`, which is gone afterwards, as /mnt; runs `script` there; what the console said.  `more`: for the kernel's command line."""
    guest, here = tree + "/.cache/guest", tree + "/test/sys/"
    for name in ("guest_vm.bash", script.split()[0]):
        shutil.copy(here + name, disk)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", disk, "-E", "root_owner=0:0", folder + "/disk.img", "1G"], check=True)
    shutil.rmtree(disk)
    subprocess.run(["cp", "--sparse=always", guest + "/root.img", folder + "/root.img"], check=True)
    run = f"/bin/sh -c 'mount /dev/vdb /mnt && exec /bin/bash /mnt/{script}'"
    append = f'console=ttyS0 quiet root=/dev/vda rw panic=-1 systemd.unified_cgroup_hierarchy=1 {more} systemd.run="{run}"'
    command = [programs + "/socle", "run", "--engine", "soft", "--cpus", "2", "--memory", memory, "--kernel", guest + "/vmlinuz", "--initrd", guest + "/initrd",
               "--append", append, "--disk", folder + "/root.img", "--disk", folder + "/disk.img", "--net", "none", "--console", "stdio", "--timeout", "550"]
    said = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace") as vm:
        for line in vm.stdout:
            print(line.rstrip(), flush=True)
            said.append(line.strip())
    return said


def judge(said, boots=1):
    verdict = [m for m in (re.search(r"guest_vm: (\d+) passed, (\d+) failed", line) for line in said) if m]
    if len(verdict) != boots or any(int(m[1]) == 0 or int(m[2]) != 0 for m in verdict):
        sys.exit("not all passed in the guest")
