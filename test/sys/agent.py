#!/usr/bin/env python3
"""test/sys/agent.py: what the guest's agent does for `socle exec`, and what happens when it is not there, goes, or lies.  test/sys/agent.py GUEST"""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time

from socled import BUILD, DIR, SECONDS, Socled, ok, socle, until

GUEST = sys.argv[1]
BOOT_SECONDS = 300  # of Debian, on the software engine of a busy host
ADDRESS = "10.0.2.15"  # of the first guest of a user network
NOBODY = "no guest agent answers in '{}'"


def command(name, *words, options=()):
    return [BUILD + "socle", "exec", "--dir", DIR, *options, name, "--", *words]


def run(name, *words, stdin=b"", seconds=SECONDS, options=()):
    """(status, output, errors), all bytes."""
    p = subprocess.run(command(name, *words, options=options), input=stdin, capture_output=True, timeout=seconds, check=False)
    return p.returncode, p.stdout, p.stderr


def works(name):
    return run(name, "true")[0] == 0


def refused(name, why, *words, **more):
    status, out, err = run(name, *words, **more)
    assert status == 125 and not out and why in err.decode(), (why, status, out, err)
    return err.decode()


def right(*words):
    r = socle(*words)
    assert r.returncode == 0, (words, r)


def on_terminal(*words):
    """(status, what the terminal showed)"""
    ours, its = pty.openpty()
    p = subprocess.Popen(words, stdin=its, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # nobody has the other end any more
        pass
    os.close(ours)
    return p.wait(SECONDS), shown.decode()


def without_agent():
    """Whoever has none hears of it soon, and what to do."""
    right("create", "bare", "--kernel", GUEST + "/vmlinuz", "--initrd", GUEST + "/initrd", "--memory", "128M", "--engine", "soft", "--net", "none", "--append", "panic=-1 rdinit=/bin/sh")
    refused("bare", "'bare' is off", "true")
    right("start", "bare")
    began = time.monotonic()
    said = refused("bare", NOBODY.format("bare"), "true")
    assert "qemu-guest-agent" in said and time.monotonic() - began < 20, said
    right("pause", "bare")
    refused("bare", "'bare' is paused", "true")
    right("delete", "bare", "--force")


def programs():
    status, out, err = run("g", "sh", "-c", "echo said; echo complained >&2; exit 7")
    assert (status, out, err) == (7, b"said\n", b"complained\n"), (status, out, err)
    assert run("g", "sh", "-c", "kill -9 $$")[0] == 137
    data = os.urandom(300000)
    assert run("g", "cat", stdin=data) == (0, data, b"")
    status, out, err = run("g", "sh", "-c", "seq 1 200000 | head -c 1048576; echo done >&2")
    assert out == "".join(f"{n}\n" for n in range(1, 200001)).encode()[:1048576] and (status, err) == (0, b"done\n"), (status, len(out), err)
    refused("g", "the guest agent refuses", "/no/such/program")
    refused("g", "more than 4194304 bytes", "cat", stdin=b"x" * 5000000)
    assert run("g", "sh", "-c", "read x; echo \"<$x>\"", stdin=b"a line\n")[1] == b"<a line>\n"
    assert run("g", "/bin/sh", "-c", "echo $A", options=("--env", "A=from us"))[1] == b"from us\n"
    refused("g", "'cwd' is of containers", "true", options=("--cwd", "/"))


def told(name="g"):
    """The addresses that are shown; both ways are one, unless an answer came between them."""

    def shown():
        return ok("GET", f"/instances/{name}")["status"]["addresses"]

    while True:
        before = shown()
        listed = [i["addresses"] for i in ok("GET", "/instances")["list"] if i["name"] == name]
        if shown() == before:
            assert listed == [before], (listed, before)
            return before


def addresses():
    """The guest tells those of its card, and no others; who follows events hears of them."""
    since = ok("GET", "")["revision"]
    until("the guest's address", lambda: ADDRESS in told(), BOOT_SECONDS)
    events = subprocess.Popen([BUILD + "socle", "event", "--dir", DIR, "--since", str(since)], stdout=subprocess.PIPE, text=True)
    number = ok("GET", "/instances/g")["status"]["id"]
    event = next(e for e in map(json.loads, events.stdout) if e["type"] == "addresses")
    assert event["id"] == number and ADDRESS in event["addresses"], event
    script = "ip address add 192.0.2.7/24 dev $(ls -d /sys/class/net/e* | head -n 1 | sed 's,.*/,,'); ip link add fake type dummy; ip address add 198.51.100.7/24 dev fake; ip link set fake up"
    assert run("g", "sh", "-c", script)[0] == 0
    until("another one", lambda: "192.0.2.7" in told())
    assert not [a for a in told() if a.startswith(("127.", "fe80:", "198.51."))], told()
    assert any(e["type"] == "addresses" and "192.0.2.7" in e["addresses"] for e in map(json.loads, events.stdout))
    events.kill()
    row = next(line for line in socle("list").stdout.splitlines() if line.startswith("g "))
    assert ADDRESS in row and "+1" in row, row
    assert f'"{ADDRESS}"' in socle("show", "g").stdout


def files():
    folder = os.environ["TMPDIR"] + "/files"
    os.mkdir(folder)
    data = os.urandom(3000000)
    for name, text in (("big", data), ("empty", b"")):
        with open(f"{folder}/{name}", "wb") as f:
            f.write(text)
    right("file", "push", folder + "/big", folder + "/empty", "g:/run/")
    right("file", "push", folder + "/empty", "g:/run/big2")
    right("file", "push", folder + "/big", "g:/run/big2")
    os.mkdir(folder + "/back")
    right("file", "pull", "g:/run/big2", "g:/run/empty", folder + "/back")
    for name, text in (("big2", data), ("empty", b"")):
        with open(f"{folder}/back/{name}", "rb") as f:
            assert f.read() == text, name
    assert "PRETTY_NAME" in socle("file", "pull", "g:/etc/os-release", "-").stdout
    for why, *words in (("No such file", "pull", "g:/no/such", "-"), ("Is a directory", "push", folder + "/big", "g:/run"),
                        ("are of containers", "pull", "-r", "g:/etc", folder), ("No such file", "push", folder + "/big", "g:/no/such/"),
                        ("are of containers", "push", "--mode", "600", folder + "/big", "g:/run/x")):
        r = socle("file", *words)
        assert r.returncode == 1 and why in r.stderr, (words, r)


def terminals():
    status, shown = on_terminal(BUILD + "socle", "exec", "--dir", DIR, "g")
    assert status == 125 and "socle console g" in shown, (status, shown)
    status, shown = on_terminal(*command("g", "sh", "-c", "cat; echo no input"))
    assert status == 0 and shown == "no input\r\n", (status, shown)


def there(path):
    return run("g", "test", "-e", path)[0] == 0


def started(mark, then="true"):
    """A client whose program runs until /run/MARK.end is there."""
    script = f"touch /run/{mark}; until [ -e /run/{mark}.end ]; do sleep 0.1; done; {then}"
    p = subprocess.Popen(command("g", "sh", "-c", script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until("it runs", lambda: there(f"/run/{mark}"))
    return p


def several():
    slow = started("slow", "echo slow")
    assert run("g", "echo", "quick")[1] == b"quick\n"
    assert slow.poll() is None
    gone = started("gone", "touch /run/ran-on")
    gone.kill()
    gone.wait()
    assert run("g", "touch", "/run/slow.end")[0] == 0
    assert slow.communicate(timeout=SECONDS)[0] == b"slow\n" and slow.returncode == 0
    assert run("g", "touch", "/run/gone.end")[0] == 0
    until("it ran on", lambda: there("/run/ran-on"))


def restarts(d):
    """socled goes, with a conversation under way: the next one finds the agent."""
    waits = started("killed")
    d.kill()
    assert waits.wait(SECONDS) == 125, waits.stderr.read()
    d = Socled()
    assert ADDRESS in told()
    assert run("g", "echo", "again")[1] == b"again\n"
    waits = started("ended")
    d.end()
    assert waits.wait(SECONDS) == 125
    return Socled()


def snapshots():
    """The state has who has the port open; what was started after it is lost, and said to be."""
    assert run("g", "touch", "/run/before")[0] == 0
    right("snapshot", "g", "one")
    assert run("g", "touch", "/run/after")[0] == 0
    waits = started("lost")
    right("restore", "g", "one")
    assert waits.wait(2 * SECONDS) == 125 and b"is lost" in waits.stderr.read()
    assert there("/run/before") and not there("/run/after")


def first_byte(name):
    """What comes at the port's socket without being asked for; an agent says nothing then."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(0.5)
        s.connect(os.path.dirname(ok("GET", f"/instances/{name}")["status"]["control"]) + "/agent")
        try:
            return s.recv(1)
        except TimeoutError:
            return None


# An agent that is asked to run "/lie/WHAT", and answers with a line that is not worth its memory.
LIAR = r"""
open(my $port, "+<", "/dev/virtio-ports/org.qemu.guest_agent.0") or die;
my %lies = (numbers => "[0" . ",0" x 50000 . "]", objects => "[{}" . ",{}" x 50000 . "]", deep => "[" x 1000, long => "\"" . "x" x 400000 . "\"");
my $had = "";
while (sysread($port, $had, 65536, length $had)) {
    while ($had =~ s/^(.*?)\n//s) {
        my $asked = $1;
        exit if $asked =~ m{/lie/end};
        my $says = $asked =~ /"id":\s*(\d+)/ ? "\xff{\"return\": $1}\n" : $asked =~ m{/lie/(\w+)} ? "{\"return\": $lies{$1}}\n" : "{}\n";
        substr($says, 0, syswrite($port, $says)) = "" while length $says;
    }
}
"""


def replaced_by(program):
    """In a second the agent is ended, and the program has its port, until it ends."""
    script = f"systemctl stop qemu-guest-agent; {program}; systemctl start qemu-guest-agent"
    # Without its accuracy systemd's timer would elapse at some second of the next minute, which is when this gives up.
    assert run("g", "systemd-run", "--on-active=1", "--timer-property=AccuracySec=100ms", "sh", "-c", script)[0] == 0


def lies():
    """An agent that says what would be large is refused, with what was found."""
    assert run("g", "sh", "-c", "cat >/run/liar.pl", stdin=LIAR.encode())[0] == 0
    replaced_by("timeout 120 perl /run/liar.pl")
    until("its successor lies", lambda: b"answer has 50003 values; 4096 are allowed" in run("g", "/lie/numbers")[2])
    refused("g", "answer has 100004 values; 4096 are allowed", "/lie/objects")
    refused("g", "answer is 1001 levels deep; 16 are allowed", "/lie/deep")
    refused("g", "262144 are allowed", "/lie/long")
    run("g", "/lie/end")
    until("the agent is back", lambda: works("g"))


def goes_and_lies():
    """The agent is restarted by itself; then a program of the guest has its port, and says anything without end."""
    refused("g", "is lost", "systemctl", "restart", "qemu-guest-agent")
    until("the agent is back", lambda: works("g"))
    replaced_by("timeout 30 cat /dev/zero >/dev/virtio-ports/org.qemu.guest_agent.0")
    until("its successor lies", lambda: first_byte("g") == b"\0")
    refused("g", "its port is open, but nothing comes", "true")
    pid = ok("GET", "")["pid"]
    until("the agent is back", lambda: works("g"))
    lies()
    assert ok("GET", "")["pid"] == pid
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        used = int(f.read().split("VmRSS:")[1].split()[0])
    assert used < 200 * 1024, used


def main():
    d = Socled()
    without_agent()
    right("pool", "import", "deb", "--kernel", GUEST + "/vmlinuz", "--initrd", GUEST + "/initrd", "--disk", GUEST + "/root.img")
    right("launch", "deb", "g", "--memory", "512M", "--engine", "soft", "--net", "user", "--append", "console=ttyS0 root=/dev/vda rw panic=-1 quiet")
    until("the guest's agent", lambda: works("g"), BOOT_SECONDS)
    programs()
    addresses()
    files()
    terminals()
    several()
    d = restarts(d)
    snapshots()
    goes_and_lies()
    until("the guest's address again", lambda: ADDRESS in told(), BOOT_SECONDS)
    right("stop", "g", "--force")
    assert told() == []
    right("delete", "g", "--force")
    d.end()


if __name__ == "__main__":
    try:
        main()
    finally:
        for folder in os.listdir("/proc"):
            if not folder.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{folder}/fd/2").startswith(DIR + "/instances/"):
                    os.kill(int(folder), signal.SIGKILL)
            except OSError:
                pass
        if os.path.exists(DIR + "/lock"):
            with open(DIR + "/lock", encoding="utf-8") as f:
                pid = f.read().strip()
            if pid.isdigit() and os.path.exists(f"/proc/{pid}"):
                os.kill(int(pid), signal.SIGTERM)
