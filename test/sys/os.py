#!/usr/bin/env python3
"""test/sys/os.py: containers that socled keeps.  test/sys/os.py root, user UID, single UID, or debian FOLDER"""

import fcntl
import glob
import hashlib
import io
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import termios
import threading
import time

import layer_image
import layer_registry
from socled import BUILD, DIR, SECONDS, Socled, answers, ask, done, ok, task, until

os.environ["SOCLE_DIR"] = DIR
ROOTFS = os.environ["TMPDIR"] + "/rootfs.tar"
APPLETS = ("sh", "cat", "echo", "id", "ls", "sleep", "touch", "rm", "mkdir", "hostname", "ip", "ping", "chown", "head", "yes", "stty", "true", "wc", "test", "mount", "kill", "ps", "nc", "nslookup", "mkfifo", "ln", "mv", "chmod", "stat", "sha256sum", "top", "grep")
ON = "trap 'exit 0' TERM; while :; do sleep 0.05; done"  # a program that ends when it is asked to


def rootfs():
    """busybox and three users, as an image would bring them; /etc/resolv.conf leads nowhere."""
    with tarfile.open(ROOTFS, "w") as tar:
        def add(name, kind=tarfile.REGTYPE, data=b"", mode=0o644, link=""):
            info = tarfile.TarInfo(name)
            info.type, info.size, info.mode, info.linkname = kind, len(data), mode, link
            tar.addfile(info, io.BytesIO(data))

        for folder in ("bin", "etc", "data", "root", "proc", "sys", "dev", "run"):
            add(folder, tarfile.DIRTYPE, mode=0o755)
        add("tmp", tarfile.DIRTYPE, mode=0o1777)
        with open("/bin/busybox", "rb") as f:
            add("bin/busybox", data=f.read(), mode=0o755)
        for name in APPLETS:
            add("bin/" + name, tarfile.SYMTYPE, link="busybox")
        add("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/tmp:/bin/sh\n")
        add("etc/group", data=b"root:x:0:\nweb:x:33:\nextra:x:44:web\n")
        add("etc/resolv.conf", tarfile.SYMTYPE, link="../run/systemd/resolve/stub-resolv.conf")


def socle(*words, limit=SECONDS, **more):
    return subprocess.run([BUILD + "socle", *words], capture_output=True, text=True, timeout=limit, check=False, **more)


def run(*words):
    """What `socle` says on stdout."""
    p = socle(*words)
    assert p.returncode == 0, (words, p)
    return p.stdout


def program(name, *words, options=(), **more):
    return socle("exec", *options, name, *words, **more)


def inside(name, command, **more):
    """What a shell in the container says."""
    p = program(name, "sh", "-c", command, **more)
    assert p.returncode == 0, (name, command, p)
    return p.stdout.strip()


def state(name):
    return ok("GET", f"/instances/{name}")["status"]["state"]


def launch(name, *words):
    run("launch", "box", name, "--memory", "64M", "--", *(words or ("/bin/sh", "-c", ON)))
    assert state(name) == "running"


# ---- what it is ----

def images():
    rootfs()
    run("pool", "import", "box", "--rootfs", ROOTFS)
    image = ok("GET", "/images")["list"][0]
    assert image["name"] == "box" and len(image["layers"]) == 1, image
    assert "kernel" in socle("pool", "import", "both", "--rootfs", ROOTFS, "--kernel", ROOTFS).stderr
    t = task("POST", "/images", {"name": "bad", "source": {"rootfs": "/etc/passwd"}})
    assert t["state"] == "failed" and t["error"], t
    assert [i["name"] for i in ok("GET", "/images")["list"]] == ["box"]
    for name, more, word in (
        ("x", {"kind": "os"}, "image"),
        ("x", {"kind": "os", "image": "box", "kernel": "/k"}, "'kernel'"),
        ("x", {"image": "box", "disks": [{"file": "/d"}]}, "'disks'"),
        ("x", {"image": "box", "nets": [{"tap": "t"}]}, "network"),
        ("x", {"image": "box", "nets": [{}, {}]}, "at most one"),
        ("x", {"image": "box", "nets": [{"forward": [{"rule": "tcp:1"}]}]}, "forward"),
        ("x", {"image": "box", "os": {"mounts": [{"source": "a", "target": "/b"}]}}, "path from the root"),
        ("x", {"image": "box", "os": {"env": ["X"]}}, "NAME=VALUE"),
        ("x", {"image": "box", "os": {"stop_signal": "SIGX"}}, "stop_signal"),
    ):
        status, answer, _ = ask("POST", "/instances", {"name": name, **more})
        assert status == 400 and word in json.dumps(answer), (more, status, answer)


