#!/usr/bin/env python3
"""test/sys/daemon.py: socled and real guests.  test/sys/daemon.py COMMAND KERNEL INITRD [DISK | ROUNDS [SEED]]

    life    create, start, console, suspend, edit by two, stop, delete; an upgrade under a running guest; hostile requests
    snap    snapshots, going back, clones and templates of a guest whose shell and disk tell what they are of; machines that are started again
    kill    ROUNDS times: kill -9 socled at a random instant of a script that creates, starts, stops and deletes; afterwards every record
            matches a process and files
"""

import atexit
import collections
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from socled import BUILD, DIR, SECONDS, Socled, Unix, answers, ask, done, ended, ok, socle, task, until

KERNEL, INITRD = sys.argv[2:4]


def machine(name, memory="128M"):
    return {"name": name, "kernel": KERNEL, "initrd": INITRD, "memory": memory, "engine": "soft", "append": "panic=-1"}


def processes():
    """Folder of its instance → pid, of each socle-vm of this test."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if not f.read().startswith("socle-vm"):
                    continue
            log = os.readlink(f"/proc/{pid}/fd/2")
        except OSError:
            continue
        if log.startswith(DIR + "/instances/"):
            folder = log[len(DIR + "/instances/"):].split("/")[0]
            assert folder not in found, f"two machines of {folder}"
            found[folder] = int(pid)
    return found


# ---- life ----

def hostile():
    """No request ends it, or changes anything."""
    before = ok("GET", "")["revision"]
    raw = [b"", b"\0" * 5000, b"GET", b"GET / HTTP/9.9\r\n\r\n", b"GET /1.0 HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
           b"POST /1.0/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
           b"POST /1.0/instances HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
           b"POST /1.0/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000,
           b"POST /1.0/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{",  # half a body
           b"POST /1.0/instances HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{}",
           b"GET /1.0/instances/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
           b"GET /1.0/instances/..%2f..%2frecords.db HTTP/1.1\r\nHost: x\r\n\r\n",
           b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n" * 200, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200)]
    for data in raw + [os.urandom(n) for n in (1, 10, 100, 1000, 10000)]:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(1)
            s.connect(DIR + "/api.sock")
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    idle = []
    for _ in range(400):  # more than may be connected
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(1)
        try:
            s.connect(DIR + "/api.sock")
        except OSError:
            break
        idle.append(s)
    for s in idle:
        s.close()
    until("it answers after all that", answers)
    assert ok("GET", "")["revision"] == before
    # one after the other in one packet: those with a body may be dropped, and end nothing
    for requests in (b"PP", b"GP", b"GPP", b"PGP"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(DIR + "/api.sock")
        s.sendall(b"".join(
            b"GET /1.0 HTTP/1.1\r\nHost: x\r\n\r\n" if r == ord("G") else b"POST /1.0/instances HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}" for r in requests))
        until("it answers after " + requests.decode(), answers)
        s.close()
    # deep, wide, wrong
    for body in ({"name": "x"}, [], {"name": "x", "kernel": "/k", "tags": [{"tag": "t"}] * 100}, {"name": "x" * 100, "kernel": "/k"}):
        assert ask("POST", "/instances", body)[0] == 400, body
    deep = "[" * 100000
    c = Unix("socle")
    c.request("POST", "/1.0/instances", deep)
    assert c.getresponse().status == 400
    assert ok("GET", "")["revision"] == before


def quiet_streams():
    """A client that went, half went, or talks, costs nothing: of a stream, and of answers that it does not take."""
    pid = ok("GET", "")["pid"]
    open_ones = []
    for how in (lambda s: s.shutdown(socket.SHUT_WR), lambda s: s.sendall(b"GET /1.0 HTTP/1.1\r\n\r\n"), lambda s: s.close(), lambda s: None):
        for path, times in ((b"events", 1), (b"openapi.json", 100)):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(SECONDS)
            s.connect(DIR + "/api.sock")
            s.sendall((b"GET /1.0/" + path + b" HTTP/1.1\r\nHost: x\r\n\r\n") * times)
            assert b"200" in s.recv(1000)
            time.sleep(0.1)  # until there is no room for more
            how(s)
            open_ones.append(s)

    def ticks():
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return sum(map(int, f.read().split()[13:15]))

    before = ticks()
    time.sleep(1)
    assert ticks() - before < os.sysconf("SC_CLK_TCK") / 4, "socled spins"
    for s in open_ones:
        s.close()


def two_clients():
    """Both read, both write: one wins, the other is told."""
    etag = ask("GET", "/instances/a")[2]["etag"]
    got = []
    threads = [threading.Thread(target=lambda n=n: got.append(ask("PATCH", "/instances/a", {"notes": str(n)}, {"If-Match": etag})[0]))
               for n in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got) == [200, 412], got


def console_of(path, word, seconds=SECONDS):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(seconds)
        s.connect(path)
        seen = b""
        while word not in seen:
            data = s.recv(65536)
            assert data, f"the console ended after {seen[-300:]}"
            seen += data


def schema_errors(doc, schema, value, at="answer"):
    """What of a JSON value its schema does not allow; as much of JSON Schema as the document uses."""
    if "$ref" in schema:
        return schema_errors(doc, doc["components"]["schemas"][schema["$ref"].split("/")[-1]], value, at)
    if "anyOf" in schema:
        tries = [schema_errors(doc, s, value, at) for s in schema["anyOf"]]
        return [] if [] in tries else tries[0]
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool, "null": type(None)}
    kind = types[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        return [f"{at}: {value!r} is no {schema['type']}"]
    errors = []
    if kind is dict:
        known = schema["properties"]
        errors += [f"{at}: {k} is not known" for k in value if k not in known and schema.get("additionalProperties") is False]
        errors += [f"{at}: {k} is missing" for k in schema.get("required", []) if k not in value]
        for k in value:
            if k in known:
                errors += schema_errors(doc, known[k], value[k], f"{at}.{k}")
    if kind is list:
        for i, v in enumerate(value):
            errors += schema_errors(doc, schema["items"], v, f"{at}[{i}]")
    if "enum" in schema and value not in schema["enum"]:
        errors.append(f"{at}: {value!r} is none of {schema['enum']}")
    return errors


def check_answers():
    """Every answer to GET is what the document says."""
    doc = ok("GET", "/openapi.json")
    done("POST", "/networks", {"name": "a", "kind": "user"})
    number = ok("GET", "/tasks")["list"][0]["number"]
    ok("POST", "/users", {"name": "a"})
    upload = ok("POST", "/uploads", {"name": "a", "size": 1})["id"]
    checked = 0
    for path, methods in doc["paths"].items():
        answer = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        if not answer:
            continue
        got = ok("GET", path[len("/1.0"):].replace("{name}", "a").replace("{number}", str(number)).replace("{id}", upload))
        errors = schema_errors(doc, answer["schema"], got)
        assert not errors, (path, errors)
        checked += 1
    assert checked >= 6, checked
    done("DELETE", "/networks/a")
    ok("DELETE", f"/uploads/{upload}")
    _, error, _ = ask("GET", "/instances/none")
    assert not schema_errors(doc, {"$ref": "#/components/schemas/Error"}, error), error


def events_resume():
    """Who was away gets what he missed, in order and once."""
    first = ok("GET", "")["revision"]
    for n in range(5):
        ok("PATCH", "/instances/a", {"notes": f"n{n}"})
    c = Unix("socle")
    c.request("GET", f"/1.0/events?since={first}")
    r = c.getresponse()
    ids = []
    while len(ids) < 5:
        line = r.fp.readline()
        if line.startswith(b"id: "):
            ids.append(int(line[4:]))
    c.close()
    assert ids == list(range(first + 1, first + 6)), (first, ids)
    c = Unix("socle")
    c.request("GET", "/1.0/events", headers={"Last-Event-ID": str(ids[2])})
    r = c.getresponse()
    while not (line := r.fp.readline()).startswith(b"id: "):
        pass
    assert int(line[4:]) == ids[3]
    c.close()


def many_watchers():
    """Each gets each change once, in order, however many they are, and from wherever it begins; the last is told, too."""
    edits, watchers = 150, 30
    for n in range(10):
        ok("PATCH", "/instances/a", {"notes": f"before{n}"})
    first = ok("GET", "")["revision"]
    streams = []
    for n in range(watchers):
        c = Unix("socle")
        c.request("GET", f"/1.0/events?since={first - n % 5}")
        streams.append((first - n % 5, c, c.getresponse()))
    for n in range(edits):
        ok("PATCH", "/instances/a", {"notes": f"n{n}"})
    for since, c, r in streams:
        ids = []
        while not ids or ids[-1] < first + edits:
            line = r.fp.readline()
            assert line, (since, ids)
            if line.startswith(b"id: "):
                ids.append(int(line[4:]))
        assert ids == list(range(since + 1, first + edits + 1)), (since, ids)
        c.close()


def life():
    d = Socled()
    done("POST", "/instances", machine("a", "256M"))
    done("POST", "/instances/a/action", {"action": "start"})
    show = ok("GET", "/instances/a")
    assert show["status"]["state"] == "running" and processes() == {show["status"]["id"]: show["status"]["pid"]}
    console_of(show["status"]["console"], b"Linux version")
    until("the log", lambda: "Linux version" in ok("GET", "/instances/a/log"))
    hostile()
    quiet_streams()
    two_clients()
    check_answers()
    events_resume()
    many_watchers()

    r = socle("pool", "import", "small", "--kernel", os.path.relpath(KERNEL), "--initrd", os.path.relpath(INITRD))
    assert r.returncode == 0 and "small" in socle("pool", "list").stdout, r
    assert socle("launch", "small1", "--memory", "128M", "--engine", "soft", "--net", "user").returncode == 0
    right("launch", "bare", "--memory", "128M", "--engine", "soft", "--net", "none")
    assert "mac" not in ok("GET", "/instances/bare")["nets"][0]
    shown = right("task", "show", str(ok("GET", "/tasks?name=bare")["list"][0]["number"]))
    log = [line.split("  ")[2] for line in shown.split("\nlog:\n")[1].splitlines()]
    assert log == ["begun", f"it runs, as process {ok('GET', '/instances/bare')['status']['pid']}", "done"], shown
    right("delete", "bare", "--force")
    assert socle("stop", "--force", "small1").returncode == 0 and socle("delete", "small1").returncode == 0

    d.end()  # an upgrade
    assert list(processes().values()) == [show["status"]["pid"]]
    r = socle("list", "-o", "json")  # starts one
    assert r.returncode == 0 and json.loads(r.stdout)[0]["state"] == "running", r
    assert ok("GET", "/instances/a")["status"]["pid"] == show["status"]["pid"]
    for action, state in (("pause", "paused"), ("resume", "running"), ("suspend", "suspended"), ("start", "running")):
        r = socle(action, "a")
        assert r.returncode == 0, r
        assert ok("GET", "/instances/a")["status"]["state"] == state
    os.kill(ok("GET", "/instances/a")["status"]["pid"], signal.SIGKILL)
    until("its death is seen", lambda: ok("GET", "/instances/a")["status"]["state"] == "failed")
    assert "signal 9" in ok("GET", "/instances/a")["status"]["why"]
    ok("PATCH", "/instances/a", {"memory": "3T"})
    assert "would fit" in task("POST", "/instances/a/action", {"action": "start"})["error"]
    ok("PATCH", "/instances/a", {"memory": "256M"})
    r = socle("start", "a")
    assert r.returncode == 0, r
    assert socle("delete", "a").returncode == 1  # it runs
    assert socle("stop", "--force", "a").returncode == 0
    assert socle("rename", "a", "b").returncode == 0
    assert socle("delete", "b").returncode == 0
    assert socle("show", "b").returncode == 1 and socle("start").returncode == 2
    assert os.listdir(DIR + "/instances") == [] and processes() == {}
    os.kill(ok("GET", "")["pid"], signal.SIGTERM)


# ---- snap ----

class Console:
    """A guest's shell."""

    def __init__(self, name):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(SECONDS)
        self.s.connect(ok("GET", f"/instances/{name}")["status"]["console"])
        self.seen = b""
        self.n = 0

    def wait(self, word):
        while word not in self.seen:
            data = self.s.recv(65536)
            assert data, f"the console ended after {self.seen[-300:]}"
            self.seen += data
        head, self.seen = self.seen.split(word, 1)
        return head.decode(errors="replace")

    def run(self, line):
        """What it prints."""
        self.n += 1
        mark = f"{self.n}.{random.randrange(10**9)}"
        self.s.sendall(f"echo be''gin-{mark}; {line}; echo e''nd-{mark}\n".encode())
        self.wait(f"begin-{mark}".encode())
        return self.wait(f"end-{mark}".encode()).strip()

    def close(self):
        self.s.close()


