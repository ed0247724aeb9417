#!/bin/sh
# test/payload/build.sh: assembles payloads, all of this folder or those named, into a folder: test/payload/build.sh DIR [FILE.S…]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1
shift
[ $# -gt 0 ] || set -- "$here"/*.S
mkdir -p "$dir"
for source; do
    name=$(basename "$source" .S)
    as --32 -I "$here" -o "$dir/$name.o" "$source"
    ld -m elf_i386 -Ttext 0x400000 -o "$dir/$name" "$dir/$name.o" --no-warn-rwx-segments 2>/dev/null ||
        ld -m elf_i386 -Ttext 0x400000 -o "$dir/$name" "$dir/$name.o"
done
