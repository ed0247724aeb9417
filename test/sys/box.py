"""test/sys/box.py: socle-box as engines use it.  box.py BOX FOLDER [TEST…]; each function named test_* is one test with a fresh bundle."""

import array
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import box_attacks
import box_mounts
from box_agent import Agent
from box_bundle import LIMIT, Bundle, cgroup_root, check, has, passes, traces, until


# ---- life ----

def test_run(b):
    passes(b, "echo $((1+1)); exit 7", "2", 7)
    check("nothing is left", os.listdir(b.state), [])


def test_life(b):
    pid_file = b.folder + "/pid"
    check("create", b.create("sh", "-c", "echo began; exec sleep 100", options=("--pid-file", pid_file)).returncode, 0)
    state = json.loads(b("state", "c").stdout)
    check("created", state["status"], "created")
    with open(pid_file, encoding="utf-8") as f:
        check("pid file", int(f.read()), state["pid"])
    check("the program waits", b.output(), "")
    check("the id is taken", b("create", "c").returncode, 1)
    check("start", b("start", "c").returncode, 0)
    until("it began", lambda: b.output() == "began\n")
    has("a second start", b("start", "c").stderr, "already running")
    r = b("exec", "c", "sh", "-c", "echo $PPID $HOSTNAME; exit 3")
    check("exec", (r.returncode, r.stdout.strip()), (3, "0 socle") if "socle" in r.stdout else (3, "0"))
    has("no program", b("exec", "c", "nosuch").stderr, "executable file not found in $PATH")
    check("ps", json.loads(b("ps", "--format", "json", "c").stdout), [state["pid"]])
    check("list", [c["id"] for c in json.loads(b("list", "--format", "json").stdout)], ["c"])
    check("pause", b("pause", "c").returncode, 0)
    check("paused", b.status(), "paused")
    has("exec in a paused one", b("exec", "c", "true").stderr, "paused")
    check("resume", b("resume", "c").returncode, 0)
    check("running", b.status(), "running")
    has("delete", b("delete", "c").stderr, "not stopped: running")
    check("kill", b("kill", "c", "KILL").returncode, 0)
    until("stopped", lambda: b.status() == "stopped")
    has("kill again", b("kill", "c", "9").stderr, "container not running")
    check("delete", b("delete", "c").returncode, 0)
    has("state", b("state", "c").stderr, "container does not exist")
    check("delete --force of none", b("delete", "--force", "c").returncode, 0)
    check("delete of none", b("delete", "c").returncode, 1)


def test_kill_created(b):
    b.create("true")
    check("delete of a created one", b("delete", "c").returncode, 0)
    b.create("sh", "-c", "sleep 100 & sleep 100")
    b("start", "c")
    until("both run", lambda: len(json.loads(b("ps", "--format", "json", "c").stdout)) == 2)
    check("kill all", b("kill", "--all", "c", "9").returncode, 0)
    until("stopped", lambda: b.status() == "stopped")
    check("delete --force", b("delete", "--force", "c").returncode, 0)


def test_errors_as_json(b):
    log = b.folder + "/log"
    b.write("nosuch")
    r = b("--log", log, "--log-format", "json", "run", "c")
    check("status", r.returncode, 1)
    with open(log, encoding="utf-8") as f:
        line = json.loads(f.read())
    check("level", line["level"], "error")
    has("message", line["msg"], "executable file not found in $PATH")
    has("a time", line["time"], "T")
    for wrong in (["run"], ["run", "../x"], ["run", "-x", "c"], ["nothing"], [], ["kill", "c", "9", "9"]):
        check(f"refused: {wrong}", b(*wrong).returncode, 1)


def test_signals_are_passed(b):
    b.write("sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.1; done")
    with subprocess.Popen(b.command("run", "c"), cwd=b.folder, stdout=subprocess.PIPE, text=True) as p:
        check("it runs", p.stdout.readline(), "ready\n")
        p.send_signal(signal.SIGUSR1)
        check("its output", p.stdout.readline(), "got\n")
        check("its status", p.wait(LIMIT), 5)
    with subprocess.Popen(b.command("run", "c"), cwd=b.folder, stdout=subprocess.PIPE, text=True) as p:
        check("it runs", p.stdout.readline(), "ready\n")
        b("kill", "c", "KILL")
        check("its status", p.wait(LIMIT), 128 + 9)


def heard(listener):
    """What a program tells its supervisor, with the barrier let go: (lines, the barrier came)."""
    listener.settimeout(LIMIT)
    first = listener.recv(4096).decode().split()
    text, control, _, _ = listener.recvmsg(4096, socket.CMSG_SPACE(4))
    fds = array.array("i")
    fds.frombytes(control[0][2][:4])
    os.close(fds[0])
    return first, text