def right(*words):
    r = socle(*words)
    assert r.returncode == 0, (words, r)
    return r.stdout


def wrong(why, *words):
    r = socle(*words)
    assert r.returncode == 1 and why in r.stderr, (words, why, r)


def at_shell(name, line):
    c = Console(name)
    try:
        return c.run(line)
    finally:
        c.close()


def go_back():
    """Memory and disk are of one instant; disks alone are as after a power cut."""
    assert at_shell("s", "x=1; echo first >/f; sync") == ""
    right("snapshot", "s", "one")
    at_shell("s", "x=2; echo second >/f; sync")
    right("snapshot", "s", "two", "--disks")
    name = right("snapshot", "take", "s").strip()
    assert name == "snapshot3", name
    wrong("there is a snapshot 'one'", "snapshot", "s", "one")
    wrong("letters", "snapshot", "s", "../x")
    tree = json.loads(right("snapshot", "list", "s", "-o", "json"))
    assert [(n["name"], n.get("parent"), n["memory"], n["current"]) for n in tree] == \
        [("one", None, True, False), ("two", "one", False, False), ("snapshot3", "two", True, True)], tree
    assert "  two" in right("snapshot", "list", "s")
    right("restore", "s", "one")
    assert at_shell("s", "echo $x $(cat /f)") == "1 first"
    assert ok("GET", "/instances/s/snapshots")["list"][0]["current"]
    wrong("no snapshot 'none'", "restore", "s", "none")
    right("snapshot", "delete", "s", "two")
    wrong("no snapshot 'two'", "snapshot", "delete", "s", "two")
    at_shell("s", "x=3")
    right("suspend", "s")
    wrong("suspended", "snapshot", "s")
    right("restore", "s", "snapshot3")
    assert at_shell("s", "echo $x $(cat /f)") == "2 second"


