# test/sys/layer.py: drives socle-unpack with images made here: good ones, bad ones, and imports that are killed.
import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

import layer_image as im
import layer_registry as registry

UNPACK, TMP = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""


def walk(lowers, options):
    """In a mount namespace of its own: what the overlay of these directories, top first, shows."""
    room = os.path.dirname(os.path.dirname(lowers[0]))
    at = tempfile.mkdtemp(dir=room)
    if len(lowers) == 1:
        lowers = lowers + [tempfile.mkdtemp(dir=room)]  # overlayfs wants two of them when nothing is written
    subprocess.run(["mount", "-t", "overlay", "-o", "lowerdir=" + ":".join(lowers) + options, "overlay", at], check=True)
    tree, inodes = {}, {}
    for where, folders, files in os.walk(at):
        for name in folders + files:
            path = where + "/" + name
            st, short = os.lstat(path), path[len(at) + 1:]
            kind = next(word for test, word in ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"),
                                                (stat.S_ISFIFO, "fifo"), (stat.S_ISCHR, "char")) if test(st.st_mode))
            tree[short] = {"kind": kind, "mode": stat.S_IMODE(st.st_mode), "owner": [st.st_uid, st.st_gid], "mtime": int(st.st_mtime),
                           "data": open(path).read() if kind == "file" else os.readlink(path) if kind == "link" else "",
                           "xattrs": {k: os.getxattr(path, k).decode() for k in os.listxattr(path, follow_symlinks=False)
                                      if k.startswith("user.")} if kind in ("file", "dir") else {}}
            inodes.setdefault(st.st_ino, []).append(short)
    print(json.dumps({"tree": tree, "links": sorted(sorted(v) for v in inodes.values() if len(v) > 1)}))


