#!/bin/bash
# test/sys/links.sh: the programs that start for each machine or container load no library that takes long: notes 027, 033 and 037 say what each costs.
set -u

# Those that their sources ask for; a release links most of them into the programs.
declare -A allowed=(
    [socle]="libuv libjansson liburing libz libzstd libc ld-linux-x86-64"
    [socle-box]="libjansson libseccomp libc ld-linux-x86-64"
    [socle-vm]="libuv libjansson liburing libz libzstd liblzma liblz4 libcap-ng libZydis libc ld-linux-x86-64"
)
# What sanitizers and clang add.
tools="libasan libubsan libtsan libgcc_s libm libpthread libdl librt libstdc++"

status=0
for program in "${!allowed[@]}"; do
    while read -r library; do
        name=${library%%.so*}
        [[ " ${allowed[$program]} $tools " == *" $name "* ]] && continue
        echo "'$program' needs '$library'; allowed are: ${allowed[$program]}"
        status=1
    done < <(readelf -d "$SOCLE_BUILD/src/cmd/$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
done

# What runs before the C library (box/sealed_start.c) may call nothing of it.  Not in a build with sanitizers, which has none.
while read -r object; do
    wants=$(nm -u "$object" | awk '$2 != "_start" { print $2 }')
    [ -z "$wants" ] || { echo "'${object##*/}' wants '$wants', and may want nothing"; status=1; }
    entry=$(readelf -hW "$SOCLE_BUILD/src/cmd/socle-box" | sed -n 's/.*Entry point address: *//p')
    begins=$(nm "$SOCLE_BUILD/src/cmd/socle-box" | awk '$3 == "socle_box_start" { print $1 }')
    [ $((entry)) = $((16#${begins:-0})) ] || { echo "socle-box begins at $entry, not at its socle_box_start"; status=1; }
done < <(find "$SOCLE_BUILD/src" -name '*sealed_start.c.o')
exit $status
