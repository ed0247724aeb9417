#!/usr/bin/env python3
# tools/guest/vmlinux.py: takes the uncompressed ELF kernel out of a bzImage.
# Usage: vmlinux.py BZIMAGE VMLINUX.  Used for peers that boot an ELF; Socle unpacks a bzImage by itself.
# The boot header says where the payload lies (Linux x86 boot protocol 2.08, payload_offset and payload_length).
import struct
import subprocess
import sys

PACKERS = {  # magic of the payload -> command that unpacks standard input
    b"\x1f\x8b": ["gzip", "-dc"],
    b"\xfd7zXZ": ["xz", "-dc", "--single-stream"],
    b"(\xb5/\xfd": ["zstd", "-dc"],
    b"\x02!L\x18": ["lz4", "-dc"],
}


def payload(image):
    if len(image) < 0x268 or image[0x202:0x206] != b"HdrS":
        sys.exit("vmlinux: not a bzImage")
    setup_bytes = ((image[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    return image[setup_bytes + offset : setup_bytes + offset + length]


def main():
    with open(sys.argv[1], "rb") as file:
        packed = payload(file.read())
    for magic, command in PACKERS.items():
        if packed.startswith(magic):
            break
    else:
        sys.exit(f"vmlinux: unknown packing {packed[:4].hex()}")
    # The payload ends with its unpacked size, which the packers take for garbage: the size is what is checked.
    (size,) = struct.unpack("<I", packed[-4:])
    elf = subprocess.run(command, input=packed[:-4], stdout=subprocess.PIPE, check=False).stdout
    if len(elf) != size or not elf.startswith(b"\x7fELF"):
        sys.exit(f"vmlinux: {len(elf)} bytes unpacked, {size} promised")
    with open(sys.argv[2], "wb") as file:
        file.write(elf)


main()
