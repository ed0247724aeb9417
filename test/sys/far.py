"""test/sys/far.py: what tests of socled over HTTPS share: requests, logins, WebSockets."""

import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import warnings

from socled import SECONDS, Socled, answer_of, ask as local, checked as ok

PASSWORD = "correct horse battery"
where = fingerprint = None  # of the socled that listens


def context(version=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE  # who it is, the fingerprint says
    warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1, which must be refused
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def dial(version=None):
    host, port = where.rsplit(":", 1)
    s = context(version).wrap_socket(socket.create_connection((host.strip("[]"), int(port)), SECONDS), server_hostname="localhost")
    got = hashlib.sha256(s.getpeercert(True)).hexdigest().upper()
    assert ":".join(got[i:i + 2] for i in range(0, 64, 2)) == fingerprint
    return s


class Tls(http.client.HTTPSConnection):
    def connect(self):
        self.sock = dial()


def remote(method, path, body=None, key=None, headers=None):
    c = Tls("localhost")
    c.request(method, "/1.0" + path, None if body is None else json.dumps(body),
              {**({"Authorization": "Bearer " + key} if key else {}), **(headers or {})})
    return answer_of(c)


class Listening(Socled):
    """Where it listened before, if it did."""

    def __init__(self, *options):
        global where, fingerprint
        super().__init__("--listen", where or "127.0.0.1:0", *options)
        server = ok(local("GET", ""))
        where, fingerprint = server["listen"], server["fingerprint"]


def login(user, password=PASSWORD, **more):
    return remote("POST", "/login", {"user": user, "password": password, "bearer": True, **more})


def key_of(user):
    return ok(login(user))["token"]


class Ws:
    def __init__(self, path, key=None, headers=(), sock=None):
        self.s = sock or dial()
        self.data = b""
        nonce = base64.b64encode(os.urandom(16)).decode()
        head = [f"GET /1.0{path} HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {nonce}", *([f"Authorization: Bearer {key}"] if key else []), *headers]
        self.s.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self.data:
            self.more()
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        self.status = int(head.split()[1])
        if self.status == 101:
            want = base64.b64encode(hashlib.sha1((nonce + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
            assert b"sec-websocket-accept: " + want.lower() in head.lower(), head

    def more(self):
        got = self.s.recv(65536)
        if not got:
            raise EOFError
        self.data += got

    def need(self, n):
        while len(self.data) < n:
            self.more()

    def message(self):
        """(opcode, bytes)"""
        self.need(2)
        op, n, at = self.data[0] & 15, self.data[1] & 127, 2
        if n == 126:
            self.need(4)
            n, at = struct.unpack(">H", self.data[2:4])[0], 4
        elif n == 127:
            self.need(10)
            n, at = struct.unpack(">Q", self.data[2:10])[0], 10
        self.need(at + n)
        got, self.data = self.data[at:at + n], self.data[at + n:]
        return op, got

    def send(self, data, op=2):
        mask = os.urandom(4)
        n = struct.pack("!B", 0x80 | len(data)) if len(data) < 126 else struct.pack("!BH", 0x80 | 126, len(data)) \
            if len(data) < 65536 else struct.pack("!BQ", 0x80 | 127, len(data))
        body = bytes(b ^ mask[i & 3] for i, b in enumerate(data)) if len(data) < 5000 else data
        self.s.sendall(bytes([0x80 | op]) + n + (mask if len(data) < 5000 else b"\0\0\0\0") + body)

    def until(self, word):
        seen = b""
        while word not in seen:
            op, got = self.message()
            assert op == 2, (op, got, seen[-300:])
            seen += got
        return seen
