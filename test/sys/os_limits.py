"""test/sys/os_limits.py: programs and an image for os_limits_guest.bash, and the guest that it runs in.  os_limits.py PROGRAMS TREE FOLDER [TEST…]"""

import json
import shutil
import subprocess
import sys

from guest_vm import boot, copy_programs, copy_rootfs, judge


def nest(box, rootfs):
    """The runtime and a bundle, for a container in the container."""
    shutil.copy(box, rootfs + "/bin")
    shutil.copytree(rootfs, rootfs + "/nested/rootfs", symlinks=True, ignore=shutil.ignore_patterns("socle-box", "nested"))
    subprocess.run([box, "spec", "--bundle", rootfs + "/nested"], check=True)
    with open(rootfs + "/nested/config.json", encoding="utf-8") as f:
        spec = json.load(f)
    for name, script in (("config.json", "echo in it $$"), ("big.json", "dd if=/dev/zero of=/dev/null bs=96M count=1 2>/dev/null; echo ended $?")):
        spec["process"].update(terminal=False, args=["sh", "-c", script])
        with open(f"{rootfs}/nested/{name}", "w", encoding="utf-8") as f:
            json.dump(spec, f)


def main():
    programs, tree, folder, *tests = sys.argv[1:]
    disk = folder + "/disk"
    copy_programs(programs, ("socle", "socle-box", "socle-os", "socle-unpack", "socled"), disk, ("libwebsockets-evlib_uv.so", "libnftables.so.1"))
    copy_rootfs(disk)
    nest(programs + "/socle-box", disk + "/rootfs")
    subprocess.run(["tar", "-C", disk + "/rootfs", "--owner=0", "--group=0", "-cf", disk + "/rootfs.tar", "."], check=True)
    shutil.rmtree(disk + "/rootfs")
    judge(boot(programs, tree, folder, disk, " ".join(["os_limits_guest.bash", *tests])))


main()
