#!/usr/bin/env bash
# Packs and unpacks trees with sealcast, GNU tar and bsdtar in turn, with all metadata, and prints
# medians with ratios to GNU tar. As root, since owners and file systems are made.
#
#   tests/bench/tree.sh [-r REPETITIONS] [-p NICE] [-w WORDS] [-D]
#
# WORDS are of pack, unpack, links, image and adapt; all but adapt unless given. The tree is
# /usr/share with /usr/include and some of /usr/lib, and with -D a Debian root as well, which
# debootstrap makes once in the target directory. Archives are in memory, and each tree is unpacked
# into a new ext4 file system there. -p as in tests/bench/cast.sh.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/bench/table.sh

target=${CARGO_TARGET_DIR:-target}
sealcast=$(realpath -m "${SEALCAST:-$target/release/sealcast}")
repetitions=5 nice=0 words='pack unpack links image' debian=
while getopts r:p:w:D option; do
    case $option in
        r) repetitions=$OPTARG ;;
        p) nice=$OPTARG ;;
        w) words=$OPTARG ;;
        D) debian=yes ;;
        *) echo 'usage: tree.sh [-r REPETITIONS] [-p NICE] [-w WORDS] [-D]' >&2 && exit 2 ;;
    esac
done

[ "$EUID" = 0 ] || die 'only root can make owners and file systems'
[ -x "$sealcast" ] || die "$sealcast is missing: cargo build --release"
[ -x /usr/bin/time ] || die 'time is missing: apt-get install time'
need bsdtar libarchive-tools
need zstd
need mkfs.ext4 e2fsprogs
prioritize "$nice"

mkdir -p "$target/bench"
work=$(mktemp -d /dev/shm/sealcast-bench-XXXXXX)
cleanup() {
    umount -q "$work/mnt" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
mkdir "$work/mnt"
threads=$(nproc)
export sealcast work threads

gnu=(tar --posix --xattrs --acls --selinux --numeric-owner)
export GNU="${gnu[*]}"
export TREE
gnu_pack() { $GNU -S -c -C "$TREE" . | zstd -q -T0 -3 -c; }
bsd_pack() {
    bsdtar --format=pax --xattrs --acls --numeric-owner --zstd \
        --options "zstd:compression-level=3,zstd:threads=$threads" -c -C "$TREE" .
}
our_pack() { "$sealcast" pack -q "$TREE"; }
our_long() { "$sealcast" pack -q --long "$TREE"; }
gnu_long() { $GNU -S -c -C "$TREE" . | zstd -q -T0 -3 --long=27 -c; }
gnu_unpack() { zstd -dc | $GNU '--xattrs-include=*' -xp -C "$work/mnt/tree"; }
bsd_unpack() { bsdtar -xp --xattrs --acls --numeric-owner -f - -C "$work/mnt/tree"; }
our_unpack() { "$sealcast" unpack -q --no-sync -C "$work/mnt/tree"; }
gnu_synced() { gnu_unpack && sync -f "$work/mnt"; }
our_synced() { "$sealcast" unpack -q -C "$work/mnt/tree"; }
gnu_image() { tar -S -c -C "$work" disk.img | zstd -q -T0 -3 -c; }
our_image() { "$sealcast" pack -q -C "$work" disk.img; }
# A consumer that takes $mb million bytes a second, as a network does: for time that it had nothing
# to take there is no credit, as pv -L gives it for seconds.
limited() {
    python3 -c '
import os, sys, time
rate, due = float(sys.argv[1]) * 1e6, 0.0
while data := os.read(0, 1 << 16):
    now = time.monotonic()
    due = max(due, now - 0.005) + len(data) / rate
    if due > now:
        time.sleep(due - now)' "$mb"
}
our_limited() { "$sealcast" pack -q "$@" "$TREE" | limited; }
gnu_limited() { $GNU -S -c -C "$TREE" . | zstd -q -T0 --adapt -c | limited; }
export -f limited gnu_pack bsd_pack our_pack our_long gnu_long gnu_unpack bsd_unpack our_unpack \
    gnu_synced our_synced gnu_image our_image our_limited gnu_limited

# A new file system for each run.
fresh() {
    truncate -s 6G "$work/disk"
    mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$work/disk"
    mount -o loop "$work/disk" "$work/mnt"
    mkdir "$work/mnt/tree"
}
gone() {
    umount "$work/mnt"
    rm "$work/disk"
}

pack() {
    TREE=$2
    # What is read once is in memory.
    tar -c -C "$TREE" . | cat >/dev/null
    table "pack $1" tar "sealcast pack|our_pack||$work/ours" "tar, zstd -T0|gnu_pack||$work/out" \
        "bsdtar, zstd|bsd_pack||$work/out" "sealcast pack --long|our_long||$work/out" \
        "tar, zstd -T0 --long=27|gnu_long||$work/out"
}

unpack() {
    TREE=$2
    our_pack >"$work/ours"
    gnu_pack >"$work/theirs"
    before() { fresh; }
    after() { gone; }
    table "unpack $1" tar "sealcast unpack --no-sync|our_unpack|$work/ours" \
        "tar, zstd -d|gnu_unpack|$work/theirs" "bsdtar|bsd_unpack|$work/theirs"
    table "unpack $1 to the disk" tar "sealcast unpack|our_synced|$work/ours" \
        "tar, zstd -d, sync|gnu_synced|$work/theirs"
    unset -f before after
}

# 200,000 symbolic links out of the tree and as many hard links.
links() {
    mkdir "$work/links"
    perl -e 'chdir shift; open F, ">file"; for (1 .. 200000) {
        symlink "/etc/$_", "s$_" or die; link "file", "h$_" or die }' "$work/links"
    TREE=$work/links
    our_pack >"$work/ours"
    rm -rf "$work/links"
    # On tmpfs: the time of a program, not of a disk.
    before() { mkdir -p "$work/mnt/tree"; }
    after() { rm -rf "$work/mnt/tree"; }
    repetitions=1 table '200,000 links of each kind' sealcast \
        "sealcast unpack|our_unpack|$work/ours" "bsdtar|bsd_unpack|$work/ours"
    unset -f before after
}

