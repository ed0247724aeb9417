"""test/sys/installed.py: what `make install` brings, and the guest that installed_guest.bash uses it in.  installed.py BUILD TREE FOLDER [TEST…]"""

import os
import shutil
import subprocess
import sys

from guest_vm import boot, copy_libraries, copy_programs, copy_rootfs, judge

PREFIX = "/usr/local"
UNITS = ("socle-machines.service", "socle-shutdown.service", "socled.service", "socled.socket")
INSTALLED = sorted(
    [f"bin/{name}" for name in ("socle", "socle-box")]
    + [f"libexec/socle/{name}" for name in ("socle-box-criu", "socle-box-systemd", "socle-box-vm", "socle-guest", "socle-more", "socle-os", "socle-share", "socle-unpack", "socle-vm", "socled")]
    + [f"lib/systemd/{manager}/{unit}" for manager in ("system", "user") for unit in UNITS] + ["lib/systemd/network/00-socle.network", "share/man/man7/socle-api.7", "share/man/man8/socled.8"]
    + [f"share/{name}" for program in ("socle", "socle-box")
       for name in (f"man/man1/{program}.1", f"bash-completion/completions/{program}.bash", f"zsh/site-functions/_{program}",
                    f"fish/vendor_completions.d/{program}.fish")])


def files(stage):
    return sorted(os.path.relpath(os.path.join(folder, name), stage + PREFIX) for folder, _, names in os.walk(stage) for name in names)


def install(build, stage):
    """As `make install` does it; all that there is to be, and each a new file, as who runs the old one goes on with that."""
    command = ["meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", stage]
    subprocess.run(command, check=True)
    assert files(stage) == INSTALLED, (files(stage), INSTALLED)
    before = [os.open(f"{stage}{PREFIX}/{name}", os.O_RDONLY) for name in INSTALLED]
    subprocess.run(command, check=True)
    for fd, name in zip(before, INSTALLED):
        now = os.stat(f"{stage}{PREFIX}/{name}")
        assert os.fstat(fd).st_ino != now.st_ino, f"{name} was written over"
        assert now.st_size > 0 and now.st_mode & 0o444 == 0o444 and (now.st_mode & 0o111 == 0o111) == ("/socle/" in name or name.startswith("bin/")), name
        os.close(fd)


def main():
    build, tree, folder, *tests = sys.argv[1:]
    disk = folder + "/disk"
    stage = disk + "/stage"
    copy_programs(build + "/src/cmd", (), disk, ("libwebsockets-evlib_uv.so", "libnftables.so.1", "libslirp.so.0"))
    install(build, stage)
    for name in INSTALLED:
        if name.startswith(("bin/", "libexec/")):
            copy_libraries(f"{stage}{PREFIX}/{name}", disk + "/lib")
    shutil.copy("/bin/busybox", disk + "/bin")
    shutil.copy("/usr/sbin/dnsmasq", disk + "/bin")
    copy_libraries("/usr/sbin/dnsmasq", disk + "/lib")
    subprocess.run([tree + "/test/payload/build.sh", folder + "/payload", tree + "/test/payload/heart.S"], check=True)
    shutil.copy(folder + "/payload/heart", disk)
    copy_rootfs(disk)
    for name in ("ping", "hostname"):
        os.symlink("busybox", f"{disk}/rootfs/bin/{name}")
    subprocess.run(["tar", "-C", disk + "/rootfs", "--owner=0", "--group=0", "-cf", disk + "/rootfs.tar", "."], check=True)
    shutil.rmtree(disk + "/rootfs")
    # A Debian as it boots by itself, and the script beside it.
    more = " ".join(["systemd.unit=multi-user.target", "systemd.wants=kernel-command-line.service", "systemd.run_success_action=none",
                     "systemd.run_failure_action=none", "systemd.mask=serial-getty@ttyS0.service"])
    judge(boot(f"{build}/src/cmd", tree, folder, disk, " ".join(["installed_guest.bash", *tests]), "2048M", more), boots=2)


main()