def test_notify(b):
    """sd_notify of the program: it has a socket of its own, and READY=1 alone goes on, with whom to watch."""

    def say(pid, text):
        program = "import socket,sys\nsocket.socket(socket.AF_UNIX,socket.SOCK_DGRAM).sendto(sys.argv[2].encode(),sys.argv[1])"
        subprocess.run([sys.executable, "-c", program, f"/proc/{pid}/root/run/notify/notify.sock", text], check=True, timeout=LIMIT)
    os.makedirs(b.rootfs + "/run")
    tell = "sock=$NOTIFY_SOCKET; test -S $sock && test ! -w /run/notify && echo $sock; sleep 100"
    b.spec["process"]["env"].append("NOTIFY_SOCKET=/other")
    b.spec["process"]["user"] = {"uid": 5, "gid": 5}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(b.folder + "/notify")
        env = {"env": {**os.environ, "NOTIFY_SOCKET": b.folder + "/notify"}}
        check("create", b.create("sh", "-c", tell, **env).returncode, 0)
        with subprocess.Popen(b.command("start", "c"), **env) as start:
            until("it runs", lambda: b.output())
            check("its socket", b.output(), "/run/notify/notify.sock\n")
            pid = json.loads(b("state", "c").stdout)["pid"]
            say(pid, "STATUS=soon")
            check("start waits", start.poll(), None)
            say(pid, "STATUS=now\nREADY=1")
            check("passed on", heard(listener), ([f"MAINPID={pid}", "READY=1"], b"BARRIER=1"))
            check("start", start.wait(LIMIT), 0)
        check("delete", b("delete", "--force", "c").returncode, 0)
        check("nothing is left", os.listdir(b.state), [])
        with subprocess.Popen(b.command("run", "c"), cwd=b.folder, stdout=subprocess.PIPE, text=True, **env) as run:
            check("in the foreground", run.stdout.readline(), "/run/notify/notify.sock\n")
            pid = json.loads(b("state", "c").stdout)["pid"]
            say(pid, "READY=1")
            check("the runtime is the one to watch", heard(listener), ([f"MAINPID={run.pid}", "READY=1"], b"BARRIER=1"))
            b("kill", "c", "KILL")
        b.create("true", **env)
        check("an end without it", b("start", "c", **env).returncode, 0)
        b("delete", "--force", "c")


def test_exec_process_file(b):
    b.create("sleep", "100")
    b("start", "c")
    process = {"args": ["sh", "-c", "id -u; echo $A; pwd; cat /proc/self/status | grep CapEff"], "env": ["A=b", "PATH=/bin"], "cwd": "/tmp",
               "user": {"uid": 5, "gid": 6, "additionalGids": [7]}}
    with open(b.folder + "/p.json", "w", encoding="utf-8") as f:
        json.dump(process, f)
    r = b("exec", "--process", b.folder + "/p.json", "c")
    check("process", r.stdout.split(), ["5", "b", "/tmp", "CapEff:", "0000000000000000"])
    out = b("exec", "--user", "8:9", "--env", "X=y", "--cwd", "/etc", "c", "sh", "-c", "id -u; id -g; echo $X; pwd").stdout
    check("options", out.split(), ["8", "9", "y", "/etc"])
    pid_file = b.folder + "/pid"
    with open(b.folder + "/out", "w", encoding="utf-8") as out:
        check("detached", b("exec", "--detach", "--pid-file", pid_file, "c", "sleep", "50", capture_output=False, stdout=out, stderr=out).returncode, 0)
    with open(pid_file, encoding="utf-8") as f:
        check("it runs", os.path.exists(f"/proc/{int(f.read())}"), True)
    b("delete", "--force", "c")