class Pool:
    def __init__(self, base, prefix=()):
        self.path = tempfile.mkdtemp(dir=base)
        self.prefix = list(prefix)

    def run(self, *args, ok=True):
        p = subprocess.run(self.prefix + [UNPACK, "--pool", self.path, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        lines = [json.loads(x) for x in p.stdout.decode().splitlines()]
        assert lines and (p.returncode == 0) == ok, (args, p.returncode, p.stdout, p.stderr)
        for line in lines[:-1]:
            assert 0 <= line["done"] <= line["total"], line
        return lines[-1]

    def load(self, source, *args):
        return self.run("--source", source, *args)["image"]

    def refuse(self, source, words, *args):
        before = sorted(os.listdir(self.path))
        said = self.run("--source", source, *args, ok=False)["error"]
        assert words.lower() in said.lower(), f"'{words}' is not in: {said}"
        assert sorted(os.listdir(self.path)) == before, os.listdir(self.path)
        return said

    def shows(self, image, how=("unshare", "-m")):
        lowers = [f"{self.path}/{layer['name']}" for layer in reversed(image["layers"])]
        options = ",userxattr" if image["user_xattr"] else ""
        out = subprocess.run(self.prefix + [*how, "python3", __file__, UNPACK, "walk", options, *lowers],
                             stdout=subprocess.PIPE, check=True).stdout
        return json.loads(out)


BASE = [
    im.folder("./"),
    im.folder("etc", mode=0o751, uid=3, gid=4), im.file("etc/passwd", b"root\n", uid=1, gid=2, mode=0o640),
    im.file("etc/nai\u0308ve \u00e9", "\u00e9".encode()), im.file("etc/gone"), im.folder("var"), im.folder("var/lib"), im.file("var/lib/a"),
    im.folder("var/lib/sub"), im.file("var/lib/sub/b"), im.folder("tmp", mode=0o1777), im.file("su", b"#!", mode=0o4755),
    im.hard("su2", "su"), im.link("lib", "usr/lib"), im.link("abs", "/etc/passwd"), im.link("out", "../../../../etc/shadow"),
    im.fifo("pipe", mode=0o622, uid=7), im.file("attr", b"a", xattrs={"user.note": "hello", "trusted.overlay.opaque": "y",
                                                                  "user.overlay.redirect": "/etc"}),
    im.folder("old"), im.file("old/x"), im.folder("old/deep"), im.file("old/deep/y"), im.file("becomes"), im.folder("was"),
    im.file("was/z"), im.folder("empty"), im.file("big", b"0123456789" * 20000),
    im.file("n/" + "d" * 200 + "/" + "e" * 200 + "/f", b"long"),
]
UPPER = [
    im.folder("etc", mode=0o755, uid=3, gid=4), im.file("etc/.wh.gone", b""), im.file("etc/new", b"new"),
    im.folder("var"), im.folder("var/lib"), im.file("var/lib/.wh..wh..opq", b""), im.file("var/lib/c"),
    im.file(".wh.old", b""), im.folder("old"), im.file("old/only"),
    im.folder("becomes"), im.file("becomes/dir"), im.file("was", b"a file now"), im.file(".wh..wh.plnk", b""),
    im.hard("etc/new2", "/etc/new"), im.folder("usr"), im.folder("usr/lib"),
]
TOP = [im.folder("etc", mode=0o755, uid=3, gid=4), im.folder("var"), im.folder("var/lib"), im.file(".wh.su2", b""), im.folder("empty"), im.file("empty/.wh..wh..opq", b""), im.file("/etc/rooted"), im.file("var/lib/.wh.c", b"")]


def implied(tree, single=False):
    """Directories that only a longer name tells of."""
    for path in list(tree):
        while "/" in path:
            path = path.rpartition("/")[0]
            tree.setdefault(path, {"kind": "dir", "mode": 0o755, "owner": [0, 0], "mtime": 0, "data": "", "xattrs": {}})
    return tree


def compare(got, layers, single=False):
    want = implied(im.shown(layers, single))
    want.pop("", None)
    want.pop(".", None)
    tree = got["tree"]
    assert sorted(tree) == sorted(want), (sorted(set(tree) ^ set(want)))
    for path, facts in want.items():
        assert tree[path] == facts, (path, tree[path], facts)


def check_good(base):
    config = {"Entrypoint": ["/init"], "Cmd": ["a", "b"], "Env": ["PATH=/bin", "X=\u00e9"], "WorkingDir": "/tmp", "User": "1:2",
              "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "StopSignal": "SIGQUIT", "Labels": {"a": "b"}, "Volumes": None,
              "Healthcheck": {"Test": ["x"]}}
    layers = [BASE, UPPER, TOP]
    seen = None
    for packing in im.PACKERS:
        pool = Pool(base)
        layout = im.Layout(f"{base}/good-{packing}")
        layout.image(layers, packing, config)
        image = pool.load(layout.write())
        assert image["kind"] == "oci" and image["tag"] == "latest" and image["digest"].startswith("sha256:"), image
        assert image["config"] == {**{k: config[k] for k in ("Entrypoint", "Cmd", "Env", "WorkingDir", "User", "StopSignal", "Labels")},
                                   "ExposedPorts": image["config"]["ExposedPorts"], "Volumes": []}, image["config"]
        assert sorted(image["config"]["ExposedPorts"]) == ["53/udp", "80/tcp"]
        assert [x["reused"] for x in image["layers"]] == [False] * 3 and image["layers"][0]["xattrs_left_out"] == 2, image
        got = pool.shows(image)
        compare(got, layers)
        assert ["etc/new", "etc/new2"] in got["links"], got["links"]
        assert seen in (None, got), "packing changed what is there"
        seen = got
        again = pool.load(layout.archive(f"{base}/good-{packing}.tar", packing))
        assert [x["reused"] for x in again["layers"]] == [True] * 3
        assert [x["bytes"] for x in again["layers"]] == [x["bytes"] for x in image["layers"]]
        user = Pool(base)
        compare(user.shows(user.load(layout.path, "--force-user-xattr")), layers)
    return base + "/good-gzip"


def check_choice(base):
    """Several images, several kinds of CPU, indexes in indexes, layers that stand twice."""
    pool = Pool(base)
    layout = im.Layout(base + "/choice")
    layout.image([[im.file("arm")]], tag="one", platform=("linux", "arm64"))
    layout.image([[im.file("one")]], tag="one")
    layout.image([[im.file("two")]], tag="two")
    layout.write()
    pool.refuse(layout.path, "one must be chosen by --tag: 'one', 'one', 'two'")
    pool.refuse(layout.path, "it has no image 'three'", "--tag", "three")
    assert list(pool.shows(pool.load(layout.path, "--tag", "two"))["tree"]) == ["two"]
    assert list(pool.shows(pool.load(layout.path, "--tag", "one"))["tree"]) == ["one"]
    index = layout.manifests[:2]
    for depth in range(1, 6):
        desc = layout.json({"schemaVersion": 2, "manifests": index}, "application/vnd.oci.image.index.v1+json")
        index = [desc]
        if depth < 4:
            assert pool.load(layout.write({"manifests": index}))["layers"][0]["reused"]
        else:
            pool.refuse(layout.write({"manifests": index}), "an index in an index: at most 4 levels")
    arm = im.Layout(base + "/arm")
    arm.image([[im.file("arm")]], platform=("linux", "arm64"))
    pool.refuse(arm.write(), "no image for linux/amd64")
    twice = im.Layout(base + "/twice")
    a, b = [im.file("a", b"1"), im.file("c")], [im.file("a", b"2"), im.file(".wh.c", b"")]
    twice.image([a, b, a])
    image = pool.load(twice.write())
    assert len(image["layers"]) == 2
    compare(pool.shows(image), [a, b, a])


def check_plain(base):
    pool = Pool(base)
    root = base + "/rootfs.tar.gz"
    with open(root, "wb") as f:
        f.write(im.PACKERS["gzip"](im.tar(BASE + [im.device("dev/null"), im.device("dev/sda", 8, 0)])))
    image = pool.load(root)
    assert image["kind"] == "tar" and image["layers"][0]["left_out"] == 2 and "id" not in image, image
    tree = pool.shows(image)["tree"]
    assert "etc/passwd" in tree and "dev/null" not in tree
    assert Pool(base).load(root, "--allow-devices")["layers"][0]["left_out"] == 0
    folder = f"{pool.path}/{image['layers'][0]['name']}"
    copy = Pool(base)
    one = copy.load(folder)
    assert one["kind"] == "dir" and not one["layers"][0]["reused"]
    assert copy.load(folder)["layers"][0]["reused"], "a directory has another tar each time"
    assert copy.shows(one) == pool.shows(image)
    pool.refuse("/dev/null", "it is no regular file and no directory")
    for name, data, words in (("empty", b"", "it is no tar"), ("text", b"hello" * 1000, "it is no tar")):
        with open(base + "/" + name, "wb") as f:
            f.write(data)
        pool.refuse(base + "/" + name, words)
    assert pool.run("--remove", image["layers"][0]["name"]) == {"removed": 1}
    assert os.listdir(pool.path) == []
    assert "no such file" in pool.run("--remove", image["layers"][0]["name"], ok=False)["error"].lower()
    for name in ("..", "../x", ".new-1", "sha256-../../etc"):
        assert "is no layer" in pool.run("--remove", name, ok=False)["error"]


def check_judges(base, layout):
    """Others' tools read and write the same images."""
    pool = Pool(base)
    if shutil.which("umoci"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(base + "/umoci")
        subprocess.run(["umoci", "raw", "unpack", "--image", layout + ":latest", base + "/umoci/rootfs"], check=True, stdout=subprocess.DEVNULL)
        theirs = pool.shows(Pool.load(pool, base + "/umoci/rootfs"))["tree"]
        ours = pool.shows(pool.load(layout))["tree"]
        for tree in theirs, ours:
            for path in "n", "n/" + "d" * 200, "n/" + "d" * 200 + "/" + "e" * 200:
                tree[path].pop("mtime", None)  # told by nobody
        theirs["attr"]["xattrs"].pop("user.overlay.redirect", None)
        assert theirs == ours, [(p, theirs.get(p), ours.get(p)) for p in sorted({*theirs, *ours}) if theirs.get(p) != ours.get(p)]
    if shutil.which("skopeo"):
        saved = base + "/saved.tar"
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci:{layout}:latest", f"docker-archive:{saved}:example.org/a/b:v1"],
                       check=True, stdout=subprocess.DEVNULL)
        image = pool.load(saved, "--tag", "v1")
        assert image["kind"] == "docker" and image["tag"] == "v1"
        assert [x["name"] for x in image["layers"]] == [x["name"] for x in pool.load(layout)["layers"]]
        pool.refuse(saved, "it has no image 'v2'", "--tag", "v2")


def outside(base):
    """A tree that attacks aim at, and what it is."""
    path = base + "/outside"
    if not os.path.exists(path):
        os.mkdir(path)
        with open(path + "/file", "w") as f:
            f.write("precious")
    return path, [(n, os.lstat(f"{path}/{n}")[:9], open(f"{path}/{n}").read()) for n in sorted(os.listdir(path))]


def bad_layers(target):
    """(what it is, entries, words of the refusal)"""
    up = "../" * 12 + target.strip("/")
    deep = [im.folder("/".join(["d"] * i)) for i in range(1, 140)]
    return [
        ("..", [im.file(up + "/new")], "'..' is not allowed"),
        (".. inside", [im.folder("a"), im.file("a/../b")], "'..' is not allowed"),
        ("through a link", [im.link("a", target), im.file("a/new")], "'a' in its path is no directory of this layer"),
        ("through a link to ..", [im.link("a", up), im.file("a/file", b"bad")], "no directory of this layer"),
        ("a chain of links", [im.link("a", "b"), im.link("b", "c"), im.link("c", target), im.file("a/new")], "no directory of this layer"),
        ("a link inside", [im.folder("real"), im.link("a", "real"), im.file("a/x")], "no directory of this layer"),
        ("folder over link", [im.link("a", target), im.file("a/x/y")], "no directory of this layer"),
        ("hard link out", [im.hard("a", target + "/file")], "which is not in this layer"),
        ("hard link to ..", [im.hard("a", up + "/file")], "'..' is not allowed"),
        ("hard link by a link", [im.link("l", target), im.hard("a", "l/file")], "which is not in this layer"),
        ("hard link to a folder", [im.folder("d"), im.hard("a", "d")], "which is no file"),
        ("hard link to what is hidden", [im.file(".wh.w", b""), im.hard("a", "w")], "which is no file"),
        ("device", [im.device("null")], "--allow-devices"),
        ("whiteout by device", [im.device("w", 0, 0)], "--allow-devices"),
        ("whiteout of ..", [im.file("a/.wh...", b"")], "hides nothing that has a name"),
        ("whiteout of .", [im.file("a/.wh..", b"")], "hides nothing that has a name"),
        ("whiteout of nothing", [im.file("a/.wh.", b"")], "hides nothing that has a name"),
        ("in a whiteout", [im.file(".wh.a/b")], "begins the name of a directory"),
        ("opaque by link", [im.link("a", target), im.file("a/.wh..wh..opq", b"")], "no directory of this layer"),
        ("too deep", deep, "deeper than 128 directories"),
        ("long name", [im.file("n" * 300)], "too long"),
        ("owner", [im.file("a", uid=2**32 - 1)], "is none"),
        ("attribute", [im.file("a", xattrs={"user.x": "y" * 100000})], "at most 65536"),
        ("attributes", [im.file("a", xattrs={f"user.{i}": "y" for i in range(65)})], "at most 64"),
        ("no file system's", [im.entry("a", b"7")], ""),
    ]


def check_attacks(base):
    pool = Pool(base)
    target, before = outside(base)
    for i, (what, entries, words) in enumerate(bad_layers(target)):
        layout = im.Layout(f"{base}/bad{i}")
        layout.image([entries])
        if not words:
            pool.load(layout.write())  # a contiguous file is a file
            continue
        pool.refuse(layout.write(), words)
        assert outside(base)[1] == before, what
        if "device" not in what:
            root = f"{base}/bad{i}.tar"
            with open(root, "wb") as f:
                f.write(im.tar(entries))
            pool.refuse(root, words)


def bomb(size):
    """A layer whose one file is `size` zeros, packed by zstd."""
    info = im.entry("bomb")[0]
    info.size = size
    packer = subprocess.Popen(["zstd", "-q", "-c"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out = []
    with packer:
        reader = threading.Thread(target=lambda: out.append(packer.stdout.read()))
        reader.start()
        packer.stdin.write(info.tobuf())
        for _ in range(size >> 20):
            packer.stdin.write(bytes(1 << 20))
        packer.stdin.write(bytes(1024))
        packer.stdin.close()
        reader.join()
    return out[0]


def claims(size):
    info = im.entry("large")[0]
    info.size = size
    return info.tobuf(im.tarfile.GNU_FORMAT)


def check_lies(base):
    """What an image tells of itself and is not."""
    pool = Pool(base)
    one, other = [im.file("a", b"1")], [im.file("a", b"2")]

    def layer_digest(m, c):
        m["layers"][0]["digest"] = im.sha(b"no")

    def layer_swap(m, c):
        with open(f"{layout.path}/blobs/sha256/{m['layers'][0]['digest'][7:]}", "r+b") as f:
            f.write(b"\x1f\x8b\x08\x01")

    def size_less(m, c):
        m["layers"][0]["size"] -= 1

    def size_huge(m, c):
        m["layers"][0]["size"] = 2**62

    def diff(m, c):
        c["rootfs"]["diff_ids"][0] = im.sha(b"no")

    def diff_form(m, c):
        c["rootfs"]["diff_ids"][0] = "sha256:../../../../etc"

    def more(m, c):
        c["rootfs"]["diff_ids"].append(im.sha(b"no"))

    def none(m, c):
        m["layers"] = []

    def many(m, c):
        m["layers"] *= 200

    def path(m, c):
        m["layers"][0]["digest"] = "sha256:" + "../" * 21 + "a"

    def arch(m, c):
        c["architecture"] = "arm64"

    def words(m, c):
        c["config"]["Env"] = ["x"] * 5000

    def kind(m, c):
        c["config"]["Cmd"] = {"a": 1}
        c["config"]["Env"] = "PATH=/bin"

    lies = [(layer_digest, "no such file"), (layer_swap, "its SHA-256 is"), (size_less, "are told of it"), (size_huge, "are told of it"),
            (diff, "its diff_id is"), (diff_form, "64 digits"), (more, "tells of 2"), (none, "it has no layers"), (many, "at most 127"),
            (path, "64 digits"), (arch, "linux/arm64"), (words, "4096"), (kind, "Env")]
    for i, (lie, said) in enumerate(lies):
        layout = im.Layout(f"{base}/lie{i}")
        layout.image([one], lie=lie, packing="gzip")
        if lie is layer_swap:
            said = "layer 1 of 1"
        pool.refuse(layout.write(), said)
    layout = im.Layout(base + "/manifest")
    desc = layout.image([one])
    with open(f"{layout.path}/blobs/sha256/{desc['digest'][7:]}", "r+b") as f:
        f.write(b" ")
    pool.refuse(layout.write(), "its SHA-256 is")
    texts = {"huge": b"[" + b" " * (5 << 20) + b"]", "deep": b'{"manifests":' + b"[" * 5000, "twice": b'{"manifests":[],"manifests":[]}',
             "nothing": b"", "list": b"[]", "text": b'{"manifests":[1]}', "zero": b"\0" * 100}
    for name, text in texts.items():
        with open(layout.path + "/index.json", "wb") as f:
            f.write(text)
        pool.refuse(layout.path, "")
        layout.archive(base + "/index.tar")
        pool.refuse(base + "/index.tar", "")
    for what, packed, said in (("ratio", bomb(300 << 20), "unpack to more than"), ("size", claims(1 << 40), "more than 274877906944 bytes"),
                               ("short", claims(1 << 20), "ends too soon")):
        path = f"{base}/bomb-{what}"
        with open(path, "wb") as f:
            f.write(packed)
        pool.refuse(path, said)
    two = im.Layout(base + "/two")
    two.image([one, other])
    tar = two.archive(two.write() + ".tar")
    with im.tarfile.open(tar, "a") as t:
        t.add(two.path + "/index.json", "index.json")
    pool.refuse(tar, "'index.json' twice")
    link = im.Layout(base + "/link")
    link.image([one])
    link.write()
    os.rename(link.path + "/blobs", base + "/elsewhere")
    os.symlink(base + "/elsewhere", link.path + "/blobs")
    pool.refuse(link.path, "blobs/sha256/")


def check_part(base):
    """The layers below a bad one stay, as they are complete; nothing of the bad one does."""
    pool = Pool(base)
    layout = im.Layout(base + "/part")
    layout.image([[im.file("good")], [im.file("../bad")]])
    assert "layer 2 of 2" in pool.run("--source", layout.write(), ok=False)["error"]
    left = os.listdir(pool.path)
    assert len(left) == 1 and left[0].startswith("sha256-"), left


def large(base):
    layout = im.Layout(base + "/large")
    layout.image([[im.file(f"d{i % 50}/f{k}-{i}", b"x" * 3000) for i in range(600)] for k in range(3)])
    return layout.write()


def check_kill(base):
    """Killed at any instant, or asked to end: `--clean` leaves complete layers only."""
    source, rng, pool = large(base), random.Random(7), Pool(base)
    start = time.monotonic()
    whole = Pool(base)
    image = whole.load(source)
    took = time.monotonic() - start
    seen = 0
    for i in range(8):
        how = signal.SIGTERM if i % 4 == 3 else signal.SIGKILL
        p = subprocess.Popen([UNPACK, "--pool", pool.path, "--source", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            p.wait(timeout=rng.uniform(0, took))
        except subprocess.TimeoutExpired:
            p.send_signal(how)
        out = p.communicate()[0]
        left = [x for x in os.listdir(pool.path) if not x.startswith("sha256-")]
        if how == signal.SIGTERM and p.returncode == 1:
            assert b"canceled" in out and not left, (out, left)
        seen += len(left)
        assert pool.run("--clean") == {"removed": len(left)}
        names = sorted(os.listdir(pool.path))
        assert set(names) <= {x["name"] for x in image["layers"]}, names
        for name in names:
            a, b = (subprocess.run(["find", f"{x.path}/{name}", "-printf", "%P %s %m %u %T@\n"], stdout=subprocess.PIPE, check=True).stdout
                    for x in (pool, whole))
            assert sorted(a.splitlines()) == sorted(b.splitlines()), name
        if len(names) == 3 or i % 3 == 2:
            for name in names:
                pool.run("--remove", name)
    assert seen, "nothing was ever killed while it worked"
    # one that works is not cleaned away
    p = subprocess.Popen([UNPACK, "--pool", pool.path, "--source", source], stdout=subprocess.PIPE)
    while p.poll() is None:
        pool.run("--clean")
    assert p.communicate() and p.returncode == 0
    both = [subprocess.Popen([UNPACK, "--pool", Pool(base).path if i > 9 else whole.path, "--source", source], stdout=subprocess.PIPE)
            for i in range(3)]
    assert [q.communicate() and q.returncode for q in both] == [0, 0, 0]


def check_race(base):
    """Two imports of the same image: each succeeds, and there is one of each layer."""
    source, pool = large(base + "/race"), Pool(base)
    both = [subprocess.Popen([UNPACK, "--pool", pool.path, "--source", source], stdout=subprocess.PIPE) for _ in range(3)]
    assert [q.communicate() and q.returncode for q in both] == [0, 0, 0]
    assert len(os.listdir(pool.path)) == 3


def check_deep_tree(base):
    """A tree that no path reaches the end of is removed, and no link in it is followed."""
    pool, (target, before) = Pool(base), outside(base)
    top = os.open(pool.path, os.O_RDONLY)
    os.mkdir(".new-deep", dir_fd=top)
    at = os.open(".new-deep", os.O_RDONLY, dir_fd=top)
    for i in range(3000):
        os.symlink(target, "link", dir_fd=at)
        os.mkdir("d" * 100, dir_fd=at)
        if i % 7 == 0:
            os.mkdir(f".socle-{i}", dir_fd=at)
            os.close(os.open(f".socle-{i}/x", os.O_CREAT, dir_fd=at))
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    os.close(top)
    os.symlink(target, pool.path + "/.new-link")
    assert pool.run("--clean")["removed"] >= 1
    assert os.listdir(pool.path) in ([], [".new-link"])
    assert outside(base)[1] == before


def check_registry(base):
    pool = Pool(base)
    layout = im.Layout(base + "/pulled")
    layout.image([BASE, UPPER, TOP], "zstd", {"Cmd": ["a"]})
    arm = layout.image([[im.file("arm")]], tag=None, platform=("linux", "arm64"))
    index = layout.json({"schemaVersion": 2, "manifests": [arm, layout.manifests[0]]}, "application/vnd.oci.image.index.v1+json")
    layout.manifests.append({**index, "annotations": {"org.opencontainers.image.ref.name": "all"}})
    with open(base + "/credentials", "w") as f:
        f.write(registry.USER + "\n")
    credentials = ("--credentials", base + "/credentials")
    other = registry.Registry(layout)
    ways = [({}, ()), ({"auth": "basic"}, credentials), ({"auth": "bearer"}, ()), ({"auth": "bearer", "user": registry.USER}, credentials),
            ({"flaky": True}, ()), ({"auth": "bearer", "redirect": f"http://{other.host.replace('localhost', '127.0.0.1')}/elsewhere/"}, ())]
    for how, options in ways:
        server, fresh = registry.Registry(layout, **how), Pool(base)
        image = fresh.load(f"docker://{server.host}/some/image:all", *options)
        assert image["kind"] == "oci" and image["tag"] == "all" and image["digest"] == layout.manifests[0]["digest"], image
        compare(fresh.shows(image), [BASE, UPPER, TOP])
        assert sorted(os.listdir(fresh.path)) == sorted(x["name"] for x in image["layers"])
        before = len(server.seen)
        assert all(x["reused"] for x in fresh.load(f"{server.host}/some/image", *options)["layers"])
        layers = [d["digest"] for d in json.load(open(f"{layout.path}/blobs/sha256/{image['digest'][7:]}"))["layers"]]
        assert not [path for path, _ in server.seen[before:] if any(x in path for x in layers)], "what the pool has was fetched"
        assert fresh.load(f"{server.host}/some/image@{image['digest']}", *options)["digest"] == image["digest"]
        server.close()
    assert other.seen and not [x for x in other.seen if x[1]], "a token went to another host"
    server = registry.Registry(layout, auth="basic")
    wrong = base + "/wrong"
    with open(wrong, "w") as f:
        f.write("me:wrong")
    pool.refuse(f"{server.host}/some/image", "other credentials")
    pool.refuse(f"{server.host}/some/image", "other credentials", "--credentials", wrong)
    server.close()
    server = registry.Registry(layout)
    pool.refuse(f"{server.host}/some/image:none", "does not have it: manifest unknown")
    pool.refuse(f"{server.host}/some/other", "does not have it")
    for name, words in (("some/Image", "small letters"), ("some/../x", "small letters"), ("some/image:a b", "a tag has"),
                        ("some/image@sha256:1", "64 digits"), ("some/image?x", "small letters")):
        pool.refuse(f"docker://{server.host}/{name}", words)
    server.close()
    lies = [(lambda d: d + b" ", "the answer has more than"), (lambda d: d[:-1], "told of it"), (lambda d: d[:-1] + b"?", "its SHA-256 is")]
    for change, words in lies:
        server = registry.Registry(layout, change=lambda d, c=change: c(d) if d[:4] == b"\x28\xb5\x2f\xfd" else d)
        pool.refuse(f"{server.host}/some/image", words)
        server.close()
    server = registry.Registry(layout, change=lambda d: d + b" " * (5 << 20))
    pool.refuse(f"{server.host}/some/image", "more than 4194304 bytes")
    server.close()
    server = registry.Registry(layout, redirect="file:///etc/passwd?")
    pool.refuse(f"{server.host}/some/image", "")
    server.close()
    server = registry.Registry(layout)
    pool.refuse(f"docker://[::1]:{server.server_address[1]}/some/image", "")  # it listens elsewhere: tries, and gives up
    server.close()
    other.close()


def status_of(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def check_confined(base):
    """What the process may when it reads an image, and what its child may when it has the network."""
    source, pool = large(base + "/confined"), Pool(base)
    p = subprocess.Popen([UNPACK, "--pool", pool.path, "--source", source], stdout=subprocess.PIPE)
    while status_of(p.pid)["Seccomp"] != "2" and p.poll() is None:
        pass
    p.send_signal(signal.SIGSTOP)
    seen = status_of(p.pid)
    # CHOWN DAC_OVERRIDE FOWNER FSETID SETFCAP, and SYS_ADMIN for trusted.*
    assert int(seen["CapEff"], 16) == int(seen["CapPrm"], 16) == int(seen["CapBnd"], 16) == 0x1b | 1 << 31 | 1 << 21, seen
    assert seen["CapInh"].strip("0") == "" and seen["NoNewPrivs"] == "1" and seen["Seccomp"] == "2", seen
    assert os.readlink(f"/proc/{p.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    assert os.listdir(f"/proc/{p.pid}/root") == []
    p.send_signal(signal.SIGCONT)
    assert p.communicate() and p.returncode == 0

    layout = im.Layout(base + "/hangs")
    layout.image([[im.file("a")]])
    digest = json.load(open(f"{layout.path}/blobs/sha256/{layout.manifests[0]['digest'][7:]}"))["layers"][0]["digest"]
    for how in signal.SIGTERM, signal.SIGKILL:
        server = registry.Registry(layout, hang=digest)
        p = subprocess.Popen([UNPACK, "--pool", pool.path, "--source", f"{server.host}/some/image"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        assert server.hung.wait(20)
        child = int(open(f"/proc/{p.pid}/task/{p.pid}/children").read())
        seen = status_of(child)
        assert seen["CapEff"].strip("0") == "" and seen["Uid"].split() == ["65534"] * 4 and seen["NoNewPrivs"] == "1", seen
        p.send_signal(how)
        out = p.communicate()[0]
        deadline = time.monotonic() + 20
        while os.path.exists(f"/proc/{child}") and status_of(child)["State"][0] != "Z":
            assert time.monotonic() < deadline, "what fetches outlives who wants it"
            time.sleep(0.01)
        left = [x for x in os.listdir(pool.path) if x.startswith(".new-")]
        assert (b"canceled" in out and not left) if how == signal.SIGTERM else len(left) == 1, (out, left)
        server.close()
    assert pool.run("--clean") == {"removed": 1}


def check_debian_registry(base):
    """Debian's registry, to which skopeo gave the image."""
    if not shutil.which("docker-registry") or not shutil.which("skopeo"):
        return
    config, port = base + "/registry.yml", random.randrange(20000, 30000)
    with open(config, "w") as f:
        json.dump({"version": 0.1, "storage": {"filesystem": {"rootdirectory": base + "/registry"}}, "http": {"addr": f"127.0.0.1:{port}"}}, f)
    server = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            if subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{base}/good-gzip:latest",
                               f"docker://127.0.0.1:{port}/a/b:v1"], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        pool = Pool(base)
        image = pool.load(f"127.0.0.1:{port}/a/b:v1")
        assert image["tag"] == "v1"
        compare(pool.shows(image), [BASE, UPPER, TOP])
    finally:
        server.terminate()
        server.wait()


def check_user(base, ranges):
    """As an ordinary user, with ids of its own or without."""
    name = f"socle-layer-{os.getpid()}"
    subprocess.run(["useradd", "-r", "-M", "-s", "/bin/sh", name], check=True)
    try:
        if ranges:
            subprocess.run(["usermod", "-v", "700000-765535", "-w", "700000-765535", name], check=True)
        pw = pwd.getpwnam(name)
        home = tempfile.mkdtemp(dir=base)
        os.chown(home, pw.pw_uid, pw.pw_gid)
        pool = Pool(home, ["setpriv", f"--reuid={pw.pw_uid}", f"--regid={pw.pw_gid}", "--clear-groups"])
        os.chown(pool.path, pw.pw_uid, pw.pw_gid)
        layout = im.Layout(home + "/layout")
        layout.image([BASE, UPPER, TOP])
        image = pool.load(layout.write())
        assert image["single_id"] == (not ranges) and image["user_xattr"], image
        how = ["unshare", "--user", "--map-root-user", "-m"]
        if ranges:
            how = ["unshare", "--user", "-m", "--map-users=700000,1,65536", "--map-groups=700000,1,65536", "--map-root-user"]
        compare(pool.shows(image, how), [BASE, UPPER, TOP], single=not ranges)
        bad = im.Layout(home + "/bad")
        bad.image([[im.file("a", uid=70000)]])
        if ranges:
            pool.refuse(bad.write(), "is none of the ids that may be used here")
        else:
            assert len(pool.load(bad.write())["layers"]) == 1
        dev = im.Layout(home + "/dev")
        dev.image([[im.device("null")]])
        pool.refuse(dev.write(), "make device", "--allow-devices")
        server = registry.Registry(layout)
        assert all(x["reused"] for x in pool.load(f"{server.host}/some/image")["layers"])
        server.close()
        for layer in os.listdir(pool.path):
            pool.run("--remove", layer)
        assert os.listdir(pool.path) == []
    finally:
        subprocess.run(["userdel", name], check=True)


def main():
    base = tempfile.mkdtemp(prefix="socle-layer-", dir="/tmp")  # where an ordinary user may come, too
    try:
        os.chmod(base, 0o755)
        global UNPACK, __file__
        UNPACK = shutil.copy(UNPACK, base)
        here = os.path.dirname(os.path.abspath(__file__))
        for name in ("layer_image.py", "layer_registry.py", "layer.py"):
            shutil.copy(f"{here}/{name}", base)
        __file__ = base + "/layer.py"
        layout = check_good(base)
        check_choice(base)
        check_plain(base)
        check_judges(base, layout)
        check_attacks(base)
        check_lies(base)
        check_part(base)
        check_kill(base)
        check_race(base)
        check_deep_tree(base)
        check_registry(base)
        check_confined(base)
        check_debian_registry(base)
        if shutil.which("useradd"):
            if shutil.which("newuidmap"):
                check_user(base, True)
            check_user(base, False)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if len(sys.argv) > 2 and sys.argv[2] == "walk":
    walk(sys.argv[4:], sys.argv[3])
else:
    main()
