#!/usr/bin/env python3
"""test/sys/image.py: what `socle image` promises: a user's session through the command line.

qemu-img judges what was made, and makes what is to be read.  Without it those tests are skipped.
"""

import filecmp
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
SOCLE = os.path.join(os.environ.get("SOCLE_BUILD", os.path.join(HERE, "../../build/dev")), "src/cmd/socle")
QEMU = shutil.which("qemu-img")
KILLS = 200 if os.environ.get("SOCLE_FULL") else 5
LIMIT = 60
MiB = 1 << 20


def image(*args, status=0):
    p = subprocess.run([SOCLE, "image", *map(str, args)], capture_output=True, timeout=LIMIT, text=True)
    # None: sound, or with leaks, as an image is that somebody died over
    assert p.returncode in ((0, 3) if status is None else (status,)), (args, p.returncode, p.stdout, p.stderr)
    return p.stdout if status == 0 else p.stdout + p.stderr


def qemu(*args):
    return subprocess.run(["qemu-img", *map(str, args)], check=True, capture_output=True, timeout=LIMIT, text=True).stdout


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp()
        os.chdir(self.dir)
        self.rand = random.Random(self.id())

    def tearDown(self):
        os.chdir("/")
        shutil.rmtree(self.dir)

    def raw(self, name, size=8 * MiB, runs=12):
        """Random data in places of all lengths; what is between is a hole."""
        with open(name, "wb") as f:
            f.truncate(size)
            for _ in range(runs):
                at = self.rand.randrange(0, size, 512)
                f.seek(at)
                f.write(self.rand.randbytes(min(size - at, self.rand.choice((512, 4096, 70000, 300000)))))
        return name

    def judge(self, name, same_as, form):
        """What we made is sound and reads as it should, says the other."""
        if not QEMU:
            return
        if form == "qcow2":
            qemu("check", "-q", "-f", form, name)
        self.assertIn("identical", qemu("compare", "-f", form, "-F", "raw", name, same_as))