def cancel():
    """A snapshot that is cancelled is not there, and its machine goes on; or it was complete before."""
    for delay in (0, 0.02, 0.1):
        number = ok("POST", "/instances/s/snapshots", {"name": "cancelled"})["task"]
        time.sleep(delay)
        ask("DELETE", f"/tasks/{number}")
        until("it ends", lambda: ok("GET", f"/tasks/{number}")["state"] not in ("waiting", "running"))
        state = ok("GET", f"/tasks/{number}")["state"]
        nodes = ok("GET", "/instances/s/snapshots")["list"]
        assert state in ("cancelled", "done") and (state == "done") == ("cancelled" in [n["name"] for n in nodes]), (state, nodes)
        assert all(n["complete"] for n in nodes), nodes
        assert at_shell("s", "echo here") == "here"
        if state == "done":
            right("snapshot", "delete", "s", "cancelled")


def clones():
    """Each has an identity, a disk and a life of its own, and keeps what it builds on."""
    at_shell("s", "x=7; echo seven >/f; sync")
    right("clone", "s", "i", "--instant", "--count", "2")
    shows = [ok("GET", f"/instances/{n}") for n in ("s", "i-1", "i-2")]
    assert len({s["uuid"] for s in shows}) == 3 and len({s["nets"][0]["mac"] for s in shows}) == 3
    base = shows[1]["status"]["base_snapshot"]
    assert shows[1]["status"]["base"] == "s" and shows[2]["status"]["base_snapshot"] == base, shows[1:]
    at_shell("i-1", "echo other >/f; sync")
    for name, word in (("s", "7 seven"), ("i-1", "7 other"), ("i-2", "7 seven")):
        assert at_shell(name, "echo $x $(cat /f)") == word, name
    wrong("build on it", "snapshot", "delete", "s", base)
    right("clone", "s", "linked")
    wrong("there is an instance", "clone", "s", "linked")
    right("clone", "s", "full", "--full", "--snapshot", "one")
    assert "base" not in ok("GET", "/instances/full")["status"]
    wrong("of the disks only", "clone", "s", "x", "--instant", "--snapshot", ok("GET", "/instances/linked")["status"]["base_snapshot"])
    before = right("snapshot", "list", "s")
    right("clone", "s", "full2", "--full")
    assert right("snapshot", "list", "s") == before, "a full clone left a snapshot"
    right("rename", "s", "original")
    assert ok("GET", "/instances/i-2")["status"]["base"] == "original"
    right("stop", "--force", "original", "i-1", "i-2")
    wrong("build on those of", "delete", "original")
    right("start", "linked")
    c = Console("linked")
    c.wait(b"# ")
    assert c.run("cat /f") == "seven"
    c.close()
    right("stop", "--force", "linked")

    right("set", "full", "template=on")
    wrong("a template", "start", "full")
    wrong("a template", "snapshot", "full")
    right("clone", "full", "t", "--count", "2")
    wrong("stays a template", "set", "full", "template=off")
    wrong("build on those of", "delete", "full")
    right("start", "t-1", "t-2")
    right("stop", "--force", "t-1", "t-2")
    right("delete", "t-1", "t-2", "linked", "i-1", "i-2")
    right("set", "full", "template=off")
    right("snapshot", "delete", "original", base)
    right("start", "original")
    c = Console("original")
    c.wait(b"# ")
    assert c.run("cat /f") == "seven"
    c.close()
    right("stop", "--force", "original")
    right("delete", "original", "full", "full2")
    assert os.listdir(DIR + "/instances") == [] and processes() == {}


