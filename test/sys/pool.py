#!/usr/bin/env python3
"""test/sys/pool.py: socled's pool of images, and requests that are sent again; no guest is started."""

import atexit
import base64
import hashlib
import http.client
import http.server
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid

from socled import BUILD, DIR, SECONDS, Socled, Unix, answer_of, ask, checked, done, ended, ok, socle, task, until

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


def end_of(server):
    """Its thread ends before its socket is closed: else it would accept at whatever is opened next under the same number."""
    server.s.shutdown(socket.SHUT_RDWR)
    server.thread.join(SECONDS)
    server.s.close()


class Cutting:
    """A socket in a folder of its own that passes requests on to socled, and keeps the first answers for itself."""

    def __init__(self, answers_lost):
        self.left = answers_lost
        self.dir = TMP + "/cut"
        os.makedirs(self.dir, exist_ok=True)
        self.s = socket.socket(socket.AF_UNIX)
        self.s.bind(self.dir + "/api.sock")
        self.s.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

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
        end_of(self)
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


# ---- uploads and downloads ----

def put(upload, offset, data, length=None, c=None):
    c = c or Unix("socle")
    c.request("PUT", f"/1.0/uploads/{upload}?offset={offset}", data, {} if length is None else {"Content-Length": str(length)})
    return answer_of(c)


def new_upload(name, data, **more):
    return checked(ask("POST", "/uploads", {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **more}))["id"]


def received(upload):
    return ok("GET", f"/uploads/{upload}")["received"]


def bytes_of(path, headers=None):
    """(status, bytes, headers) of a file."""
    c = Unix("socle")
    c.request("GET", "/1.0" + path, None, headers or {})
    r = c.getresponse()
    data = r.read()
    c.close()
    return r.status, data, r.headers


def made_iso(size=3 * 2**20):
    """What looks like one."""
    data = bytearray(random.randbytes(size))
    data[32769:32774] = b"CD001"
    return bytes(data)


def refused(status, code, answer, part=None):
    assert answer[0] == status and answer[1]["error"]["code"] == code, answer
    assert not part or part in answer[1]["error"]["sentence"], answer


