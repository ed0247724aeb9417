"""test/sys/box_mounts.py: what a container sees of file systems: mounts of all kinds, their options, what is hidden."""

import json
import os
import subprocess

from box_bundle import check, has, passes, until


def test_mounts(b):
    os.makedirs(b.folder + "/src/sub")
    with open(b.folder + "/src/file", "w", encoding="utf-8") as f:
        f.write("data")
    b.spec["root"]["readonly"] = False
    b.spec["mounts"] += [
        {"destination": "/made/here", "type": "bind", "source": "src", "options": ["rbind", "ro"]},
        {"destination": "/made/file", "type": "bind", "source": b.folder + "/src/file", "options": ["bind"]},
        {"destination": "/ro", "type": "tmpfs", "source": "t", "options": ["ro", "size=64k", "nosuid"]},
        {"destination": "/ro/in", "type": "tmpfs", "source": "t", "options": ["tmpcopyup"]},
    ]
    passes(b, "cat /made/here/file /made/file; touch /made/here/x 2>/dev/null || echo ' ro'; touch /ro/x 2>/dev/null || echo ro; touch /ro/in/x; "
              "grep -c ' /ro tmpfs ro,nosuid' /proc/mounts", "datadata ro\nro\n1")
    b.spec["mounts"][-1] = {"destination": "/x", "type": "nofs", "source": "t"}
    has("no such file system", b.run("true").stderr, "file system 'nofs'")
    b.spec["mounts"][-1] = {"destination": "/x", "type": "tmpfs", "source": "t", "options": ["size=no"]}
    has("bad option", b.run("true").stderr, "size=no")
    b.spec["mounts"][-1] = {"destination": "/x", "type": "bind", "source": "/nowhere", "options": ["bind"]}
    has("no source", b.run("true").stderr, "'/nowhere' of '/x': No such file")