def exports():
    """A disk of a machine that runs, at one instant: another machine starts from it; the first goes on meanwhile, and has no snapshot more."""
    file = os.environ["TMPDIR"] + "/s.qcow2"
    at_shell("s", "echo exported >/f; sync; (i=0; while [ ! -e /stop ]; do i=$((i+1)); echo $i >>/w; done) & echo")
    before = right("snapshot", "list", "s")
    right("export", "s", file, "--compress")
    assert right("snapshot", "list", "s") == before, "an export left a snapshot"
    assert ok("GET", "/instances/s/exports")["list"] == []
    assert at_shell("s", "echo more >/f; touch /stop; wait; tail -n 1 /w | grep -c .") == "1"
    r = subprocess.run([BUILD + "socle", "image", "check", file], capture_output=True, check=False)
    assert r.returncode == 0, r
    right("launch", "x", "--kernel", KERNEL, "--initrd", INITRD, "--disk", file, "--memory", "256M", "--engine", "soft", "--net", "user",
          "--append", "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh")
    c = Console("x")
    c.wait(b"# ")
    assert c.run("cat /f") == "exported"
    c.close()
    right("delete", "--force", "x")
    # of a snapshot, and one that is cancelled
    right("snapshot", "s", "kept", "--disks")
    right("export", "s", os.environ["TMPDIR"] + "/kept.raw", "--snapshot", "kept")
    for delay in (0, 0.05, 0.2):
        number = ok("POST", "/instances/s/exports", {"compress": True})["task"]
        time.sleep(delay)
        ask("DELETE", f"/tasks/{number}")
        state = ended(number)["state"]
        left = [x["number"] for x in ok("GET", "/instances/s/exports")["list"]]
        assert state in ("cancelled", "done") and left == ([number] if state == "done" else []), (state, left)
        assert [n["name"] for n in ok("GET", "/instances/s/snapshots")["list"]][-1] == "kept"
        if left:
            ok("DELETE", f"/instances/s/exports/{number}")
    folder = f"{DIR}/instances/{status('s')['id']}"
    assert not [f for f in os.listdir(folder) if f.startswith("export-")]
    right("snapshot", "delete", "s", "kept")