class Convert(Case):
    KINDS = ((), ("--compress",), ("--compress", "--compression=zstd"), ("--cluster=4K",), ("--cluster=2M", "--compress"),
             ("--extended-l2",), ("--version=2", "--compress"), ("--lazy-refcounts",), ("--prealloc=metadata",))

    def test_there_and_back(self):
        self.raw("a.raw")
        for kind in self.KINDS:
            image("convert", "--force", *kind, "a.raw", "b.qcow2")
            self.judge("b.qcow2", "a.raw", "qcow2")
            image("convert", "--force", "b.qcow2", "c.raw")
            self.assertTrue(filecmp.cmp("a.raw", "c.raw", shallow=False), kind)
            image("compare", "a.raw", "b.qcow2")

    def test_sizes_that_are_no_clusters(self):
        for size in (512, 4096 + 512, 64 * 1024 - 512, 2 * MiB + 512):
            self.raw("a.raw", size, 3)
            image("convert", "--force", "--compress", "a.raw", "b.qcow2")
            self.judge("b.qcow2", "a.raw", "qcow2")
            image("convert", "--force", "b.qcow2", "c.raw")
            self.assertTrue(filecmp.cmp("a.raw", "c.raw", shallow=False), size)

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_a_vmdk_is_written(self):
        raw = self.raw("a.raw", 70 * MiB + 512)
        image("convert", raw, "a.qcow2")
        for source in ("a.raw", "a.qcow2"):
            image("convert", source, "a.vmdk", "--force")
            info = json.loads(qemu("info", "--output=json", "a.vmdk"))
            self.assertEqual(info["format-specific"]["data"]["create-type"], "streamOptimized")
            qemu("check", "a.vmdk")
            qemu("compare", "-f", "raw", "-F", "vmdk", raw, "a.vmdk")
        image("compare", "--strict", raw, "a.vmdk")
        self.assertIn("only be a copy", image("create", "--format=vmdk", "b.vmdk", "1M", status=1))
        self.assertIn("no backing file", image("clone", "--to=vmdk", raw, "b.vmdk", status=1))
        image("clone", "a.vmdk", "over.vmdk")  # an overlay is qcow2, whatever its name says
        self.assertEqual(json.loads(image("info", "--json", "over.vmdk"))["format"], "qcow2")

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_formats_of_others(self):
        self.raw("a.raw", 9 * MiB + 512)
        for form, options in (("vmdk", ""), ("vmdk", "subformat=streamOptimized"), ("vmdk", "subformat=monolithicFlat"),
                              ("vmdk", "subformat=twoGbMaxExtentSparse"), ("vmdk", "subformat=twoGbMaxExtentFlat"),
                              ("vdi", ""), ("vdi", "static=on"), ("vpc", "force_size=on"), ("vpc", "subformat=fixed,force_size=on"),
                              ("vhdx", ""), ("vhdx", "subformat=fixed"), ("vhdx", "block_size=1M")):
            with self.subTest(form=form, options=options):
                qemu("convert", "-f", "raw", "-O", form, *(("-o", options) if options else ()), "a.raw", "b.img")
                ours = {"vpc": "vhd"}.get(form, form)
                image("convert", "--force", "--from", ours, "b.img", "c.raw")
                self.assertTrue(filecmp.cmp("a.raw", "c.raw", shallow=False))
                image("compare", "--format-a", ours, "b.img", "a.raw")
                self.assertEqual(json.loads(image("info", "--json", "--format", ours, "b.img"))["format"], ours)
                # below an overlay, whoever reads it
                image("clone", "--force", "--from", ours, "b.img", "over.qcow2")
                self.judge("over.qcow2", "a.raw", "qcow2")
                image("compare", "over.qcow2", "a.raw")
                image("map", "over.qcow2")
                self.assertIn("only be read", image("resize", "--format", ours, "b.img", "1M", status=1))

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_reads_what_qemu_makes(self):
        self.raw("a.raw")
        for options in ("", "compat=0.10", "cluster_size=512", "cluster_size=2M", "extended_l2=on", "compression_type=zstd"):
            for compress in ((), ("-c",)):
                qemu("convert", "-f", "raw", "-O", "qcow2", *compress, *(("-o", options) if options else ()), "a.raw", "b.qcow2")
                image("compare", "a.raw", "b.qcow2")
                image("check", "b.qcow2")

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_a_snapshot_inside(self):
        self.raw("one.raw")
        image("convert", "one.raw", "a.qcow2")
        image("snapshot", "a.qcow2", "create", "first")
        image("resize", "a.qcow2", "+1M")
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 9M", "a.qcow2"], check=True, capture_output=True, timeout=LIMIT)
        for name in ("first", "1"):
            image("convert", "--force", "--snapshot", name, "a.qcow2", "b.raw")
            self.assertTrue(filecmp.cmp("one.raw", "b.raw", shallow=False))
        image("convert", "--snapshot=first", "--compress", "a.qcow2", "b.qcow2")
        self.judge("b.qcow2", "one.raw", "qcow2")
        self.assertIn("no snapshot 'second'", image("convert", "--snapshot=second", "a.qcow2", "c.raw", status=1))
        self.assertIn("only a qcow2 image has snapshots", image("convert", "--snapshot=first", "one.raw", "c.raw", status=1))
        self.assertNotIn("c.raw", os.listdir())

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_over_a_backing_file(self):
        """What the backing file has is not copied; sizes differ in both ways."""
        for below, above in ((8 * MiB, 8 * MiB), (4 * MiB, 8 * MiB), (8 * MiB, 5 * MiB + 512)):
            self.raw("base.raw", below, 40)
            shutil.copy("base.raw", "want.raw")
            with open("want.raw", "r+b") as f:
                f.truncate(above)
                for at, data in ((MiB, b"x" * 5000), (2 * MiB, bytes(MiB)), (above - 512, b"y" * 512)):
                    f.seek(at)
                    f.write(data)
            for size in (("--size", above + MiB), ()):
                image("convert", "--force", "--backing=base.raw", *size, "want.raw", "over.qcow2")
                if not size:
                    self.judge("over.qcow2", "want.raw", "qcow2")
                image("compare", "over.qcow2", "want.raw")
            info = json.loads(image("info", "--json", "over.qcow2"))
            self.assertEqual((info["backing-filename"], info["backing-filename-format"]), ("base.raw", "raw"))
            if above == below:
                self.assertLess(os.stat("over.qcow2").st_blocks * 512, 2 * MiB)
        # as quick as there is data
        image("create", "huge.qcow2", "4T")
        image("create", "below.qcow2", "8T")
        image("convert", "--backing=below.qcow2", "huge.qcow2", "over2.qcow2")
        self.assertIn("only qcow2 has a backing", image("convert", "--backing=base.raw", "want.raw", "c.raw", status=1))
        self.assertIn("not with compression", image("convert", "--backing=base.raw", "--compress", "want.raw", "c.qcow2", status=1))

    def test_zeroes_take_no_room(self):
        with open("a.raw", "wb") as f:
            f.write(bytes(16 * MiB))
        image("convert", "a.raw", "b.raw")
        image("convert", "a.raw", "b.qcow2")
        self.assertLess(os.stat("b.raw").st_blocks * 512, 64 * 1024)
        self.assertLess(os.stat("b.qcow2").st_blocks * 512, MiB)

    def test_what_is_there_stays(self):
        self.raw("a.raw")
        self.raw("b.raw", MiB)
        shutil.copy("b.raw", "before.raw")
        self.assertIn("--force", image("convert", "a.raw", "b.raw", status=1))
        self.assertTrue(filecmp.cmp("b.raw", "before.raw", shallow=False))
        self.assertIn("no image format", image("convert", "--from", "nonsense", "a.raw", "c.raw", status=1))
        self.assertIn("only qcow2 has compression", image("convert", "--compress", "a.raw", "c.raw", status=1))
        self.assertIn("no such file", image("convert", "missing", "c.raw", status=1).lower())
        self.assertEqual(sorted(os.listdir()), ["a.raw", "b.raw", "before.raw"])


