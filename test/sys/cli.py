#!/usr/bin/env python3
"""test/sys/cli.py: what `socle run` and `socle ctl` promise at the command line, a terminal and a control socket."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import tempfile
import termios
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOCLE = os.path.join(os.environ.get("SOCLE_BUILD", os.path.join(HERE, "../../build/dev")), "src/cmd/socle")
ENV = {**os.environ, "SOCLE_VM": os.path.join(HERE, "cli_vm.py")}
LIMIT = 20


def socle(*args, **more):
    return subprocess.run([SOCLE, *args], env=ENV, capture_output=True, timeout=LIMIT, **more)


def run(kernel, *args, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    return socle("run", "--kernel", kernel, *args, **more)


def start(kernel, *args, **more):
    """A running `socle run` whose guest has said that it is ready."""
    p = subprocess.Popen([SOCLE, "run", "--kernel", kernel, *args], env=ENV, stdin=more.pop("stdin", subprocess.PIPE),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    assert p.stdout.readline() == b"ready\r\n"
    return p


def finish(p):
    out, err = p.communicate(timeout=LIMIT)
    return p.returncode, out, err


class Terminal:
    """`socle run` as a user sees it: a session of its own on a terminal of its own."""

    def __init__(self, kernel, *args):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.p = subprocess.Popen([SOCLE, "run", "--kernel", kernel, *args], env=ENV, stdin=self.slave, stdout=self.slave,
                                  stderr=self.slave, start_new_session=True, preexec_fn=self.adopt)

    def adopt(self):
        import fcntl
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def until(self, text):
        end = time.monotonic() + LIMIT
        while text not in self.seen:
            left = end - time.monotonic()
            assert left > 0, f"{text!r} not in {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536)

    def type(self, keys):
        os.write(self.master, keys)

    def end(self):
        status = self.p.wait(timeout=LIMIT)
        after = termios.tcgetattr(self.slave)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        os.close(self.master)
        os.close(self.slave)
        assert after == self.before, "the terminal is not as it was"
        return status


class Statuses(unittest.TestCase):
    def test_guests_status_passes(self):
        for n in (0, 1, 3, 126):
            p = run(f"exit:{n}")
            self.assertEqual((p.returncode, p.stdout, p.stderr), (n, b"bye\r\n", b""))

    def test_signal_that_ended_it(self):
        p = run(f"kill:{signal.SIGABRT.value}")
        self.assertEqual(p.returncode, 128 + signal.SIGABRT)
        self.assertIn(b"socle-vm was ended by signal 6", p.stderr)

    def test_timeout(self):
        p = run("deaf", "--timeout", "4")
        self.assertEqual(p.returncode, 124)
        self.assertEqual(p.stdout, b"ready\r\n")

    def test_no_program(self):
        env = {**ENV, "SOCLE_VM": "/nonexistent/socle-vm"}
        p = subprocess.run([SOCLE, "run", "--kernel", "k"], env=env, capture_output=True, timeout=LIMIT)
        self.assertEqual(p.returncode, 122)
        self.assertIn(b"start '/nonexistent/socle-vm': No such file", p.stderr)

    def test_usage(self):
        for args, text in ((["run"], b"nothing to boot"), (["run", "--cpus", "65"], b"1 to 64 is allowed"),
                           (["walk"], b"unknown command 'walk'"), ([], b"a command is needed"),
                           (["ctl", "s"], b"SOCKET and COMMAND"), (["ctl", "s", "power"], b"power needs button|off")):
            p = socle(*args)
            self.assertEqual((p.returncode, p.stdout), (2, b""))
            self.assertIn(text, p.stderr)

    def test_cache_dir(self):
        """A folder that is missing is made; one that cannot be is an error and starts nothing."""
        with tempfile.TemporaryDirectory() as folder:
            new, file = folder + "/new", folder + "/file"
            with open(file, "wb"):
                pass
            self.assertEqual(run("exit:0", "--cache-dir", new).returncode, 0)
            self.assertTrue(os.path.isdir(new))
            for path, text in ((file, b"is not a folder"), (folder + "/no/such", b"No such file")):
                p = run("exit:0", "--cache-dir", path)
                self.assertEqual((p.returncode, p.stdout), (122, b""))
                self.assertIn(b"--cache-dir: ", p.stderr)
                self.assertIn(text, p.stderr)

    def test_help(self):
        for args in (["help"], ["--help"], ["run", "--help"], ["help", "run"], ["ctl", "-h"], ["--version"], ["--man"]):
            p = socle(*args)
            self.assertEqual((p.returncode, p.stderr), (0, b""))
            self.assertIn(b"socle", p.stdout)


class Spawn(unittest.TestCase):
    def test_what_is_inherited(self):
        p = run("spec", "--disk", "a,,b,readonly", "--net", "none", "disk.img")
        said = json.loads(p.stdout)
        spec = said["spec"]
        self.assertEqual([d["file"] for d in spec["disks"]], ["disk.img", "a,b"])
        self.assertEqual(spec["nets"], [])
        self.assertEqual(spec["append"], "console=ttyS0 root=/dev/vda")
        self.assertEqual(said["stdin"], "/dev/null")
        self.assertTrue(said["leader"])
        # 0, 1, 2, spec, console, control, and the one of listdir itself
        self.assertEqual(said["fds"], 7)

    def test_closed_standard_descriptors(self):
        p = subprocess.run(["bash", "-c", '"$0" run --kernel spec --console none <&- 2>&-', SOCLE], env=ENV,
                           capture_output=True, timeout=LIMIT)
        self.assertNotEqual(p.returncode, 122)

    def test_vm_goes_when_socle_is_killed(self):
        p = start("term")
        vm = int(subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(p.pid)]).split()[0])
        p.kill()
        finish(p)
        end = time.monotonic() + LIMIT
        while subprocess.run(["ps", "-o", "stat=", "-p", str(vm)], capture_output=True).stdout[:1] not in (b"", b"Z"):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)


class Relay(unittest.TestCase):
    def test_pipe(self):
        p = start("echo")
        p.stdin.write(b"a\x01xb\n")  # from a pipe, Ctrl-A is a byte as any other
        p.stdin.close()
        p.stdin = None
        self.assertEqual(finish(p)[:2], (0, b"<a\x01xb\n>"))

    def test_file_as_input(self):
        with tempfile.TemporaryFile() as f:
            f.write(b"from a file\n")
            f.seek(0)
            self.assertEqual(run("echo", stdin=f).stdout, b"ready\r\n<from a file\n>")

    def test_nothing_is_lost(self):
        n = 3_000_000
        p = run(f"flood:{n}")
        self.assertEqual((p.returncode, len(p.stdout), p.stdout[-3:]), (0, n + 3, b"END"))

    def test_slow_reader(self):
        p = subprocess.Popen([SOCLE, "run", "--kernel", "flood:600000"], env=ENV, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE)
        time.sleep(0.5)
        out = p.communicate(timeout=LIMIT)[0]
        self.assertEqual((p.returncode, len(out)), (0, 600003))

    def test_reader_that_goes(self):
        p = subprocess.Popen([SOCLE, "run", "--kernel", "flood:9000000"], env=ENV, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdout.read(10)
        p.stdout.close()
        self.assertIn(b"nobody reads standard output", p.stderr.read())
        self.assertEqual(p.wait(LIMIT), 128 + signal.SIGPIPE)
        p.stderr.close()

    def test_reader_that_goes_while_stopping(self):
        p = start("term")
        p.stdout.close()
        p.stdout = open(os.devnull, "rb")
        p.send_signal(signal.SIGTERM)
        self.assertEqual(finish(p)[0], 0)


class Signals(unittest.TestCase):
    def test_clean_shutdown(self):
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            p = start("term")
            p.send_signal(sig)
            status, out, err = finish(p)
            self.assertEqual((status, out), (0, b"off\r\n"))
            self.assertIn(b"asking the guest to shut down", err)

    def test_twice_is_off_at_once(self):
        p = start("stubborn")
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.stdout.readline(), b"no\r\n")
        p.send_signal(signal.SIGINT)
        self.assertEqual(finish(p)[0], 128 + signal.SIGINT)

    def test_a_deaf_vm_is_killed(self):
        p = start("deaf")
        for _ in range(3):
            p.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        self.assertEqual(finish(p)[0], 128 + signal.SIGTERM)


class Keys(unittest.TestCase):
    def test_raw_and_literal(self):
        t = Terminal("echo")
        t.until(b"ready\r\n")
        t.type(b"\x03\x1a\x01a\x01\x01z\r")  # Ctrl-C and Ctrl-Z are the guest's
        t.until(b"<\x03\x1a\x01\x01z\r>")
        self.assertEqual(t.end(), 0)

    def test_quit(self):
        t = Terminal("term")
        t.until(b"ready\r\n")
        t.type(b"\x01x")
        t.until(b"off\r")
        self.assertEqual(t.end(), 0)

    def test_quit_by_force(self):
        t = Terminal("deaf")
        t.until(b"ready\r\n")
        t.type(b"\x01x\x01x\x01x")
        self.assertEqual(t.end(), 128 + signal.SIGKILL)

    def test_help_and_unknown(self):
        t = Terminal("term")
        t.until(b"ready\r\n")
        t.type(b"\x01h\x01?")
        t.until(b"Ctrl-A p  pause")
        t.until(b"no such key")
        t.type(b"\x01x")
        self.assertEqual(t.end(), 0)

    def test_commands(self):
        t = Terminal("control")
        t.until(b"ready\r\n")
        for keys, text in ((b"\x01p", b"asked pause"), (b"\x01s", b"socle: paused\r\n"), (b"\x01p", b"asked resume"),
                           (b"\x01r", b"no reset today"), (b"\x01b", b"power button pressed")):
            t.type(keys)
            t.until(text)
        t.type(b"\x01x")
        self.assertEqual(t.end(), 128 + signal.SIGTERM)

    def test_messages_in_raw_mode(self):
        t = Terminal("stderr")
        t.until(b"socle-vm: error: one\r\nsocle-vm: two\r\n")
        t.until(b"ready\r\n")
        t.type(b"\r")
        self.assertEqual(t.end(), 0)

    def test_stop_and_continue(self):
        t = Terminal("term")
        t.until(b"ready\r\n")
        raw = termios.tcgetattr(t.slave)
        t.p.send_signal(signal.SIGTSTP)
        os.waitpid(t.p.pid, os.WUNTRACED)
        self.assertEqual(termios.tcgetattr(t.slave), t.before)
        t.p.send_signal(signal.SIGCONT)
        end = time.monotonic() + LIMIT
        while termios.tcgetattr(t.slave) != raw:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)
        t.type(b"\x01x")
        self.assertEqual(t.end(), 0)

    def test_killed_by_its_own_fault(self):
        t = Terminal("term")
        t.until(b"ready\r\n")
        t.p.send_signal(signal.SIGABRT)
        self.assertEqual(t.end(), -signal.SIGABRT)


class Control(unittest.TestCase):
    def ask(self, reply, *args):
        with tempfile.TemporaryDirectory() as name:
            path = os.path.join(name, "s")
            s = socket.socket(socket.AF_UNIX)
            s.bind(path)
            s.listen()
            got = {}

            def serve():
                c = s.accept()[0]
                with c, c.makefile("rwb") as f:
                    got.update(json.loads(f.readline()))
                    f.write(reply)
                    f.flush()

            t = threading.Thread(target=serve, daemon=True)
            t.start()
            p = socle("ctl", path, *args)
            t.join(LIMIT)
            s.close()
            return p, got

    def test_status_is_lines(self):
        reply = b'{"event":"x"}\n{"id":1,"ok":true,"result":{"state":"running","cpus":2}}\n'
        p, got = self.ask(reply, "status")
        self.assertEqual((p.returncode, p.stdout), (0, b"state: running\ncpus: 2\n"))
        self.assertEqual(got, {"cmd": "status", "id": 1})

    def test_arguments(self):
        ok = b'{"id":1,"ok":true}\n'
        for args, want in ((["inspect", "disk0"], {"cmd": "inspect", "device": "disk0"}),
                           (["power", "off"], {"cmd": "power", "action": "off"}),
                           (["trace", "set", "virtio.*", "off"],
                            {"cmd": "trace", "action": "set", "pattern": "virtio.*", "on": False}),
                           (["new", "n=5", "s=a b"], {"cmd": "new", "n": 5, "s": "a b"})):
            p, got = self.ask(ok, *args)
            self.assertEqual((p.returncode, p.stdout, p.stderr), (0, b"", b""))
            self.assertEqual(got, {"id": 1, **want})

    def test_errors(self):
        for reply, text in ((b'{"id":1,"ok":false,"error":"no such device"}\n', b"inspect: no such device"),
                            (b"rubbish\n", b"not JSON"), (b"[]\n", b"not JSON"), (b"", b"ended before it answered")):
            p, _ = self.ask(reply, "inspect", "x")
            self.assertEqual((p.returncode, p.stdout), (1, b""))
            self.assertIn(text, p.stderr)

    def test_no_socket(self):
        p = socle("ctl", "/nonexistent/socket", "status")
        self.assertEqual(p.returncode, 1)
        self.assertIn(b"connect to '/nonexistent/socket'", p.stderr)

    def test_trace_is_ctl(self):
        p = socle("trace", "/nonexistent/socket", "list")
        self.assertIn(b"connect to '/nonexistent/socket'", p.stderr)


if __name__ == "__main__":
    unittest.main()