def registry():
    """An image of two layers: from a registry, and from its layout; it says what is run, and by whom."""
    layout = layer_image.Layout(os.environ["TMPDIR"] + "/layout-" + sys.argv[1])
    with tarfile.open(ROOTFS) as tar:
        base = [layer_image.folder(m.name) if m.isdir() else layer_image.link(m.name, m.linkname) if m.issym() else
                layer_image.file(m.name, tar.extractfile(m).read(), mode=m.mode) for m in tar]
    above = [layer_image.file("bin/.wh.wc", b""), layer_image.file("etc/above", b"yes")]
    layout.image([base, above], config={"Entrypoint": ["/bin/sh", "-c"], "Cmd": [ON], "Env": ["FROM=image", "PATH=/bin"], "User": "web", "WorkingDir": "/etc"})
    layout.write()
    server = layer_registry.Registry(layout)
    run("pool", "import", "far", "--rootfs", f"{server.host}/some/image:latest")
    server.close()
    run("pool", "import", "near", "--rootfs", layout.path)
    far, near = (next(i for i in ok("GET", "/images")["list"] if i["name"] == name) for name in ("far", "near"))
    assert len(far["layers"]) == 2 and far["layers"] == near["layers"] and far["program"] == near["program"], (far, near)
    run("launch", "far", "r", "--memory", "64M", "--env", "MINE=1")
    said = inside("r", "echo $FROM $MINE $PWD; id -un; cat /etc/above; echo; test -e /bin/wc || echo none")
    assert said == "image 1 /etc\nweb\nyes\nnone", said
    done("DELETE", "/instances/r?force=on")
    assert ask("DELETE", "/images/far")[0] == 204
    run("launch", "near", "r", "--memory", "64M")  # its layers are still there
    done("DELETE", "/instances/r?force=on")
    assert ask("DELETE", "/images/near")[0] == 204
    until("only box's layer is left", lambda: len([n for n in os.listdir(DIR + "/layers") if n.startswith("sha256-")]) == 1)


def life():
    launch("a")
    shown = ok("GET", "/instances/a")
    assert shown["kind"] == "os" and shown["status"]["pid"] > 0, shown
    assert inside("a", "hostname; cat /etc/hostname") == "a\na"
    assert inside("a", "id -u; cat /proc/1/cmdline | head -c 7").split("\0")[0] == "0\n/bin/sh"
    first = shown["status"]["pid"]
    for _ in range(5):  # it runs again when its reset is done
        done("POST", "/instances/a/action", {"action": "reset"})
        assert state("a") == "running" and inside("a", "echo again") == "again"
    if sys.argv[1] == "root":  # a user's has no cgroup here, which pausing needs
        done("POST", "/instances/a/action", {"action": "pause"})
        done("POST", "/instances/a/action", {"action": "reset"})
        assert state("a") == "running" and inside("a", "echo again") == "again"
    assert ok("GET", "/instances/a")["status"]["pid"] == first  # socle-os is the same one
    began = time.monotonic()
    done("POST", "/instances/a/action", {"action": "stop", "timeout": 30})
    assert state("a") == "off" and time.monotonic() - began < 25
    launch("never", "/bin/sleep", "1000")  # takes no signal: it is not waited for
    began = time.monotonic()
    done("POST", "/instances/never/action", {"action": "stop", "timeout": 50})
    assert time.monotonic() - began < 25
    socle("launch", "box", "ends", "--memory", "64M", "--", "/bin/sh", "-c", "echo to the log; exit 7")  # which may say so itself
    until("its end", lambda: state("ends") == "failed")
    assert "status 7" in ok("GET", "/instances/ends")["status"]["why"]
    assert "to the log" in run("logs", "ends")
    done("POST", "/instances/a/action", {"action": "start"})
    if sys.argv[1] == "root":  # who has control groups
        done("POST", "/instances/a/action", {"action": "pause"})
        assert state("a") == "paused" and ok("GET", "/instances/a")["status"]["pid"]
        done("POST", "/instances/a/action", {"action": "resume"})
        done("POST", "/instances/a/action", {"action": "pause"})
        done("POST", "/instances/a/action", {"action": "stop", "force": True})
        assert state("a") == "off"
        done("POST", "/instances/a/action", {"action": "start"})
    status, answer, _ = ask("POST", "/instances/a/action", {"action": "suspend"})
    assert status >= 400 and "only machines are suspended" in json.dumps(answer), answer
    status, answer, _ = ask("POST", "/instances/a/exports", {})
    assert status == 400 and "socle file pull -r a:/" in json.dumps(answer), answer
    for name in ("never", "ends"):
        done("DELETE", f"/instances/{name}")
    folders = os.listdir(DIR + "/instances")
    assert len(folders) == 1, folders


