#!/usr/bin/env python3
"""test/sys/pool.py: socled's pool of images, and requests that are sent again; no guest is started."""

import atexit
import http.client
import os
import random
import signal
import socket
import subprocess
import threading
import time
import uuid

from socled import BUILD, DIR, SECONDS, Socled, ask, ok, until

TMP = os.environ["TMPDIR"]
server = None


def machine(name):
    return {"name": name, "kernel": "/nowhere"}


# ---- requests that are sent again ----

def once():
    """With its key a request is done once, whatever became of the answer; and the key is that request's."""
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = ask("POST", "/instances", machine("once"), key)
    assert first[0] == 202, first
    assert ask("POST", "/instances", machine("once"), key)[:2] == first[:2]
    status, answer, _ = ask("POST", "/instances", machine("other"), key)
    assert status == 422 and answer["error"]["code"] == "key_reused", answer
    for bad in ("", "two words", "x" * 256):
        assert ask("POST", "/instances", machine("bad"), {"Idempotency-Key": bad})[0] == 400, bad
    doc = ok("GET", "/openapi.json")["paths"]["/1.0/instances"]
    assert any(p["name"] == "Idempotency-Key" for p in doc["post"]["parameters"]), doc
    assert not any(p["name"] == "Idempotency-Key" for p in doc["get"]["parameters"]), doc


def once_killed(rounds):
    """socled is killed at a random instant of a request, which is then sent again: there is one instance, and one task."""
    global server
    lost = 0
    for n in range(rounds):
        name, key = f"k{n}", {"Idempotency-Key": str(uuid.uuid4())}
        first = []

        def send():
            try:
                first.append(ask("POST", "/instances", machine(name), key))
            except (OSError, ValueError, AttributeError, http.client.HTTPException):
                pass

        t = threading.Thread(target=send)
        t.start()
        time.sleep(random.uniform(0, 0.006))
        server.kill()
        t.join()
        server = Socled()
        again = ask("POST", "/instances", machine(name), key)
        assert again[0] == 202, again
        if first:
            assert again[1] == first[0][1], (again, first)
        lost += not first
        tasks = [t for t in ok("GET", "/tasks")["list"] if t["name"] == name]
        assert len(tasks) == 1 and tasks[0]["number"] == again[1]["task"], tasks
    print(f"killed {rounds} times, {lost} answers lost")


class Cutting:
    """A socket in a folder of its own that passes requests on to socled, and keeps the first answers for itself."""

    def __init__(self, answers_lost):
        self.left = answers_lost
        self.dir = TMP + "/cut"
        os.makedirs(self.dir, exist_ok=True)
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.dir + "/api.sock")
        self.s.listen(8)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c = self.s.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.one, args=(c,), daemon=True).start()

    def one(self, c):
        up = socket.socket(socket.AF_UNIX)
        up.connect(DIR + "/api.sock")
        data = c.recv(65536)
        up.sendall(data)
        while chunk := up.recv(65536):
            if self.left and data.startswith(b"POST"):
                self.left -= 1
                break
            try:
                c.sendall(chunk)
            except OSError:
                break
        for s in (c, up):
            s.close()

    def close(self):
        self.s.close()
        os.unlink(self.dir + "/api.sock")


def once_cli():
    """socle sends it again by itself when the answer is lost."""
    cut = Cutting(2)
    r = subprocess.run([BUILD + "socle", "create", "again", "--kernel", "/nowhere", "--dir", cut.dir], capture_output=True, text=True,
                       timeout=SECONDS, check=False)
    assert r.returncode == 0, r
    assert not cut.left
    assert len([t for t in ok("GET", "/tasks")["list"] if t["name"] == "again"]) == 1
    cut.close()


def main():
    global server
    atexit.register(lambda: server and server.p.poll() is None and server.p.send_signal(signal.SIGKILL))
    server = Socled()
    once()
    once_killed(int(os.environ.get("SOCLE_KILLS", "20")))
    once_cli()
    server.end()
    print("test/sys/pool.py: all is well")


if __name__ == "__main__":
    main()
