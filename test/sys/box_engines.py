"""test/sys/box_engines.py: socle-box under the engines that use such a runtime.  box_engines.py BOX FOLDER [ENGINE…]

With TRANSCRIPT=FILE each command and what it said is added there.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

from box_bundle import LIMIT, Bundle, cgroup_root, check, has, traces, until

USER = 65431  # of rootless podman; its further ids are 200000 and on


class Engine:
    """Runs the engine's command line; `prefix` comes before each."""

    def __init__(self, prefix, **more):
        self.prefix, self.more = prefix, more

    def __call__(self, *words, status=0, terminal=False, stderr=True):
        command = [*self.prefix, *words]
        if terminal:  # script(1) gives it one
            command = ["script", "-qec", " ".join("'" + w.replace("'", "'\\''") + "'" for w in command), "/dev/null"]
        r = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * LIMIT, check=False, **self.more)
        if "TRANSCRIPT" in os.environ:
            with open(os.environ["TRANSCRIPT"], "a", encoding="utf-8") as f:
                f.write(f"$ {self.prefix[0]} {' '.join(words)}\n{r.stdout}{r.stderr}[{r.returncode}]\n")
        check(f"status of {' '.join(words)}: {r.stdout} {r.stderr}", r.returncode, status)
        return r.stdout + (r.stderr if stderr else "")


def has_controllers():
    with open(cgroup_root() + "/cgroup.controllers", encoding="utf-8") as f:
        return {"cpu", "memory", "pids"} <= set(f.read().split())


def removed(folder):
    """Conmon may be in there for a moment more."""
    try:
        for at, _, _ in os.walk(folder, topdown=False):
            os.rmdir(at)
    except OSError:
        return False
    return True


# ---- containerd ----

CONFIG = """version = 2
root = "{0}/lib"
state = "{0}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{0}/sock"
[ttrpc]
address = "{0}/sock.ttrpc"
"""


def use_containerd(ctr, box, rootfs):
    new = ["run", "--runc-binary", box, "--rootfs"]
    check("its output", ctr(*new[:-1], "--rm", "--rootfs", rootfs, "c0", "sh", "-c", "id -u; exit 3", status=3), "0\n")
    ctr(*new[:-1], "-d", "--env", "A=b", "--cwd", "/tmp", "--mount", "type=bind,src=/usr,dst=/mnt,options=rbind:ro", "--rootfs", rootfs, "c1", "sleep", "1000")
    has("it runs", ctr("task", "ls"), "RUNNING")
    check("exec", ctr("task", "exec", "--exec-id", "e1", "c1", "sh", "-c", "echo $A; pwd; ls /mnt | grep -c bin; exit 4", status=4).split(), ["b", "/tmp", "2"])
    has("exec with a terminal", ctr("task", "exec", "-t", "--exec-id", "e2", "c1", "sh", "-c", "tty; exit 5", status=5, terminal=True), "/dev/pts/0")
    ctr("task", "exec", "--detach", "--exec-id", "e3", "c1", "sleep", "500")
    check("ps", len(ctr("task", "ps", "c1").splitlines()), 3)
    ctr("task", "pause", "c1")
    has("paused", ctr("task", "ls"), "PAUSED")
    ctr("task", "resume", "c1")
    has("resumed", ctr("task", "ls"), "RUNNING")
    metrics = ctr("task", "metrics", "c1")
    has("metrics", metrics, "c1")
    if has_controllers():
        check(f"of its own cgroup: {metrics}", int(re.search(r"memory.usage\s+(\d+)", metrics)[1]) < 64 << 20, True)
    ctr("task", "kill", "-s", "SIGKILL", "--exec-id", "e3", "c1")
    until("the exec ended", lambda: len(ctr("task", "ps", "c1").splitlines()) == 2)
    ctr("task", "kill", "-s", "SIGKILL", "c1")
    until("it ended", lambda: "STOPPED" in ctr("task", "ls"))
    has("its status", ctr("task", "rm", "c1"), "137")
    ctr("c", "rm", "c1")
    has("no program", ctr(*new[:-1], "--rm", "--rootfs", rootfs, "c2", "/nosuch", status=1), "No such file or directory")
    has("a terminal", ctr(*new[:-1], "-t", "--rm", "--rootfs", rootfs, "c3", "sh", "-c", "tty; exit 7", status=7, terminal=True), "/dev/pts/0")
    if has_controllers():
        ctr(*new[:-1], "-d", "--memory-limit", str(64 << 20), "--cpus", "0.5", "--rootfs", rootfs, "c4", "sleep", "1000")
        with open(cgroup_root() + "/default/c4/memory.max", encoding="utf-8") as f:
            check("its limit", f.read(), f"{64 << 20}\n")
        with open(cgroup_root() + "/default/c4/cpu.max", encoding="utf-8") as f:
            check("its CPU time", f.read(), "50000 100000\n")
        ctr("task", "rm", "-f", "c4")
        ctr("c", "rm", "c4")
    check("no container is left", ctr("c", "ls", "-q"), "")