def programs():
    assert inside("a", "cat", input="back and forth\n") == "back and forth"
    assert len(inside("a", "head -c 3000000 /dev/zero | cat")) == 3000000
    assert inside("a", "wc -c", input="x" * 2000000) == "2000000"
    p = program("a", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert (p.returncode, p.stdout, p.stderr) == (9, "out\n", "err\n"), p
    p = program("a", "nothing")
    assert p.returncode == 125 and "executable file not found" in p.stderr, p
    p = program("a", "sh", "-c", "id; echo $PWD $X $HOME", options=("--user", "web", "--cwd", "/tmp", "--env", "X=1"))
    assert "uid=33(web) gid=33(web) groups=33(web),44(extra)" in p.stdout and "/tmp 1 /tmp" in p.stdout, p
    p = program("a", "id", options=("--user", "who"))
    assert p.returncode == 125 and "no user 'who'" in p.stderr, p
    # what stays in the background holds nobody up
    assert inside("a", "sleep 1000 & echo $!") .isdigit()
    # a client that goes takes its program with it
    p = subprocess.Popen([BUILD + "socle", "exec", "a", "sleep", "4711"])
    until("it runs", lambda: "4711" in inside("a", "ps"))
    p.kill()
    p.wait()
    until("it is gone", lambda: "sleep 4711" not in inside("a", "ps"))


def read_until(fd, word):
    seen = b""
    while word not in seen:
        seen += os.read(fd, 65536)
    return seen


def terminals():
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    p = subprocess.Popen([BUILD + "socle", "exec", "a"], stdin=its, stdout=its, stderr=its)
    read_until(ours, b"# ")
    os.write(ours, b"stty size; echo $TERM\n")
    assert b"33 99" in read_until(ours, b"xterm-256color")
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 88, 0, 0))
    p.send_signal(signal.SIGWINCH)
    time.sleep(0.3)
    os.write(ours, b"stty size\n")
    read_until(ours, b"44 88")
    os.write(ours, b"exit 5\n")
    assert p.wait(SECONDS) == 5


def frames():
    """Whoever breaks the conversation's rules is told, and nothing else happens."""
    def talk(data):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(SECONDS)
        s.connect(glob.glob(DIR + "/instances/*/exec")[0])
        s.sendall(data)
        got = b""
        try:
            while more := s.recv(65536):
                got += more
        except ConnectionResetError:
            pass
        return got

    def frame(kind, data):
        return bytes([kind]) + struct.pack(">I", len(data)) + data

    for data, word in (
        (frame(1, b"x"), b"what to run is expected"),
        (frame(0, b"{"), b"JSON"),
        (frame(0, b'{"command": []}'), b"nothing to run"),
        (frame(0, b'{"command": ["true"], "x": 1}'), b"'x'"),
        (b"\0\xff\xff\xff\xff", b"more than"),
        (frame(0, b'{"command": ["cat"]}') + frame(9, b""), b"kind 9"),
    ):
        got = talk(data)
        assert got[:1] == b"\x04" and word in got, (data, got)
    assert inside("a", "echo well") == "well"


def keeps():
    """Snapshots, restores and clones of what it wrote."""
    inside("a", "echo one > /data/f; chown 33:44 /data/f; rm /bin/wc; rm -rf /tmp; mkdir /tmp; touch /tmp/new")
    run("snapshot", "a", "s1")
    inside("a", "echo two > /data/f")
    run("snapshot", "a")
    assert [s["name"] for s in ok("GET", "/instances/a/snapshots")["list"]] == ["s1", "snapshot2"]
    look = "cat /data/f; ls -ln /data/f | head -c 40; test -e /bin/wc || echo none; ls /tmp"
    run("restore", "a", "s1")
    assert state("a") == "running"
    one = inside("a", look)
    assert one.startswith("one\n") and "33" in one and one.endswith("none\nnew"), one
    run("clone", "a", "b", "--snapshot", "s1")
    run("clone", "a", "c", "--full")
    run("clone", "b", "d")
    for name in ("b", "c", "d"):
        done("POST", f"/instances/{name}/action", {"action": "start"})
        assert inside(name, look) == one and inside(name, "hostname") == name
    inside("b", "echo other > /data/f")
    assert inside("d", "cat /data/f") == "one" == inside("a", "cat /data/f")
    assert ask("DELETE", "/instances/a/snapshots/s1")[0] in (202, 409) and [s["name"] for s in ok("GET", "/instances/a/snapshots")["list"]][0] == "s1"
    assert ask("DELETE", "/instances/a?force=on")[0] == 409
    p = socle("clone", "a", "e", "--instant")
    assert p.returncode == 1 and "instant ones are of machines" in p.stderr, p
    for path, body in (("clone", {"name": "e", "mode": "instant"}), ("action", {"action": "suspend"})):
        status, answer, _ = ask("POST", f"/instances/a/{path}", body)
        assert status == 400 and answer["error"]["code"] == "unsupported", answer
    for name in ("d", "b", "c"):
        done("DELETE", f"/instances/{name}?force=on")
    done("DELETE", "/instances/a/snapshots/s1")
    assert [s["name"] for s in ok("GET", "/instances/a/snapshots")["list"]] == ["snapshot2"]


def programs_on():
    """How many of a's first process the host has: of our socle-os, since other tests may have such, too."""
    n = 0
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as f:
                words = f.read().split(b"\0")
            with open(path.replace("cmdline", "mountinfo"), encoding="utf-8", errors="replace") as f:
                n += ON.encode() in words and DIR in f.read()
        except OSError:
            pass
    return n


