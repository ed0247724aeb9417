#!/usr/bin/env python3
"""test/sys/access.py: socled over HTTPS, with a real guest on the software engine.  test/sys/access.py KERNEL INITRD"""

import atexit
import base64
import hashlib
import hmac
import http.client
import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time

import far
from far import PASSWORD, Listening, Ws, dial, key_of, login, remote
from socled import BUILD, DIR, SECONDS, ask as local, checked as ok, ended, until

KERNEL, INITRD = sys.argv[1:3]
def task(call):
    t = ended(ok(call)["task"])
    assert t["state"] == "done", t
    return t


# ---- parts ----

def tls():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with dial(version) as s:
            assert s.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    try:
        dial(ssl.TLSVersion.TLSv1_1)
        raise AssertionError("TLS 1.1 was accepted")
    except (ssl.SSLError, OSError, ValueError):
        pass
    assert remote("GET", "")[0] == 401
    assert remote("GET", "/nowhere")[0] == 401  # strangers are not told what there is
    mode = os.stat(DIR + "/tls/key.pem").st_mode & 0o777
    assert mode == 0o600, oct(mode)


def first():
    """The code is told on the host only, and ends with the first user."""
    code = ok(local("GET", ""))["setup"]
    assert ok(remote("GET", "/setup")) == {"needed": True, "fingerprint": far.fingerprint} and f"setup: {code}" in socle("info", "--dir", DIR).stdout
    assert remote("POST", "/setup", {"code": "0" * 16, "password": PASSWORD})[0] == 401
    assert local("POST", "/users", {"name": "early", "role": "none"})[0] == 204
    assert remote("POST", "/setup", {"code": code, "password": PASSWORD})[0] == 409
    assert ok(remote("GET", "/setup"))["needed"] is False and "setup" not in ok(local("GET", ""))
    assert local("DELETE", "/users/early")[0] == 204


