#!/usr/bin/env python3
"""test/sys/host_shell.py: shells of the host: who has one, what it is, and that nothing of it is left."""

import atexit
import glob
import http.client
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import time

import far
from far import PASSWORD, Listening, Ws, key_of, remote
from socled import BUILD, DIR, SECONDS, Unix, ask as local, checked as ok, socle, until

RUN, IN, SIZE = 0, 1, 2
OUT, END, FAILED = 1, 3, 4
SHELLS_MAX = 8


def frame(kind, data):
    return bytes([kind]) + struct.pack(">I", len(data)) + data


class Shell(Ws):
    def __init__(self, key=None, first=b"{}", **more):
        super().__init__("/host/terminal", key, **more)
        self.frames, self.seen = b"", ""
        if self.status == 101 and first is not None:
            self.send(frame(RUN, first))

    def type(self, text):
        self.send(frame(IN, text.encode()))

    def frame(self):
        """(kind, bytes) of the next."""
        while len(self.frames) < 5 or len(self.frames) < 5 + struct.unpack(">I", self.frames[1:5])[0]:
            op, data = self.message()
            assert op == 2, (op, data)
            self.frames += data
        n = 5 + struct.unpack(">I", self.frames[1:5])[0]
        got, self.frames = self.frames[:n], self.frames[n:]
        return got[0], got[5:]

    def reads(self, word):
        """Waits until it writes `word`, a regular expression."""
        while not (found := re.search(word, self.seen)):
            kind, data = self.frame()
            assert kind == OUT, (kind, data, self.seen)
            self.seen += data.decode(errors="replace")
        self.seen = self.seen[found.end():]
        return found

    def pid(self):
        self.type("echo pid-$$-\n")
        return int(self.reads(r"pid-(\d+)-")[1])

    def is_closed(self):
        """Does it close, whatever it says before?"""
        self.s.settimeout(SECONDS)
        try:
            while self.message()[0] != 8:
                pass
        except (EOFError, OSError):
            pass
        return True


def unix():
    c = Unix("socle")
    c.connect()
    return c.sock


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def people():
    assert local("POST", "/users", {"name": "root", "password": PASSWORD, "role": "admin"})[0] == 204
    for role in ("operator", "viewer", "none"):
        assert local("POST", "/users", {"name": role, "role": role, "password": PASSWORD})[0] == 204


def rights():
    """By role, by token, and who is nobody; refusals are in the audit log."""
    assert Shell().status == 401
    for user in ("operator", "viewer", "none"):
        assert Shell(key_of(user)).status == 403
    key = key_of("root")
    plain, shell = (ok(remote("POST", "/tokens", {"name": n, "shell": n == "shell"}, key))["token"] for n in ("plain", "shell"))
    assert remote("POST", "/tokens", {"name": "no", "shell": True, "role": "operator"}, key)[0] == 400
    assert remote("GET", "/self", key=plain)[1]["shell"] is False and remote("GET", "/self", key=shell)[1]["shell"] is True
    assert Shell(plain).status == 403
    with Shell(shell).s:
        pass
    assert remote("GET", "/host/terminal", key=key)[0] == 400  # no WebSocket
    refused = [e for e in ok(remote("GET", "/audit", key=key))["list"] if e["path"] == "/1.0/host/terminal" and e["status"] == 403]
    assert {e["who"] for e in refused} == {"root", "operator", "viewer", "none"}, refused


def only_its_terminal(pid):
    """What a shell has for a moment, as the pipe of a prompt that runs something, goes again."""
    try:
        return all(os.readlink(fd).startswith("/dev/pts/") for fd in glob.glob(f"/proc/{pid}/fd/*"))
    except FileNotFoundError:
        return False


