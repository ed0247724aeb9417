"""test/sys/socled.py: what tests of socled share: the daemon in $TMPDIR/d, and requests at its unix socket."""

import http.client
import json
import os
import socket
import subprocess
import time

BUILD = os.environ["SOCLE_BUILD"] + "/src/cmd/"
DIR = os.environ["TMPDIR"] + "/d"
SECONDS = 60


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(DIR + "/api.sock")


def answer_of(connection):
    """(status, JSON or text, headers) of the request that was sent."""
    r = connection.getresponse()
    text = r.read().decode(errors="replace")
    connection.close()
    return r.status, json.loads(text) if "json" in (r.getheader("content-type") or "") and text else text, r.headers


def ask(method, path, body=None, headers=None):
    c = Unix("socle")
    c.request(method, "/1.0" + path, None if body is None else json.dumps(body), headers or {})
    return answer_of(c)


def checked(call):
    """The answer of a request that went well."""
    status, answer, _ = call
    assert status < 300, call
    return answer


def ok(method, path, body=None):
    return checked(ask(method, path, body))


def until(what, condition, seconds=SECONDS):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"waited in vain: {what}"
        time.sleep(0.02)


def ended(number):
    """The task, when it has ended."""
    until(f"task {number}", lambda: ok("GET", f"/tasks/{number}")["state"] not in ("waiting", "running"))
    return ok("GET", f"/tasks/{number}")


def task(method, path, body=None):
    """Asks for what begins a task, and waits for its end; the task."""
    return ended(ok(method, path, body)["task"])


def done(method, path, body=None):
    t = task(method, path, body)
    assert t["state"] == "done", t


def answers():
    try:
        return ask("GET", "")[0] == 200
    except (OSError, http.client.HTTPException):  # killed in the middle of its answer
        return False


def socle(*words, **more):
    return subprocess.run([BUILD + "socle", *words, "--dir", DIR], capture_output=True, text=True, timeout=SECONDS, check=False, **more)


class Socled:
    def __init__(self, *options, programs=BUILD):
        self.p = self.begin(programs, *options)
        until("socled answers", answers)

    @staticmethod
    def begin(programs, *options):
        """Its process, which may not answer yet."""
        with open(os.environ["TMPDIR"] + "/socled.log", "ab") as log:
            return subprocess.Popen([programs + "socled", "--dir", DIR, *options], stderr=log)

    def kill(self):
        self.p.kill()
        self.p.wait()

    def end(self):
        self.p.terminate()
        assert self.p.wait(SECONDS) == 0