def cloud():
    """A guest finds what it is told on its last disk, and after an edit something else."""
    with open(os.environ["TMPDIR"] + "/user-data", "w", encoding="ascii") as f:
        f.write("#cloud-config\npackages: [one]\n")
    with open(os.environ["TMPDIR"] + "/key.pub", "w", encoding="ascii") as f:
        f.write("ssh-ed25519 AAAA me@home\n")
    right("launch", "c", "--memory", "256M", "--engine", "soft", "--net", "user", "--user-data", os.environ["TMPDIR"] + "/user-data", "--ssh-key",
          os.environ["TMPDIR"] + "/key.pub", "--hostname", "web-1")
    look = "[ -e /proc/mounts ] || mount -t proc p /proc; mount -t devtmpfs d /dev; modprobe isofs; mount -t iso9660 -o ro /dev/vdb /mnt && cat /mnt/*"
    told = []
    for word in ("one", "two"):
        c = Console("c")
        c.wait(b"# ")
        said = c.run(look).replace("\r", "")
        assert f"packages: [{word}]" in said and '"local-hostname":"web-1"' in said and "ssh-ed25519 AAAA me@home" in said, said
        told.append(re.search(r'"instance-id":"([^"]*)"', said).group(1))
        c.close()
        if word == "one":
            right("snapshot", "c", "before")
        ok("PATCH", "/instances/c", {"cloud": {"user_data": "#cloud-config\npackages: [two]\n", "hostname": "web-1",
                                               "keys": [{"key": "ssh-ed25519 AAAA me@home"}]}})
        right("stop", "--force", "c")
        right("start", "c")
    assert told[0] != told[1], told
    right("restore", "c", "before")  # its seed is still there
    assert "[one]" in at_shell("c", "cat /mnt/user-data")
    right("clone", "c", "d", "--instant")
    assert "[one]" in at_shell("d", "cat /mnt/user-data")
    right("delete", "--force", "d")
    right("snapshot", "delete", "c", "before")
    right("delete", "--force", "c")