# A file system image with some data in it.
image() {
    truncate -s 4G "$work/disk.img"
    mkfs.ext4 -q -F "$work/disk.img"
    mount -o loop "$work/disk.img" "$work/mnt"
    cp -a /usr/lib/python3* /usr/include "$work/mnt/"
    umount "$work/mnt"
    table 'pack a sparse image' tar "sealcast pack|our_image||$work/out" \
        "tar -S, zstd -T0|gnu_image||$work/out"
    rm "$work/disk.img"
}

# Behind a consumer that takes so many MB a second.
adapt() {
    need python3
    TREE=$2
    local mb level rows repetitions=1
    for mb in 12 30 117 100000; do
        export mb
        rows=('sealcast pack --adapt|our_limited --adapt')
        for level in 1 2 3 5 7 9 12; do
            rows+=("sealcast pack --level $level|our_limited --level $level")
        done
        rows+=('tar, zstd -T0 --adapt|gnu_limited')
        table "$1 at $mb MB/s" 'sealcast pack --adapt' "${rows[@]}"
    done
}

mkdir -p "$work/usr/lib"
cp -a /usr/share /usr/include "$work/usr/"
cp -a /usr/lib/python3* /usr/lib/git-core "$work/usr/lib/" 2>/dev/null || true
trees=("usr $work/usr")
if [ -n "$debian" ]; then
    need debootstrap
    if [ ! -f "$target/bench/debian/etc/debian_version" ]; then
        site=$(apt-get indextargets --format '$(SITE)' | head -n 1)
        debootstrap --variant=minbase --include=python3,perl,openssh-client,git,vim,gcc bookworm \
            "$target/bench/debian" "$site" >/dev/null
    fi
    trees+=("debian $(realpath "$target/bench/debian")")
fi
echo "Medians of $repetitions; 'X=1' is the speed as a multiple of X's, bytes are a share of X's."
for word in $words; do
    case $word in
        links | image) "$word" ;;
        pack | unpack | adapt)
            for tree in "${trees[@]}"; do
                # shellcheck disable=SC2086
                "$word" $tree
            done
            ;;
        *) die "unknown word: $word" ;;
    esac
done
