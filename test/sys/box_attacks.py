"""test/sys/box_attacks.py: attacks on container runtimes: each test does what the original did."""

import os
import subprocess
import sys

from box_bundle import LIMIT, check, has, passes


def test_cve_2019_5736(b):
    """The entry point is our own binary through /proc/self/exe, or a script whose interpreter is; it opens it for writing."""
    has("not followed", b.run("/proc/self/exe").stderr, "/proc/self/exe")
    with open(b.rootfs + "/bin/script", "w", encoding="utf-8") as f:
        f.write("#!/proc/self/exe\n")
    os.chmod(b.rootfs + "/bin/script", 0o755)
    with open(b.box, "rb") as f:
        before = f.read()
    r = b.run("/bin/script")
    check("it does not become a container's program", r.returncode != 0, True)
    # From inside, while an exec of ours is in its namespaces: all that has our name is looked at and written to.
    b.spec["process"]["capabilities"] = {k: ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"] for k in ("bounding", "effective", "permitted")}
    b.create("sh", "-c", "while :; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] || { echo x >>$p/exe && echo WROTE; ls -l $p/exe; }; done; done 2>/dev/null")
    b("start", "c")
    for _ in range(30):
        b("exec", "c", "true")
    b("delete", "--force", "c")
    check("nothing was written", "WROTE" in b.output(), False)
    check("the host's file was not even seen", b.box in b.output(), False)
    with open(b.box, "rb") as f:
        check("our binary", f.read() == before, True)


def test_cve_2024_21626(b):
    """A working directory, or a descriptor, of the host that is still open."""
    for fd in range(3, 16):
        b.spec["process"]["cwd"] = f"/proc/self/fd/{fd}"
        check(f"cwd {fd}", b.run("pwd").returncode, 1)
    os.symlink("/proc/self/fd/7", b.rootfs + "/tmp/link")
    b.spec["process"]["cwd"] = "/tmp/link"
    check("by a link", b.run("pwd").returncode, 1)


def test_no_descriptors(b):
    check("0 to 2, and the one of ls", len(b.run("ls", "/proc/self/fd").stdout.split()), 4)
    b.create("sleep", "100")
    b("start", "c")
    check("in an exec", len(b("exec", "c", "ls", "/proc/self/fd").stdout.split()), 4)
    b("delete", "--force", "c")


def outside(b):
    """A folder of the host that no container may touch."""
    os.makedirs(b.folder + "/host/dir")
    return b.folder + "/host"


def test_made_in_a_chroot(b):
    """The root of the mount namespace is not the container's when the runtime was in a chroot: an exec is still in the container."""
    with open(b.rootfs + "/inside", "w", encoding="utf-8") as f:
        f.write("x")
    b.write("sleep", "100")
    script = 'mount --rbind / "$1" && cd "$1/$2" && exec chroot "$1" sh -c \'cd "$1"; shift; "$@" create c >/dev/null 2>&1 && "$@" start c && "$@" exec c ls / && "$@" exec c cat /inside\' sh "$2" "$3" --root "$4"'
    os.makedirs(b.folder + "/chroot")
    r = subprocess.run(["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", b.folder + "/chroot", b.folder, b.box, b.state],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    b("delete", "--force", "c")
    check("status " + r.stderr, r.returncode, 0)
    check("where it is", ("inside" in r.stdout.split(), "home" in r.stdout.split()), (True, False))


def test_cve_2021_30465(b):
    """Destinations that are links, and become links while we mount."""
    host = outside(b)
    b.spec["root"]["readonly"] = False
    os.symlink(host, b.rootfs + "/trap")
    os.symlink("../../../../../../../.." + host, b.rootfs + "/up")
    for at in ("/trap/dir", "/up/dir", "/up/new"):
        b.spec["mounts"] = b.first["mounts"] + [{"destination": at, "type": "tmpfs", "source": "t"}]
        b.run("touch", at + "/x")
        check(f"the host's folder after {at}", sorted(os.listdir(host)) + os.listdir(host + "/dir"), ["dir"])
    b.spec["mounts"] = b.first["mounts"] + [{"destination": "/swap/dir", "type": "tmpfs", "source": "t"}]
    swap = ("import os,sys\nos.chdir(sys.argv[1])\nos.makedirs('real/dir',exist_ok=True)\nos.symlink('real','swap')\nprint(flush=True)\nwhile 1:\n for t in ('real',sys.argv[2]):\n"
            "  os.symlink(t,'n'); os.rename('n','swap')\n")
    with subprocess.Popen([sys.executable, "-c", swap, b.rootfs, host], stdout=subprocess.PIPE) as racer:
        try:
            racer.stdout.readline()
            for _ in range(25):
                b.run("true")
        finally:
            racer.kill()
    check("the host's folder after a race", sorted(os.listdir(host)) + os.listdir(host + "/dir"), ["dir"])
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        check("no mount came out", host in f.read(), False)


def test_links_for_proc(b):
    """An image whose /proc, /sys or /dev is a link to a look-alike."""
    for name in ("proc", "sys", "dev"):
        os.rename(f"{b.rootfs}/{name}", f"{b.rootfs}/real-{name}")
        os.symlink(f"real-{name}", f"{b.rootfs}/{name}")
        has(name, b.run("true").stderr, f"'/{name}' in the root must be a real directory")
        os.unlink(f"{b.rootfs}/{name}")
        os.rename(f"{b.rootfs}/real-{name}", f"{b.rootfs}/{name}")


def test_cve_2024_45310(b):
    """A link to nothing where a mount point has to be made."""
    host = outside(b)
    b.spec["root"]["readonly"] = False
    os.symlink(host + "/made", b.rootfs + "/dangling")
    for kind, source in (("bind", "/etc/passwd"), ("tmpfs", "t")):
        b.spec["mounts"] = b.first["mounts"] + [{"destination": "/dangling", "type": kind, "source": source}]
        check(kind, b.run("true").returncode, 1)
    check("nothing was made", sorted(os.listdir(host)), ["dir"])


def test_cve_2025_31133(b):
    """The image's /dev/null is another file, which would be bound over what is to be hidden, and be writable."""
    b.spec["mounts"] = [m for m in b.spec["mounts"] if not m["destination"].startswith("/dev")]
    b.spec["root"]["readonly"] = False
    os.symlink("/proc/sys/kernel/core_pattern", b.rootfs + "/dev/null")
    b.spec["linux"]["maskedPaths"] = ["/proc/timer_list"]
    passes(b, "stat -c %F,%t,%T /proc/timer_list; cat /proc/timer_list", "character special file,1,3")


def test_cve_2025_52565(b):
    """/dev/console and the names in /dev/pts are links when the terminal is bound."""
    host = outside(b)
    with open(host + "/file", "w", encoding="utf-8") as f:
        f.write("same")
    os.symlink(host + "/file", b.rootfs + "/dev/console")
    b.spec["mounts"] = [m for m in b.spec["mounts"] if m["destination"] != "/dev"]
    b.spec["process"]["terminal"] = True
    b.spec["linux"]["devices"] = []
    b.write("sh", "-c", "echo x >/dev/console; echo done")
    subprocess.run(["script", "-qec", " ".join(b.command("run", "c")), "/dev/null"], cwd=b.folder, capture_output=True, timeout=LIMIT,
                   check=False, input=b"")
    with open(host + "/file", encoding="utf-8") as f:
        check("the host's file", f.read(), "same")


def test_cve_2025_52881(b):
    """The image's /proc holds files of its own; a sysctl is still written to the kernel's, and never to what a link names."""
    host = outside(b)
    b.spec["mounts"] = [m for m in b.spec["mounts"] if m["destination"] != "/proc"] + [
        {"destination": "/proc", "type": "tmpfs", "source": "t"},
        {"destination": "/kernel", "type": "proc", "source": "proc"}]
    os.makedirs(b.rootfs + "/kernel")
    b.spec["linux"].update({"sysctl": {"net.ipv4.ip_unprivileged_port_start": "77"}, "maskedPaths": [], "readonlyPaths": []})
    passes(b, "cat /kernel/sys/net/ipv4/ip_unprivileged_port_start; ls /proc", "77")
    check("the host's folder", sorted(os.listdir(host)), ["dir"])


def test_capabilities(b):
    """CVE-2022-29162: nothing inheritable; each set is what was asked for."""
    b.spec["process"]["capabilities"] = {"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"]}
    passes(b, "grep Cap /proc/self/status | cut -f2", "0000000000000000\n0000000000000001\n0000000000000001\n0000000000000021\n0000000000000000")
    b.spec["process"]["capabilities"].update({"inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"]})
    b.spec["process"]["user"] = {"uid": 9, "gid": 9}
    passes(b, "grep CapEff /proc/self/status | cut -f2", "0000000000000001")
    b.spec["process"]["capabilities"]["bounding"] = ["CAP_NONE"]
    has("unknown", b.run("true").stderr, "'CAP_NONE' is unknown")


def test_hostile_config(b):
    def refused(text, part):
        with open(b.folder + "/config.json", "w", encoding="utf-8") as f:
            f.write(text)
        r = b("run", "c")
        check("status", r.returncode, 1)
        has("message", r.stderr, part)
    refused("", "config.json")
    refused("[" * 100000, "nested deeper")
    refused("{}", "missing")
    refused('{"ociVersion":"1.0.0","ociVersion":"1.0.0"}', "duplicate")
    refused(" " * (5 << 20), "File too large")
    refused('{"ociVersion":"2.0.0","root":{"path":"x"},"process":{"args":["x"],"cwd":"/"}}', "1.x")
