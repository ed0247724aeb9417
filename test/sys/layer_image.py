# test/sys/layer_image.py: writes OCI image layouts, and says what the layers in them show when they lie on each other.
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile


def entry(name, kind=tarfile.REGTYPE, data=b"", mode=0o644, uid=0, gid=0, mtime=1000000000, link="", xattrs=None, dev=(0, 0)):
    t = tarfile.TarInfo(name)
    t.type, t.mode, t.uid, t.gid, t.mtime, t.linkname = kind, mode, uid, gid, mtime, link
    t.size = len(data)
    t.devmajor, t.devminor = dev
    for key, value in (xattrs or {}).items():
        t.pax_headers["SCHILY.xattr." + key] = value
    return t, data


def file(name, data=b"x", **more):
    return entry(name, data=data, **more)


def folder(name, mode=0o755, **more):
    return entry(name, tarfile.DIRTYPE, mode=mode, **more)


def link(name, to, **more):
    return entry(name, tarfile.SYMTYPE, link=to, mode=0o777, **more)


def hard(name, to, **more):
    return entry(name, tarfile.LNKTYPE, link=to, **more)


def fifo(name, **more):
    return entry(name, tarfile.FIFOTYPE, **more)


def device(name, major=1, minor=3, **more):
    return entry(name, tarfile.CHRTYPE, dev=(major, minor), **more)


def tar(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


PACKERS = {
    "": lambda b: b,
    "gzip": lambda b: gzip.compress(b, mtime=0),
    "zstd": lambda b: subprocess.run(["zstd", "-q", "-c"], input=b, stdout=subprocess.PIPE, check=True).stdout,
    "xz": lambda b: subprocess.run(["xz", "-c"], input=b, stdout=subprocess.PIPE, check=True).stdout,
}


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI image layout in a folder, whose facts can be made lies before they are written."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path + "/blobs/sha256")
        self.manifests = []

    def blob(self, data, kind):
        digest = sha(data)
        with open(f"{self.path}/blobs/sha256/{digest[7:]}", "wb") as f:
            f.write(data)
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def json(self, value, kind):
        return self.blob(json.dumps(value).encode(), kind)

    def image(self, layers, packing="gzip", config=None, lie=None, tag="latest", platform=("linux", "amd64")):
        """`layers`: lists of entries, or tars.  `lie(manifest, config)` changes what is told."""
        tars = [x if isinstance(x, bytes) else tar(x) for x in layers]
        descs = [self.blob(PACKERS[packing](t), "application/vnd.oci.image.layer.v1.tar+" + packing) for t in tars]
        conf = {"os": platform[0], "architecture": platform[1], "created": "2001-09-09T01:46:40Z", "config": config or {},
                "rootfs": {"type": "layers", "diff_ids": [sha(t) for t in tars]}, "history": [{"created_by": "a test"}], "more": None}
        manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": descs}
        if lie:
            lie(manifest, conf)
        manifest.setdefault("config", self.json(conf, "application/vnd.oci.image.config.v1+json"))
        desc = self.json(manifest, manifest["mediaType"])
        desc["platform"] = {"os": platform[0], "architecture": platform[1]}
        if tag:
            desc["annotations"] = {"org.opencontainers.image.ref.name": tag}
        self.manifests.append(desc)
        return desc

    def write(self, index=None):
        with open(self.path + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion": "1.0.0"}')
        with open(self.path + "/index.json", "w") as f:
            json.dump(index or {"schemaVersion": 2, "manifests": self.manifests}, f)
        return self.path

    def archive(self, path, packing=""):
        with tarfile.open(path, "w") as t:
            for name in sorted(os.listdir(self.path), reverse=True):  # oci-layout, index.json, blobs: not the order of reading
                t.add(f"{self.path}/{name}", "./" + name)
        with open(path, "rb") as f:
            data = PACKERS[packing](f.read())
        with open(path, "wb") as f:
            f.write(data)
        return path


KINDS = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char"}


def shown(layers, single=False):
    """{path: facts} of what the layers show: the model that the test compares overlayfs with."""
    tree = {}

    def drop(path):
        for p in [p for p in tree if p == path or p.startswith(path + "/")]:
            del tree[p]

    def facts(info, data):
        return {"kind": KINDS[info.type], "mode": info.mode if info.type != tarfile.SYMTYPE else 0o777,
                "owner": [0, 0] if single else [info.uid, info.gid], "mtime": info.mtime,
                "data": data.decode() if info.type == tarfile.REGTYPE else info.linkname if info.type == tarfile.SYMTYPE else "",
                "xattrs": {k[len("SCHILY.xattr."):]: v for k, v in info.pax_headers.items()
                           if k.startswith("SCHILY.xattr.user.") and "overlay" not in k}}

    for entries in layers:
        names = [(i.name.strip("/").removeprefix("./"), i, d) for i, d in entries]
        for name, _, _ in names:  # marks are for what lies below
            where, _, base = name.rpartition("/")
            if base == ".wh..wh..opq":
                for p in [p for p in tree if p.startswith(where + "/")]:
                    del tree[p]
            elif base.startswith(".wh."):
                drop((where + "/" if where else "") + base[4:])
        for name, info, data in names:
            if "/.wh." in "/" + name:
                continue
            if info.type == tarfile.LNKTYPE:
                drop(name)
                tree[name] = tree[info.linkname.strip("/")]
                continue
            if info.type != tarfile.DIRTYPE or tree.get(name, {}).get("kind") != "dir":
                drop(name)
            tree[name] = facts(info, data)
    return tree