def kills(n):
    """socled and socle-os are killed; what is told is so."""
    global daemon
    for _ in range(n):
        daemon.kill()
        daemon = Daemon()
        until("it is found", lambda: state("a") == "running")
        assert inside("a", "echo on") == "on"
    pid = ok("GET", "/instances/a")["status"]["pid"]
    os.kill(pid, signal.SIGKILL)
    until("it is seen", lambda: state("a") in ("failed", "off"))  # of one that an earlier socled started nobody knows the status
    done("POST", "/instances/a/action", {"action": "start"})
    until("of the one before nothing is left", lambda: programs_on() == 1)


# ---- files ----

def copy(*words, **more):
    return socle("file", *words, **more)


def copied(*words, **more):
    p = copy(*words, **more)
    assert p.returncode == 0 and not p.stderr, (words, p)
    return p.stdout


def refused(word, *words, **more):
    began = time.monotonic()
    p = copy(*words, **more)
    assert p.returncode == 1 and word in p.stderr, (words, word, p)
    assert time.monotonic() - began < SECONDS / 2, words  # it hangs at nothing


def files():
    """Into it and out of it: owners, modes, trees, much."""
    here = os.environ["TMPDIR"] + f"/files-{sys.argv[1]}"
    os.makedirs(here + "/tree/sub/empty")
    for name, data in (("one", b"1\n"), ("tree/a b", b"a"), ("tree/sub/\udcff", b"latin"), ("big", os.urandom(1 << 20) * 30)):
        with open(f"{here}/{name}", "wb") as f:
            f.write(data)
    os.chmod(here + "/one", 0o751)
    os.symlink("../one", here + "/tree/link")
    os.mkfifo(here + "/tree/fifo")

    copied("push", here + "/one", "a:/data/two")
    assert inside("a", "stat -c '%a %u %g' /data/two; cat /data/two") == "751 0 0\n1"
    copied("push", here + "/one", "a:/data", "--uid", "33", "--gid", "44", "--mode", "0600")
    copied("push", here + "/one", here + "/big", "a:/new/folder/", "-p")
    assert inside("a", "stat -c '%a %u %g' /data/one; ls /new/folder") == "600 33 44\nbig\none"
    with open(here + "/big", "rb") as f:
        assert inside("a", "sha256sum /new/folder/big").split()[0] == hashlib.sha256(f.read()).hexdigest()
    copied("push", "-", "a:/data/input", input="from our input")
    assert copied("pull", "a:/data/input", "-") == "from our input"
    inside("a", "chmod 600 /data/input")
    copied("push", here + "/one", "a:/data/input")  # what is there keeps its mode
    assert inside("a", "stat -c %a /data/input; cat /data/input") == "600\n1"
    p = copy("push", "-r", here + "/tree", "a:/data")
    assert p.returncode == 0 and "1 left out" in p.stderr, p
    assert inside("a", "cd /data/tree; ls; cat 'a b'; ls -l link | head -c 1; test -d sub/empty; cat sub/?") == "a b\nlink\nsub\nallatin"

    os.mkdir(here + "/back")
    inside("a", "chmod 4755 /data/two; mkfifo /data/tree/fifo")
    copied("pull", "a:/data/two", "a:/new/folder/big", here + "/back")
    assert os.stat(here + "/back/two").st_mode & 0o7777 == 0o755  # not set-user-id
    with open(here + "/big", "rb") as f, open(here + "/back/big", "rb") as g:
        assert f.read() == g.read()
    copied("pull", "a:/data/tree", here + "/back/as", "-r")
    assert sorted(os.listdir(here + "/back/as")) == ["a b", "link", "sub"] and os.readlink(here + "/back/as/link") == "../one"
    assert "MemTotal" in copied("pull", "a:/proc/meminfo", "-")
    inside("a", "echo tmp > /dev/shm/x")
    assert copied("pull", "a:/dev/shm/x", "-") == "tmp\n"  # its mounts, too

    refused("--recursive", "push", here + "/tree", "a:/data")
    refused("--recursive", "pull", "a:/data/tree", here + "/back")
    refused("No such file", "pull", "a:/nothing", here)
    refused("No such file", "push", here + "/one", "a:/no/such/folder/x")
    refused("folder", "push", here + "/one", here + "/big", "a:/data/two")
    refused("NAME:PATH", "pull", "a", here)
    refused("octal", "push", here + "/one", "a:/x", "--mode", "8")
    refused("no instance", "pull", "nobody:/x", here)
    refused("of one instance", "pull", "a:/x", "b:/x", here)


