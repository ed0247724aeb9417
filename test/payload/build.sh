#!/bin/sh
# test/payload/build.sh: assembles every payload into the folder named: test/payload/build.sh DIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
for source in "$here"/*.S; do
    name=$(basename "$source" .S)
    as --32 -I "$here" -o "$1/$name.o" "$source"
    ld -m elf_i386 -Ttext 0x400000 -o "$1/$name" "$1/$name.o" --no-warn-rwx-segments 2>/dev/null ||
        ld -m elf_i386 -Ttext 0x400000 -o "$1/$name" "$1/$name.o"
done
