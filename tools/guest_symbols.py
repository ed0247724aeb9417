#!/usr/bin/env python3
"""tools/guest_symbols.py: makes an ELF file of names for gdb out of a guest kernel's System.map or /proc/kallsyms.
Usage: tools/guest_symbols.py MAP OUT.elf        then, in gdb: symbol-file OUT.elf

There are no types, lines or frames in it: addresses get names, and `break NAME` works.  doc/debugging.md says how to have more.
"""

import struct
import sys

KERNEL = 1 << 63  # addresses below are offsets into per-CPU areas and constants
FUNC, OBJECT, GLOBAL = 2, 1, 1 << 4
PROGBITS, SYMTAB, STRTAB, NOBITS = 1, 2, 3, 8
ABSOLUTE, TEXT = 0xFFF1, 1


def parse(text):
    """[(address, is it a function, name)] of a map's lines, ascending."""
    rows = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or len(words[1]) != 1:
            continue
        try:
            address = int(words[0], 16)
        except ValueError:
            continue
        if address >= KERNEL:
            rows.append((address, words[1] in "tTwW", words[2]))
    return sorted(rows)


def section(name, kind, flags, address, offset, size, link=0, info=0, entry=0):
    return struct.pack("<IIQQQQIIQQ", name, kind, flags, address, offset, size, link, info, 1, entry)


def elf(rows):
    """An ELF file of one empty text section around all functions, and the symbols."""
    functions = [row[0] for row in rows if row[1]]
    low, high = min(functions), max(functions) + 0x1000
    strings, symbols = b"\0", bytes(24)
    for address, is_function, name in rows:
        kind = GLOBAL | (FUNC if is_function else OBJECT)
        symbols += struct.pack("<IBBHQQ", len(strings), kind, 0, TEXT if is_function else ABSOLUTE, address, 0)
        strings += name.encode() + b"\0"
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    at_symbols = 64
    at_strings = at_symbols + len(symbols)
    at_names = at_strings + len(strings)
    table = at_names + len(names)
    sections = bytes(64)
    sections += section(1, NOBITS, 6, low, 64, high - low)
    sections += section(7, SYMTAB, 0, 0, at_symbols, len(symbols), link=3, info=1, entry=24)
    sections += section(15, STRTAB, 0, 0, at_strings, len(strings))
    sections += section(23, STRTAB, 0, 0, at_names, len(names))
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 5, 4)
    return head + symbols + strings + names + sections


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8", errors="replace") as f:
        rows = parse(f.read())
    if not any(row[1] for row in rows):
        sys.exit(f"{sys.argv[1]}: no functions; are all addresses 0?  Only root may read them in /proc/kallsyms")
    with open(sys.argv[2], "wb") as f:
        f.write(elf(rows))
    print(f"{sys.argv[2]}: {len(rows)} symbols")


if __name__ == "__main__":
    main()