def what_it_is():
    """A login shell at home, with an environment of its own and no descriptor of socled's."""
    s = Shell(key_of("root"), json.dumps({"rows": 31, "columns": 101}).encode())
    pid = s.pid()
    s.type("echo so-$((40+2)); stty size; pwd; echo home-$HOME-; echo login-$0-\n")
    s.reads("so-42")
    s.reads("31 101")
    s.reads(r"home-/\S*-")
    s.reads(r"login--\S*sh-")
    s.send(frame(SIZE, struct.pack(">HH", 40, 90)))
    s.type("stty size\n")
    s.reads("40 90")
    assert os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(os.path.expanduser("~"))
    with open(f"/proc/{pid}/environ", "rb") as f:
        names = {v.split(b"=")[0].decode() for v in f.read().split(b"\0") if v}
    assert names == {"TERM", "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG"}, names
    until("it has no descriptor but its terminal", lambda: only_its_terminal(pid))
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        status = f.read()
    assert re.search(r"SigIgn:\s+0*(?!0001000)", status)  # not SIGPIPE, which socled ignores
    s.type("exit 3\n")
    while (got := s.frame())[0] == OUT:
        pass
    assert got == (END, struct.pack(">I", 3)), got
    until("it ended", lambda: not lives(pid))


def hangs_up():
    """Whatever ends the right, or the connection, ends all that runs in it, also what will not hear of SIGHUP."""
    root = key_of("root")

    def by(end, key=None):
        s = Shell(key or key_of("root"))
        pid = s.pid()
        s.type("trap '' HUP; sh -c 'trap \"\" HUP; sleep 1000' & echo child-$!-\n")
        child = int(s.reads(r"child-(\d+)-")[1])
        assert lives(pid) and lives(child)
        end(s)
        until("nothing is left", lambda: not lives(pid) and not lives(child))

    def logout(s):
        assert remote("POST", "/logout", key=s.key)[0] == 204
        assert s.is_closed()

    def with_key(end):
        key = key_of("root")

        def on(s):
            s.key = key
            end(s)
        by(on, key)

    by(lambda s: s.s.close())
    with_key(logout)
    with_key(lambda s: remote("DELETE", "/tokens/" + s.key.split("_")[1], key=root) and s.is_closed())
    short = ok(remote("POST", "/tokens", {"name": "short", "seconds": 15, "shell": True}, root))["token"]
    by(lambda s: s.is_closed(), short)  # by the clock alone


def bounded():
    key = key_of("root")
    all_of = [Shell(key) for _ in range(SHELLS_MAX)]
    pids = [s.pid() for s in all_of]
    more = Shell(key)
    assert more.status == 409, more.status
    for s in all_of:
        s.s.close()
    until("their end", lambda: not any(lives(p) for p in pids))
    until("there is room", lambda: Shell(key, None).status == 101)


def hostile():
    """Nine that break the rules; each is told or dropped, and nothing stays."""
    key = key_of("root")
    nine = [
        (frame(IN, b"x"), b"what to run is expected"),
        (frame(RUN, b"{"), b"JSON"),
        (frame(RUN, b'{"command": ["id"]}'), b"'command'"),
        (frame(RUN, b'{"rows": 0}'), b"'rows'"),
        (frame(RUN, b'{"rows": 70000}'), b"'rows'"),
        (frame(RUN, b"\xff\xfe"), b""),
        (b"\0\xff\xff\xff\xff", b"more than"),
        (frame(9, b""), b"kind 9"),
        (frame(RUN, b"{}") + frame(RUN, b"{}"), b"kind 0"),
    ]
    for data, word in nine:
        s = Shell(key, None)
        assert s.status == 101, s.status
        s.send(data)
        while (got := s.frame())[0] == OUT:
            pass
        assert got[0] == FAILED and word in got[1], (data, got)
        s.s.close()
    s = Shell(key, None)
    s.send(frame(RUN, b"{}") + frame(IN, b"cat >/dev/null\n") + frame(IN, b"x" * 200000))  # more than a terminal takes
    time.sleep(0.3)
    s.s.close()
    server = ok(local("GET", ""))["pid"]

    def children():
        with open(f"/proc/{server}/task/{server}/children", encoding="ascii") as f:
            return [int(p) for p in f.read().split() if lives(int(p))]
    until("no shell is left", lambda: not children())