def test_copy_up(b):
    """A tmpfs that begins with what it covers: files, links, modes, owners, times; nothing that is mounted there."""
    below = b.rootfs + "/data"
    os.makedirs(below + "/" + "/".join(str(i) for i in range(40)))
    os.makedirs(below + "/sub")
    os.makedirs(b.folder + "/other")
    for name, size in (("file", 5), ("sub/large", 3 << 20), ("sub/none", 0)):
        with open(f"{below}/{name}", "w", encoding="utf-8") as f:
            f.write("x" * size)
    with open(b.folder + "/other/theirs", "w", encoding="utf-8") as f:
        f.write("x")
    os.symlink("/etc/passwd", below + "/link")
    os.mkfifo(below + "/fifo")
    os.mkdir(below + "/mounted")
    for name, mode, owner in (("file", 0o4750, 3), ("sub", 0o2755, 4), ("", 0o1777, 5)):
        os.chown(f"{below}/{name}", owner, owner + 1)
        os.chmod(f"{below}/{name}", mode)
    for name in ("file", "sub"):
        os.utime(f"{below}/{name}", (1000, 2000))
    mount = {"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "nosuid"]}
    b.spec["mounts"] += [{"destination": "/data/mounted", "type": "bind", "source": b.folder + "/other", "options": ["bind"]}, mount]
    script = "cd /data; stat -c '%n %F %a %u %g %Y %s' file sub . | grep -v '^sub.*4096$'; readlink link; stat -c %F fifo; ls mounted sub; stat -c %s sub/large; ls -d 0/1/2/3/4/5/6/7/8/9; touch new"
    r = b.run("sh", "-c", script)
    lines = r.stdout.splitlines()
    check("a file " + r.stderr, lines[0], "file regular file 4750 3 4 2000 5")
    check("a directory", lines[1].rsplit(" ", 1)[0], "sub directory 2755 4 5 2000")
    check("the top", lines[2].split()[2:5], ["1777", "5", "6"])
    check("the rest", lines[3:], ["/etc/passwd", "fifo", "mounted:", "", "sub:", "large", "none", str(3 << 20), "0/1/2/3/4/5/6/7/8/9"])
    check("the image", os.path.exists(below + "/new"), False)
    mount["options"] = ["tmpcopyup", "mode=700", "ro"]
    passes(b, "stat -c %a /data; head -c 5 /data/sub/large; touch /data/x 2>/dev/null || echo ' ro'", "700\nxxxxx ro")
    mount["options"] = ["tmpcopyup", "size=64k"]
    has("too large", b.run("true").stderr, "tmpcopyup of '/data': copy 'large': No space left")
    mount["destination"] = "/new/place"
    passes(b, "ls /new/place")
    mount["type"] = "proc"
    has("no tmpfs", b.run("true").stderr, "'tmpcopyup' of '/new/place' is for a tmpfs only")


def test_links_as_mounts(b):
    """src-nofollow, dest-nofollow, copy-symlink, as crun has them; remount of bind mounts, as runc."""
    b.spec["root"]["readonly"] = False
    os.makedirs(b.folder + "/src")
    os.symlink("/etc/target", b.folder + "/src/link")
    for place, text in ((b.rootfs + "/etc/target", "inside"), (b.folder + "/src/file", "outside"), (b.rootfs + "/etc/other", "other")):
        with open(place, "w", encoding="utf-8") as f:
            f.write(text)
    os.symlink("other", b.rootfs + "/etc/link")

    def mounted(source, destination, *options):
        b.spec["mounts"] = b.first["mounts"] + [{"destination": destination, "type": "bind", "source": f"{b.folder}/src/{source}", "options": ["bind", *options]}]
    mounted("link", "/m/link", "src-nofollow")
    passes(b, "readlink /m/link; cat /m/link", "/etc/target\ninside")
    mounted("file", "/etc/link")
    passes(b, "cat /etc/other; readlink /etc/link", "outsideother")
    mounted("file", "/etc/link", "dest-nofollow")
    passes(b, "cat /etc/link /etc/other", "outsideother")
    mounted("file", "/n/new", "dest-nofollow", "copy-symlink")
    passes(b, "cat /n/new", "outside")
    mounted("link", "/n/link", "copy-symlink")
    for _ in range(2):
        passes(b, "readlink /n/link; cat /n/link; grep -c /n/link /proc/mounts", "/etc/target\ninside0", 1)
    mounted("link", "/etc/other", "copy-symlink")
    has("another is there", b.run("true").stderr, "'/etc/other' is there, and no link to '/etc/target'")
    mounted("file", "/n/new", "remount", "ro", "async", "silent")
    passes(b, "cat /n/new; (echo x >/n/new) 2>/dev/null || echo ' ro'", "outside ro")
    mounted("file", "/n/new", "sync")
    has("what a copy cannot have", b.run("true").stderr, "option 'sync' of bind mount '/n/new' is unknown")
    b.spec["mounts"][-1] = {"destination": "/proc", "type": "proc", "source": "proc", "options": ["remount", "ro"]}
    has("no bind mount", b.run("true").stderr, "option 'remount' of '/proc' is for bind mounts only")


def test_idmap(b):
    """Owners of a bind mount are shifted: by maps of its own, by those of the container, of a user namespace that is joined."""
    os.makedirs(b.folder + "/src/sub")
    for name, owner in (("a", 0), ("b", 7), ("out", 5000), ("sub/c", 7)):
        with open(f"{b.folder}/src/{name}", "w", encoding="utf-8") as f:
            f.write("x")
        os.chown(f"{b.folder}/src/{name}", owner, owner)
    subprocess.run(["mount", "-t", "tmpfs", "t", b.folder + "/src/sub"], check=True)
    subprocess.run(["touch", b.folder + "/src/sub/c"], check=True)
    os.chown(b.folder + "/src/sub/c", 7, 7)
    own = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    script = "stat -c '%n %u %g' a b out sub/c; touch new"
    mount = {"destination": "/m", "type": "bind", "source": b.folder + "/src", "options": ["rbind"]}
    b.spec["mounts"].append(mount)
    b.spec["process"]["cwd"] = "/m"
    try:
        mount.update({"uidMappings": own, "gidMappings": own})
        r = b.run("sh", "-c", script)
        check("by its own maps " + r.stderr, r.stdout.splitlines()[:4], ["a 100000 100000", "b 100007 100007", "out 65534 65534", "sub/c 7 7"])
        has("an owner without a map cannot write", r.stderr, "Value too large")
        mount["options"] = ["rbind", "ridmap"]
        check("the whole tree", b.run("sh", "-c", script).stdout.splitlines()[3:], ["sub/c 100007 100007"])
        del mount["uidMappings"]
        has("one of two", b.run("true").stderr, f"idmap '{b.folder}/src' of '/m': it must have both uid and gid mappings")
        del mount["gidMappings"]
        has("none", b.run("true").stderr, "it must have both")
        linux = b.spec["linux"]
        linux["namespaces"].append({"type": "user"})
        linux["uidMappings"] = linux["gidMappings"] = own
        b.spec["process"]["user"] = {"uid": 0, "gid": 0}
        b.create("sh", "-c", script + "; sleep 100")
        b("start", "c")
        until("it ran", lambda: os.path.exists(b.folder + "/src/new"))
        check("by the container's", b.output().splitlines(), ["a 0 0", "b 7 7", "out 65534 65534", "sub/c 7 7"])
        check("who writes inside owns outside", os.stat(b.folder + "/src/new").st_uid, 0)
        pid = json.loads(b("state", "c").stdout)["pid"]
        linux["namespaces"][-1]["path"] = f"/proc/{pid}/ns/user"
        linux.update({"uidMappings": [], "gidMappings": []})
        check("by a joined one", b.run("sh", "-c", script, name="d").stdout.splitlines()[:2], ["a 0 0", "b 7 7"])
        b("delete", "--force", "c")
        b.reset()["mounts"].append({**mount, "source": "/proc", "options": ["bind", "idmap"], "uidMappings": own, "gidMappings": own})
        has("a file system that refuses", b.run("true").stderr, "idmap '/proc' of '/m': file system 'proc', or one below it, cannot be")
        b.spec["mounts"][-1] = {"destination": "/m", "type": "tmpfs", "source": "t", "uidMappings": own, "gidMappings": own}
        has("no bind mount", b.run("true").stderr, "only bind mounts can be")
    finally:
        subprocess.run(["umount", b.folder + "/src/sub"], check=True)


def test_readonly_root_and_masks(b):
    passes(b, "touch /x 2>/dev/null || echo ro; cat /proc/timer_list | head -c 1; ls /sys/firmware; "
              "(echo > /proc/sys/kernel/domainname) 2>/dev/null || echo ro", "ro\nro")


def test_propagation(b):
    """Mounts of a container do not come out, even where the host's mount is shared."""
    subprocess.run(["mount", "--bind", b.rootfs, b.rootfs], check=True)
    try:
        subprocess.run(["mount", "--make-rshared", b.rootfs], check=True)
        for word in ("shared", "rshared", "slave", "rslave", "private", "unbindable"):
            b.spec["linux"]["rootfsPropagation"] = word
            b.write("sleep", "100")
            b.create("sleep", "100")
            b("start", "c")
            with open("/proc/self/mountinfo", encoding="utf-8") as f:
                check(word, sum(b.rootfs in line for line in f), 1)
            b("delete", "--force", "c")
    finally:
        subprocess.run(["umount", "-R", b.rootfs], check=True)


def test_spelling_of_destinations(b):
    """/proc in other words is the same /proc: a real directory, and ours."""
    os.rename(b.rootfs + "/proc", b.rootfs + "/real-proc")
    os.symlink("real-proc", b.rootfs + "/proc")
    mount = next(m for m in b.spec["mounts"] if m["destination"] == "/proc")
    for spelling in ("proc", "/proc/", "//proc", "/./proc", "/tmp/../proc"):
        mount["destination"] = spelling
        has(spelling, b.run("true").stderr, "'/proc' in the root must be a real directory")
    os.unlink(b.rootfs + "/proc")
    os.rename(b.rootfs + "/real-proc", b.rootfs + "/proc")
    mount["destination"] = "proc"
    passes(b, "test -d /proc/self && echo there", "there")
