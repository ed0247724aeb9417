"""test/sys/box_agent.py: who answers for seccomp filters, as an agent on the host does."""

import array
import fcntl
import json
import os
import select
import socket
import struct
import threading

from box_bundle import LIMIT


class Agent(threading.Thread):
    """Who answers for seccomp filters: lets some calls through, answers others itself, and keeps what it was told."""

    RECV, SEND, CONTINUE = 0xC0502100, 0xC0182101, 1  # SECCOMP_IOCTL_NOTIF_*, SECCOMP_USER_NOTIF_FLAG_CONTINUE

    def __init__(self, path, errors):
        super().__init__(daemon=True)
        self.errors, self.told, self.calls = errors, [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.listener.settimeout(LIMIT)

    def run(self):
        while True:
            try:
                c, _ = self.listener.accept()
            except OSError:
                return
            text, control, _, _ = c.recvmsg(65536, socket.CMSG_SPACE(4))
            self.told.append((json.loads(text), c.recv(10)))
            fds = array.array("i")
            fds.frombytes(control[0][2][:4])
            threading.Thread(target=self.serve, args=(fds[0],), daemon=True).start()

    def serve(self, fd):
        while True:
            ask = bytearray(80)
            p = select.poll()
            p.register(fd, select.POLLIN)
            if not p.poll(LIMIT * 1000)[0][1] & select.POLLIN:
                break
            try:
                fcntl.ioctl(fd, self.RECV, ask)
                number, pid, _, call = struct.unpack_from("=QIIi", ask)
                self.calls.append((call, pid))
                error = self.errors.get(call, 0)
                fcntl.ioctl(fd, self.SEND, struct.pack("=QqiI", number, 0, -error, 0 if error else self.CONTINUE))
            except OSError:  # the process is gone
                pass
        os.close(fd)
