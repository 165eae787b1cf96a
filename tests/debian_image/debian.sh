#!/usr/bin/env bash
# A whole Debian system through pack and unpack into a new ext4 file system, as a machine would be
# installed: the copy is compared with its source by our own comparison and by rsync, and has to
# run. As root, by hand; some minutes.
#
#   tests/debian_image/debian.sh [DEBIAN]
#
# DEBIAN is the root of such a system, which is only read. Without one, debootstrap makes one in
# the target directory, which the benchmarks use as well.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/bench/table.sh

[ "$EUID" = 0 ] || die 'only root can make owners and file systems'
need rsync
need mkfs.ext4 e2fsprogs
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
debian=${1:-$target/bench/debian}
if [ ! -f "$debian/etc/debian_version" ]; then
    need debootstrap
    site=$(apt-get indextargets --format '$(SITE)' | head -n 1)
    mkdir -p "$target/bench"
    debootstrap --variant=minbase --include=python3,perl,openssh-client,git,vim,gcc bookworm \
        "$debian" "$site" >/dev/null
fi
debian=$(realpath "$debian")
cargo build --quiet
sealcast=$target/debug/sealcast

work=$(mktemp -d "$target/whole-XXXXXX")
cleanup() {
    for place in proc dev; do umount -q "$work/mnt/copy/$place" 2>/dev/null || true; done
    umount -q "$work/mnt" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
truncate -s 6G "$work/disk"
mkfs.ext4 -q -F "$work/disk"
mkdir "$work/mnt"
mount -o loop "$work/disk" "$work/mnt"
copy=$work/mnt/copy

"$sealcast" pack "$debian" | "$sealcast" unpack -C "$copy"
entries=$(find "$copy" -printf x | wc -c)
echo "restored $entries objects"

# Our own comparison, which sees holes, too.
SEALCAST_TREES=$debian:$copy cargo test --quiet --test it -- --exact fidelity::trees_of_choice

# Another's: every difference in type, owner, mode, time, link, attribute, list or content.
differences=$(rsync -naHAXi --numeric-ids --checksum --delete --modify-window=-1 \
    "$debian/" "$copy/")
[ -z "$differences" ] || die "$differences"

# Packed again, it is the same archive.
one=$("$sealcast" pack "$debian" | sha256sum)
two=$("$sealcast" pack "$copy" | sha256sum)
[ "$one" = "$two" ] || die 'the copy packs to another archive'

# It runs. Packages know the checksums of their files.
mount -t proc none "$copy/proc"
mount --bind /dev "$copy/dev"
broken=$(chroot "$copy" dpkg --verify)
[ -z "$broken" ] || die "dpkg --verify: $broken"
[ "$(chroot "$copy" dpkg --audit)" = '' ] || die 'dpkg --audit'
chroot "$copy" python3 -c 'import hashlib, sqlite3, ssl, sys; print("python", sys.version)'
chroot "$copy" perl -e 'print "perl $^V\n"'
chroot "$copy" su nobody -s /bin/sh -c 'test "$(id -un)" = nobody'
umount "$copy/proc" "$copy/dev"
umount "$work/mnt"
e2fsck -fn "$work/disk" >/dev/null 2>&1 || die 'the file system is damaged'
echo 'the copy is the same, and runs'
