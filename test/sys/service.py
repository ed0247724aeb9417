#!/usr/bin/env python3
"""test/sys/service.py: socled as a service of a host, with a real guest on the software engine.  test/sys/service.py GUEST_FOLDER"""

import atexit
import fcntl
import glob
import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import yaml

from socled import BUILD, DIR, SECONDS, Socled, ask, done, ok, socle, until

GUEST = sys.argv[1]
LINE = re.compile(r'socle_(host|instance)_[a-z_]+(\{name="[A-Za-z0-9._-]+"\})? [0-9]+(\.[0-9]+)?')


# ---- how it is shown ----

def screen_of(fd, word):
    """What a terminal gets until it has the word."""
    seen = b""
    while word not in seen:
        assert select.select([fd], [], [], SECONDS)[0], seen
        seen += os.read(fd, 65536)
    return seen


def size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def top():
    shown = socle("top", "--once")
    assert shown.returncode == 0 and shown.stdout.startswith("1 of 2 machines run"), shown
    assert re.search(r"^a +[0-9.]+ .* [0-9]+[kM]?$", shown.stdout, re.M) and not re.search("^b ", shown.stdout, re.M), shown
    told = json.loads(socle("top", "-o", "json").stdout)
    assert told.keys() == {"host", "instances"} == yaml.safe_load(socle("top", "-o", "yaml").stdout).keys(), told
    assert all("at" in i for i in told["instances"] if i["state"] == "running") and told["host"]["running"] == 1, told
    ours, its = pty.openpty()
    before = termios.tcgetattr(its)
    size(its, 10, 150)
    p = subprocess.Popen([BUILD + "socle", "top", "--dir", DIR], stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"})
    assert b"EXIT/s" in screen_of(ours, b"sorted by")
    size(its, 8, 40)
    p.send_signal(signal.SIGWINCH)
    assert b"EXIT/s" not in screen_of(ours, b"sorted by")
    size(its, 1, 1)  # no room at all
    p.send_signal(signal.SIGWINCH)
    os.write(ours, b"nmz")
    size(its, 30, 200)
    p.send_signal(signal.SIGWINCH)
    screen_of(ours, b"EXIT/s")  # perhaps after a screen of the size before
    os.write(ours, b"q")
    screen_of(ours, b"\x1b[?1049l")  # the other screen again
    assert p.wait(SECONDS) == 0 and termios.tcgetattr(its) == before
    p = subprocess.Popen([BUILD + "socle", "top", "--dir", DIR], stdin=its, stdout=its, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm"})
    screen_of(ours, b"sorted by")
    os.close(ours)
    assert b"the terminal is gone" in p.communicate(timeout=SECONDS)[1]
    os.close(its)


def formats():
    """JSON and YAML say the same."""
    ok("PATCH", "/instances/b", {"notes": "no: 'x'\n- \u00e4 \U0001f600 \x7f\x85", "tags": [{"tag": "yes"}, {"tag": "1.0"}]})
    for words in (("list",), ("show", "b"), ("pool", "list"), ("task", "list"), ("info",), ("user", "list")):
        both = [yaml.safe_load(socle(*words, "-o", "yaml").stdout), json.loads(socle(*words, "-o", "json").stdout)]
        if words == ("info",):  # others write to the disk meanwhile
            assert all(isinstance(said.pop("space_free"), int) for said in both), both
        assert both[0] == both[1], both


def watched():
    """--watch shows what changes when it does, on a terminal in place of what was; it ends with socled's word."""
    p = subprocess.Popen([BUILD + "socle", "list", "--watch", "--dir", DIR], stdout=subprocess.PIPE, text=True)
    shown = [p.stdout.readline() for _ in range(3)]
    assert [line.split()[0] for line in shown] == ["NAME", "a", "b"], shown
    done("POST", "/instances", {"name": "c", "image": "deb"})
    while not shown[-1].startswith("c "):
        shown.append(p.stdout.readline())
        assert shown[-1], shown
    assert shown[-4].startswith("NAME") and "\x1b" not in "".join(shown), shown
    p.kill()
    p.wait()
    p.stdout.close()
    ours, its = pty.openpty()
    p = subprocess.Popen([BUILD + "socle", "show", "c", "--watch", "--dir", DIR], stdout=its, stderr=subprocess.PIPE, text=True)
    screen_of(ours, b"\x1b[H\x1b[J")
    done("DELETE", "/instances/c")
    assert "there is no instance 'c'" in p.communicate(timeout=SECONDS)[1] and p.returncode == 1
    os.close(ours)
    os.close(its)
    refused = socle("snapshot", "list", "--watch", "/x/disk.qcow2")
    assert refused.returncode == 1 and "--watch" in refused.stderr, refused


def completed():
    """Names are completed, and asking for them starts nothing."""
    script = f"""PATH={BUILD}:$PATH; SOCLE_DIR=$1; export SOCLE_DIR; eval "$(socle --completion bash)"
        COMP_WORDS=($2); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _socle; printf '%s\\n' "${{COMPREPLY[@]}}" """

    def reply(words, folder=DIR):
        return subprocess.run(["bash", "-c", script, "-", folder, words], capture_output=True, text=True, timeout=SECONDS, check=True, cwd="/").stdout.split()

    assert "a" in reply("socle start a") and "b" in reply("socle start a b")
    assert "deb" in reply("socle pool delete d") and "a" not in reply("socle pool delete d")
    assert "a" in reply("socle snapshot list a") and "restore" in reply("socle snapshot r")
    nobody = os.environ["TMPDIR"] + "/nobody"
    assert "a" not in reply("socle start a", nobody) and not os.path.exists(nobody)


# ---- what it measures ----

def switches(pid):
    """How often its threads were woken."""
    n = 0
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="ascii") as f:
            n += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", f.read(), re.M)[1])
    return n


def rests(pid):
    """Nothing wakes it for three seconds; what it still had to do at first may."""
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        before = switches(pid)
        time.sleep(3)
        if switches(pid) == before:
            return
    raise AssertionError("it is woken though nothing runs and nobody asks")


def look(path):
    """Looks at it until it was measured."""
    until(f"{path} is measured", lambda: "at" in ok("GET", path))
    return ok("GET", path)


def metrics():
    assert "at" not in ok("GET", "/instances/a/metrics")
    assert ask("GET", "/instances/none/metrics")[0] == 404
    done("POST", "/instances/a/action", {"action": "start"})
    with socket.socket(socket.AF_UNIX) as console:
        console.settimeout(SECONDS)
        console.connect(ok("GET", "/instances/a")["status"]["console"])
        seen = b""
        while b"# " not in seen:
            seen += console.recv(65536)
        console.sendall(b"while :; do echo x >/f; sync; done\n")
    until("the guest writes to its disk", lambda: look("/instances/a/metrics").get("write_bytes", 0) > 0)
    now = look("/instances/a/metrics")
    assert now["state"] == "running" and now["cpus"] == 2 and now["ram"] == 128 << 20, now
    assert now["exits"] > 0 and now["cpu"] > 0 and now["balloon"] == 0 and now["memory"] > 16 << 20, now
    host = look("/metrics/host")
    assert host["running"] == 1 and 0 < host["memory"] < host["ram"] and host["cpus"] == os.cpu_count() and "exits" not in host, host
    assert [i["name"] for i in ok("GET", "/metrics/instances")["list"]] == ["a", "b"]
    history = ok("GET", "/instances/a/metrics/history")
    column = history["columns"].index("write_bytes")
    times = [row[0] for row in history["rows"]]
    assert times == sorted(set(times)) and any(row[column] for row in history["rows"]), history
    assert all(row[0] > times[-1] for row in ok("GET", f"/instances/a/metrics/history?since={times[-1]}")["rows"])
    assert len(ok("GET", "/instances/a/metrics/history?step=86400")["rows"]) <= 2
    assert len(ok("GET", "/metrics/host/history?limit=1")["rows"]) == 1
    assert ask("GET", "/metrics/host/history?span=years")[0] == 400
    text = ok("GET", "/metrics")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(LINE.fullmatch(line) for line in lines), text
    assert len([line for line in lines if line.startswith('socle_instance_disk_written_bytes_total{name="a"} ')]) == 1, text
    assert not any('"b"' in line for line in lines)  # it is off
    top()
    formats()
    watched()
    completed()
    # a machine that does not answer holds up nobody
    pid = ok("GET", "/instances/a")["status"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    was = ok("GET", "/metrics/host")["at"]
    until("the host is measured all the same", lambda: ok("GET", "/metrics/host")["at"] > was + 2)
    os.kill(pid, signal.SIGCONT)


def measured_life():
    d = Socled()
    rests(d.p.pid)
    done("POST", "/images", {"name": "deb", "source": {
        "kernel": GUEST + "/vmlinuz", "initrd": GUEST + "/initrd", "disk": GUEST + "/root.img",
        "append": "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh"}})
    for name in ("a", "b"):
        done("POST", "/instances", {"name": name, "image": "deb", "memory": "128M", "engine": "soft", "cpus": 2})
    metrics()
    done("POST", "/instances/a/action", {"action": "stop", "force": True})
    kept = ok("GET", "/instances/a/metrics/history")["rows"]
    d.kill()
    d = Socled()
    assert ok("GET", "/instances/a/metrics/history")["rows"] == kept != []
    for name in ("a", "b"):
        done("DELETE", f"/instances/{name}")
    until("what was measured is gone", lambda: os.listdir(DIR + "/metrics") == ["host"])
    rests(d.p.pid)
    d.end()


# ---- what a service manager wants ----

def units():
    """systemd finds nothing wrong with the units, and each manager has its own folder."""
    folder = os.environ["TMPDIR"] + "/units"
    os.mkdir(folder)
    for manager in ("system", "user"):
        for unit in ("socle-machines.service", "socle-shutdown.service", "socled.service", "socled.socket"):
            with open(f"{BUILD}{manager}-{unit}", encoding="ascii") as f:
                text = re.sub(r"^(ExecSt\w+)=\S+/socled ", rf"\1={BUILD}socled ", f.read(), flags=re.M)
            assert not re.search("@[A-Z_]+@", text), text
            with open(f"{folder}/{unit}", "w", encoding="ascii") as f:
                f.write(text)
        p = subprocess.run(["systemd-analyze", f"--{manager}", "--man=no", "verify", *glob.glob(folder + "/socle*")],
                           env={**os.environ, "XDG_RUNTIME_DIR": folder}, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert p.returncode == 0 and "socled" not in p.stderr, p


def said(manager):
    return manager.recv(4096).decode()


def activated():
    """The first request starts it on the socket that is there, in place of one that had the folder; it says when it is ready, and when it ends, and
    leaves the socket."""
    before = Socled()
    os.unlink(DIR + "/api.sock")  # as systemd does
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(SECONDS)
        manager.bind(os.environ["TMPDIR"] + "/notify")
        p = subprocess.Popen(["systemd-socket-activate", "--listen", DIR + "/api.sock", "-E", "NOTIFY_SOCKET=" + manager.getsockname(),
                              BUILD + "socled", "--dir", DIR], stderr=subprocess.DEVNULL)
        try:
            until("the socket is there", lambda: os.path.exists(DIR + "/api.sock"))
            inode = os.stat(DIR + "/api.sock").st_ino
            assert ok("GET", "")["pid"] == p.pid
            assert before.p.wait(SECONDS) == 0
            assert said(manager) == "READY=1"
            p.terminate()
            assert said(manager) == "STOPPING=1" and p.wait(SECONDS) == 0
            assert os.stat(DIR + "/api.sock").st_ino == inode
        finally:
            p.kill()
    os.unlink(DIR + "/api.sock")


# ---- the host is shut down ----

def shut_down():
    """Machines in their order, as their guests do it; who does not is turned off in the end, and holds up nobody.  Nothing is started, and the next
    socled knows."""
    folder = os.environ["TMPDIR"] + "/payload"
    subprocess.run(["test/payload/build.sh", folder, "test/payload/heart.S"], check=True)
    d = Socled()
    for name, more in (("good", {"restart": "always"}), ("deaf", {"autostart_order": 3}), ("off", {"autostart": True}),
                       ("base", {"autostart_order": 1}), ("builds", {"autostart_order": 5})):
        done("POST", "/instances", {"name": name, "kernel": folder + "/heart", "memory": "16M", "engine": "soft", "nets": [], **more})
    for name, bytes_sent in (("good", b"1234"), ("deaf", b"123d"), ("base", b"1234"), ("builds", b"1234")):
        done("POST", f"/instances/{name}/action", {"action": "start"})
        with socket.socket(socket.AF_UNIX) as console:
            console.settimeout(SECONDS)
            console.connect(ok("GET", f"/instances/{name}")["status"]["console"])
            seen = b""
            console.sendall(bytes_sent)
            while b"count 4" not in seen:
                seen += console.recv(4096)
    done("POST", "/instances/good/action", {"action": "pause"})
    p = subprocess.run([BUILD + "socled", "--dir", DIR, "--stop-machines", "--timeout", "3"], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert p.returncode == 0 and "'deaf' does not shut down" in p.stderr and "'good'" not in p.stderr, p
    assert d.p.wait(SECONDS) == 0
    d = Socled()
    for name, last in (("good", "bye\n"), ("deaf", "count 4\n"), ("base", "bye\n"), ("builds", "bye\n")):
        assert socle("logs", name).stdout.replace("\r", "").endswith(last), (name, socle("logs", name))
    assert [i["state"] for i in ok("GET", "/instances")["list"]] == ["off"] * 5
    said_bye = {name: os.stat(ok("GET", f"/instances/{name}")["status"]["console_log"]).st_mtime_ns for name in ("good", "builds", "base")}
    assert said_bye["good"] < said_bye["builds"] < said_bye["base"], said_bye
    for name in ("good", "deaf", "off", "base", "builds"):
        done("DELETE", f"/instances/{name}")
    d.end()


# ---- what the host has ----

def doctor(*before, folder=DIR, status=0):
    p = subprocess.run([*before, BUILD + "socle", "doctor", "-o", "json", "--dir", folder], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert p.returncode == status, p
    return {f["what"]: f for f in json.loads(p.stdout)}


def examined():
    """What a host lacks is found, with what is to be done about it; only what would fail is an error."""
    whole = doctor()
    assert len(whole) == 9 and all(f["found"] and f["state"] in ("ok", "note") for f in whole.values()), whole
    assert "'soft' runs" in whole["engine"]["found"] and whole["files"]["state"] == "ok", whole
    poor = doctor("prlimit", "--nofile=100:100", folder="/proc/none", status=1)
    assert poor["files"]["state"] == "note" and "100 open files" in poor["files"]["found"] and "4096" in poor["files"]["advice"], poor
    assert poor["space"]["state"] == "bad" and "'/proc'" in poor["space"]["found"] and poor["space"]["advice"], poor
    if os.geteuid() == 0:  # without capabilities nothing can be given up but by a namespace of users, and no tap be made
        weak = doctor("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        assert weak["networks"]["state"] == "note" and weak["networks"]["advice"], weak


def leave_nothing():
    try:
        for i in ok("GET", "/instances")["list"]:
            pid = ok("GET", "/instances/" + i["name"])["status"]["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
        os.kill(ok("GET", "")["pid"], signal.SIGKILL)
    except (OSError, http.client.HTTPException):
        pass  # it has ended


atexit.register(leave_nothing)
units()
os.mkdir(DIR, 0o700)
activated()
shut_down()
examined()
measured_life()