def users():
    assert local("POST", "/users", {"name": "root", "password": PASSWORD, "role": "admin"})[0] == 204
    status, answer, headers = remote("POST", "/login", {"user": "root", "password": PASSWORD})
    assert status == 200 and "token" not in answer, answer
    cookie = headers["set-cookie"]
    for word in ("__Host-socle=socle_", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert word in cookie, cookie
    cookie = {"Cookie": cookie.split(";")[0]}
    assert ok(remote("GET", "/self", headers=cookie))["name"] == "root"
    assert remote("POST", "/users", {"name": "x"}, headers=cookie)[0] == 403  # no mark
    assert remote("POST", "/users", {"name": "x"}, headers={**cookie, "X-Socle": "1", "Origin": "https://evil"})[0] == 403
    for name, role in (("viewer", "viewer"), ("guest", "none")):
        assert remote("POST", "/users", {"name": name, "role": role, "password": PASSWORD}, headers={**cookie, "X-Socle": "1"})[0] == 204
    assert remote("GET", "/users", key=key_of("viewer"))[0] == 403
    assert remote("POST", "/logout", headers={**cookie, "X-Socle": "1"})[0] == 204
    assert remote("GET", "/self", headers=cookie)[0] == 401
    key = key_of("viewer")
    assert remote("POST", "/self/password", {"old": "wrong password", "password": PASSWORD}, key)[0] == 403
    other = key_of("viewer")
    assert remote("POST", "/self/password", {"old": PASSWORD, "password": PASSWORD}, key)[0] == 204
    assert remote("GET", "/self", key=key)[0] == 200 and remote("GET", "/self", key=other)[0] == 401


def code_of(secret, now):
    mac = hmac.new(base64.b32decode(secret), struct.pack(">Q", int(now) // 30), hashlib.sha1).digest()
    at = mac[19] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 10**6:06}"


def codes():
    key = key_of("viewer")
    secret = ok(remote("POST", "/users/viewer/totp", {}, key))["secret"]
    assert login("viewer")[0] == 200  # not yet
    now = time.time()
    assert remote("POST", "/users/viewer/totp", {"code": code_of(secret, now)}, key)[0] == 204
    assert login("viewer")[0] == 401
    assert login("viewer", code=code_of(secret, now))[0] == 401  # it was used to begin
    assert login("viewer", code=code_of(secret, now + 30))[0] == 200
    assert local("DELETE", "/users/viewer/totp")[0] == 204
    assert login("viewer")[0] == 200


def tokens():
    key = key_of("root")
    made = ok(remote("POST", "/tokens", {"name": "long", "role": "viewer"}, key))
    token = made["token"]
    assert remote("GET", "/instances", key=token)[0] == 200
    assert remote("POST", "/users", {"name": "y"}, token)[0] == 403  # its role
    assert any(t["id"] == made["id"] for t in ok(remote("GET", "/tokens", key=key))["list"])
    short = ok(remote("POST", "/tokens", {"name": "short", "seconds": 1, "role": "viewer"}, key))["token"]
    until("the token's end", lambda: remote("GET", "/instances", key=short)[0] == 401)
    assert remote("GET", "/instances", key=token)[0] == 200
    made = ok(remote("POST", "/tokens", {"name": "gone"}, key))
    assert remote("GET", "/instances", key=made["token"])[0] == 200
    assert remote("DELETE", "/tokens/" + made["id"], key=key)[0] == 204
    assert remote("GET", "/instances", key=made["token"])[0] == 401
    with open(DIR + "/records.db", "rb") as f, open(DIR + "/records.db-wal", "rb") as wal:
        assert made["token"].split("_")[2].encode() not in f.read() + wal.read()  # only what it is compared with


def lockout():
    wait = failed = 0
    while wait < 8:  # it doubles from one second on
        status, answer, _ = login("guest", "wrong password")
        failed += status == 401
        if status == 429:
            wait = int(answer["error"]["sentence"].split()[-2])
            time.sleep(0.2)
        assert status in (401, 429) and failed < 12, (status, failed)
    assert failed >= 5
    assert login("guest")[0] == 429  # the right password, too
    assert login("viewer")[0] == 200  # others are not kept waiting


def query_decoded_once():
    """A name with a percent sign is what it says (it was decoded twice)."""
    status, answer, _ = local("GET", "/instances?after=%2541&limit=1")
    assert status == 200 and answer["list"], answer  # after "%41", not after "A": see main
    status, answer, _ = local("GET", "/instances?after=%26limit%3D0")
    assert status == 200, answer
    status, answer, _ = local("GET", "/instances?li%6Dit=0")
    assert status == 400 and answer["error"]["field"] == "limit", answer


def audit():
    key = key_of("root")
    entries = ok(remote("GET", "/audit?limit=1000", key=key))["list"]
    text = json.dumps(entries)
    assert any(e["path"] == "/1.0/login" and e["who"] == "guest" and e["status"] == 401 and e["from"] == "127.0.0.1" for e in entries)
    assert any(e["path"] == "/1.0/users" and e["who"].startswith("uid ") and e["from"] == "unix" and e["status"] == 204 for e in entries)
    assert any(e["path"] == "/1.0/instances/web/action" and e.get("note") == "start" for e in entries)
    assert PASSWORD not in text and "socle_" not in text
    page = ok(remote("GET", "/audit?limit=2", key=key))
    assert len(page["list"]) == 2
    assert ok(remote("GET", f"/audit?limit=2&after={page['next']}", key=key))["list"][0]["number"] == page["list"][-1]["number"] - 1
    return entries[0]["number"]


# ---- the command line, from another machine ----

def socle(*words, home=None, text="", **env):
    return subprocess.run([BUILD + "socle", *words], input=text, capture_output=True, text=True, timeout=SECONDS, check=False,
                          env={**os.environ, "HOME": home or "/nonexistent", "XDG_CONFIG_HOME": "", "SOCLE_MORE": BUILD + "socle-more", **env})


def command_line():
    home = os.environ["TMPDIR"] + "/home"
    os.mkdir(home)
    here = ("--dir", DIR)
    r = socle("user", "create", "ann", "--role", "operator", *here, text=PASSWORD + "\n")
    assert r.returncode == 0, r
    assert "ann" in socle("user", "list", *here).stdout and f"fingerprint: {far.fingerprint}" in socle("info", *here).stdout
    url = "https://" + far.where
    r = socle("remote", "add", "lab", url, "--user", "ann", "--fingerprint", "00:" + far.fingerprint[3:], home=home, text=PASSWORD + "\n")
    assert r.returncode == 1 and far.fingerprint in r.stderr, r
    r = socle("remote", "add", "lab", url, home=home, text="no\n")
    assert r.returncode == 1 and far.fingerprint in r.stderr, r
    r = socle("remote", "add", "lab", url, "--fingerprint", far.fingerprint, "--user", "ann", home=home, text="wrong password\n")
    assert r.returncode == 1 and "is wrong" in r.stderr, r
    r = socle("remote", "add", "lab", url, "--fingerprint", far.fingerprint.lower(), "--user", "ann", home=home, text=PASSWORD + "\n")
    assert r.returncode == 0, r
    config = home + "/.config/socle/remotes.json"
    assert os.stat(config).st_mode & 0o777 == 0o600
    assert url in socle("remote", "list", home=home).stdout and "socle_" not in socle("remote", "list", "-o", "json", home=home).stdout
    assert "web" in socle("list", "--host", "lab", home=home).stdout
    assert "web" in socle("list", home=home, SOCLE_HOST=url).stdout
    assert socle("list", "--host", "nowhere", home=home).returncode == 1
    assert "right" in socle("user", "list", "--host", "lab", home=home).stderr
    for action in ("pause", "resume"):
        r = socle(action, "web", "--host", "lab", home=home)
        assert r.returncode == 0, r
    assert "so-42" in socle("logs", "web", "--host", "lab", home=home).stdout
    r = socle("console", "web", "--host", "lab", home=home, text="echo far-$((40+2))\n")
    assert r.returncode == 0 and "far-42" in r.stdout, r
    r = socle("token", "create", "ci", "--user", "ann", "--role", "viewer", "--days", "1", *here)
    assert r.returncode == 0 and r.stdout.startswith("socle_"), r
    assert socle("remote", "add", "ci", url, "--fingerprint", far.fingerprint, home=home, SOCLE_TOKEN=r.stdout.strip()).returncode == 0
    assert socle("list", "--host", "ci", home=home).returncode == 0
    assert socle("stop", "web", "--host", "ci", home=home).returncode == 1
    assert "/1.0/users" in socle("audit", *here).stdout
    bundle = os.environ["TMPDIR"] + "/support.json"
    assert socle("support", bundle, *here).returncode == 0 and os.stat(bundle).st_mode & 0o777 == 0o600
    with open(bundle, encoding="utf-8") as f:
        told = f.read()
    assert "web" in [i["name"] for i in json.loads(told)["instances"]] and json.loads(told)["host"]["kernel"] == os.uname().release
    assert not [s for s in (PASSWORD, "socle_", "$argon2") if s in told]
    assert "exist" in socle("support", bundle, *here).stderr.lower() and "right" in socle("support", "-", "--host", "lab", home=home).stderr
    # another certificate is another machine
    with open(config, encoding="ascii") as f:
        text = f.read()
    with open(config, "w", encoding="ascii") as f:
        f.write(text.replace(far.fingerprint, "00:" + far.fingerprint[3:]))
    r = socle("list", "--host", "lab", home=home)
    assert r.returncode == 1 and "another certificate" in r.stderr, r
    assert socle("remote", "remove", "lab", home=home).returncode == 0 and "lab" not in socle("remote", "list", home=home).stdout
    assert socle("user", "delete", "ann", *here).returncode == 0
    assert socle("list", "--host", "ci", home=home).returncode == 1  # its token went with its user


# ---- WebSockets ----

def machine(name, tag):
    return {"name": name, "kernel": KERNEL, "initrd": INITRD, "memory": "128M", "engine": "soft", "append": "console=ttyS0 panic=-1 quiet rdinit=/bin/sh",
            "tags": [{"tag": tag}]}


def grants_and_console():
    root = key_of("root")
    for name in ("web", "other"):
        task(remote("POST", "/instances", machine(name, "t" + name), root))
    assert task(remote("POST", "/instances/web/action", {"action": "start"}, root))["user"] == "root"
    assert task(local("POST", "/instances/web/action", {"action": "reset"}))["user"] == f"uid {os.getuid()}"
    assert local("PATCH", "/users/guest", {"grants": [{"instance": "web", "role": "viewer"}], "password": PASSWORD})[0] == 204
    guest = key_of("guest")  # a new password forgives
    assert [i["name"] for i in ok(remote("GET", "/instances", key=guest))["list"]] == ["web"]
    assert remote("GET", "/instances/other", key=guest)[0] == 404 and remote("GET", "/instances/web", key=guest)[0] == 200
    assert remote("POST", "/instances/web/action", {"action": "pause"}, guest)[0] == 403
    assert Ws("/instances/web/console", guest).status == 403
    assert Ws("/instances/other/console", guest).status == 404
    assert Ws("/instances/web/console").status == 401
    assert Ws("/instances", guest).status == 400 and Ws("/nowhere", guest).status == 404
    assert remote("GET", "/instances/web/console", key=root)[0] == 400

    # events: of what one may see; that an instance was deleted, too
    all_events, its_events = Ws("/events", root), Ws("/events", guest)
    assert all_events.status == its_events.status == 101
    task(remote("POST", "/instances", machine("third", "t"), root))
    ok(remote("PATCH", "/instances/other", {"notes": "secret"}, root))
    ok(remote("PATCH", "/instances/web", {"notes": "seen"}, root))
    names = []
    while "web" not in names:
        op, got = all_events.message()
        assert op == 1
        names += [e["name"] for e in json.loads(got) if e["type"] == "instance"]
    assert "other" in names and "third" in names
    op, got = its_events.message()
    assert op == 1 and [e["name"] for e in json.loads(got)] == ["web"], got

    assert local("PATCH", "/users/guest", {"grants": [{"tag": "tweb", "role": "operator"}]})[0] == 204
    console = Ws("/instances/web/console", guest)
    assert console.status == 101
    console.until(b"# ")
    console.send(b"echo so-$((40+2))\n")
    console.until(b"so-42")
    console.s.close()
    heads(guest)
    command_line()
    console = Ws("/instances/web/console", guest)
    # a client that does not read, and one that sends without end, stop nobody
    console.send(b"x" * 3000)
    console.s.setblocking(False)
    sent = 0
    try:
        for _ in range(2000):
            console.send(b"y" * 60000)
            sent += 60000
    except (BlockingIOError, ssl.SSLWantWriteError):
        pass
    assert sent < 100 * 60000, "what a console does not take is kept without bound"
    assert ok(remote("GET", "/instances", key=root))["list"]
    # a grant that ends ends what is open
    again = Ws("/events", guest)
    assert local("PATCH", "/users/guest", {"grants": None})[0] == 204
    try:
        while True:
            again.message()
    except (EOFError, OSError):
        pass
    assert remote("GET", "/instances", key=guest)[0] == 403


def heads(key):
    """A guest that writes all the time, and who comes while it does: each is told where in the stream he is, and all of it is as its log has it."""
    console = Ws("/instances/web/console", key)
    console.send(b"i=0; while [ $i -lt 4000 ]; do echo line-$i; i=$((i+1)); done; echo o''ver\n")
    seen, streams = [], set()
    while len(seen) < 25:
        viewer = Ws("/instances/web/console?head=on", key)
        op, got = viewer.message()
        assert op == 1, (op, got)
        head, got = json.loads(got), b""
        streams.add(head["stream"])
        while len(got) < head["before"] + 500 and b"over\r\n" not in got:
            op, more = viewer.message()
            assert op == 2
            got += more
        seen.append((head["position"] - head["before"], got))
        viewer.s.close()
    console.until(b"over\r\n")
    console.s.close()
    written = local("GET", "/instances/web/log?which=console&bytes=1048576")[1]
    assert len(streams) == 1 and written.count("line-3999") == 1
    for first, got in seen:
        assert written.encode()[first:first + len(got)] == got, (first, len(got))


def hostile():
    """No bytes end it; a slow client stops no other."""
    host, port = far.where.rsplit(":", 1)
    slow = []
    for n in range(20):
        s = socket.create_connection((host, int(port)), SECONDS)
        s.sendall(b"\x16\x03\x01"[:n % 4])
        slow.append(s)
    for n in range(10):
        s = dial()
        s.sendall(b"POST /1.0/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"[:10 * n])
        slow.append(s)
    for data in (b"GET /1.0 HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500), os.urandom(5000), b"\0" * 3):
        with socket.create_connection((host, int(port)), SECONDS) as s:
            s.settimeout(2)
            try:
                s.sendall(data)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    assert remote("GET", "")[0] == 401
    assert all(not select.select([s], [], [], 0)[0] for s in slow[:5]), "the slow clients were closed first"
    many = []
    refused = False
    for _ in range(100):  # more than one address may have
        s = socket.create_connection((host, int(port)), SECONDS)
        many.append(s)
        s.settimeout(0.2)
    for s in many:
        try:
            refused |= s.recv(1) == b""
        except OSError:
            pass
    assert refused, "one address may have any number of connections"
    assert local("GET", "")[0] == 200  # the unix socket is open
    for s in slow + many:
        s.close()
    until("HTTPS answers after that", lambda: remote("GET", "")[0] == 401)


def main():
    d = Listening()
    tls()
    first()
    users()
    codes()
    tokens()
    lockout()
    grants_and_console()
    query_decoded_once()
    last = audit()
    hostile()
    root, was = key_of("root"), far.fingerprint
    d.end()
    d = Listening()
    assert far.fingerprint == was
    assert ok(remote("GET", "/self", key=root))["name"] == "root"  # sessions live on
    assert ok(remote("GET", "/audit?limit=1", key=root))["list"][0]["number"] > last
    for i in ok(local("GET", "/instances"))["list"]:
        task(local("DELETE", f"/instances/{i['name']}?force=on"))
    d.end()


def leave_nothing():
    try:
        for i in ok(local("GET", "/instances"))["list"]:
            pid = ok(local("GET", "/instances/" + i["name"]))["status"]["pid"]
            if pid:
                os.kill(pid, signal.SIGKILL)
        os.kill(ok(local("GET", ""))["pid"], signal.SIGKILL)
    except (OSError, http.client.HTTPException):
        pass  # it has ended


atexit.register(leave_nothing)
main()