def uploads():
    """In pieces, past breaks of the connection and kills; what is not right is refused before its bytes come."""
    global server
    data = made_iso()
    for name in ("../../x", "/etc/passwd", ".hidden", "a\\b", "", "a\nb", "x" * 256):
        refused(400, "invalid", ask("POST", "/uploads", {"name": name, "size": 5}))
    refused(400, "invalid", ask("POST", "/uploads", {"name": "x", "size": 0}))
    refused(400, "invalid", ask("POST", "/uploads", {"name": "x", "size": 5, "sha256": "abc"}))
    refused(507, "no_space", ask("POST", "/uploads", {"name": "x", "size": 15 * 2**40}), "there is room for")
    upload = new_upload("a.iso", data)
    path = f"{DIR}/uploads/{upload}"
    refused(409, "busy", ask("POST", "/images", {"name": "lib", "source": {"iso": f"upload:{upload}"}}), "0 of")
    refused(409, "busy", put(upload, 5, b"x"), "0 bytes")
    refused(404, "not_found", put("0123456789abcdef", 0, b"x"))
    assert put("..%2F..%2Frecords.db", 0, b"x")[0] in (404, 405)
    refused(400, "invalid", put(upload, 0, data + b"x"), "cannot be sent")
    refused(400, "invalid", put(upload, 0, b""))
    assert checked(put(upload, 0, data[:1000]))["received"] == 1000
    # a connection that breaks: what came stays
    c = Unix("socle")
    c.connect()
    c.sock.sendall(f"PUT /1.0/uploads/{upload}?offset=1000 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data) - 1000}\r\n\r\n".encode() + data[1000:500000])
    until("a part of it", lambda: received(upload) == 500000)
    refused(409, "busy", put(upload, 500000, b"x"), "somebody else")
    refused(409, "busy", ask("DELETE", f"/uploads/{upload}"))
    c.sock.close()
    until("the end of the connection", lambda: put(upload, 1, b"x")[1]["error"]["sentence"].startswith("500000"))
    # a kill: as much as there is in the file
    c = Unix("socle")
    c.connect()
    c.sock.sendall(f"PUT /1.0/uploads/{upload}?offset=500000 HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data) - 500000}\r\n\r\n".encode() + data[500000:900000])
    until("more of it", lambda: received(upload) > 500000)
    server.kill()
    c.sock.close()
    with open(DIR + "/uploads/0000000000000000", "wb") as f:
        f.write(b"what a crash left")
    server = Socled()
    assert not os.path.exists(DIR + "/uploads/0000000000000000")
    at = received(upload)
    assert 500000 < at <= 900000 and os.stat(path).st_size == at, at
    assert checked(put(upload, at, data[at:]))["received"] == len(data)
    refused(400, "invalid", put(upload, len(data), b"x"))
    done("POST", "/images", {"name": "lib", "source": {"iso": f"upload:{upload}"}})
    assert ask("GET", f"/uploads/{upload}")[0] == 404 and not os.path.exists(path)
    with open(DIR + "/images/lib/iso", "rb") as f:
        assert f.read() == data
    # other bytes than were promised
    upload = new_upload("b.iso", data)
    checked(put(upload, 0, data[:-1] + bytes([data[-1] ^ 1])))
    t = task("POST", "/images", {"name": "bad", "source": {"iso": f"upload:{upload}"}})
    assert t["state"] == "failed" and "SHA-256" in t["error"], t
    assert ask("DELETE", f"/uploads/{upload}")[0] == 204 and not os.listdir(DIR + "/uploads")
    # its sum is told at the end
    upload = checked(ask("POST", "/uploads", {"name": "c.iso", "size": 3}))["id"]
    checked(put(upload, 0, b"abc"))
    assert ask("PATCH", f"/uploads/{upload}", {"sha256": hashlib.sha256(b"abc").hexdigest()})[0] == 204
    refused(409, "busy", ask("PATCH", f"/uploads/{upload}", {"sha256": "0" * 64}))
    assert ask("DELETE", f"/uploads/{upload}")[0] == 204
    return data


def downloads(data):
    """All of a file or a part of it, by its SHA-256."""
    sha = hashlib.sha256(data).hexdigest()
    status, got, headers = bytes_of("/images/lib/content")
    assert status == 200 and got == data and headers["etag"] == f'"{sha}"' and headers["accept-ranges"] == "bytes", headers
    assert headers["content-disposition"] == 'attachment; filename="lib.iso"'
    n = len(data)
    for asked, first, last in (("0-99", 0, 99), ("100-", 100, n - 1), ("-5", n - 5, n - 1), (f"5-{n + 7}", 5, n - 1)):
        status, got, headers = bytes_of("/images/lib/content", {"Range": "bytes=" + asked, "If-Range": f'"{sha}"'})
        assert status == 206 and got == data[first:last + 1] and headers["content-range"] == f"bytes {first}-{last}/{n}", (asked, headers)
    assert bytes_of("/images/lib/content", {"Range": "bytes=5-9", "If-Range": '"other"'})[0] == 200
    assert bytes_of("/images/lib/content", {"Range": f"bytes={n}-"})[0] == 416
    assert bytes_of("/images/lib/content?file=disk")[0] == 404 and bytes_of("/images/lib/content?file=../x")[0] == 404
    assert bytes_of("/images/none/content")[0] == 404
    # a client that goes away, and one that does not read
    slow = Unix("socle")
    slow.request("GET", "/1.0/images/lib/content")
    gone = Unix("socle")
    gone.request("GET", "/1.0/images/lib/content")
    gone.sock.recv(1000)
    gone.close()
    assert ok("GET", "/images")
    r = slow.getresponse()
    assert r.read() == data
    slow.close()


