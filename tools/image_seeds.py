#!/usr/bin/env python3
"""tools/image_seeds.py: seeds for the fuzz targets of foreign disk formats, made by qemu-img: `tools/image_seeds.py [OUT]`

Each image becomes records as src/disk/foreign_fuzz.h reads them (offset, length, bytes), so that only what is not zero takes room.
"""

import os
import struct
import subprocess
import sys
import tempfile

MiB = 1 << 20
# corpus, name, qemu's format, its options, size of the disk, offsets that are written
IMAGES = (
    ("vdi", "dynamic", "vdi", "", 5 * MiB, (0, 2 * MiB + 4096)),
    ("vdi", "fixed", "vdi", "static=on", 2 * MiB, (65536,)),
    ("vdi", "empty", "vdi", "", 3 * MiB + 512, ()),
    ("vhd", "dynamic", "vpc", "force_size=on", 4 * MiB + 512, (0, 4 * MiB)),
    ("vhd", "fixed", "vpc", "subformat=fixed,force_size=on", MiB, (512,)),
    ("vhd", "chs", "vpc", "", 6 * MiB, (3 * MiB,)),
    ("vhdx", "dynamic", "vhdx", "block_size=1M", 3 * MiB, (MiB,)),
    ("vhdx", "fixed", "vhdx", "subformat=fixed,block_size=1M", 2 * MiB, (0,)),
    ("vhdx", "empty", "vhdx", "block_size=16M", 64 * MiB, ()),
    ("vmdk", "sparse", "vmdk", "", 3 * MiB, (0, 2 * MiB + 65536)),
    ("vmdk", "stream", "vmdk", "subformat=streamOptimized", 3 * MiB, (0, 2 * MiB)),
    ("vmdk", "flat", "vmdk", "subformat=monolithicFlat", MiB, (512,)),
    ("vmdk", "split", "vmdk", "subformat=twoGbMaxExtentSparse", MiB, (512,)),
    ("vmdk", "zero-grain", "vmdk", "zeroed_grain=on", MiB, (512,)),
)


def records(data):
    """The runs of bytes that are not zero, and a byte at the end so that the length is right."""
    at = 0
    while at < len(data):
        if data[at:at + 4096] == bytes(4096):
            at += 4096
            continue
        end = at
        while end < len(data) and end - at < 60000 and data[end:end + 16] != bytes(16):
            end += 16
        if end > at:
            yield at, data[at:end]
        at = end + 16 if end > at else at + 16
    yield len(data) - 1, data[-1:]


def encode(data):
    return b"".join(struct.pack("<IH", at, len(part)) + part for at, part in records(data))


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def summed(data):
    """With the checksum that stands 4 bytes after the beginning."""
    data = bytearray(data)
    data[4:8] = bytes(4)
    data[4:8] = struct.pack("<I", crc32c(data))
    return bytes(data)


def dirty_vhdx(data):
    """A clean vhdx as it is when its host dies after the block table went to the log, and before it went to its place."""
    data = bytearray(data)
    log_at, table_at, guid = 1 << 20, 2 << 20, b"socle seed guid!"
    page = bytes(data[table_at:table_at + 4096])
    data[table_at:table_at + 4096] = bytes(4096)
    head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, 8192, 0, 7, 1, 0, guid, len(data), len(data))
    head += struct.pack("<4s4s8sQQ", b"desc", page[-4:], page[:8], table_at, 7)
    entry = head.ljust(4096, b"\0") + struct.pack("<4sI4084sI", b"data", 0, page[8:-4], 7)
    data[log_at:log_at + 8192] = summed(entry)
    for at in (64 << 10, 128 << 10):
        data[at + 48:at + 64] = guid
        data[at:at + 4096] = summed(data[at:at + 4096])
    return bytes(data)


def make(folder, form, options, size, written):
    raw, image = os.path.join(folder, "raw"), os.path.join(folder, "image")
    with open(raw, "wb") as f:
        f.truncate(size)
        for at in written:
            f.seek(at)
            f.write(b"socle %d" % at)
    subprocess.run(["qemu-img", "convert", "-q", "-f", "raw", "-O", form, "-o", options, raw, image] if options else
                   ["qemu-img", "convert", "-q", "-f", "raw", "-O", form, raw, image], check=True)
    with open(image, "rb") as f:
        return f.read()


def main(out):
    for corpus, name, *how in IMAGES:
        with tempfile.TemporaryDirectory() as folder:
            data = make(folder, *how)
        os.makedirs(os.path.join(out, corpus), exist_ok=True)
        images = [(name, data)]
        if (corpus, name) == ("vhdx", "dynamic"):
            images.append(("log", dirty_vhdx(data)))
        for label, image in images:
            with open(os.path.join(out, corpus, label), "wb") as f:
                f.write(encode(image))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fuzz/corpus")
