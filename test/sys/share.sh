#!/bin/bash
# test/sys/share.sh: a Debian guest works in folders of the host: trees, sums on both sides, what the host changes meanwhile, owners, links,
# attributes, holes, the same random operations there and on its tmpfs, more files than there are descriptors, and a folder that it may only read.
# time limit: 600
set -u
tree=$(cd "$(dirname "$0")/../.." && pwd)
socle=$SOCLE_BUILD/src/cmd/socle
guest=$tree/.cache/guest
"$tree/tools/guest/build.sh" >/dev/null || { echo "no sample guest"; exit 77; }
dir=$(mktemp -d /tmp/socle-share-XXXXXX) # not in $TMPDIR, which another user cannot reach
chmod 755 "$dir"
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$dir"' EXIT
cp --sparse=always "$guest/root.img" "$dir/root.img"
uid=$(id -u)

fail() {
    echo "FAILED: $*"
    tail -n 60 "$dir"/*.out "$dir"/*.err "$dir/data/report"
    exit 1
}

# The guest runs go.sh of its folder "data" and goes off.
machine() { # NAME OPTION…
    local name=$1
    shift
    [ -p "$dir/in" ] || mkfifo "$dir/in"
    exec 3<>"$dir/in"
    # the first line may lose characters to the console's own start
    echo "
mount -t proc p /proc; modprobe virtiofs && mount -t virtiofs data /mnt && umount /mnt && mount -t virtiofs data /mnt && bash /mnt/go.sh; echo o >/proc/sysrq-trigger; sleep 100" >&3
    timeout 400 "$@" run --engine soft --cpus 2 --memory 512M --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --net none \
        --append "console=ttyS0 root=/dev/vda panic=-1 quiet init=/bin/sh" --disk "$dir/root.img,readonly" \
        --share "data=$dir/data" --share "fixed=$dir/fixed,readonly" --control "$dir/ctl" <"$dir/in" >"$dir/$name.out" 2>"$dir/$name.err"
    local status=$?
    exec 3>&-
    [ $status = 0 ] || fail "machine $name has status $status"
}

sums() { # DIR
    (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

mkdir "$dir/data" "$dir/fixed" "$dir/data/many"
echo fixed >"$dir/fixed/file"
echo outside >"$dir/canary"
ln -s ../canary "$dir/data/way_out"
(cd "$dir/data/many" && seq -f 'f%g' 6000 | xargs touch && mkdir below && cd below && seq -f 'g%g' 6000 | xargs touch)

cat >"$dir/data/random.pl" <<'EOT'
# The same operations in two folders, in the order that a seed gives; each must succeed or fail alike.
use strict;
my ($seed, @roots) = @ARGV;
my $steps = 1500;
srand($seed);
my @names = map { ("a$_", "d$_/x", "d$_/e/y") } 1 .. 6;
sub pick { $names[int rand @names] }
sub attempt {
    my ($root, $op, $x, $y, $n, $text) = @_;
    my ($p, $q) = ("$root/$x", "$root/$y");
    my $ok = 0;
    if    ($op == 0) { $ok = mkdir $p, 0700 | $n & 077 }
    elsif ($op == 1) { $ok = rmdir $p }
    elsif ($op == 2) { $ok = unlink $p }
    elsif ($op == 3) { $ok = rename $p, $q }
    elsif ($op == 4) { $ok = link $p, $q }
    elsif ($op == 5) { $ok = symlink $y, $p }
    elsif ($op == 6) { $ok = truncate $p, $n }
    elsif ($op == 7) { $ok = chmod 0600 | $n & 0177, $p }
    elsif ($op == 8) { $ok = utime $n, $n + 1, $p }
    elsif ($op == 9) { $ok = (mkdir("$root/d" . ($n % 6 + 1)), mkdir("$root/d" . ($n % 6 + 1) . "/e"))[0] }
    elsif (open my $f, $op == 10 ? '>>' : $op == 11 ? '+<' : $op == 12 ? '>' : '+>>', $p) {
        seek $f, $n, 0 if $op == 11;
        $ok = print $f $text;
        $ok = close($f) && $ok;
    }
    return ($ok ? 1 : 0) . ($ok ? "" : $! + 0);
}
for my $i (1 .. $steps) {
    my @step = (int rand 14, pick(), pick(), int rand 50000, chr(65 + $i % 26) x int rand 9000);
    my @got = map { attempt($_, @step) } @roots;
    next if $got[0] eq $got[1];
    print "step $i: operation $step[0] on $step[1], $step[2]: $got[0] and $got[1]\n";
    exit 1;
}
EOT

cat >"$dir/data/go.sh" <<'EOT'
exec >/mnt/report 2>&1
ok() { # NAME COMMAND…
    local name=$1
    shift
    if "$@"; then echo "ok $name"; else echo "BAD $name"; fi
}
is() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; false; }; }
until_seen() { for _ in $(seq 600); do "$@" && return 0; sleep 0.2; done; false; }
root=$(cat /mnt/as_root)
cd /mnt
mount -t tmpfs t /tmp

mkdir tree
ok tar eval 'tar -C /usr -cf - share/zoneinfo share/perl5 sbin | tar -C tree --no-same-owner -xf -'
ok same diff -r --no-dereference /usr/share/zoneinfo tree/share/zoneinfo
(cd /usr && find share/zoneinfo share/perl5 sbin -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) >sums.guest
ok run eval '[ "$(tree/sbin/ldconfig -V | head -c 8)" = ldconfig ]'
ok sync sync -f tree

: >ready
ok host_made until_seen test -e from_host
ok host_text eval 'is "$(cat from_host)" one'
: >again
ok host_changed until_seen eval 'grep -q another from_host'
ok host_gone until_seen eval '[ ! -e going ]'

echo text >a
ok hard_link eval 'ln a b && is "$(stat -c %h a)" 2 && [ a -ef b ]'
ok symlink eval 'ln -s a s && is "$(readlink s)" a && is "$(cat s)" text'
ok rename eval 'mkdir d && mv a d/a && mv d e && is "$(cat e/a)" text'
ok over eval 'echo new >n && mv n e/a && is "$(cat e/a)" new && is "$(cat b)" text'
ok mode eval 'chmod 640 b && is "$(stat -c %a b)" 640'
ok times eval 'touch -d @1000000000.25 b && is "$(stat -c %.2Y b)" 1000000000.25'
ok unlinked eval 'exec 5<>e/a && rm e/a && echo more >&5 && exec 5<&- && rmdir e'
ok append eval 'echo 1 >l && (for i in 2 3; do echo $i >>l; done) && is "$(wc -l <l)" 3'
ok sparse eval 'truncate -s 64M h && printf x | dd of=h bs=1 seek=40M conv=notrunc status=none && [ "$(stat -c %b h)" -lt 100 ]'
ok holes eval 'cp --sparse=always h h2 && cmp h h2 && [ "$(stat -c %b h2)" -lt 1000 ]'
ok fallocate eval 'fallocate -l 1M f && is "$(stat -c %s f)" 1048576 && fallocate -p -o 0 -l 512K f'
ok xattr perl -e 'my ($f, $n, $v) = ("b", "user.a", "value"); syscall(188, $f, $n, $v, 5, 0) == 0 or exit 1; my $b = " " x 20;
    my $l = syscall(191, $f, $n, $b, 20); exit substr($b, 0, $l) ne "value"'
ok lock eval 'flock -n b true'
ok fifo eval 'mkfifo p && (echo through >p & read -r x <p && is "$x" through)'
ok stat eval 'stat -f . >/dev/null'
ok outside eval '! cat way_out && [ -L way_out ]'
ok umask eval '(umask 027; >u) && is "$(stat -c %a u)" 640'
if [ "$root" = 1 ]; then
    ok owner eval 'chown 12:34 b && is "$(stat -c %u:%g b)" 12:34'
    ok denied eval 'chmod 600 b && ! setpriv --reuid 1000 --regid 1000 --clear-groups cat b'
    ok theirs eval 'mkdir -m 777 w && setpriv --reuid 1000 --regid 1001 --clear-groups sh -c "echo x >w/mine" && is "$(stat -c %u:%g w/mine)" 1000:1001'
    ok group_dir eval 'chown 0:77 w && chmod 2777 w && >w/of_group && is "$(stat -c %g w/of_group)" 77'
    ok set_id_kept eval 'cp /bin/true su && chmod 4755 su && printf x >>su && is "$(stat -c %a su)" 4755'
    ok set_id_lost eval 'chmod 4777 su && setpriv --reuid 1000 --regid 1000 --clear-groups sh -c "printf x >>su" && until_seen test ! -u su'
    ok no_device eval '! mknod null c 1 3 && test ! -e null'
else
    ok owner eval '! chown 12:34 b'
    ok owner_kept eval 'chown "$(stat -c %u:%g b)" b'
fi

mkdir -p /tmp/r random
for seed in 1 2 3; do
    mkdir /tmp/r/$seed random/$seed
    ok random_$seed perl random.pl $seed /tmp/r/$seed random/$seed
    ok random_same_$seed diff -r --no-dereference /tmp/r/$seed random/$seed
    list='%P %y %m %n %l'
    ok random_list_$seed eval 'is "$(cd /tmp/r/$seed && find . \( -type d -o -printf "%s " \) -printf "$list\n" | sort)" \
        "$(cd random/$seed && find . \( -type d -o -printf "%s " \) -printf "$list\n" | sort)"'
done

ok many eval 'is "$(find many -type f -printf "%i\n" | wc -l)" 12000'
ok many_again eval 'is "$(find many -type f -printf "%s %m\n" | sort -u | wc -l)" 1'
ok many_moved eval 'mv many moved && chmod 600 moved/below/* && is "$(find moved/below -perm 600 -type f | wc -l)" 6000 && rm -r moved'

mkdir /tmp/fixed && mount -t virtiofs fixed /tmp/fixed
ok fixed eval 'is "$(cat /tmp/fixed/file)" fixed'
for what in 'echo x >/tmp/fixed/new' 'echo x >/tmp/fixed/file' 'rm /tmp/fixed/file' 'mkdir /tmp/fixed/d' 'chmod 777 /tmp/fixed/file' 'mv /tmp/fixed/file /tmp/fixed/g' \
    'touch /tmp/fixed/file' 'ln /tmp/fixed/file /tmp/fixed/g'; do
    ok "fixed: $what" eval '! eval "$what"'
done
ok unmount umount /tmp/fixed
echo complete
EOT

# What the host does while the guest waits for it.
play_host() {
    while [ ! -e "$dir/data/ready" ]; do sleep 0.1; done
    "$socle" ctl "$dir/ctl" suspend "$dir/saved" >"$dir/suspend" 2>&1 && echo "it was saved" >>"$dir/suspend"
    : >"$dir/data/going"
    echo one >"$dir/data/new" && mv "$dir/data/new" "$dir/data/from_host"
    while [ ! -e "$dir/data/again" ]; do sleep 0.1; done
    pgrep -f "socle-share --dir $dir/data" | while read -r pid; do grep -h Seccomp: "/proc/$pid/status"; done >"$dir/confined"
    rm "$dir/data/going"
    echo "another line" >>"$dir/data/from_host"
}

check() { # NAME
    grep -q '^BAD' "$dir/data/report" && fail "$1: in the guest: $(grep '^BAD' "$dir/data/report")"
    grep -q '^complete$' "$dir/data/report" || fail "$1: the guest did not come to its end"
    sums "$dir/data/tree" | sed 's,\./,,' | cmp -s - "$dir/data/sums.guest" || fail "$1: the host's sums are not the guest's"
    grep -q "machine has the shared folder 'data': it cannot be saved" "$dir/suspend" || fail "$1: suspend: $(cat "$dir/suspend")"
    [ "$(cat "$dir/confined")" = "$(printf 'Seccomp:\t2')" ] || fail "$1: the server is not confined"
    [ "$(cat "$dir/canary")" = outside ] || fail "$1: what is outside was changed"
    [ "$(ls "$dir/fixed")" = file ] || fail "$1: the folder that may only be read was changed"
    pgrep -f "socle-share --dir $dir/" >/dev/null && sleep 1 && pgrep -f "socle-share --dir $dir/" && fail "$1: a server is left"
    echo "$1: $(grep -c ^ok "$dir/data/report") checks"
}

[ "$uid" = 0 ] && echo 1 >"$dir/data/as_root" || echo 0 >"$dir/data/as_root"
play_host &
# Fewer descriptors than files: 12,000 are looked at.
(ulimit -n 2048 && machine first "$socle") || exit 1
check first

# The same for an ordinary user, where root runs the test.
if [ "$uid" = 0 ] && setpriv --reuid 65534 --regid 65534 --clear-groups "$socle" help >/dev/null 2>&1 &&
    setpriv --reuid 65534 --regid 65534 --clear-groups unshare -Urm true 2>/dev/null; then
    rm -rf "$dir"/data/{tree,ready,again,from_host,random,report} "$dir/in"
    find "$dir/data" -mindepth 1 ! -name go.sh ! -name random.pl ! -name way_out -delete
    mkdir "$dir/data/many"
    (cd "$dir/data/many" && seq -f 'f%g' 6000 | xargs touch && mkdir below && cd below && seq -f 'g%g' 6000 | xargs touch)
    echo 0 >"$dir/data/as_root"
    chown -R 65534:65534 "$dir"
    play_host &
    machine user setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$dir" "$socle"
    check user
fi

# A machine of socled: what it refuses, and that the folder's server comes and goes with the machine.
daemon() {
    local own=(--dir "$dir/socled") i
    "$SOCLE_BUILD/src/cmd/socled" "${own[@]}" >"$dir/socled.out" 2>"$dir/socled.err" &
    local socled=$!
    for i in $(seq 100); do "$socle" info "${own[@]}" >/dev/null 2>&1 && break; sleep 0.1; done
    set -- --kernel "$guest/vmlinuz" --initrd "$guest/initrd" --disk "$dir/root.img,readonly" --net none --engine soft
    "$socle" create "${own[@]}" web1 "$@" --share data=/nowhere/at/all 2>&1 | grep -q "share 'data': there is no folder" || fail "a folder that is not there"
    (cd "$dir" && "$socle" create "${own[@]}" web1 "$@" --share data=data,readonly) || fail "create"
    "$socle" start "${own[@]}" web1 || fail "start"
    pgrep -f "socle-share --dir $dir/data .*--readonly" >/dev/null || fail "the machine has no server"
    "$socle" suspend "${own[@]}" web1 2>&1 | grep -q "has the shared folder 'data'" || fail "suspend of a machine with a folder"
    "$socle" stop "${own[@]}" --force web1 || fail "stop"
    for i in $(seq 100); do pgrep -f "socle-share --dir $dir/data" >/dev/null || break; sleep 0.1; done
    [ "$i" -lt 100 ] || fail "a server outlives its machine"
    "$socle" delete "${own[@]}" --force web1 || fail "delete"
    kill $socled
    wait $socled
    echo "socled: passed"
}
export dir guest socle SOCLE_BUILD
export -f daemon fail
mkdir "$dir/socled"
as_root=-r
[ "$uid" != 0 ] || as_root=
# shellcheck disable=SC2086
unshare $as_root -n bash -c daemon || exit 1