def resident():
    with open(f"/proc/{server.p.pid}/status", encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmHWM")).split()[1])


def large():
    """More than would fit into what it may have of memory."""
    size = 192 * 2**20
    before = resident()
    upload = checked(ask("POST", "/uploads", {"name": "large.img", "size": size}))["id"]
    block = random.randbytes(2**20)
    c = Unix("socle")
    c.putrequest("PUT", f"/1.0/uploads/{upload}?offset=0")
    c.putheader("Content-Length", str(size))
    c.endheaders()
    for _ in range(size // len(block)):
        c.send(block)
    assert checked(answer_of(c))["received"] == size
    done("POST", "/images", {"name": "large", "source": {"kernel": f"upload:{upload}"}})
    total = 0
    c = Unix("socle")
    c.request("GET", "/1.0/images/large/content?file=kernel")
    r = c.getresponse()
    digest = hashlib.sha256()
    while piece := r.read(2**20):
        digest.update(piece)
        total += len(piece)
    want = hashlib.sha256()
    for _ in range(size // len(block)):
        want.update(block)
    assert total == size and digest.digest() == want.digest()
    grown = resident() - before
    assert grown < 40 * 1024, f"{grown} KiB more"
    assert ask("DELETE", "/images/large")[0] == 204


# ---- files of the web ----

class Site(http.server.ThreadingHTTPServer):
    """Files by their paths; the first answers of each break off after so many bytes, or stand still."""

    daemon_threads = True

    def __init__(self, files, breaks=0, after=1000000):
        super().__init__(("127.0.0.1", 0), Page)
        self.files, self.breaks, self.after, self.still, self.seen = files, breaks, after, threading.Event(), []
        self.still.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, *_):
        pass  # whoever asked has had enough

    def close(self):
        self.still.set()
        self.shutdown()
        self.server_close()


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        site, data = self.server, self.server.files.get(self.path)
        etag = '"' + hashlib.sha256(data or b"").hexdigest()[:8] + '"'
        part = self.headers.get("Range") if self.headers.get("If-Range") == etag else None
        site.seen.append((self.path, self.headers.get("Range"), bool(part)))
        at = int(part[6:-1]) if part else 0
        if data is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if part else 200)
        self.send_header("ETag", etag)
        if part:
            self.send_header("Content-Range", f"bytes {at}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - at))
        self.end_headers()
        if site.breaks:
            site.breaks -= 1
            self.wfile.write(data[at:at + site.after])
            self.wfile.flush()
            site.still.wait(SECONDS)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(data[at:])


def begun(name, url, **more):
    return ok("POST", "/images", {"name": name, "source": {"url": url, **more}})["task"]


def fetched(name):
    try:
        return os.stat(f"{DIR}/images/.{name}.fetch/body").st_size
    except OSError:
        return 0


def origin(name):
    return next(i for i in ok("GET", "/images")["list"] if i["name"] == name)["origin"]


def failed(part, number):
    t = ended(number)
    assert t["state"] == "failed" and part in t["error"], t


def web():
    """Fetched by a process that has only the network; goes on after breaks and kills; nothing but what was promised."""
    global server
    data = made_iso()
    sha = hashlib.sha256(data).hexdigest()
    site = Site({"/a.iso": data, "/text": b"nothing that is known", "/empty": b""}, breaks=2)
    where = site.url + "a.iso"
    refused(400, "invalid", ask("POST", "/images", {"name": "w", "source": {"url": where}}), "sha256")
    for bad in ("ftp://x/y", "file:///etc/passwd", "https://user:secret@host/x", "https://", "http:///x", "https://a b/", "/etc/passwd"):
        refused(400, "invalid", ask("POST", "/images", {"name": "w", "source": {"url": bad, "sha256": sha}}))
    refused(400, "invalid", ask("POST", "/images", {"name": "w", "source": {"url": where, "sha256": sha, "iso": "/x"}}))
    assert ended(begun("w", where, sha256=sha))["state"] == "done"
    assert [s[2] for s in site.seen] == [False, True, True], site.seen  # gone on with, twice
    with open(DIR + "/images/w/iso", "rb") as f:
        assert f.read() == data
    assert os.stat(DIR + "/images/w/iso").st_uid == os.getuid() and os.stat(DIR + "/images/w/iso").st_mode & 0o777 == 0o600
    failed("SHA-256", begun("x", where, sha256="0" * 64))
    failed("404", begun("x", site.url + "none", sha256=sha))
    failed("cannot be seen", begun("x", site.url + "text", sha256=hashlib.sha256(b"nothing that is known").hexdigest()))
    failed("empty", begun("x", site.url + "empty", sha256=sha))
    # another file meanwhile: from the beginning
    other = made_iso()
    site.breaks, site.seen = 1, []
    site.still.clear()
    number = begun("y", where, sha256=hashlib.sha256(other).hexdigest())
    until("a part of it", lambda: fetched("y") >= 1000000)
    site.files["/a.iso"] = other
    site.still.set()
    assert ended(number)["state"] == "done" and [s[2] for s in site.seen] == [False, False], site.seen
    # socled is killed: the next one goes on
    site.breaks, site.seen = 1, []
    site.still.clear()
    number = begun("z", where, sha256=hashlib.sha256(other).hexdigest())
    until("a part of it", lambda: fetched("z") >= 1000000)
    assert os.path.isdir(DIR + "/images/.z.fetch")
    server.kill()
    site.still.set()
    until("its helpers end", lambda: not helpers())
    os.mkdir(DIR + "/images/.stray.fetch")
    server = Socled()
    assert ended(number)["state"] == "done" and site.seen[-1][2], site.seen
    assert not [n for n in os.listdir(DIR + "/images") if n.startswith(".")]
    # cancelled
    site.breaks = 1
    site.still.clear()
    number = begun("c", where, sha256=sha)
    until("a part of it", lambda: fetched("c") >= 1000000)
    assert ask("DELETE", f"/tasks/{number}")[0] == 204
    assert ended(number)["state"] == "cancelled" and not helpers()
    assert not [n for n in os.listdir(DIR + "/images") if n.startswith(".")]
    # by the command line, and of nobody that is known
    r = socle("pool", "import", "cli", where, "--sha256", hashlib.sha256(other).hexdigest())
    assert r.returncode == 0, r
    # where it came from is told, without what may be a key
    site.files["/a.iso?key=secret"] = other
    assert ended(begun("q", where + "?key=secret", sha256=hashlib.sha256(other).hexdigest()))["state"] == "done"
    assert origin("q") == where, origin("q")
    untrusted = Site({"/a.iso": data})
    untrusted.socket = tls_of(untrusted.socket)
    failed("certificate", begun("t", f"https://127.0.0.1:{untrusted.server_address[1]}/a.iso"))
    untrusted.close()
    site.close()


def signed(path, version, images, key):
    """A catalogue as doc/catalogue.md says that one is made; its bytes, and its signature."""
    with open(path, "w", encoding="ascii") as f:
        json.dump({"version": version, "images": images}, f)
    subprocess.run(["openssl", "pkeyutl", "-sign", "-inkey", key, "-rawin", "-in", path, "-out", path + ".bin"], check=True)
    with open(path + ".bin", "rb") as f, open(path + ".sig", "wb") as out:
        out.write(base64.encodebytes(f.read()).replace(b"\n", b"") + b"\n")
    with open(path, "rb") as f, open(path + ".sig", "rb") as sig:
        return f.read(), sig.read()


def new_key(name):
    """The file of a new secret key, and the public one as text."""
    path = f"{TMP}/{name}.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True, capture_output=True)
    der = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True, capture_output=True).stdout
    return path, base64.b64encode(der[-32:]).decode()


def offered(site, path, publish, image, public):
    """What only a catalogue has is fetched for who makes an instance of it; what would be of no use is not, and of two nobody guesses."""
    kernel = {**image, "name": "small", "part": "kernel", "url": site.url + "kernel"}
    site.files["/kernel"] = site.files["/tools.iso"]
    publish(9, [image, kernel, {**image, "name": "disk", "part": "disk"}, {**image, "name": "iso"}])
    assert socle("catalogue", "update", "vendor", path).returncode == 0
    images = len(ok("GET", "/images")["list"])
    assert "is a disk, beside which a --kernel" in socle("create", "disk", "c1").stderr
    assert "is an ISO" in socle("create", "iso", "c1").stderr
    assert "no image 'none'" in socle("create", "none", "c1").stderr
    assert len(ok("GET", "/images")["list"]) == images
    r = socle("create", "small", "c1")
    assert r.returncode == 0 and origin("small") == "catalogue vendor:small", r
    assert ok("GET", "/instances/c1")["image"] == "small"
    assert socle("create", "small", "c2").returncode == 0 and len(ok("GET", "/images")["list"]) == images + 1
    r = socle("catalogue", "add", "second", path, "--key", public)
    assert r.returncode == 0, r
    done("DELETE", "/instances/c1")
    done("DELETE", "/instances/c2")
    checked(ask("DELETE", "/images/small"))
    assert "'second' and 'vendor' have an image 'small'" in socle("create", "small", "c1").stderr
    assert socle("catalogue", "remove", "second").returncode == 0


def catalogues():
    """Believed by its key; images by their sums; an older version, and another's, never."""
    global server
    secret, public = new_key("vendor")
    thief, _ = new_key("thief")
    data = made_iso()
    site = Site({"/tools.iso": data})
    image = {"name": "tools", "version": "1.2", "part": "iso", "url": site.url + "tools.iso", "sha256": hashlib.sha256(data).hexdigest(),
             "size": len(data), "description": "Tools"}
    path = TMP + "/cat.json"

    def publish(version, images, key=secret):
        site.files["/cat.json"], site.files["/cat.json.sig"] = signed(path, version, images, key)

    publish(5, [image])
    r = socle("catalogue", "add", "vendor", site.url + "cat.json", "--key", public)
    assert r.returncode == 0, r
    table = socle("catalogue", "list").stdout
    assert "vendor" in table and "tools" in table and "Tools" in table, table
    r = socle("pool", "import", "tools", "--from", "vendor:tools")
    assert r.returncode == 0, r
    with open(DIR + "/images/tools/iso", "rb") as f:
        assert f.read() == data
    assert origin("tools") == "catalogue vendor:tools", origin("tools")
    # what is not the vendor's, what is older, and what was changed on its way
    publish(9, [], thief)
    assert "signature" in socle("catalogue", "update", "vendor").stderr
    publish(4, [])
    assert "version 4" in socle("catalogue", "update", "vendor").stderr
    publish(6, [image])
    site.files["/cat.json"] = site.files["/cat.json"].replace(b"1.2", b"1.3")
    assert "signature" in socle("catalogue", "update", "vendor").stderr
    assert ok("GET", "/catalogues")["list"][0]["version"] == 5
    server.kill()
    server = Socled()
    publish(6, [{**image, "sha256": "0" * 64}])
    assert socle("catalogue", "update", "vendor").returncode == 0
    assert "SHA-256" in socle("pool", "import", "other", "--from", "vendor:tools").stderr
    assert "no image" in socle("pool", "import", "other", "--from", "vendor:none").stderr
    assert "no catalogue" in socle("pool", "import", "other", "--from", "none:none").stderr
    assert socle("catalogue", "remove", "vendor").returncode == 0 and os.listdir(DIR + "/catalogues") == []
    # from a file of this machine
    publish(7, [image])
    with open(TMP + "/vendor.pub", "w", encoding="ascii") as f:
        f.write(public + "\n")
    r = socle("catalogue", "add", "vendor", path, "--key", TMP + "/vendor.pub")
    assert r.returncode == 0, r
    publish(6, [image])
    assert "version 6" in socle("catalogue", "update", "vendor", path).stderr
    publish(8, [image])
    assert socle("catalogue", "update", "vendor", path).returncode == 0
    assert socle("pool", "import", "tools2", "--from", "vendor:tools").returncode == 0
    offered(site, path, publish, image, public)
    site.close()


def tls_of(plain):
    """With a certificate that nobody vouches for."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-keyout",
                    TMP + "/key.pem", "-out", TMP + "/cert.pem"], check=True, capture_output=True)
    c.load_cert_chain(TMP + "/cert.pem", TMP + "/key.pem")
    return c.wrap_socket(plain, server_side=True)


def helpers():
    """Processes that fetch for this socled."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if DIR.encode() in (line := f.read()) and b"--fetch" in line:
                    found.append(pid)
        except OSError:
            continue
    return found


# ---- from another machine ----

class Wire:
    """Passes a connection on, and breaks each of the first ones after so many bytes."""

    def __init__(self, to, after, times):
        self.to, self.after, self.left = to, after, times
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port = self.s.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                c = self.s.accept()[0]
            except OSError:
                return
            up = socket.create_connection(self.to)
            for a, b in ((c, up), (up, c)):
                threading.Thread(target=self.one, args=(a, b), daemon=True).start()

    def one(self, a, b):
        n = 0
        try:
            while data := a.recv(65536):
                n += len(data)
                if self.left and n > self.after:
                    self.left -= 1
                    break
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        end_of(self)


def far(*words, home, **env):
    return subprocess.run([BUILD + "socle", *words], capture_output=True, text=True, timeout=SECONDS, check=False,
                          env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": "", "SOCLE_MORE": BUILD + "socle-more", **env})


def command_line():
    """`socle --host` sends files by itself, has them, and goes on when the connection breaks."""
    home = TMP + "/home"
    os.mkdir(home)
    here = ok("GET", "")
    wire = Wire(("127.0.0.1", int(here["listen"].rsplit(":", 1)[1])), 700000, 3)
    assert ask("POST", "/users", {"name": "adm", "role": "admin"})[0] == 204
    token = ok("POST", "/tokens", {"user": "adm", "name": "t"})["token"]
    r = far("remote", "add", "lab", f"https://127.0.0.1:{wire.port}", "--fingerprint", here["fingerprint"], home=home, SOCLE_TOKEN=token)
    assert r.returncode == 0, r
    data = made_iso()
    with open(TMP + "/far.iso", "wb") as f:
        f.write(data)
    r = far("pool", "import", "far", TMP + "/far.iso", "--host", "lab", home=home)
    assert r.returncode == 0 and not wire.left, (r, wire.left)
    assert [i["kind"] for i in ok("GET", "/images")["list"] if i["name"] == "far"] == ["iso"]
    wire.left = 2
    r = far("pool", "export", "far", TMP + "/back.iso", "--host", "lab", home=home)
    assert r.returncode == 0 and not wire.left, r
    with open(TMP + "/back.iso", "rb") as f:
        assert f.read() == data
    r = far("pool", "export", "far", TMP + "/back.iso", "--host", "lab", home=home)
    assert r.returncode == 1 and "--force" in r.stderr, r
    # an image that is not what its record says
    with open(DIR + "/images/far/iso", "r+b") as f:
        f.write(b"!")
    r = far("pool", "export", "far", TMP + "/bad.iso", "--host", "lab", home=home)
    assert r.returncode == 1 and "SHA-256" in r.stderr and not os.path.exists(TMP + "/bad.iso"), r
    # one that was given up half way is gone on with
    with open(TMP + "/far.iso", "wb") as f:
        f.write(data[::-1])
    upload = new_upload("far.iso", data[::-1])
    checked(put(upload, 0, data[::-1][:2000000]))
    r = far("pool", "import", "far2", "--iso", TMP + "/far.iso", "--host", "lab", home=home)
    assert r.returncode == 0 and ask("GET", f"/uploads/{upload}")[0] == 404, r
    r = far("pool", "import", "far3", "--iso", f"host:{TMP}/far.iso", "--host", "lab", home=home)
    assert r.returncode == 0, r
    r = far("pool", "import", "far4", TMP + "/home", "--host", "lab", home=home)
    assert r.returncode == 1 and "tar" in r.stderr, r
    # on this machine
    r = socle("pool", "import", "near", "--iso", os.path.relpath(TMP + "/far.iso"))
    assert r.returncode == 0, r
    r = socle("pool", "export", "near", TMP + "/near.iso")
    assert r.returncode == 0, r
    with open(TMP + "/near.iso", "rb") as f:
        assert f.read() == data[::-1]
    assert "iso" in socle("pool", "list").stdout
    r = socle("create", "withiso", "--kernel", "/nowhere", "--iso", "near")
    assert r.returncode == 0, r
    assert "has the ISO" in socle("pool", "delete", "near").stderr
    refused(404, "not_found", ask("PATCH", "/instances/withiso", {"iso": "nothing"}))
    assert ask("PATCH", "/instances/withiso", {"iso": None})[0] == 200
    assert socle("pool", "delete", "near").returncode == 0
    exports_far(home, wire)
    wire.close()


def same(file, data):
    with open(file, "rb") as f:
        return f.read() == data


def export(name, body):
    """The export, when it is made."""
    number = ok("POST", f"/instances/{name}/exports", body)["task"]
    assert ended(number)["state"] == "done", ended(number)
    return next(x for x in ok("GET", f"/instances/{name}/exports")["list"] if x["number"] == number)


def export_api():
    """Ranges, sums, refusals; what is removed is gone, and nothing of it stays with its instance."""
    data = os.urandom(3 << 20)
    with open(TMP + "/api.raw", "wb") as f:
        f.write(data)
    done("POST", "/instances", {**machine("api"), "disks": [{"file": TMP + "/api.raw"}]})
    x = export("api", {"format": "raw"})
    assert x["size"] == len(data) and x["sha256"] == hashlib.sha256(data).hexdigest() and x["expires"] > x["created"], x
    path = f"/instances/api/exports/{x['number']}"
    status, got, headers = bytes_of(path + "/content")
    assert status == 200 and got == data and headers["etag"] == f'"{x["sha256"]}"' and "api.raw" in headers["content-disposition"], headers
    status, got, headers = bytes_of(path + "/content", {"Range": "bytes=1000-1999", "If-Range": headers["etag"]})
    assert status == 206 and got == data[1000:2000], (status, len(got))
    assert bytes_of(path + "/content", {"Range": "bytes=99999999-"})[0] == 416
    assert bytes_of(path + "/content", {"Range": "bytes=1-", "If-Range": '"other"'})[:2] == (200, data)
    packed = export("api", {"compress": True})
    assert packed["format"] == "qcow2" and packed["size"] != x["size"], packed
    assert bytes_of(f"/instances/api/exports/{export('api', {'format': 'vmdk'})['number']}/content", {"Range": "bytes=0-3"})[1] == b"KDMV"
    refused(400, "invalid", ask("POST", "/instances/api/exports", {"format": "vdi"}))
    refused(400, "invalid", ask("POST", "/instances/api/exports", {"format": "raw", "compress": True}))
    refused(404, "not_found", ask("POST", "/instances/nobody/exports", {}))
    refused(404, "not_found", ask("DELETE", "/instances/api/exports/99999"))
    assert ask("DELETE", path)[0] == 204 and bytes_of(path + "/content")[0] == 404
    key = {"Idempotency-Key": str(uuid.uuid4())}
    again = [checked(ask("POST", "/instances/api/exports", {}, key))["task"] for _ in range(2)]
    assert again[0] == again[1] and ended(again[0])["state"] == "done", again
    folder = f"{DIR}/instances/{ok('GET', '/instances/api')['status']['id']}"
    assert len([f for f in os.listdir(folder) if f.startswith("export-")]) == 3
    done("DELETE", "/instances/api")
    assert not os.path.exists(folder)
    refused(404, "not_found", ask("GET", "/instances/api/exports"))


def exports_far(home, wire):
    """`socle export --host`, over a connection that breaks; what was begun is gone on with."""
    data = os.urandom(3 << 20)
    with open(TMP + "/x.raw", "wb") as f:
        f.write(data)
    done("POST", "/instances", {**machine("x"), "disks": [{"file": TMP + "/x.raw"}]})
    wire.left = 2
    r = far("export", "x", TMP + "/x.img", "--host", "lab", home=home)
    assert r.returncode == 0 and not wire.left and same(TMP + "/x.img", data), r
    assert ok("GET", "/instances/x/exports")["list"] == []
    r = far("export", "x", TMP + "/x.img", "--host", "lab", home=home)
    assert r.returncode == 1 and "--force" in r.stderr, r
    begun = export("x", {"format": "raw"})
    part = f"{TMP}/y.raw.{begun['sha256'][:8]}.part"
    with open(part, "wb") as f:
        f.write(data[:1000000])
    before = ok("GET", "/tasks")["list"][0]["number"]
    r = far("export", "x", TMP + "/y.raw", "--host", "lab", home=home)
    assert r.returncode == 0 and same(TMP + "/y.raw", data) and not os.path.exists(part), r
    assert ok("GET", "/tasks")["list"][0]["number"] == before, "it was exported anew"
    # what came is not what was promised
    begun = export("x", {"format": "raw"})
    with open(f"{DIR}/instances/{ok('GET', '/instances/x')['status']['id']}/export-{begun['number']}", "r+b") as f:
        f.write(b"!" if data[:1] != b"!" else b"?")
    with open(f"{TMP}/z.raw.{begun['sha256'][:8]}.part", "wb"):
        pass
    r = far("export", "x", TMP + "/z.raw", "--host", "lab", home=home)
    assert r.returncode == 1 and "SHA-256" in r.stderr and not os.path.exists(TMP + "/z.raw"), r
    # on this machine, under its own name
    r = socle("export", "x", "--compress", cwd=TMP)
    assert r.returncode == 0, r
    r = subprocess.run([BUILD + "socle", "image", "compare", TMP + "/x.qcow2", TMP + "/x.raw"], check=False)
    assert r.returncode == 0
    r = socle("export", "x", TMP + "/x.vmdk")
    assert r.returncode == 0, r
    r = subprocess.run([BUILD + "socle", "image", "compare", TMP + "/x.vmdk", TMP + "/x.raw"], check=False)
    assert r.returncode == 0
    r = socle("export", "nobody", TMP + "/nobody.img")
    assert r.returncode == 1 and "no instance 'nobody'" in r.stderr, r
    r = socle("export", "x", "--disk", "1", TMP + "/second.img")
    assert r.returncode == 1 and "the first is 0" in r.stderr, r


def main():
    global server
    atexit.register(lambda: server and server.p.poll() is None and server.p.send_signal(signal.SIGKILL))
    server = Socled()
    once()
    once_killed(int(os.environ.get("SOCLE_KILLS", "20")))
    once_cli()
    downloads(uploads())
    large()
    web()
    catalogues()
    export_api()
    server.end()
    server = Socled("--listen", "127.0.0.1:0")
    command_line()
    server.end()
    print("test/sys/pool.py: all is well")


if __name__ == "__main__":
    main()