class Stop(Case):
    """A long job that is stopped in all ways."""

    def begin(self, target, **more):
        return subprocess.Popen([SOCLE, "image", "convert", "--force", "--compress", "a.raw", target], stderr=subprocess.PIPE, **more)

    def test_cancelled(self):
        self.raw("a.raw", 256 * MiB, 3000)
        for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            p = self.begin("b.qcow2")
            time.sleep(0.15)
            p.send_signal(sig)
            err = p.communicate(timeout=LIMIT)[1]
            self.assertEqual(p.returncode, 128 + sig, err)
            self.assertIn(b"cancelled", err)
            self.assertEqual(os.listdir(), ["a.raw"])

    def test_ignored(self):
        """As by nohup: what was ignored before we began does not stop us."""
        self.raw("a.raw", 64 * MiB, 700)
        p = self.begin("b.qcow2", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        time.sleep(0.1)
        p.send_signal(signal.SIGHUP)
        self.assertEqual(p.communicate(timeout=LIMIT)[1], b"")
        self.assertEqual(p.returncode, 0)

    def test_killed(self):
        """The old file or the new one is there, whole; nothing else is, but for a .part of an unlucky instant."""
        self.raw("a.raw", 16 * MiB, 200)
        self.raw("old.raw", MiB)
        image("convert", "old.raw", "b.qcow2")
        image("convert", "a.raw", "time.qcow2", "--compress")
        start = time.monotonic()
        image("convert", "a.raw", "time.qcow2", "--compress", "--force")
        length = time.monotonic() - start
        os.remove("time.qcow2")
        for _ in range(KILLS):
            p = self.begin("b.qcow2")
            time.sleep(self.rand.uniform(0, 1.2 * length))
            p.kill()
            p.communicate(timeout=LIMIT)
            image("check", "b.qcow2")
            size = json.loads(image("info", "--json", "b.qcow2"))["virtual-size"]
            image("compare", "--strict", "b.qcow2", "a.raw" if size == 16 * MiB else "old.raw")
            self.assertEqual(sorted(f for f in os.listdir() if not f.endswith(".part")), ["a.raw", "b.qcow2", "old.raw"])

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_killed_in_place(self):
        """An overlay that is rebased or committed reads the same whenever that is killed, and both can be begun again."""
        size = 48 * MiB
        self.raw("base.raw", size, 400)
        self.raw("other.raw", size, 400)
        image("convert", "base.raw", "base0.qcow2")
        qemu("create", "-q", "-f", "qcow2", "-b", "base0.qcow2", "-F", "qcow2", "over0.qcow2")
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 9M", "-c", "write -z 20M 8M", "-c", "write -P 3 40M 333k",
                        "over0.qcow2"], check=True, capture_output=True, timeout=LIMIT)
        image("convert", "over0.qcow2", "want.raw")
        jobs = (("rebase", "--backing=other.raw", "--backing-format=raw"), ("rebase", "--backing="), ("commit",))
        for i in range(KILLS):
            for job in jobs:
                image("convert", "--force", "base.raw", "base0.qcow2")
                shutil.copy("over0.qcow2", "over.qcow2")
                p = subprocess.Popen([SOCLE, "image", *job, "over.qcow2"], stderr=subprocess.DEVNULL)
                time.sleep(self.rand.uniform(0, 0.25))
                p.kill()
                p.wait()
                with self.subTest(job=job, round=i):
                    image("check", "over.qcow2", status=None)
                    image("check", "base0.qcow2", status=None)
                    image("compare", "over.qcow2", "want.raw")
                    image(*job, "over.qcow2")
                    image("compare", "over.qcow2", "want.raw")
                    if job[0] == "commit":
                        image("compare", "base0.qcow2", "want.raw")

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_killed_snapshots(self):
        """The disk reads as before, or after apply as the snapshot did; who opens it next leaves nothing to complain of."""
        size = 24 * MiB
        self.raw("one.raw", size, 300)
        image("convert", "--cluster=4K", "one.raw", "a0.qcow2")
        image("snapshot", "a0.qcow2", "create", "first")
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 9M", "a0.qcow2"], check=True, capture_output=True, timeout=LIMIT)
        image("convert", "a0.qcow2", "two.raw")
        jobs = (("snapshot", "create", "second"), ("snapshot", "apply", "first"), ("snapshot", "delete", "first"), ("resize", "+64M"),
                ("check", "--repair=all"))
        for i in range(KILLS):
            for job in jobs:
                shutil.copy("a0.qcow2", "a.qcow2")
                if job[0] == "check": # something to repair: all counts are lost
                    with open("a.qcow2", "r+b") as f:
                        f.seek(2 * 4096)
                        f.write(bytes(512))
                p = subprocess.Popen([SOCLE, "image", job[0], "a.qcow2", *job[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(self.rand.uniform(0, 0.04))
                p.kill()
                p.wait()
                with self.subTest(job=job, round=i):
                    image("check", "--repair=all", "a.qcow2")
                    qemu("check", "-q", "-f", "qcow2", "a.qcow2")
                    # of another size: what is more reads as zeroes
                    same = [subprocess.run([SOCLE, "image", "compare", "a.qcow2", raw], capture_output=True, timeout=LIMIT).returncode
                            for raw in ("two.raw", "one.raw")]
                    self.assertEqual(min(same), 0, same)
                    self.assertTrue(same[0] == 0 or "apply" in job)

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_full_in_place(self):
        """No room in the middle of a job: it says so, the image is sound and reads the same, and with room it can be begun again."""
        size = 16 * MiB
        self.raw("base.raw", size, 100)
        self.raw("other.raw", size, 100)
        image("convert", "base.raw", "base0.qcow2")
        qemu("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "-u", "over0.qcow2", str(size))
        shutil.copy("base0.qcow2", "base.qcow2")
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 4M", "-c", "write -z 9M 3M", "over0.qcow2"], check=True,
                       capture_output=True, timeout=LIMIT)
        image("convert", "over0.qcow2", "want.raw")
        full = 0
        for job in (("rebase", "--backing=other.raw", "--backing-format=raw"), ("rebase", "--backing="), ("commit",),
                    ("snapshot", "create", "s"), ("resize", "+8T")):
            for _ in range(40 if os.environ.get("SOCLE_FULL") else 5):
                for name in ("base", "over"):
                    shutil.copy(f"{name}0.qcow2", f"{name}.qcow2")
                grown = "base.qcow2" if job[0] == "commit" else "over.qcow2"
                room = os.stat(grown).st_size // 1024 + self.rand.choice((0, 4, 64, 200, 1000, 4000))
                args = [SOCLE, "image", job[0], "over.qcow2", *job[1:]]
                p = subprocess.run(["bash", "-c", f'ulimit -f {room}; exec "$0" "$@"', *args], capture_output=True, timeout=LIMIT, text=True,
                                   preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
                with self.subTest(job=job, room=room, said=p.stderr):
                    self.assertIn(p.returncode, (0, 1))
                    full += p.returncode
                    if p.returncode:
                        self.assertRegex(p.stderr, r"qcow2'?.*(too large|no space)")
                    for name in ("base.qcow2", "over.qcow2"):
                        image("check", "--repair=leaks", name)
                        qemu("check", "-q", "-f", "qcow2", name)
                    image("compare", "over.qcow2", "want.raw")
                    if p.returncode:
                        image(job[0], "over.qcow2", *job[1:])
                        image("compare", "over.qcow2", "want.raw")
        self.assertGreater(full, 5)

    def drawn(self, *args):
        """What a job drew on a terminal."""
        master, slave = pty.openpty()
        p = subprocess.Popen([SOCLE, "image", *args], stderr=slave, stdout=subprocess.DEVNULL)
        os.close(slave)
        seen = b""
        while select.select([master], [], [], LIMIT)[0]:
            try:
                seen += os.read(master, 4096)
            except OSError:
                break
        os.close(master)
        self.assertEqual(p.wait(LIMIT), 0, (args, seen))
        return seen

    def test_progress_of_each_job(self):
        """What takes long draws a line that it takes away at the end.  A fast machine gets more to do until it takes long there too."""
        def raw(n):
            self.raw(f"a{n}.raw", 64 * n * MiB, 700 * n)

        def tables(n):
            image("create", f"a{n}.qcow2", f"{8 * n}G", "--cluster=4K", "--prealloc=metadata")

        def over(n):
            self.raw(f"base{n}.raw", 128 * n * MiB, 500 * n)
            image("clone", f"base{n}.raw", f"over{n}.qcow2")

        def empty(n):
            image("create", f"large{n}.raw", f"{256 * n}M")

        for make, *job in ((raw, "convert", "--compress", "a{n}.raw", "b{n}.qcow2"), (tables, "check", "a{n}.qcow2"),
                           (over, "rebase", "--backing=", "over{n}.qcow2"), (empty, "bench", "--count={n}00000", "large{n}.raw")):
            line = rf"\r{job[0]}  \[#* *\] +\d+ %  \d+ MiB/s"
            for n in (1, 2, 4, 8, 16):
                make(n)
                seen = self.drawn(*(a.format(n=n) for a in job))
                if re.search(line, seen.decode()):
                    break
            self.assertRegex(seen.decode(), line)
            self.assertTrue(seen.endswith(b"\r\x1b[K"), seen[-40:])

    def test_disk_full(self):
        self.raw("a.raw", 4 * MiB, 40)
        p = subprocess.run(["bash", "-c", 'ulimit -f 1000; exec "$0" image convert a.raw b.qcow2', SOCLE], capture_output=True,
                           timeout=LIMIT, text=True, preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN))
        self.assertEqual(p.returncode, 1)
        self.assertIn("b.qcow2", p.stderr)
        self.assertEqual(os.listdir(), ["a.raw"])


class Look(Case):
    def test_info(self):
        image("create", "a.qcow2", "3G", "--cluster=1M")
        image("create", "b.qcow2", "--backing", "a.qcow2")
        i = json.loads(image("info", "--json", "b.qcow2"))
        self.assertEqual((i["virtual-size"], i["format"], i["backing-filename"], i["backing-filename-format"]),
                         (3 << 30, "qcow2", "a.qcow2", "qcow2"))
        chain = json.loads(image("info", "--json", "--chain", "b.qcow2"))
        self.assertEqual([c["cluster-size"] for c in chain], [65536, MiB])
        text = image("info", "b.qcow2")
        self.assertIn("3 GiB", text)
        os.remove("a.qcow2")
        image("info", "b.qcow2")
        self.assertIn("a.qcow2", image("info", "--chain", "b.qcow2", status=1))
        if QEMU:
            theirs = json.loads(qemu("info", "-U", "--output=json", "b.qcow2"))
            for key in ("virtual-size", "format", "backing-filename", "cluster-size"):
                self.assertEqual(i[key], theirs[key])

    def test_check(self):
        self.raw("a.raw")
        image("convert", "a.raw", "a.qcow2")
        self.assertIn("no errors", image("check", "a.qcow2"))
        image("check", "a.raw", status=63)
        image("check", "missing", status=1)
        # The first refcount block's entries begin at the cluster that the table's first entry names.
        with open("a.qcow2", "r+b") as f:
            f.seek(48)
            table = int.from_bytes(f.read(8), "big")
            f.seek(table)
            block = int.from_bytes(f.read(8), "big")
            end = os.stat("a.qcow2").st_size // 65536
            f.seek(block + 2 * (end + 3))
            f.write(b"\0\1")
            f.truncate((end + 4) * 65536)
        self.assertIn("leak", image("check", "a.qcow2", status=3))
        self.assertEqual(json.loads(subprocess.run([SOCLE, "image", "check", "--json", "a.qcow2"], capture_output=True,
                                                   timeout=LIMIT).stdout)["leaks"], 1)
        image("check", "--repair=leaks", "a.qcow2")
        image("check", "a.qcow2")
        with open("a.qcow2", "r+b") as f:
            f.seek(block + 2 * (end - 1))
            f.write(b"\0\0")
        image("check", "a.qcow2", status=2)
        image("check", "--repair=all", "a.qcow2")
        self.judge("a.qcow2", "a.raw", "qcow2")

    def test_map(self):
        self.raw("a.raw", 4 * MiB)
        image("convert", "a.raw", "a.qcow2")
        image("clone", "a.qcow2", "b.qcow2")
        m = json.loads(image("map", "--json", "b.qcow2"))
        self.assertEqual(m[0]["start"], 0)
        for a, b in zip(m, m[1:]):
            self.assertEqual(a["start"] + a["length"], b["start"])
        self.assertEqual(m[-1]["start"] + m[-1]["length"], 4 * MiB)
        self.assertEqual({x["depth"] for x in m if x["data"]}, {1})
        if not QEMU:
            return
        theirs = json.loads(qemu("map", "--output=json", "b.qcow2"))
        self.assertEqual([(x["start"], x["length"], x.get("offset")) for x in m if x["data"]],
                         [(x["start"], x["length"], x.get("offset")) for x in theirs if x["data"]])

    def test_compare(self):
        self.raw("a.raw")
        shutil.copy("a.raw", "b.raw")
        image("compare", "a.raw", "b.raw")
        with open("b.raw", "r+b") as f:
            f.seek(5 * MiB + 77)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 1]))
        self.assertIn(str(5 * MiB + 77), image("compare", "a.raw", "b.raw", status=1))
        image("compare", "a.raw", "missing", status=2)
        image("compare", "a.raw", status=2)

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_measure(self):
        self.raw("a.raw", 40 * MiB)
        for ours, theirs in ((("--to=qcow2", "a.raw"), ("-O", "qcow2", "-f", "raw", "a.raw")),
                             (("--to=qcow2", "--cluster=4K", "a.raw"), ("-O", "qcow2", "-o", "cluster_size=4k", "-f", "raw", "a.raw")),
                             (("--to=qcow2", "--size=1T"), ("-O", "qcow2", "--size", "1T")),
                             (("--to=raw", "--size=1T"), ("-O", "raw", "--size", "1T"))):
            a, b = json.loads(image("measure", "--json", *ours)), json.loads(qemu("measure", "--output=json", *theirs))
            self.assertEqual(a["fully-allocated"], b["fully-allocated"], ours)
            if "a.raw" in ours:
                self.assertEqual(a["required"], b["required"], ours)
        self.assertIn("clusters of 3000 bytes", image("measure", "--to=qcow2", "--cluster=3000", "a.raw", status=1))

    def test_bench(self):
        image("create", "a.raw", "8M")
        for options in ((), ("--random",), ("--write", "--flush-every=10"), ("--block=64K", "--depth=4"), ("--cache=unsafe", "--write")):
            b = json.loads(image("bench", "--json", "--count=500", *options, "a.raw"))
            self.assertEqual(b["requests"], 500)
            self.assertGreater(b["iops"], 0)
        self.assertRegex(image("bench", "--count=10", "a.raw"), r"10 reads of 4096 bytes")