def test_slow_parents(b):
    """Each process that makes another stays behind it: what the new one says comes before what its maker says of it."""
    b.create("sleep", "100", name="d")
    b("start", "d")
    b.spec["linux"]["namespaces"].append({"type": "time"})  # so that a process in between is needed
    b.write("echo", "hello")
    for words in (["exec", "d", "echo", "hello"], ["run", "c"]):
        command = [os.path.join(os.path.dirname(b.folder), "box_fault"), "0", "0", *b.command(*words)]
        # A leak sanitizer cannot look while another traces.
        env = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        r = subprocess.run(command, env=env, cwd=b.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
        check(f"{words[0]}: status and output", (r.returncode, r.stderr), (0, "hello\n"))
    b("delete", "--force", "d")


# ---- what the specification asks for ----

def test_namespaces(b):
    b.spec["linux"]["namespaces"].append({"type": "time"})
    b.spec["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000}}
    b.spec["hostname"] = "inside"
    r = b.run("sh", "-c", "for n in cgroup ipc mnt net pid time uts; do readlink /proc/self/ns/$n; done; hostname; cat /proc/uptime; ip link")
    lines = r.stdout.splitlines()
    for line, name in zip(lines, ("cgroup", "ipc", "mnt", "net", "pid", "time", "uts")):
        has("kind", line, name)
        check(f"{name} is its own", line != os.readlink(f"/proc/self/ns/{name}"), True)
    check("hostname", lines[7], "inside")
    check("clock", float(lines[8].split()[0]) > 1000000, True)
    has("loopback", lines[9], "UP")


def test_join(b):
    b.create("sleep", "100")
    b("start", "c")
    pid = json.loads(b("state", "c").stdout)["pid"]
    b.reset()
    for n in b.spec["linux"]["namespaces"]:
        kind = {"network": "net", "mount": None}.get(n["type"], n["type"])
        if kind:
            n["path"] = f"/proc/{pid}/ns/{kind}"
    del b.spec["hostname"]
    r = b.run("sh", "-c", "ps; for n in net ipc uts pid; do readlink /proc/self/ns/$n; done", name="d")
    has("it sees the other's processes", r.stdout, "sleep 100")
    check("joined", r.stdout.splitlines()[-4:], [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("net", "ipc", "uts", "pid")])
    next(n for n in b.spec["linux"]["namespaces"] if n["type"] == "network")["path"] = f"/proc/{pid}/ns/ipc"
    has("another kind", b.run("true", name="d").stderr, "is no network namespace")
    b("delete", "--force", "c")


def test_user_namespace(b):
    os.chmod(b.folder, 0o700)  # the container's root may not enter it
    linux = b.spec["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000}, {"containerID": 1000, "hostID": 300000, "size": 10}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    b.spec["root"]["readonly"] = False
    b.spec["process"]["user"] = {"uid": 1003, "gid": 7}
    os.chmod(b.rootfs, 0o755)
    r = b.run("sh", "-c", "id -u; id -g; cat /proc/self/uid_map; ls -l /dev/null; echo x >/dev/null && echo writes")
    check("status: " + r.stderr, r.returncode, 0)
    check("ids", r.stdout.split()[:8], ["1003", "7", "0", "100000", "1000", "1000", "300000", "10"])
    has("devices", r.stdout, "1,   3")
    has("devices work", r.stdout, "writes")
    b.create("sleep", "100")
    b("start", "c")
    r = b("exec", "--user", "0:0", "c", "id", "-u")
    check("exec: " + r.stderr, r.stdout, "0\n")
    pid = json.loads(b("state", "c").stdout)["pid"]
    b.spec["linux"].update({"uidMappings": [], "gidMappings": []})
    b.spec["linux"]["namespaces"][-1]["path"] = f"/proc/{pid}/ns/user"
    r = b.run("sh", "-c", "id -u; readlink /proc/self/ns/user", name="d")
    check("joined " + r.stderr, r.stdout.split(), ["1003", os.readlink(f"/proc/{pid}/ns/user")])
    b("delete", "--force", "c")


def test_rootless(b):
    """By a user without privilege: a user namespace with that user alone, no cgroup of its own."""
    user = 65533
    subprocess.run(["chown", "-R", f"{user}:{user}", b.folder], check=True)
    folder = b.folder
    while folder != "/":  # the user has to get there
        os.chmod(folder, os.stat(folder).st_mode | 0o711)
        folder = os.path.dirname(folder)
    me = {"user": user, "group": user, "extra_groups": [], "env": {"XDG_RUNTIME_DIR": b.folder, "PATH": os.environ["PATH"]}}
    os.unlink(b.folder + "/config.json")
    check("spec", b("spec", "--rootless", **me).returncode, 0)
    with open(b.folder + "/config.json", encoding="utf-8") as f:
        b.spec = json.load(f)
    b.spec["process"]["terminal"] = False
    b.write("sh", "-c", "id -u; cat /proc/self/uid_map; echo x >/dev/null && echo writes; ls /proc/self/fd | wc -l; exit 6")
    r = b("run", "c", **me)
    check("status: " + r.stderr, r.returncode, 6)
    check("output", (r.stdout.split(), r.stderr), (["0", "0", str(user), "1", "writes", "4"], ""))
    # As runc's `spec --rootless` has it: what Linux would refuse is told of, and left out.
    b.spec["process"]["capabilities"]["ambient"] = ["CAP_KILL"]
    b.write("sh", "-c", "grep CapAmb /proc/self/status")
    r = b("run", "c", **me)
    check("ambient capabilities that cannot be", r.stdout.split(), ["CapAmb:", "0000000000000000"])
    has("a word of it", r.stderr, "process.capabilities.ambient: left out is what is not inheritable and permitted, too: CAP_KILL")
    del b.spec["process"]["capabilities"]["ambient"]
    # One number alone: its group is the only one that can be named, and again is no other.
    for who, said in (({"additionalGids": [0]}, ""), ({"gid": 5}, "process.user.gid 5 is none of"), ({"uid": 7}, "process.user.uid 7 is none of"),
                      ({"additionalGids": [5]}, "groups may not be set in this user namespace")):
        b.spec["process"]["user"] = {"uid": 0, "gid": 0, **who}
        status = b.create("echo", "fine", **me).returncode
        check(f"created: {who} {b.output()}", status, int(bool(said)))
        has("why", b.output(), said)
        if not said:
            b("start", "c", **me)
            until("it ended", lambda: b.output() == "fine\n")
        b("delete", "--force", "c", **me)
    b.spec["process"]["user"] = {"uid": 0, "gid": 0}
    b.write("sleep", "100")
    with open(b.folder + "/out", "w", encoding="utf-8") as out:
        check("detached", b("run", "--detach", "c", capture_output=False, stdout=out, stderr=out, **me).returncode, 0)
    check("exec", b("exec", "c", "id", "-u", **me).stdout, "0\n")
    has("exec as another", b("exec", "--user", "5:5", "c", "id", "-u", **me).stderr, "process.user.uid 5 is none of")
    check("kill", b("kill", "c", "KILL", **me).returncode, 0)
    check("delete", b("delete", "--force", "c", **me).returncode, 0)
    b.write("true")
    has("why there is no cgroup", b("--debug", "run", "c", **me).stderr, "no cgroup: ")
    cgroup = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid"]}
    b.spec["mounts"].append(cgroup)
    b.spec["linux"]["namespaces"] = [n for n in b.spec["linux"]["namespaces"] if n["type"] != "cgroup"]
    b.write("sh", "-c", "grep -c '/sys/fs/cgroup cgroup2 ro,nosuid' /proc/mounts")
    r = b("run", "c", **me)
    check("the host's cgroups, where a mount of them is forbidden: " + r.stderr, r.stdout, "1\n")
    # As rootless engines do: root of a user namespace alone; state is where the user's is.
    for kind in ("uidMappings", "gidMappings"):
        b.spec["linux"][kind] = [{"containerID": 0, "hostID": 0, "size": 1}]
    b.spec["process"]["user"]["additionalGids"] = [0]
    script = '"$1" create c >&2 && ls socle-box && "$1" start c && "$1" exec --process p.json c && "$1" delete --force c && exec "$1" run c'
    with open(b.folder + "/p.json", "w", encoding="utf-8") as f:
        json.dump({**b.spec["process"], "args": ["echo", "exec"]}, f)
    b.write("sh", "-c", "sleep 1; exit 9")
    r = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", b.box], cwd=b.folder, capture_output=True, text=True,
                       timeout=LIMIT, check=False, **me)
    check("in a user namespace of an engine: " + r.stderr, (r.returncode, r.stdout), (9, "c\nexec\n"))


def test_devices(b):
    b.spec["linux"]["devices"] = [{"path": "/dev/sub/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
                                  {"path": "/dev/pipe", "type": "p"}]
    passes(b, "stat -c '%t %T %a %u %g' /dev/sub/fuse; stat -c %F /dev/pipe; readlink /dev/fd", "a e5 640 3 4\nfifo\n/proc/self/fd")
    b.reset()["process"]["capabilities"] = {k: ["CAP_MKNOD"] for k in ("bounding", "effective", "permitted")}
    b.spec["root"]["readonly"] = False
    b.spec["linux"]["resources"]["devices"] += [{"allow": True, "type": "c", "major": 1, "minor": 1, "access": "m"}]
    script = "mknod /tmp/d$1 c 1 $1 2>/dev/null && echo made; { head -c1 /tmp/d$1 >/dev/null; } 2>/dev/null && echo read; head -c1 /dev/zero | { ! grep -q x; } && echo zero"
    check("mknod only", b.run("sh", "-c", script, "x", "1").stdout.split(), ["made", "zero"])
    check("forbidden", b.run("sh", "-c", script, "x", "4").stdout.split(), ["zero"])


def test_process(b):
    p = b.spec["process"]
    p.update({"cwd": "/tmp", "user": {"uid": 12, "gid": 13, "umask": 0o77, "additionalGids": [14, 15]}, "oomScoreAdj": 321,
              "env": ["PATH=/bin", "A=b c"], "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 30}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                                                       {"type": "RLIMIT_CPU", "soft": 4096, "hard": 18446744073709551615}],
              "scheduler": {"policy": "SCHED_BATCH", "nice": 5}, "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}})
    passes(b, "pwd; id -u; id -g; id -G; umask; cat /proc/self/oom_score_adj; echo $A; ulimit -n; ulimit -Hn; grep -o 'NoNewPrivs:.*' /proc/self/status",
           "/tmp\n12\n13\n13 14 15\n0077\n321\nb c\n20\n30\nNoNewPrivs:\t1")
    b.reset()["process"]["cwd"] = "/proc/self/fd/3"
    has("cwd by a link of /proc", b.run("true").stderr, "process.cwd")


def test_seccomp(b):
    rule = {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    b.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [rule]}
    os.symlink("busybox", b.rootfs + "/bin/mkdir")
    for no_new in (True, False):
        b.spec["process"]["noNewPrivileges"] = no_new
        r = b.run("sh", "-c", "mkdir /tmp/x; grep Seccomp: /proc/self/status")
        has("its error", r.stderr, "not supported")
        check("filter", r.stdout.split(), ["Seccomp:", "2"])
    b.spec["linux"]["seccomp"]["architectures"] = ["SCMP_ARCH_Z80"]
    has("architecture", b.run("true").stderr, "SCMP_ARCH_Z80")


def test_seccomp_notify(b):
    """SCMP_ACT_NOTIFY: an agent on the host gets the descriptor, and who it is of."""
    mkdir, wait4, setresuid = 83, 61, 117
    os.symlink("busybox", b.rootfs + "/bin/mkdir")
    agent = Agent(b.folder + "/agent", {mkdir: 95})
    seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "listenerPath": b.folder + "/agent", "listenerMetadata": "for you",
               "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"],
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    b.spec["linux"]["seccomp"] = seccomp
    b.spec["annotations"] = {"a": "b"}
    script = "mkdir /tmp/x; grep Seccomp: /proc/self/status"
    agent.start()
    # Calls that are made between loading the filter and the agent's having the descriptor, and on the way to the program, too.
    for names in (["mkdir"], ["mkdir", "sendmsg", "wait4", "close", "fcntl", "setresuid", "capset", "munmap", "getppid"]):
        for no_new in (True, False):
            agent.told.clear()
            b.spec["process"]["noNewPrivileges"] = no_new
            seccomp["syscalls"][0]["names"] = names
            r = b.run("sh", "-c", script)
            has(f"the agent's error {names} {no_new}", r.stderr, "not supported")
            check("a filter is there", r.stdout.split(), ["Seccomp:", "2"])
            state, rest = agent.told[0]
            check("told once, then closed", (len(agent.told), rest), (1, b""))
            check("told", (state["fds"], state["metadata"], state["state"]["id"], state["state"]["status"], state["state"]["annotations"]),
                  (["seccompFd"], "for you", "c", "created", {"a": "b"}))
            check("of whom", (state["pid"], state["state"]["bundle"]), (state["state"]["pid"], b.folder))
            has("asked", [call for call, _ in agent.calls], mkdir)
    check("calls of ours were asked for, too", {c for c, _ in agent.calls} >= {wait4, setresuid}, True)
    seccomp["syscalls"][0]["names"] = ["mkdir"]
    agent.told.clear()
    check("create", b.create("sh", "-c", script + "; sleep 100").returncode, 0)
    check("nobody is asked before start", agent.told, [])
    check("start", b("start", "c").returncode, 0)
    until("it runs", lambda: "Seccomp" in b.output())
    has("its agent's error", b.output(), "not supported")
    agent.told.clear()
    r = b("exec", "c", "mkdir", "/tmp/x")
    has("in an exec", r.stderr, "not supported")
    state = agent.told[0][0]
    check("another process", (state["state"]["status"], state["pid"] != state["state"]["pid"]), ("running", True))
    b("delete", "--force", "c")
    check("nothing is left", os.listdir(b.state), [])
    os.unlink(b.folder + "/agent")
    has("no agent", b.run("true").stderr, "listenerPath: connect to")
    b.create("true")
    has("no agent at start", b("start", "c").stderr, "listenerPath: connect to")
    check("it can be tried again", b.status(), "created")
    b("delete", "--force", "c")
    agent.listener.close()


def test_sysctl_and_hooks(b):
    out = b.folder + "/hooks"
    with open(b.folder + "/hook", "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\nread -r first; echo \"$1 $A $(cat | grep -o '\"status\": \"[a-z]*' | cut -d'\"' -f4)\" >>{out}\n")
    os.chmod(b.folder + "/hook", 0o755)
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    b.spec["hooks"] = {k: [{"path": b.folder + "/hook", "args": ["hook", k], "env": ["A=" + k[:2], "PATH=/bin:/usr/bin"]}] for k in kinds}
    b.spec["hooks"]["startContainer"] = [{"path": "/bin/touch", "args": ["touch", "/tmp/start"]}]
    b.spec["root"]["readonly"] = False
    b.spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "99", "kernel.msgmax": "5000"}
    passes(b, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; ls /tmp", "99\n5000\nstart")
    with open(out, encoding="utf-8") as f:
        check("hooks", f.read().splitlines(), ["prestart pr creating", "createRuntime cr creating", "createContainer cr creating",
                                               "poststart po running", "poststop po stopped"])
    for kind in kinds[:4]:
        b.reset()["hooks"] = {kind: [{"path": "/bin/false"}]}
        has(kind, b.run("sleep", "100").stderr, f"error running {kind} hook #0 '/bin/false': exit status 1")
    b.reset()["hooks"] = {"prestart": [{"path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1}]}
    has("time-out", b.run("true").stderr, "no end after 1 s")


def take_terminal(listener):
    """The master that comes on --console-socket."""
    listener.settimeout(LIMIT)
    c, _ = listener.accept()
    with c:
        _, control, _, _ = c.recvmsg(64, socket.CMSG_SPACE(4))
    fds = array.array("i")
    fds.frombytes(control[0][2][:4])
    return fds[0]


def read_terminal(fd):
    text = b""
    try:
        while part := os.read(fd, 1000):
            text += part
    except OSError:  # EIO: nobody has it open any more
        pass
    os.close(fd)
    return text.decode().split()


def test_terminal(b):
    b.spec["process"].update({"terminal": True, "consoleSize": {"height": 12, "width": 34}})
    has("no socket", b.run("true", options=("--detach",)).stderr, "console-socket")
    os.symlink("busybox", b.rootfs + "/bin/stty")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(b.folder + "/sock")
        listener.listen()
        b.create("sh", "-c", "tty; stty size; test -c /dev/console && echo console; test -t 0 && test -t 2 && echo both; sleep 100",
                 options=("--console-socket", b.folder + "/sock"))
        fd = take_terminal(listener)
        b("start", "c")
        text = b""
        while b"both" not in text:
            text += os.read(fd, 1000)
        check("terminal", text.decode().split(), ["/dev/pts/0", "12", "34", "console", "both"])
        b("exec", "--tty", "--detach", "--console-socket", b.folder + "/sock", "c", "sh", "-c", "tty; exit 0")
        check("of an exec", read_terminal(take_terminal(listener)), ["/dev/pts/1"])
        os.close(fd)
    b("delete", "--force", "c")
    r = subprocess.run(["script", "-qec", " ".join(b.command("run", "c")), "/dev/null"], cwd=b.folder, capture_output=True, text=True,
                       timeout=LIMIT, check=False, input="") if b.write("sh", "-c", "tty; exit 4") is None else None
    check("in the foreground", (r.returncode, r.stdout.split()[0].endswith("/dev/pts/0")), (4, True))


def test_preserved_descriptors(b):
    r, w = os.pipe()
    b.write("sh", "-c", "echo hello >&3; ls /proc/self/fd")
    done = subprocess.run(["sh", "-c", f"exec 3>&{w} 4</dev/null 5</dev/null; exec \"$@\"", "sh", *b.command("run", "--preserve-fds", "1", "c")],
                          cwd=b.folder, pass_fds=(w,), capture_output=True, text=True, timeout=LIMIT, check=False)
    check("written", os.read(r, 100), b"hello\n")
    check("only that one: " + done.stderr, done.stdout.split()[:4], ["0", "1", "2", "3"])
    check("and the one of ls", len(done.stdout.split()), 5)


def test_unknown_is_warned_of(b):
    b.spec["somethingNew"] = {"a": 1}
    r = b.run("true")
    check("status", r.returncode, 0)
    has("warning", r.stderr, "'somethingNew' is ignored")
    b.spec["linux"]["intelRdt"] = {"closID": "a"}
    has("refused", b.run("true").stderr, "'linux.intelRdt' cannot be applied")


def test_cpus_of_exec(b):
    allowed = sorted(os.sched_getaffinity(0))
    b.create("sleep", "100")
    b("start", "c")

    def process(**affinity):
        with open(b.folder + "/p.json", "w", encoding="utf-8") as f:
            json.dump({"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": affinity}, f)
        r = b("exec", "--process", b.folder + "/p.json", "c")
        return r.stdout.split()[-1] if r.returncode == 0 else r.stderr
    last = str(allowed[-1])
    check("final", process(initial=str(allowed[0]), final=last), last)
    check("the first is for the way only", process(initial=last) == last, len(allowed) == 1)
    check("final alone", process(final=f"{last},{last}"), last)
    has("no such CPU", process(final="8000"), "process.execCPUAffinity.final: '8000'")
    b("delete", "--force", "c")
    b.spec["process"]["execCPUAffinity"] = {"final": last}
    b.create("grep", "Cpus_allowed_list", "/proc/self/status")
    b("start", "c")
    until("it ran", b.output)
    check("not of the first process", b.output().split()[-1] == last, len(allowed) == 1)
    b("delete", "--force", "c")
    b.create("sleep", "100")
    b("start", "c")
    check("of an exec", b("exec", "c", "grep", "Cpus_allowed_list", "/proc/self/status").stdout.split()[-1], last)
    b("delete", "--force", "c")


def test_memory_policy(b):
    show = "head -1 /proc/self/numa_maps | cut -d' ' -f2"
    os.symlink("busybox", b.rootfs + "/bin/cut")
    b.spec["linux"]["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}
    passes(b, show, "interleave=static:0")
    b.create("sleep", "100")
    b("start", "c")
    check("in an exec", b("exec", "c", "sh", "-c", show).stdout, "interleave=static:0\n")
    b("delete", "--force", "c")
    b.spec["linux"]["memoryPolicy"] = {"mode": "MPOL_LOCAL"}
    passes(b, show, "local")
    b.spec["linux"]["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "1000"}
    has("no such node", b.run("true").stderr, "linux.memoryPolicy: nodes '1000'")


def test_personality(b):
    os.symlink("busybox", b.rootfs + "/bin/uname")
    b.spec["linux"]["personality"] = {"domain": "LINUX32"}
    b.create("sleep", "100")
    b("start", "c")
    check("in an exec", b("exec", "c", "uname", "-m").stdout, "i686\n")
    b("delete", "--force", "c")
    passes(b, "uname -m", "i686")


def test_network_devices(b):
    """Devices of the host move, with their addresses; when the container cannot be made they come back."""
    def ip(*words):
        return subprocess.run(["ip", *words], capture_output=True, text=True, timeout=LIMIT, check=True).stdout
    host, other = f"bx{os.getpid()}", f"by{os.getpid()}"
    ip("link", "add", host, "type", "veth", "peer", "name", other)
    try:
        ip("addr", "add", "10.77.0.1/24", "dev", host, "label", host + ":a")
        ip("addr", "add", "fd77::1/64", "dev", host)
        ip("addr", "add", "10.78.0.1/32", "dev", host, "scope", "link")
        ip("addr", "add", "10.79.0.1/32", "dev", host, "valid_lft", "1000", "preferred_lft", "1000")
        ip("link", "set", other, "up")
        devices = b.spec["linux"]["netDevices"] = {host: {"name": "inner"}}
        for namespaces in ([], [{"type": "time"}]):  # with a process in between, too
            b.spec["linux"]["namespaces"] = b.first["linux"]["namespaces"] + namespaces
            for kind in ("prestart", "createContainer"):  # after the devices moved
                b.spec["hooks"] = {kind: [{"path": "/bin/false"}]}
                check("it fails", b.run("true").returncode, 1)
                text = ip("addr", "show", "dev", host)
                check(f"it is back with its addresses: {text}", ("10.77.0.1/24" in text, "fd77::1/64" in text), (True, True))
        b.spec["hooks"] = {}
        devices[other] = {"name": "lo"}
        has("a name that is taken", b.run("true").stderr, f"move '{other}' as 'lo': File exists")
        has("is still here", ip("link"), other)
        devices[other] = {}
        b.spec["linux"]["namespaces"] = [n for n in b.first["linux"]["namespaces"] if n["type"] != "network"]
        has("no namespace", b.run("true").stderr, "need a 'network' namespace")
        b.reset()["linux"]["netDevices"] = {"nosuch0": {}}
        has("no device", b.run("true").stderr, "linux.netDevices: 'nosuch0': No such device")
        b.spec["linux"]["netDevices"] = {host: {"name": "net%d"}, other: {}}
        r = b.run("sh", "-c", "ip addr; ip link show " + other)
        check("status " + r.stderr, r.returncode, 0)
        for part in ("net0@", "10.77.0.1/24", "fd77::1/64", other):
            has("inside", r.stdout, part)
        has("it is up", r.stdout.split("net0@")[1].splitlines()[0], ",UP")
        for part in ("10.78.0.1", "10.79.0.1"):  # of a link, and not for good
            check(f"{part} stayed behind", part in r.stdout, False)
        check("virtual ones end with their namespace", host in ip("link"), False)
    finally:
        subprocess.run(["ip", "link", "del", host], stderr=subprocess.DEVNULL, check=False)


def test_mount_label(b):
    if os.path.exists("/sys/fs/selinux/enforce"):
        print("skipped: this host has SELinux")
        return
    b.spec["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0"
    has("refused by name", b.run("true").stderr, "linux.mountLabel 'system_u:object_r:container_file_t:s0': SELinux is not active here")


def test_completion(b):
    """What bash offers, after options of the program and of the command."""
    script = os.path.dirname(b.box) + "/socle-box.bash"
    if not os.path.exists(script):
        print("skipped: completion is not built")
        return
    b.create("sleep", "100")

    def offers(*words):
        text = ('. "$1"; shift; COMP_WORDS=(socle-box "$@"); COMP_CWORD=$#; socle-box() { "$BOX" --root "$STATE" "$@"; }; _socle_box; echo "${COMPREPLY[@]}"')
        r = subprocess.run(["bash", "-c", text, "bash", script, *words], env={**os.environ, "BOX": b.box, "STATE": b.state}, capture_output=True, text=True,
                           timeout=LIMIT, check=True)
        return r.stdout.split()
    check("commands", offers("st"), ["start", "state"])
    check("after an option with a value", offers("--root", "/x", "--debug", "feat"), ["features"])
    check("options", offers("kill", "--a"), ["--all"])
    check("words of an option", offers("--log-format", ""), ["text", "json"])
    check("a container", offers("exec", "--tty", "c"), ["c"])
    check("a new one has no name yet", offers("run", "c"), [])
    b("delete", "--force", "c")
    man = os.path.dirname(b.box) + "/socle-box.1"
    if shutil.which("man"):
        r = subprocess.run(["man", "--warnings", "-l", man], env={**os.environ, "MANPAGER": "cat"}, capture_output=True, text=True, timeout=LIMIT, check=True)
        check("the page is well made", r.stderr, "")
        has("page", r.stdout, "socle-box exec [OPTION]")


def test_limits_without_controller(b):
    b.spec["linux"]["resources"]["unified"] = {"nosuch.max": "1"}
    r = b.run("true")
    check("refused", r.returncode, 1)
    has("named", r.stderr, "nosuch.max")
    with open(cgroup_root() + "/cgroup.controllers", encoding="utf-8") as f:
        if "cpu" in f.read().split():
            return
    b.spec["linux"]["resources"] = {"cpu": {"shares": 1024, "quota": -1, "period": 100000}, "pids": {"limit": -1}}
    passes(b, "echo as without it", "as without it")
    b.spec["linux"]["resources"] = {"cpu": {"shares": 1000}}
    has("another share", b.run("true").stderr, "linux.resources.cpu.shares: cgroup")


def test_limits(b):
    """Where the host's cgroup v2 has the controllers: in the lab (test/sys/box_lab.sh)."""
    with open(cgroup_root() + "/cgroup.controllers", encoding="utf-8") as f:
        missing = {"cpu", "memory", "pids", "io"} - set(f.read().split())
    if missing:
        print(f"skipped: this host's cgroup v2 has no {' '.join(sorted(missing))}")
        return
    os.makedirs(b.rootfs + "/sys/fs", exist_ok=True)
    linux = b.spec["linux"]
    linux["cgroupsPath"] = "/box-test/deep/c"
    linux["resources"].update({"memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
                               "cpu": {"shares": 512, "quota": 20000, "period": 50000}, "pids": {"limit": 20},
                               "blockIO": {"weight": 100}, "unified": {"memory.high": "60000000"}})
    b.create("sleep", "1000")
    b("start", "c")
    folder = cgroup_root() + "/box-test/deep/c/"

    def value(name):
        with open(folder + name, encoding="utf-8") as f:
            return f.read().strip()
    want = {"memory.max": str(64 << 20), "memory.low": str(32 << 20), "cpu.max": "20000 50000", "cpu.weight": "20", "pids.max": "20",
            "memory.high": str(60000000 // 4096 * 4096)}
    check("files", {n: value(n) for n in want}, want)
    stats = json.loads(b("events", "--stats", "c").stdout)["data"]
    check("events", (stats["pids"], stats["memory"]["usage"]["limit"]), ({"current": 1, "limit": 20}, 64 << 20))
    check("update", b("update", "--pids-limit", "30", "--memory", str(128 << 20), "--memory-swap", "-1", "c").returncode, 0)
    check("updated", (value("pids.max"), value("memory.max")), ("30", str(128 << 20)))
    r = b("update", "--resources", "-", "c", input=json.dumps({"cpu": {"quota": -1, "period": 100000}, "pids": {"limit": -1}}))
    check("update by JSON " + r.stderr, r.returncode, 0)
    check("updated", (value("pids.max"), value("cpu.max")), ("max", "max 100000"))
    has("refused", b("update", "--cpuset-cpus", "999", "c").stderr, "cpuset.cpus")
    b("update", "--pids-limit", "3", "c")
    has("a process too many", b("exec", "c", "sh", "-c", "for i in 1 2 3 4 5; do sleep 9 & done").stderr, "fork")
    b("delete", "--force", "c")
    os.rmdir(cgroup_root() + "/box-test/deep")
    os.rmdir(cgroup_root() + "/box-test")


def test_features(b):
    f = json.loads(b("features").stdout)
    check("version", f["ociVersionMax"], "1.3.0")
    has("policies", f["linux"]["memoryPolicy"]["modes"], "MPOL_WEIGHTED_INTERLEAVE")
    check("devices", f["linux"]["netDevices"]["enabled"], True)
    check("claimed", f["linux"]["mountExtensions"]["idmap"]["enabled"], True)
    check("options", {"idmap", "ridmap"} - set(f["mountOptions"]), set())
    has("an action", f["linux"]["seccomp"]["actions"], "SCMP_ACT_NOTIFY")
    has("a flag", f["linux"]["seccomp"]["knownFlags"], "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")
    check("not claimed", f["linux"]["intelRdt"]["enabled"], False)
    check("systemd", (f["linux"]["cgroup"]["systemd"], f["linux"]["cgroup"]["systemdUser"]), (True, True))
    check("of annotations", f["potentiallyUnsafeConfigAnnotations"], ["org.systemd.property."])
    has("version", b("--version").stdout, "spec: 1.3.0")


def main():
    box, folder, only = sys.argv[1], sys.argv[2], sys.argv[3:]
    failed = 0
    tests = [(n[5:], f) for n, f in sorted({**globals(), **vars(box_attacks), **vars(box_mounts)}.items()) if n.startswith("test_")]
    for name, test in tests:
        if only and name not in only:
            continue
        os.makedirs(f"{folder}/{name}")
        b = Bundle(box, f"{folder}/{name}")
        before = {t for t in traces(b) if not t.startswith(("file", "process", "namespace"))}
        try:
            test(b)
            left = {t for t in traces(b) if not t.startswith(("file", "process", "namespace"))} - before
            check("left behind", left, set())
        except (AssertionError, subprocess.TimeoutExpired, LookupError, ValueError, OSError) as e:
            failed += 1
            print(f"FAILED: {name}: {type(e).__name__}: {e}")
            for c in os.listdir(b.state) if os.path.isdir(b.state) else ():
                b("delete", "--force", c)
        else:
            print(f"ok: {name}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
