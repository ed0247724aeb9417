#!/bin/sh
# tools/deps.sh: installs the Debian packages that the named groups need and that are not there yet.
# Usage: tools/deps.sh [build|check|guest|lab|bench|libvirt|engines|all]...   (no name means build)
# When everything is there it asks dpkg once and ends; it never upgrades or removes a package.
set -eu

# One row per package list: group, packages.  A package may stand in several groups.
packages() {
    cat <<'ROWS'
build   gcc make meson ninja-build pkg-config libc6-dev linux-libc-dev
build   libuv1-dev libjansson-dev libcmocka-dev liburing-dev libslirp-dev
build   libseccomp-dev libcap-ng-dev libfuse3-dev libsystemd-dev libprotobuf-c-dev protobuf-c-compiler
build   zlib1g-dev liblzma-dev liblz4-dev libzstd-dev
build   libzydis-dev
build   libnl-route-3-dev libnftables-dev libarchive-dev
build   nodejs npm
build   libncurses-dev
build   libsqlite3-dev libwebsockets-dev libwebsockets-evlib-uv libssl-dev libsodium-dev libcurl4-openssl-dev
check   clang-14 clang libclang-rt-14-dev clang-format-14 clang-tidy-14
check   python3 python3-yaml codespell shellcheck qemu-utils iproute2 acpica-tools gdb dnsmasq-base nftables systemd groff-base
check   chromium
check   uidmap skopeo umoci criu iptables
guest   mmdebstrap e2fsprogs fakeroot uidmap zstd xz-utils lz4 gzip python3
lab     qemu-system-x86 busybox-static cpio kmod zstd xz-utils gcc libc6-dev linux-libc-dev dnsmasq-base nftables iproute2
bench   qemu-system-x86 cpio gcc libc6-dev python3
bench   crun runc
libvirt libvirt-daemon-system libvirt-clients qemu-system-x86
engines containerd podman conmon uidmap e2fsprogs cpio kmod
ROWS
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "deps: not root and no sudo; as root, run: $*" >&2
        return 1
    fi
}

# Package lists are refreshed when apt knows no candidate of a package that Debian always has.
lists_missing() {
    ! apt-cache show linux-image-amd64 >/dev/null 2>&1
}

wanted() {
    for group; do
        packages | awk -v g="$group" '
            g == "all" || $1 == g { for (i = 2; i <= NF; i++) print $i; n++ }
            END { exit !n }' || {
            echo "deps: no group '$group'; there are: build check guest lab bench libvirt engines all" >&2
            return 1
        }
    done
}

main() {
    [ $# -gt 0 ] || set -- build
    all=$(wanted "$@")
    all=$(printf '%s\n' "$all" | sort -u)
    # shellcheck disable=SC2086
    have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $all 2>/dev/null |
        sed -n 's/^installed //p' | sort -u)
    missing=$(printf '%s\n' "$all" | awk -v have="$have" '
        BEGIN { n = split(have, h); for (i = 1; i <= n; i++) seen[h[i]] = 1 }
        !($1 in seen)' | tr '\n' ' ')

    # Where node is not Debian's, npm comes with it, and Debian's npm would replace both.
    if command -v node >/dev/null && command -v npm >/dev/null; then
        # shellcheck disable=SC2086
        missing=$(printf '%s\n' $missing | grep -vxE 'nodejs|npm|' | tr '\n' ' ')
    fi

    case " $* " in
    *" guest "* | *" lab "* | *" all "*) need_lists=yes ;; # these fetch packages of their own
    *) need_lists=no ;;
    esac
    if [ -n "$missing" ] || { [ $need_lists = yes ] && lists_missing; }; then
        echo "deps: refreshing apt's package lists" >&2
        as_root apt-get -q update >&2
    fi
    [ -n "$missing" ] || return 0

    echo "deps: installing $missing" >&2
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install $missing >&2
}

main "$@"
