#!/usr/bin/env python3
"""test/sys/cli_vm.py: plays socle-vm for cli.py: keeps the promises of host/spawn.h and does what the word in the kernel's name says."""

import json
import os
import signal
import sys
import time

fd = int(sys.argv[sys.argv.index("--spec-fd") + 1])
spec = json.loads(os.pread(fd, 1 << 20, 0))
act, _, arg = spec["kernel"].partition(":")
back = spec["console"]["backend"]
console = int(back.split(":")[1]) if back.startswith("fd:") else -1


def put(text):
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[os.write(console, data):]


def get_line():
    line = b""
    while not line.endswith((b"\n", b"\r")):
        c = os.read(console, 1)
        if not c:
            break
        line += c
    return line


def wait_for_term(first, second=None):
    """Says "ready", then waits; the first SIGTERM calls `first`, the second `second`."""
    calls = [first, second]
    signal.signal(signal.SIGTERM, lambda *_: calls.pop(0)())
    put("ready\r\n")
    while True:
        time.sleep(0.05)


def control():
    """Answers the control socket: what was asked comes to the console too."""
    put("ready\r\n")
    peer, state = os.fdopen(spec["control_fd"], "r+b", buffering=0), "running"
    while True:
        line = peer.readline()
        if not line:
            return
        ask = json.loads(line)
        put("asked " + ask["cmd"] + "\r\n")
        state = {"pause": "paused", "resume": "running"}.get(ask["cmd"], state)
        ok = ask["cmd"] != "reset"
        body = {"result": {"state": state}} if ok else {"error": "no reset today"}
        peer.write(json.dumps({"id": ask["id"], "ok": ok, **body}).encode() + b"\n")


if act == "exit":
    put("bye\r\n")
    sys.exit(int(arg))
elif act == "spec":
    put(json.dumps({"spec": spec, "stdin": os.readlink("/proc/self/fd/0"), "leader": os.getpid() == os.getpgid(0),
                    "fds": len(os.listdir("/proc/self/fd"))}) + "\n")
elif act == "echo":
    put("ready\r\n")
    put(b"<" + get_line() + b">")
elif act == "flood":
    put(b"x" * int(arg) + b"END")
elif act == "kill":
    os.kill(os.getpid(), int(arg))
elif act == "term":
    wait_for_term(lambda: (put("off\r\n"), os._exit(0)))
elif act == "stubborn":
    wait_for_term(lambda: put("no\r\n"), lambda: os._exit(143))
elif act == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    put("ready\r\n")
    while True:
        time.sleep(0.05)
elif act == "control":
    control()
elif act == "stderr":
    sys.stderr.write("socle-vm: error: one\nsocle-vm: two\n")
    sys.stderr.flush()
    put("ready\r\n")
    get_line()
