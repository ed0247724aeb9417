#!/bin/bash
# bench/soft_debian/build.sh: makes build/bench/debian.img, a Debian 12 with gcc, a C file of 5,000 lines and a local repository with one package, and
# build/bench/debian_root, the same as a folder.  Wants root and mmdebstrap.  Quick when they are newer than this folder.
set -euo pipefail
tree=$(cd "$(dirname "$0")/../.." && pwd)
here=$tree/bench/soft_debian
out=$tree/build/bench root=$tree/build/bench/debian_root
mkdir -p "$out"
[ ! -s "$out/debian.img" ] || [ -n "$(find "$here" -newer "$out/debian.img" -type f)" ] || exit 0
rm -rf "$root" "$out/debian.img"
mmdebstrap --mode=root --variant=minbase --include=gcc,libc6-dev --aptopt='Apt::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    bookworm "$root" >"$out/debian.log" 2>&1 || { tail -n 5 "$out/debian.log" >&2; exit 1; }
mkdir "$root/bench"
install -m 755 "$here/init.sh" "$root/sbin/bench-init"
(cd "$root/bench" && apt-get download -qq hello) # by the host's own sources
deb=$(basename "$root"/bench/hello_*.deb)
{
    dpkg-deb -f "$root/bench/$deb"
    echo "Filename: ./$deb"
    echo "Size: $(stat -c %s "$root/bench/$deb")"
    echo "SHA256: $(sha256sum "$root/bench/$deb" | cut -d' ' -f1)"
} >"$root/bench/Packages"
echo "deb [trusted=yes] file:/bench ./" >"$root/bench/sources.list"
awk 'BEGIN {
    print "#include <stdio.h>\n#include <string.h>"
    for (i = 0; i < 500; i++)
        printf "struct s%d { int a, b; char name[16]; };\n" \
            "int f%d(struct s%d *s, const char *n, int k)\n{\n    int sum = k;\n" \
            "    for (int i = 0; i < s->a; i++)\n        sum += (s->b ^ i) %% (k + %d) + n[i %% 7];\n" \
            "    snprintf(s->name, sizeof(s->name), \"%%d\", sum);\n" \
            "    return sum + (int)strlen(s->name);\n}\n\n", i, i, i, i + 3
}' >"$root/bench/big.c"
mke2fs -q -t ext4 -d "$root" "$out/debian.img.new" 2G >/dev/null
mv "$out/debian.img.new" "$out/debian.img"
