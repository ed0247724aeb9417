"""test/sys/box_fault.py: fails every system call of socle-box, and looks for what is left.  box_fault.py BOX_FAULT BOX FOLDER [CASE…]

box_fault.c makes the N-th call fail, of the runtime and of the container's processes until their own program begins.  Whatever the
outcome, afterwards there are the same mounts, cgroups, processes (and with them namespaces) and files as before.
"""

import os
import subprocess
import sys

from box_bundle import Bundle, traces

HANG = 15  # seconds
ID = f"fault-{os.getpid()}"
ERRORS = (5, 12, 1, 2)  # EIO, ENOMEM, EPERM, ENOENT


def plain(_):
    pass


def user(b):
    linux = b.spec["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def clocks(b):
    b.spec["linux"]["namespaces"].append({"type": "time"})
    b.spec["linux"]["timeOffsets"] = {"boottime": {"secs": 5}}


def rich(b):
    b.spec["hooks"] = {k: [{"path": "/bin/true"}] for k in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")}
    b.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}
    b.spec["mounts"].append({"destination": "/tmp", "type": "bind", "source": "/etc", "options": ["rbind", "ro"]})
    b.spec["process"]["user"] = {"uid": 5, "gid": 6, "additionalGids": [7]}


def mapped(b):
    """Processes that are there for a moment only: who holds the maps of a mount."""
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    os.makedirs(b.folder + "/src")
    os.makedirs(b.rootfs + "/data/sub")
    b.spec["mounts"] += [{"destination": "/tmp", "type": "bind", "source": b.folder + "/src", "options": ["rbind", "ridmap"], "uidMappings": maps, "gidMappings": maps},
                         {"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]}]


# name: what the specification has, what is run, what it needs before or after
CASES = {
    "run": (plain, ["run", ID], None),
    "run-user": (user, ["run", ID], None),
    "run-clocks": (clocks, ["run", ID], None),
    "run-rich": (rich, ["run", ID], None),
    "run-mapped": (mapped, ["run", ID], None),
    "create": (plain, ["create", "--pid-file", "pid", ID], "delete"),
    "exec": (plain, ["exec", ID, "sleep", "0.2"], "running"),  # there is time to see that it was left
}


class Case:
    def __init__(self, fault, box, folder, name):
        os.makedirs(f"{folder}/{name}/b")
        self.b, self.fault, self.output = Bundle(box, f"{folder}/{name}/b"), fault, f"{folder}/{name}/output"
        change, self.words, self.kind = CASES[name]
        self.b.ids = {ID}
        change(self.b)
        self.b.write("true")
        if self.kind == "running":
            self.b.create("sleep", "1000", name=ID)
            self.b("start", ID)
        self.pid_file = self.b.folder + "/pid"

    def once(self, n, error):
        """The command with its n-th call failing: (status, number of calls, which call it was)."""
        command = [self.fault, str(n), str(error), *self.b.command(*self.words)]
        with open(self.output, "w", encoding="utf-8") as out:
            r = subprocess.run(command, cwd=self.b.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, timeout=HANG, check=False)
        count, call = r.stdout.split()[-2:]
        if self.kind == "delete" and r.returncode == 0:  # it was tolerated: then all is there, and goes
            self.b("delete", "--force", ID)
            if os.path.exists(self.pid_file):
                os.unlink(self.pid_file)
        return r.returncode, int(count), int(call)

    def end(self):
        self.b("delete", "--force", ID)


def one_case(fault, box, folder, name):
    case = Case(fault, box, folder, name)
    status, count, _ = case.once(0, 0)
    assert status == 0, f"{name} fails by itself"
    before = traces(case.b)
    failed, wrong, refused, kinds = 0, 0, 0, set()
    for n in range(1, count + 1):
        error = ERRORS[n % len(ERRORS)]
        try:
            status, _, call = case.once(n, error)
        except subprocess.TimeoutExpired:
            status, call = 0, -2
        failed += call != -1
        refused += status != 0
        kinds.add(call)
        left = traces(case.b) - before
        if left or call == -2:
            wrong += 1
            print(f"{'HANGS' if call == -2 else 'LEFT'}: {name}, number {n}, call {call}, error {error}: {sorted(left)[:4]}")
            if case.kind != "running":
                case.end()
            before |= traces(case.b)
    case.end()
    print(f"{name}: {failed} calls of {len(kinds)} kinds failed, {refused} of them a failure of the command, {wrong} left something", flush=True)
    return failed, wrong


def main():
    fault, box, folder, only = *sys.argv[1:4], sys.argv[4:]
    total = [0, 0]
    for name in only or CASES:
        for i, n in enumerate(one_case(fault, box, folder, name)):
            total[i] += n
    print(f"{total[0]} system calls failed, {total[1]} left something behind")
    return total[0] == 0 or total[1] > 0


if __name__ == "__main__":
    sys.exit(main())