def attacks_by_files():
    """A container whose names lead out, hang, or change while we look; the host neither loses nor gives anything, and nobody waits."""
    here = os.environ["TMPDIR"] + f"/attack-{sys.argv[1]}"
    os.makedirs(here + "/host/t")
    os.makedirs(here + "/src/t")
    for name, data in (("host/secret", "the host's secret"), ("src/t/secret", "hostile"), ("src/secret", "hostile")):
        with open(f"{here}/{name}", "w", encoding="ascii") as f:
            f.write(data)
    os.chmod(here + "/host", 0o777)  # what guards it is not its mode
    os.chmod(here + "/host/secret", 0o666)
    host, up = here + "/host", "/.." * 20
    inside("a", f"mkdir /x; cd /x; ln -s {host}/secret abs; ln -s /x{up}{host}/secret rel; ln -s {host} dir; ln -s /etc/shadow shadow; mkfifo fifo; mkdir t; mkfifo t/secret")
    for name in ("abs", "rel", "dir/secret", "shadow", f"t{up}{host}/secret", f"../..{host}/secret"):
        refused("No such file", "pull", f"a:/x/{name}", "-")
    for link in ("/proc/1/root", "/proc/self/root", "/proc/self/cwd", "/proc/self/fd/0"):
        p = copy("pull", f"a:{link}{host}/secret", "-")
        assert p.returncode == 1 and "secret" not in p.stdout, p
    for name in ("fifo", "../dev/zero", "../dev/tty"):
        refused("neither a file nor a folder", "pull", f"a:/x/{name}", "-")
    refused("no file", "push", here + "/src/secret", "a:/x/fifo")
    refused("on the way", "push", here + "/src/secret", "a:/dev/null")
    refused("no file", "push", "-r", here + "/src/t", "a:/x")
    refused("a link", "push", here + "/src/secret", "a:/x/abs")
    refused("folder", "push", here + "/src/secret", "a:/x/dir/secret")
    inside("a", "rm -r /x/t; ln -s /data /x/t")
    refused("on the way", "push", "-r", here + "/src/t", "a:/x/")
    # it could not write there itself
    if sys.argv[1] == "root":
        p = copy("push", here + "/src/secret", "a:/proc/sys/kernel/core_pattern")
        assert p.returncode == 1, p
    # a folder that is a link to the host's path in every other moment
    program("a", "sh", "-c", f"mkdir -p /x/d /x/l; ln -s {host} /x/l/d; (while test -e /x/l; do mv /x/d /x/e; mv /x/l/d /x/d; mv /x/d /x/l/d; mv /x/e /x/d; done) >/dev/null 2>&1 &")
    for _ in range(15):
        for words in (("push", "-r", here + "/src/t", "a:/x/d/"), ("push", here + "/src/secret", "a:/x/d/secret"), ("pull", "-r", "a:/x/d", here + "/got"), ("pull", "a:/x/d/secret", "-")):
            p = copy(*words)
            assert p.returncode in (0, 1) and "the host's secret" not in p.stdout, p
    inside("a", "until rm -rf /x/l 2>/dev/null; do :; done")  # who moves things there is in the way
    for root, _, names in os.walk(here + "/got"):
        assert all("host's" not in open(os.path.join(root, n), encoding="ascii").read() for n in names if os.path.isfile(os.path.join(root, n)))
    assert os.listdir(host + "/t") == [] and sorted(os.listdir(host)) == ["secret", "t"]
    with open(host + "/secret", encoding="ascii") as f:
        assert f.read() == "the host's secret"
    # a client that goes takes its process with it
    pid, before = ok("GET", "/instances/a")["status"]["pid"], set(children(ok("GET", "/instances/a")["status"]["pid"]))
    p = subprocess.Popen([BUILD + "socle", "file", "push", "-", "a:/x/slow"], stdin=subprocess.PIPE)
    until("it has a process", lambda: set(children(pid)) - before)
    carrier = (set(children(pid)) - before).pop()
    until("it is shut in", lambda: "Seccomp:\t2" in status_of(carrier))
    assert "CapEff:\t000000000000001f\n" in status_of(carrier), status_of(carrier)
    p.kill()
    p.wait()
    until("its process is gone", lambda: set(children(pid)) == before)


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return f.read()


# ---- its own /proc ----

def kib(text, name):
    return int(next(line for line in text.splitlines() if line.startswith(name + ":")).split()[1])