def audited():
    entries = [e for e in ok(local("GET", "/audit?limit=1000"))["list"] if e["path"] == "/1.0/host/terminal" and e["status"] == 101]
    assert entries and all(e["from"] in ("127.0.0.1", "unix") for e in entries)
    begins, ends = ([e for e in entries if e["note"].startswith(w)] for w in ("begins", "ended after "))
    assert len(begins) == len(ends) > SHELLS_MAX and {e["who"] for e in begins} == {"root", f"uid {os.getuid()}"}, (len(begins), len(ends))


def command_line():
    r = socle("host", "shell", input="echo cli-$((40+2)); exit 5\n")
    assert r.returncode == 5 and "cli-42" in r.stdout, r
    r = socle("host", "shell", input="echo end-$((1+1))\n")  # the end of what is typed
    assert r.returncode == 0 and "end-2" in r.stdout, r
    home = os.environ["TMPDIR"] + "/home"
    os.mkdir(home)

    def at_lab(*words, text=""):
        return subprocess.run([BUILD + "socle", *words], input=text, capture_output=True, text=True, timeout=SECONDS, check=False,
                              env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": "", "SOCLE_MORE": BUILD + "socle-more"})
    for name, more in (("lab", ["--shell"]), ("plain", [])):
        r = at_lab("remote", "add", name, "https://" + far.where, "--fingerprint", far.fingerprint, "--user", "root", *more, text=PASSWORD + "\n")
        assert r.returncode == 0, r
    r = at_lab("host", "shell", "--host", "lab", text="echo far-$((40+2)); exit 6\n")
    assert r.returncode == 6 and "far-42" in r.stdout, r
    r = at_lab("host", "shell", "--host", "plain", text="exit\n")
    assert r.returncode == 125 and "right" in r.stderr, r
    r = socle("token", "create", "t", "--user", "root", "--shell")
    assert Shell(r.stdout.strip()).status == 101


def on_terminal():
    """Of a terminal of our own: its size goes along."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(BUILD + "socle", ["socle", "host", "shell", "--dir", DIR])
    seen = b""

    def reads(word):
        nonlocal seen
        while word not in seen:
            assert select.select([fd], [], [], SECONDS)[0], seen
            seen += os.read(fd, 65536)
    os.write(fd, b"echo on-$((40+2)); tty\n")
    reads(b"on-42")
    reads(b"/dev/pts/")
    os.write(fd, b"exit 7\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def killed(d):
    """A shell does not outlive socled."""
    s = Shell(sock=unix())
    pid = s.pid()
    d.kill()
    until("its end", lambda: not lives(pid))


def switched_off():
    d = Listening("--no-host-terminal")
    assert ok(local("GET", ""))["terminal"] is False
    assert Shell(key_of("root")).status == 400
    r = socle("host", "shell", input="exit\n")
    assert r.returncode == 125 and "switched off" in r.stderr, r
    d.end()


def leave_nothing():
    """What a failed test left."""
    try:
        os.kill(ok(local("GET", ""))["pid"], signal.SIGKILL)
    except (OSError, http.client.HTTPException):
        pass


def main():
    atexit.register(leave_nothing)
    d = Listening()
    people()
    assert ok(local("GET", ""))["terminal"] is True
    for step in (rights, what_it_is, hangs_up, bounded, hostile, command_line, on_terminal, audited):
        begin = time.monotonic()
        step()
        print(f"{step.__name__}: {time.monotonic() - begin:.1f} s", flush=True)
    s = Shell(sock=unix())
    pid = s.pid()
    d.end()
    assert not lives(pid)
    d = Listening()
    killed(d)
    switched_off()


main()