class Change(Case):
    def qemu_io(self, name, *commands):
        args = [a for c in commands for a in ("-c", c)]
        subprocess.run(["qemu-io", "-f", "qcow2", *args, name], check=True, capture_output=True, timeout=LIMIT)

    def test_resize(self):
        self.raw("a.raw")
        image("convert", "a.raw", "a.qcow2")
        for name in ("a.raw", "a.qcow2"):
            image("resize", name, "+3M")
            self.assertEqual(json.loads(image("info", "--json", name))["virtual-size"], 11 * MiB)
            self.assertIn("--shrink", image("resize", name, "2M", status=1))
            image("resize", "--shrink", name, "2M")
            image("resize", name, "4M")
        image("compare", "--strict", "a.raw", "a.qcow2")
        self.judge("a.qcow2", "a.raw", "qcow2")

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_overlays(self):
        self.raw("base.raw")
        image("convert", "base.raw", "base.qcow2")
        image("clone", "base.qcow2", "over.qcow2")
        image("compare", "base.raw", "over.qcow2")
        self.qemu_io("over.qcow2", "write -P 7 1M 200k", "write -z 3M 1M", "write -P 9 8190k 2k")
        image("convert", "over.qcow2", "want.raw")
        self.judge("over.qcow2", "want.raw", "qcow2")
        # another backing file, and none: what it reads as is the same
        self.raw("other.raw", 5 * MiB)
        image("rebase", "--backing", "other.raw", "--backing-format=raw", "over.qcow2")
        self.judge("over.qcow2", "want.raw", "qcow2")
        self.assertEqual(json.loads(image("info", "--json", "over.qcow2"))["backing-filename"], "other.raw")
        image("rebase", "--backing", "base.qcow2", "over.qcow2")
        self.judge("over.qcow2", "want.raw", "qcow2")
        shutil.copy("over.qcow2", "flat.qcow2")
        image("rebase", "--backing=", "flat.qcow2")
        self.assertNotIn("backing-filename", json.loads(image("info", "--json", "flat.qcow2")))
        self.judge("flat.qcow2", "want.raw", "qcow2")
        self.assertIn("itself", image("rebase", "--backing", "over.qcow2", "over.qcow2", status=1))
        # down into the backing file
        image("commit", "over.qcow2")
        self.judge("base.qcow2", "want.raw", "qcow2")
        self.judge("over.qcow2", "want.raw", "qcow2")
        os.rename("base.qcow2", "moved.qcow2")
        image("rebase", "--unsafe", "--backing", "moved.qcow2", "over.qcow2")
        self.judge("over.qcow2", "want.raw", "qcow2")

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_commit_makes_the_backing_file_larger(self):
        self.raw("base.raw", MiB)
        image("create", "over.qcow2", "4M", "--backing=base.raw")
        self.qemu_io("over.qcow2", "write -P 5 3M 64k")
        image("convert", "over.qcow2", "want.raw")
        image("commit", "over.qcow2")
        self.assertTrue(filecmp.cmp("base.raw", "want.raw", shallow=False))

    def test_clone(self):
        self.raw("a.raw")
        os.mkdir("sub")
        image("clone", "a.raw", "sub/linked.qcow2")
        self.assertEqual(json.loads(image("info", "--json", "sub/linked.qcow2"))["backing-filename"], os.path.realpath("a.raw"))
        image("compare", "a.raw", "sub/linked.qcow2")
        image("clone", "--full", "a.raw", "sub/full.qcow2")
        image("compare", "a.raw", "sub/full.qcow2")
        self.judge("sub/linked.qcow2", "a.raw", "qcow2")
        self.judge("sub/full.qcow2", "a.raw", "qcow2")

    @unittest.skipUnless(QEMU, "no qemu-img")
    def test_snapshots(self):
        self.raw("one.raw")
        image("convert", "one.raw", "a.qcow2")
        image("snapshot", "a.qcow2", "create", "first")
        self.qemu_io("a.qcow2", "write -P 1 0 2M")
        image("convert", "a.qcow2", "two.raw")
        image("snapshot", "a.qcow2", "create", "second")
        self.assertEqual([s["name"] for s in json.loads(image("snapshot", "--json", "a.qcow2"))], ["first", "second"])
        self.assertIn("first", image("snapshot", "a.qcow2", "list"))
        self.assertIn("second", qemu("snapshot", "-l", "a.qcow2"))
        image("snapshot", "a.qcow2", "apply", "first")
        self.judge("a.qcow2", "one.raw", "qcow2")
        image("snapshot", "a.qcow2", "apply", "second")
        self.judge("a.qcow2", "two.raw", "qcow2")
        image("snapshot", "a.qcow2", "delete", "first")
        image("snapshot", "a.qcow2", "delete", "second")
        self.judge("a.qcow2", "two.raw", "qcow2")
        self.assertIn("needs a name", image("snapshot", "a.qcow2", "create", status=1))
        image("snapshot", "a.qcow2", "apply", "nonsense", status=1)

    def test_create(self):
        image("create", "a.raw", "10M")
        self.assertEqual(os.stat("a.raw").st_size, 10 * MiB)
        image("create", "b.img", "64M", "--format=qcow2", "--prealloc=falloc", "--cluster=2M")
        self.assertGreaterEqual(os.stat("b.img").st_blocks * 512, 64 * MiB)
        for args, error in ((("c.raw",), "SIZE"), (("c.raw", "1x"), "no size"), (("c.raw", "700"), "multiples of 512"),
                            (("c.raw", "--backing=a.raw"), "only a qcow2"), (("a.raw", "1M"), "--force"),
                            (("c.qcow2", "1M", "--cluster=3000"), "cluster"), (("no/c.raw", "1M"), "no/")):
            self.assertIn(error, image("create", *args, status=1))
        self.assertEqual(sorted(os.listdir()), ["a.raw", "b.img"])


class Help(Case):
    def test_help(self):
        text = subprocess.run([SOCLE, "help", "image"], capture_output=True, timeout=LIMIT, text=True, check=True).stdout
        names = re.findall(r"^  (\w+)  +[A-Z]", text, re.M)
        self.assertEqual(len(names), 13)
        for name in names:
            help_text = image(name, "--help")
            self.assertIn(f"usage: socle image {name} ", help_text)
            self.assertEqual(help_text, subprocess.run([SOCLE, "help", "image", name], capture_output=True, timeout=LIMIT,
                                                       text=True, check=True).stdout)
        self.assertIn("nonsense", image("nonsense", status=1))
        self.assertIn("a command is needed", image(status=1))
        self.assertIn("unknown option '--nonsense'", image("info", "--nonsense", "x", status=1))


if __name__ == "__main__":
    if not QEMU:
        print("no qemu-img: what it would judge is left out")
    unittest.main(verbosity=1)