def views():
    """free, uptime and top show what the container has and does; its restart is its start; it cannot exhaust who shows it."""
    run("launch", "box", "v", "--memory", "64M", "--cpus", "1", "--", "/bin/sh", "-c", ON)
    seen = inside("v", "cat /proc/meminfo")
    total, free = kib(seen, "MemTotal"), kib(seen, "MemFree")
    assert total == 65536 and 0 < free <= total, seen
    # a process that has 20 MB has them
    p = subprocess.Popen([BUILD + "socle", "exec", "v", "sh", "-c", "x=$(yes | head -c 20000000); echo there; read y"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "there\n"
    now = kib(inside("v", "cat /proc/meminfo"), "MemFree")
    assert now < free - 15000, (free, now)
    p.communicate("\n", timeout=SECONDS)
    assert inside("v", "grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; grep -c ^cpu /proc/stat") == "1\n0\n2"
    up = float(inside("v", "cat /proc/uptime").split()[0])
    assert 0 <= up < 100 < time.clock_gettime(time.CLOCK_BOOTTIME), up
    assert "Mem:" in inside("v", "top -b -n 1")
    assert len(inside("v", "cat /proc/loadavg").split()) == 5 and len(inside("v", "cat /proc/swaps").splitlines()) == 1
    done("POST", "/instances/v/action", {"action": "reset"})
    assert float(inside("v", "cat /proc/uptime").split()[0]) < up + 5
    # read in pieces it is one text; written it is not
    assert inside("v", "(head -c 9 >/dev/null; head -c 999999) </proc/meminfo | wc -l") == "24"
    assert program("v", "sh", "-c", "echo x >/proc/meminfo").returncode
    # as many as it likes
    said = inside("v", "i=0; while test $i -lt 300; do sleep 60 </proc/uptime & p=\"$p $!\"; i=$((i+1)); done 2>/tmp/e; until test $(wc -l </tmp/e) -ge 44; do sleep 0.1; done; head -n 1 /tmp/e; kill $p 2>/dev/null; wait")
    assert "Too many open files" in said, said
    assert kib(inside("v", "cat /proc/meminfo"), "MemTotal") == 65536
    # who shows it is nobody
    pid = ok("GET", "/instances/v")["status"]["pid"]
    shows = [c for c in children(pid) if "/dev/fuse" in fds_of(c)]
    assert len(shows) == 1 and "Seccomp:\t2" in status_of(shows[0]) and "CapEff:\t0000000000000000\n" in status_of(shows[0]), shows
    # when it ends another one goes on: for who waits, for files that are open, and as often as it ends
    inside("v", "(exec 9</proc/uptime; head -c 1 <&9 >/dev/null; touch /tmp/open; until test -e /tmp/go; do sleep 0.05; done; cat <&9 >/tmp/late) >/dev/null 2>&1 &"
           " until test -e /tmp/open; do sleep 0.05; done")
    for n in range(3):
        os.kill(shows[0], signal.SIGSTOP)
        p = subprocess.Popen([BUILD + "socle", "exec", "v", "sh", "-c", "echo begins; cat /proc/uptime"], stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline() == "begins\n"
        time.sleep(0.2 * n)
        os.kill(shows[0], signal.SIGKILL)
        assert float(p.communicate(timeout=SECONDS)[0].split()[0]) >= 0
        before, shows = shows, [c for c in children(pid) if "/dev/fuse" in fds_of(c)]
        assert len(shows) == 1 and shows != before and "Seccomp:\t2" in status_of(shows[0]), (before, shows)
    assert "process that shows the container its own /proc ended (signal 9)" in run("logs", "v", "--messages")
    inside("v", "touch /tmp/go; until test -s /tmp/late; do sleep 0.05; done")
    done("POST", "/instances/v/action", {"action": "reset"})
    assert kib(inside("v", "cat /proc/meminfo"), "MemTotal") == 65536
    # with nesting the host's are seen, and a new /proc can be mounted
    run("launch", "box", "w", "--memory", "64M", "--nesting", "--", "/bin/sh", "-c", ON)
    assert kib(inside("w", "cat /proc/meminfo"), "MemTotal") > 65536
    os.kill(pid, signal.SIGKILL)
    until("it ends with socle-os", lambda: not os.path.exists(f"/proc/{shows[0]}"))
    until("the end is seen", lambda: state("v") in ("failed", "off"))
    done("POST", "/instances/v/action", {"action": "start"})
    assert kib(inside("v", "cat /proc/meminfo"), "MemTotal") == 65536
    for name in ("v", "w"):
        done("DELETE", f"/instances/{name}?force=on")


def fds_of(pid):
    return {os.readlink(p) for p in glob.glob(f"/proc/{pid}/fd/*")}


# ---- user networks ----

class Server:
    """Of this host: whoever connects is told a word."""

    def __init__(self, word):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, args=(word,), daemon=True).start()

    def serve(self, word):
        while True:
            peer = self.socket.accept()[0]
            peer.sendall(word)
            peer.close()


def names_server():
    """At the host's name server's address (os.sh); all names are 192.0.2.7."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, peer = s.recvfrom(512)
            end = query.index(b"\0", 12) + 5
            wants_v4 = query[end - 4:end - 2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes((192, 0, 2, 7)) if wants_v4 else b""
            s.sendto(query[:2] + b"\x81\x80\0\1" + struct.pack(">HHH", wants_v4, 0, 0) + query[12:end] + answer, peer)

    threading.Thread(target=serve, daemon=True).start()


def said_by(port):
    """What is said at a port of the host; empty: nobody does."""
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.settimeout(5)
            return s.recv(100)
    except OSError:
        return b""


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(n) for n in f.read().split()]


def user_networks():
    """Out through the host's stack, in by a forward; kept by a restart; its process ends alone and with socle-os."""
    hello = Server(b"hello from the host")
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    run("launch", "box", "u", "--memory", "64M", "--net", f"user,forward=tcp:{port}:80", "--", "/bin/sh", "-c", ON)
    assert ok("GET", "/instances/u")["nets"][0]["forward"] == [{"rule": f"tcp:{port}:80"}]

    def works():
        assert inside("u", "ip -4 addr show eth0 | head -c 999; ip route").count("10.0.2.") >= 3
        assert inside("u", f"nc 10.0.2.2 {hello.port} </dev/null") == "hello from the host"
        assert inside("u", "cat /etc/resolv.conf") == "nameserver 10.0.2.3"
        assert "192.0.2.7" in inside("u", "nslookup somebody.example.org")
        p = subprocess.Popen([BUILD + "socle", "exec", "u", "sh", "-c", "echo hello from inside | nc -l -p 80"], stdin=subprocess.DEVNULL)
        until("the forward", lambda: said_by(port) == b"hello from inside\n")
        p.wait(SECONDS)

    works()
    done("POST", "/instances/u/action", {"action": "reset"})
    works()
    # it is nobody, has no files, and is of no use to others
    pid = ok("GET", "/instances/u")["status"]["pid"]
    carrier = next(c for c in children(pid) if "/dev/net/tun" in fds_of(c))
    with open(f"/proc/{carrier}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    assert status["CapEff"] == "0000000000000000" and status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status
    assert status["Uid"].split()[0] not in ("0", str(os.stat(DIR).st_uid)) or sys.argv[1] == "user", status
    for _ in range(2):  # another one goes on with the card
        os.kill(carrier, signal.SIGKILL)
        until("its end is told", lambda: "process of the user network ended (signal 9)" in run("logs", "u", "--messages"))
        until("another one", lambda: [c for c in children(pid) if c != carrier and "/dev/net/tun" in fds_of(c)])
        carrier = next(c for c in children(pid) if "/dev/net/tun" in fds_of(c))
        works()
    done("POST", "/instances/u/action", {"action": "reset"})
    works()
    # a port that is taken is told
    p = socle("launch", "box", "u2", "--memory", "64M", "--net", f"user,forward=tcp:{port}:80")
    assert p.returncode and f"port {port}" in p.stderr, p
    done("DELETE", "/instances/u2?force=on")
    carrier = next(c for c in children(pid) if "/dev/net/tun" in fds_of(c))
    os.kill(pid, signal.SIGKILL)
    until("it ends with socle-os", lambda: not os.path.exists(f"/proc/{carrier}"))
    until("the end is seen", lambda: state("u") in ("failed", "off"))
    done("POST", "/instances/u/action", {"action": "start"})
    works()
    done("DELETE", "/instances/u?force=on")


# ---- root's ----

def networks():
    launch("n1")
    launch("n2")
    until("names", lambda: program("n1", "ping", "-c", "1", "-W", "1", "n2").returncode == 0)
    assert "default via" in inside("n2", "ip route") and "nameserver" in inside("n2", "cat /etc/resolv.conf")
    before = ok("GET", "/instances/n1")["nets"][0]["address"]
    assert before in inside("n1", "ip addr show eth0")
    done("POST", "/instances/n1/action", {"action": "restart"})
    assert before in inside("n1", "ip addr show eth0")
    for name in ("n1", "n2"):
        done("DELETE", f"/instances/{name}?force=on")
    until("only a's link is left", lambda: subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.count("n0@") == 1)


def apart():
    """Users of a container are not those of the host, and of no other container."""
    maps = set()
    for name in ("a", "x"):
        if name == "x":
            launch("x")
        first, host, n = inside(name, "cat /proc/self/uid_map").split()
        assert (first, n) == ("0", "65536") and int(host) >= 0x10000000
        maps.add(host)
    assert len(maps) == 2
    inside("x", "touch /data/mine")
    assert glob.glob(DIR + "/instances/*/rw/upper/data/mine") and os.stat(glob.glob(DIR + "/instances/*/rw/upper/data/mine")[0]).st_uid == 0
    ok("PATCH", "/instances/x", {"os": {"command": ["/bin/sh", "-c", ON], "mounts": [{"source": "/bin", "target": "/mnt", "readonly": True}], "env": ["SEEN=yes"]}})
    done("POST", "/instances/x/action", {"action": "restart"})
    assert inside("x", "test -x /mnt/busybox && touch /mnt/x 2>/dev/null || echo $SEEN") == "yes"
    done("DELETE", "/instances/x?force=on")


def single():
    """Of a user with no range in /etc/subuid: one number alone, and what that cannot be is told."""
    rootfs()
    run("pool", "import", "box", "--rootfs", ROOTFS)
    launch("one")
    assert inside("one", "cat /proc/self/uid_map").split() == ["0", sys.argv[2], "1"]
    assert inside("one", "id -u; id -G; touch /data/x; stat -c %u /data/x").split() == ["0", "0", "0"]
    p = program("one", "id", options=("--user", "web"))
    assert p.returncode == 125 and "process.user.uid 33 is none of its user namespace" in p.stderr and "/etc/subuid" in p.stderr, p
    p = socle("launch", "box", "two", "--memory", "64M", "--user", "web", "--", "/bin/sh", "-c", ON)
    assert p.returncode and "process.user.uid 33 is none of its user namespace" in p.stderr, p
    for action in ("stop", "start", "restart"):
        done("POST", "/instances/one/action", {"action": action})
    assert "eth0" in inside("one", "ip link") and inside("one", "ls /data") == "x"
    for name in ("one", "two"):
        done("DELETE", f"/instances/{name}?force=on")


def leftovers():
    done("DELETE", "/instances/a?force=on")
    layer = os.listdir(DIR + "/layers")
    assert len(layer) == 1, layer
    assert ask("DELETE", "/images/box")[0] == 204
    until("the layer is gone", lambda: not os.listdir(DIR + "/layers"))
    assert not os.listdir(DIR + "/instances")


# ---- a whole system ----

def debian(folder):
    run("pool", "import", "debian", "--rootfs", folder)
    run("launch", "debian", "deb", "--memory", "512M")
    until("systemd", is_up)
    assert inside("deb", "systemd-detect-virt") == "container-other" and inside("deb", "cat /proc/1/comm") == "systemd"
    if not program("deb", "free").returncode:  # of procps: by /proc
        assert inside("deb", "free -k").splitlines()[1].split()[1] == "524288" and "load average" in inside("deb", "uptime")
    assert kib(inside("deb", "cat /proc/meminfo"), "MemTotal") == 524288
    began = inside("deb", "cat /proc/1/stat").split()[21]
    program("deb", "systemctl", "reboot")
    until("it is another", lambda: other_start("deb", began))
    until("systemd again", is_up)
    done("POST", "/instances/deb/action", {"action": "stop"})
    assert state("deb") == "off" and "Reached target" in run("logs", "deb")
    done("DELETE", "/instances/deb")
    machine_inside(folder)


def machine_inside(folder):
    """A machine of the software engine in a container: as a user who installed Socle there has it."""
    run("launch", "debian", "outer", "--memory", "1G", "--nesting")
    until("the outer systemd", lambda: is_up("outer"))
    programs = [BUILD + name for name in ("socle", "socle-vm")]
    libraries = {line.split()[2] for p in programs for line in subprocess.check_output(["ldd", p], text=True).splitlines() if "=> /" in line}
    for library in sorted(libraries):
        if not os.path.exists(folder + os.path.realpath(library)):
            run("file", "push", os.path.realpath(library), f"outer:/usr/lib/x86_64-linux-gnu/{os.path.basename(library)}")
    for file in [*programs, initrd(), os.path.dirname(__file__) + "/../../.cache/guest/vmlinuz"]:
        run("file", "push", file, f"outer:/srv/{os.path.basename(file)}")
    program("outer", "chmod", "+x", "/srv/socle", "/srv/socle-vm")
    p = program("outer", "/srv/socle", "run", "--verbose", "--memory", "256M", "--cpus", "2", "--kernel", "/srv/vmlinuz", "--initrd", "/srv/initrd",
                "--append", "console=ttyS0 quiet panic=0", "--net", "none", limit=3 * SECONDS)
    assert "inner: Linux 2" in p.stdout and p.returncode == 0, p
    assert "engine 'soft'" in p.stderr and "no-jail" not in p.stderr, p
    assert inside("outer", "cat /proc/1/comm") == "systemd"
    done("DELETE", "/instances/outer?force=on")


def initrd():
    """Its init says what it runs on, and ends the machine."""
    folder = os.environ["TMPDIR"] + "/inner"
    os.makedirs(folder + "/bin")
    os.mkdir(folder + "/proc")
    shutil.copy("/bin/busybox", folder + "/bin/busybox")
    with open(folder + "/init", "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o755)
        file.write("#!/bin/busybox sh\nPATH=/bin\nbusybox mount -t proc proc /proc\n"
                   "echo inner: $(busybox uname -s) $(busybox grep -c ^processor /proc/cpuinfo)\nbusybox poweroff -f\n")
    with open(folder + "/../initrd", "wb") as file:
        names = subprocess.run(["find", "."], cwd=folder, check=True, capture_output=True).stdout
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=folder, input=names, stdout=file, check=True)
    return os.environ["TMPDIR"] + "/initrd"


def is_up(name="deb"):
    """The sample guest is made for a machine, and waits long for a serial port; all but that has to be there."""
    return program(name, "systemctl", "is-active", "basic.target").stdout.strip() == "active"


def other_start(name, began):
    p = program(name, "cat", "/proc/1/stat")
    return p.returncode == 0 and p.stdout.split()[21] != began


class UsersSocled(Socled):
    """A user's: whoever runs this is root, and may talk with it."""

    def __init__(self):
        uid = int(sys.argv[2])
        with open(os.environ["TMPDIR"] + "/socled.log", "ab") as log:
            self.p = subprocess.Popen([BUILD + "socled", "--dir", DIR], stderr=log, user=uid, group=uid, extra_groups=[])
        until("socled answers", answers)


Daemon = UsersSocled if sys.argv[1] in ("user", "single") else Socled
daemon = Daemon()
try:
    if sys.argv[1] == "debian":
        debian(sys.argv[2])
    elif sys.argv[1] == "single":
        single()
    else:
        names_server()
        images()
        registry()
        life()
        programs()
        terminals()
        frames()
        views()
        files()
        attacks_by_files()
        user_networks()
        if sys.argv[1] == "root":
            networks()
            apart()
            keeps()
        kills(5)
        leftovers()
finally:
    until("all are gone", lambda: not answers() or not [ask("DELETE", f"/instances/{i['name']}?force=on") for i in ok("GET", "/instances")["list"]])
    for network in ok("GET", "/networks")["list"] if answers() else []:
        done("DELETE", f"/networks/{network['name']}")  # with its dnsmasq, which would live on
    daemon.end()