def containerd(box, folder, rootfs):
    with open(folder + "/config.toml", "w", encoding="utf-8") as f:
        f.write(CONFIG.format(folder))
    with open(folder + "/log", "w", encoding="utf-8") as log, \
            subprocess.Popen(["containerd", "--config", folder + "/config.toml"], stdout=log, stderr=log) as daemon:
        try:
            until("containerd listens", lambda: os.path.exists(folder + "/sock"))
            use_containerd(Engine(["ctr", "--address", folder + "/sock"]), box, rootfs)
        finally:
            daemon.send_signal(signal.SIGTERM)


# ---- podman ----

def limits(podman, rootfs, none):
    """As an engine gives them, and changes them while it runs; and what it says is used."""
    name = podman("run", "-d", "--name", "c3", *none, "--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--rootfs", rootfs, "sleep", "1000", stderr=False).strip()
    group = f"{cgroup_root()}/libpod_parent/libpod-{name}"

    def are(memory, cpu, pids):
        for file, value in (("memory.max", memory), ("cpu.max", cpu), ("pids.max", pids)):
            with open(f"{group}/{file}", encoding="utf-8") as f:
                check(file, f.read().strip(), value)
    are(f"{64 << 20}", "50000 100000", "50")
    podman("update", "--memory", "32m", "--cpus", "0.25", "c3")
    are(f"{32 << 20}", "25000 100000", "50")
    said = podman("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "c3", stderr=False)
    check(f"stats: {said}", re.fullmatch(r"c3 \S+B / \S+MB 1\n", said) is not None, True)
    podman("rm", "-f", "-t", "0", "c3")


def use_podman(podman, rootfs, rootless):
    none = ["--network", "none"]
    if not rootless:
        none += ["--ulimit", "nofile=1000:2000", "--ulimit", "nproc=1000:2000"]  # its own are more than root may have everywhere
    if not rootless and not has_controllers():
        none += ["--pids-limit", "-1"]  # it asks for one always, which is refused then
    run = ["run", "--rm", *none]
    check("its output", podman(*run, "--rootfs", rootfs, "sh", "-c", "id -u; exit 3", status=3, stderr=False), "0\n")
    script = "trap 'exit 6' TERM; echo began; while :; do sleep 0.1; done"
    podman("run", "-d", "--name", "c1", *none, "-e", "A=b", "-w", "/tmp", "-v", "/usr:/mnt:ro", "--rootfs", rootfs, "sh", "-c", script)
    check("exec", podman("exec", "c1", "sh", "-c", "echo $A; pwd; ls /mnt | grep -c bin; exit 4", status=4, stderr=False).split(), ["b", "/tmp", "2"])
    check("exec as another", podman("exec", "-u", "5:6", "c1", "id", "-u", stderr=False), "5\n")
    has("exec with a terminal", podman("exec", "-t", "c1", "sh", "-c", "tty; exit 5", status=5, terminal=True), "/dev/pts/0")
    check("its output is its own", podman("logs", "c1", stderr=False), "began\n")
    podman("stop", "c1")
    has("its end", podman("inspect", "c1", "--format", "{{.State.ExitCode}} {{.State.Status}}"), "6 exited")
    podman("start", "c1")
    podman("kill", "c1")
    podman("rm", "-f", "c1")
    has("no program", podman(*run, "--rootfs", rootfs, "/nosuch", status=127), "No such file or directory")
    has("a terminal", podman(*run, "-t", "--rootfs", rootfs, "sh", "-c", "tty; exit 7", status=7, terminal=True), "/dev/pts/0")
    out = podman(*run, "--read-only", "--tmpfs", "/tmp", "--rootfs", rootfs, "sh", "-c", "touch /tmp/x /y; ls /tmp", stderr=False)
    check("read-only", out, "x\n")
    if rootless:
        check("as oneself", podman(*run, "--userns", "keep-id", "--rootfs", rootfs, "id", "-u", stderr=False), f"{USER}\n")
    else:
        podman("run", "-d", "--name", "c2", *none, "--rootfs", rootfs, "sleep", "1000")
        podman("pause", "c2")
        check("paused", podman("inspect", "c2", "--format", "{{.State.Status}}"), "paused\n")
        podman("unpause", "c2")
        podman("rm", "-f", "-t", "0", "c2")
        if has_controllers():
            limits(podman, rootfs, none)
    check("no container is left", podman("ps", "-aq", stderr=False), "")


def podman_command(box, folder):
    return ["podman", "--runtime", box, "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--root", folder + "/lib", "--runroot", folder + "/run",
            "--events-backend", "file", "--log-level", "error"]


def podman(box, folder, rootfs):
    use_podman(Engine([*podman_command(box, folder), "--tmpdir", folder + "/tmp"]), rootfs, False)


def apart(box, folder, rootfs):
    """Containers that are machines: socle-box --isolate vm, by podman's own options, with the same commands."""
    image = os.environ.get("ISOLATE")
    if not image:
        print("skipped: apart: no kernel and initrd for machines here")
        return
    flags = ["--runtime-flag", "isolate=vm", "--runtime-flag", f"isolate-kernel={image}/vmlinux", "--runtime-flag", f"isolate-initrd={image}/initrd"]
    command = podman_command(box, folder)
    podman = Engine([*command[:3], *flags, *command[3:], "--tmpdir", folder + "/tmp"])
    none = ["--network", "none", "--ulimit", "nofile=1000:2000", "--ulimit", "nproc=1000:2000"]
    if not has_controllers():
        none += ["--pids-limit", "-1"]
    run = ["run", "--rm", *none]
    with open("/proc/version", encoding="utf-8") as f:
        host = f.read()
    said = podman(*run, "--rootfs", rootfs, "sh", "-c", "cat /proc/version; id -u; exit 3", status=3, stderr=False)
    many = podman(*run[:2], "-i", *run[2:], "--rootfs", rootfs, "sh", "-c", "head -c 3000000 /dev/zero | cat | wc -c; ls /sys/class/net", stderr=False).split()
    check("a stream, and a card of its own", many, ["3000000", "eth0", "lo"])
    check(f"a kernel of its own: {said}", said.startswith("Linux version ") and host not in said and said.endswith("\n0\n"), True)
    out = podman(*run, "--read-only", "--tmpfs", "/tmp", "--rootfs", rootfs, "sh", "-c", "touch /tmp/x /y; ls /tmp", stderr=False)
    check("read-only", out, "x\n")
    os.mkdir(folder + "/volume")
    script = "trap 'exit 6' TERM; echo began; echo $A >/mnt/from; while :; do sleep 0.1; done"
    podman("run", "-d", "--name", "m1", *none, "-e", "A=b", "-w", "/tmp", "-v", folder + "/volume:/mnt", "-v", "/usr:/data:ro", "--hostname", "apart", "--rootfs", rootfs,
           "sh", "-c", script)
    until("it began", lambda: podman("logs", "m1", stderr=False) == "began\n")
    with open(folder + "/volume/from", encoding="utf-8") as f:
        check("its volume", f.read(), "b\n")
    check("exec", podman("exec", "m1", "sh", "-c", "echo $A; pwd; hostname; ls /data | grep -c bin; touch /data/x 2>/dev/null; exit 4", status=4, stderr=False).split(),
          ["b", "/tmp", "apart", "2"])
    check("exec as another", podman("exec", "-u", "5:6", "m1", "id", "-u", stderr=False), "5\n")
    has("exec with a terminal", podman("exec", "-t", "m1", "sh", "-c", "tty; exit 5", status=5, terminal=True), "/dev/pts/0")
    has("no program", podman("exec", "m1", "/nosuch", status=127), "/nosuch")
    podman("pause", "m1")
    check("paused", podman("inspect", "m1", "--format", "{{.State.Status}}"), "paused\n")
    podman("unpause", "m1")
    if has_controllers():
        has("stats", podman("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}", "m1", stderr=False), "m1 ")
        podman("update", "--memory", "1g", "m1")
    podman("stop", "m1")
    has("its end", podman("inspect", "m1", "--format", "{{.State.ExitCode}} {{.State.Status}}"), "6 exited")
    podman("start", "m1")
    podman("kill", "m1")
    podman("rm", "-f", "m1")
    has("a terminal", podman(*run, "-t", "--rootfs", rootfs, "sh", "-c", "tty; exit 7", status=7, terminal=True), "/dev/pts/0")
    has("no program", podman(*run, "--rootfs", rootfs, "/nosuch", status=127), "/nosuch")
    has("what cannot be", podman(*run, "--device", "/dev/fuse", "--rootfs", rootfs, "true", status=126), "linux.devices cannot be applied in a machine")
    check("no container is left", podman("ps", "-aq", stderr=False), "")


def know_user(folder):
    """A user that is in our own mount namespace alone."""
    for name, line in (("passwd", f"boxtest:x:{USER}:{USER}::{folder}:/bin/sh"), ("group", f"boxtest:x:{USER}:"), ("subuid", "boxtest:200000:65536"),
                       ("subgid", "boxtest:200000:65536")):
        with open(f"/etc/{name}", encoding="utf-8") as f, open(f"{folder}/{name}", "w", encoding="utf-8") as copy:
            copy.write(f.read() + line + "\n")
        os.chmod(f"{folder}/{name}", 0o644)
        subprocess.run(["mount", "--bind", f"{folder}/{name}", f"/etc/{name}"], check=True)


def rootless(box, folder, rootfs):
    if subprocess.run(["unshare", "--user", "true"], user=USER, stderr=subprocess.DEVNULL, check=False).returncode:
        print("skipped: rootless: users may make no user namespaces here, as in any chroot")
        return
    at = folder
    while at != "/":  # the user has to get there
        os.chmod(at, os.stat(at).st_mode | 0o711)
        at = os.path.dirname(at)
    know_user(folder)
    copy = folder + "/socle-box"  # where the user may read it
    shutil.copy(box, copy)
    shutil.copytree(rootfs, folder + "/rootfs", symlinks=True)
    os.mkdir(folder + "/run", 0o700)
    subprocess.run(["chown", "-R", "-h", f"{USER}:{USER}", folder], check=True)
    env = {"HOME": folder, "XDG_RUNTIME_DIR": folder + "/run", "TMPDIR": folder + "/run", "PATH": os.environ["PATH"], "USER": "boxtest"}
    command = Engine(podman_command(copy, folder), user=USER, group=USER, extra_groups=[], env=env, cwd="/")
    try:
        use_podman(command, folder + "/rootfs", True)
    finally:
        # Podman keeps a process that holds its user namespace.
        pause = folder + "/run/libpod/tmp/pause.pid"
        if os.path.exists(pause):
            with open(pause, encoding="utf-8") as f:
                os.kill(int(f.read()), signal.SIGKILL)


def main():
    box, folder, only = sys.argv[1], sys.argv[2], sys.argv[3:]
    engines = {"containerd": containerd, "podman": podman, "rootless": rootless, "apart": apart}
    b = Bundle(box, folder + "/bundle")
    before, failed = traces(b), 0
    for name in only or engines:
        os.mkdir(f"{folder}/{name}")
        began = time.monotonic()
        try:
            engines[name](box, f"{folder}/{name}", b.rootfs)
        except (AssertionError, subprocess.TimeoutExpired, OSError) as e:
            failed += 1
            print(f"FAILED: {name}: {type(e).__name__}: {e}", flush=True)
        else:
            print(f"ok: {name}, {time.monotonic() - began:.0f} s", flush=True)
    for name in ("default", "libpod_parent"):  # the engines' own, where all was in
        until(f"cgroup {name} is empty", lambda at=f"{cgroup_root()}/{name}": removed(at))
    left = {t for t in traces(b) - before if not t.startswith(("file", "mount"))}
    if left:
        print(f"left behind: {left}")
    return failed > 0 or bool(left)


if __name__ == "__main__":
    sys.exit(main())