def status(name):
    return ok("GET", f"/instances/{name}")["status"]


def crash(name):
    pid = status(name)["pid"]
    assert pid > 0, status(name)
    os.kill(pid, signal.SIGKILL)


def runs_again(name, times):
    now = status(name)
    return now["state"] == "running" and now["restarts"] == times


def stops(name):
    """Before it is started again; on a slow host that has begun, and it is busy for a while."""
    code, answer, _ = ask("POST", f"/instances/{name}/action", {"action": "stop", "force": True})
    assert code in (202, 409), answer
    return code == 202 and ended(answer["task"])["state"] == "done"


def restarts():
    """A machine that crashes is started again, not for ever; one that its guest or its user turned off is not."""
    done("POST", "/instances", {**machine("r"), "restart": "on-failure", "restart_limit": 2})
    done("POST", "/instances/r/action", {"action": "start"})
    for n in (1, 2):
        crash("r")
        until("it is started again", lambda: runs_again("r", n))
    crash("r")
    until("it has failed", lambda: status("r")["state"] == "failed")
    assert status("r")["start_at"] == 0 and status("r")["restarts"] == 2, status("r")
    done("POST", "/instances/r/action", {"action": "start"})
    assert status("r")["restarts"] == 0, status("r")
    crash("r")
    until("it has failed", lambda: status("r")["state"] == "failed")
    until("it is stopped", lambda: stops("r"))
    assert status("r")["start_at"] == 0, status("r")
    ok("PATCH", "/instances/r", {"restart": "always"})
    done("POST", "/instances/r/action", {"action": "start"})
    done("POST", "/instances/r/action", {"action": "stop", "force": True})
    assert status("r")["start_at"] == 0 and status("r")["state"] == "off", status("r")
    done("POST", "/instances/r/action", {"action": "start"})
    os.kill(ok("GET", "")["pid"], signal.SIGKILL)  # while it crashes, nobody is there
    os.kill(list(processes().values())[0], signal.SIGKILL)
    d = Socled()
    until("the next socled starts it again", lambda: status("r")["state"] == "running")
    until("the start is done", lambda: all(t["state"] not in ("waiting", "running") for t in ok("GET", "/tasks")["list"]))
    done("DELETE", "/instances/r?force=on")
    return d


