#!/usr/bin/env python3
"""test/sys/full.py: socled whose disk is full.  test/sys/full.py GUEST_FOLDER, with a small file system at $TMPDIR/d

What needs room is refused with 507, or its task fails and says so; it leaves nothing, the guest runs on, and what needs no room is answered.
With room again all of it is done, by the same socled and by another one.
"""

import atexit
import http.client
import os
import signal
import socket
import sys

from socled import DIR, SECONDS, Socled, ask, done, ended, ok, until

GUEST = sys.argv[1]
FILL = DIR + "/fill"


def machine(name):
    return {"name": name, "kernel": GUEST + "/vmlinux", "initrd": GUEST + "/initrd", "memory": "128M", "engine": "soft", "append": "panic=-1 rdinit=/bin/sh"}


def with_disk(name):
    return {**machine(name), "image": "small"}


def fill(left=0):
    """Takes all room but that much."""
    with open(FILL, "ab", buffering=0) as f:
        size = 1 << 20
        while size >= 1:
            try:
                f.write(b"\0" * size)
            except OSError:
                size //= 2
        if left:
            f.truncate(max(0, f.tell() - left))


def lives():
    """Its shell answers."""
    path = ok("GET", "/instances/a")["status"]["console"]
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(SECONDS)
        s.connect(path)
        s.sendall(b"echo so-$((40+2))\n")
        seen = b""
        while b"so-42" not in seen:
            data = s.recv(65536)
            assert data, seen
            seen += data


def files():
    """What there is of instances and uploads, without logs and lists of snapshots."""
    found = set()
    for folder in ("instances", "uploads", "images"):
        for at, _, names in os.walk(f"{DIR}/{folder}"):
            found |= {f"{at}/{n}" for n in names if not n.endswith((".log", ".snapshots"))}
    return found


def refused(method, path, body):
    """With 507, or by its task; what was said."""
    status, answer, _ = ask(method, path, body)
    if status == 202:
        t = ended(answer["task"])
        assert t["state"] == "failed", t
        said = t["error"]
    else:
        assert status == 507, (method, path, status, answer)
        said = answer["error"]["sentence"]
    assert "space" in said or "room" in said or "full" in said, said
    return said


ASKS = (("POST", "/instances", with_disk("b")), ("PATCH", "/instances/a", {"notes": "x" * 16000}), ("POST", "/uploads", {"name": "u", "size": 1 << 20}),
        ("POST", "/images", {"name": "i", "source": {"kernel": GUEST + "/vmlinuz"}}), ("POST", "/users", {"name": "u"}),
        ("POST", "/instances/a/snapshots", {"name": "s"}), ("POST", "/instances/a/action", {"action": "suspend"}))


def without_room():
    before = files()
    assert ok("GET", "")["space_free"] > 1 << 20
    fill()
    assert ok("GET", "")["space_free"] == 0 and ok("GET", "")["space"] == 96 << 20
    for request in ASKS:
        print(request[0], request[1], refused(*request))
        assert [i["name"] for i in ok("GET", "/instances")["list"]] == ["a"] and ok("GET", "/instances/a")["status"]["state"] == "running"
        fill()  # what it gave back
    assert files() == before, (before, files())
    lives()


def with_little():
    """Enough for records, not for what they are about: what was begun is undone."""
    os.unlink(FILL)
    before = files()
    fill(8 << 20)
    for request in ASKS[5:]:
        print(request[0], request[1], refused(*request))
        assert files() == before, (before, files())
        assert ok("GET", "/instances/a")["status"]["state"] == "running"
        lives()
    left = ok("GET", "/instances/a/snapshots")["list"]
    assert left == [], left


def killed_and_full(d):
    """One that starts on a full disk finds the machine; with room again it works."""
    fill()
    pid = ok("GET", "/instances/a")["status"]["pid"]
    d.kill()
    d = Socled()
    assert ok("GET", "/instances/a")["status"]["pid"] == pid
    lives()
    print("POST /instances", refused(*ASKS[0]))
    os.unlink(FILL)
    return d


def with_room():
    ok("PATCH", "/instances/a", {"notes": "room"})
    ok("POST", "/users", {"name": "u"})
    done("POST", "/instances", with_disk("b"))
    done("DELETE", "/instances/b")
    done("POST", "/instances/a/snapshots", {"name": "s", "memory": False})
    done("DELETE", "/instances/a/snapshots/s")
    lives()
    done("DELETE", "/instances/a?force=on")
    done("POST", "/images", {"name": "i", "source": {"kernel": GUEST + "/vmlinuz"}})


def leave_nothing():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/fd/2").startswith(DIR + "/instances/"):
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
    try:
        os.kill(ok("GET", "")["pid"], signal.SIGKILL)
    except (OSError, http.client.HTTPException):
        pass


def main():
    atexit.register(leave_nothing)
    d = Socled()
    with open(os.environ["TMPDIR"] + "/small.raw", "wb") as f:
        f.truncate(1 << 20)
    done("POST", "/images", {"name": "small", "source": {"disk": f.name}})
    done("POST", "/instances", with_disk("a"))
    done("POST", "/instances/a/action", {"action": "start"})
    until("a shell", lambda: "# " in ok("GET", "/instances/a/log"))
    lives()
    without_room()
    with_little()
    d = killed_and_full(d)
    with_room()
    d.end()


main()