def snap(disk):
    Socled()
    right("pool", "import", "deb", "--kernel", KERNEL, "--initrd", INITRD, "--disk", disk, "--append",
          "console=ttyS0 root=/dev/vda rw panic=-1 quiet init=/bin/sh")
    right("launch", "s", "--memory", "256M", "--engine", "soft", "--net", "user", "--tag", "a:b")
    for words, there in (("--state running --kind para", True), ("--state off", False), ("--kind os", False), ("--tag a:b", True), ("--tag a", False)):
        assert ("s  " in right("list", *words.split())) == there, words
    c = Console("s")
    c.wait(b"# ")
    c.close()
    go_back()
    cancel()
    exports()
    clones()
    cloud()
    restarts().end()


# ---- kill ----

def request(rand, name):
    """Some request about a machine: method, path, body."""
    snapshot = "s" + rand.choice("123")
    what = rand.choice(("create", "create", "start", "start", "stop", "delete", "suspend", "edit", "snapshot", "snapshot", "restore",
                        "unsnapshot", "clone", "clone", "export", "export"))
    return {
        "create": ("POST", "/instances", {**machine(name), "image": "small", "append": "panic=-1 rdinit=/bin/sh"}),
        "delete": ("DELETE", f"/instances/{name}?force=on", None),
        "edit": ("PATCH", f"/instances/{name}", {"notes": str(rand.random())}),
        "snapshot": ("POST", f"/instances/{name}/snapshots", {"name": snapshot, "memory": rand.random() < 0.5}),
        "unsnapshot": ("DELETE", f"/instances/{name}/snapshots/{snapshot}", None),
        "export": ("POST", f"/instances/{name}/exports", {"format": rand.choice(("qcow2", "raw", "vmdk"))}),
        "restore": ("POST", f"/instances/{name}/restore", {"snapshot": snapshot}),
        "clone": ("POST", f"/instances/{name}/clone", {"name": rand.choice("abcd"), "mode": rand.choice(("linked", "full", "instant"))}),
    }.get(what, ("POST", f"/instances/{name}/action", {"action": what, "force": True, "timeout": 1}))


def script(stop, seed):
    """Does this and that with four names, whatever happens to socled."""
    rand = random.Random(seed)
    while not stop.is_set():
        try:
            ask(*request(rand, rand.choice("abcd")))
        except (OSError, http.client.HTTPException, json.JSONDecodeError):
            time.sleep(0.005)


def check_snapshots(name, folder):
    """Each snapshot is complete, and has its files; no file is left of another."""
    nodes = ok("GET", f"/instances/{name}/snapshots")["list"]
    assert all(n["complete"] for n in nodes), (name, nodes)
    files = os.listdir(folder)
    images = [f for f in files if re.fullmatch(r"disk\.s\d+", f)]
    states = [f for f in files if re.fullmatch(r"disk\.s\d+\.state", f)]
    assert len(images) == len(nodes) and len(states) == sum(n["memory"] for n in nodes), (name, nodes, files)


def check_exports(name, folder):
    """Each has its file, and each file is of one."""
    listed = {f"export-{x['number']}" for x in ok("GET", f"/instances/{name}/exports")["list"]}
    there = {f for f in os.listdir(folder) if f.startswith("export-")}
    assert listed == there, (name, listed, there)


def check():
    """Every record matches a process and files, and the other way round."""
    alive = processes()
    folders = set(os.listdir(DIR + "/instances"))
    names = set()
    for s in ok("GET", "/instances")["list"]:
        i = ok("GET", "/instances/" + s["name"])
        status = i["status"]
        assert s["name"] not in names
        names.add(s["name"])
        assert status["state"] in ("off", "running", "suspended", "failed"), status
        assert status["state"] != "failed", status
        assert status["id"] in folders, (status, folders)
        if status["state"] == "running":
            assert alive.pop(status["id"], None) == status["pid"], (status, alive)
        if status["state"] == "suspended":
            assert os.path.exists(f"{DIR}/instances/{status['id']}/state"), status
        check_snapshots(s["name"], f"{DIR}/instances/{status['id']}")
        check_exports(s["name"], f"{DIR}/instances/{status['id']}")
        if "base" in status:
            assert ask("GET", f"/instances/{status['base']}")[0] == 200, status
        folders.discard(status["id"])
    assert not alive, f"machines without a record: {alive}"
    assert not folders, f"folders without a record: {folders}"
    return len(names)


def settled():
    return all(t["state"] not in ("waiting", "running") for t in ok("GET", "/tasks")["list"])


def kill(rounds, seed):
    rand = random.Random(seed)
    d = Socled()
    with open(os.environ["TMPDIR"] + "/small.raw", "wb") as f:
        f.truncate(1 << 20)
    source = {"kernel": KERNEL, "initrd": INITRD, "disk": os.environ["TMPDIR"] + "/small.raw"}
    done("POST", "/images", {"name": "small", "source": source})
    seen = running = 0
    for n in range(rounds):
        stop = threading.Event()
        clients = [threading.Thread(target=script, args=(stop, seed * 1000003 + 2 * n + k)) for k in range(2)]
        for c in clients:
            c.start()
        time.sleep(rand.uniform(0.01, 0.3))
        d.kill()
        stop.set()
        for c in clients:
            c.join()
        d = Socled()
        until("tasks end", settled)
        seen += check()
        running += len(processes())
    tried = collections.Counter((t["what"], t["state"]) for t in ok("GET", "/tasks")["list"])
    while left := ok("GET", "/instances")["list"]:  # clones before what they build on
        for s in left:
            status, answer, _ = ask("DELETE", f"/instances/{s['name']}?force=on")
            assert status == 202 or "build on" in answer["error"]["sentence"], answer
        until("they are deleted", settled)
    check()
    d.end()
    assert processes() == {}
    print(f"{rounds} kills: {seen} instances and {running} machines that ran were all as recorded (seed {seed}); "
          f"the last tasks: {', '.join(f'{n} {w} {s}' for (w, s), n in sorted(tried.items()))}")
    assert running, "the script starts no machine"


def leave_nothing():
    """After a failure: what we started would hold our caller's pipe."""
    try:
        os.kill(ok("GET", "")["pid"], signal.SIGKILL)
    except (OSError, http.client.HTTPException):
        pass  # it has ended
    for pid in processes().values():
        os.kill(pid, signal.SIGKILL)


def main():
    atexit.register(leave_nothing)
    if sys.argv[1] == "life":
        life()
    elif sys.argv[1] == "snap":
        snap(sys.argv[4])
    else:
        kill(int(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else random.randrange(10**6))


try:
    main()
finally:
    for left in processes().values():
        os.kill(left, signal.SIGKILL)
