//! Trees for the tests: one with everything that is hard to keep, for root.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mkdirat,
    mknodat, openat, utimensat,
};

const MIB: u64 = 1 << 20;

/// The longest path.
const PATH_BYTES_MAX: usize = 4095;

pub(crate) fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn time(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec {
        tv_sec: secs,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn node(path: &Path, kind: FileType, bits: u32, device: u64) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(bits), device).unwrap();
    mode(path, bits);
}

pub(crate) fn xattr(path: &Path, name: &[u8], value: &[u8]) {
    lsetxattr(path, name, value, XattrFlags::empty())
        .unwrap_or_else(|e| panic!("{} {}: {e}", path.display(), name.escape_ascii()));
}

/// Fills `root`, an existing directory, with everything that an archiver can lose. Needs root, and
/// a file system with all kinds of attributes. A socket is not among it.
/// Directories are `depth` deep; with 70, the deepest paths are nearly as long as may be.
pub(crate) fn nasty(root: &Path, depth: usize) {
    for part in [links, holes, attributes, lists, nodes, metadata] {
        part(root);
    }
    names(root, depth);
    chown(root, Some(5), Some(7)).unwrap();
    mode(root, 0o711);
    xattr(root, b"user.on-root", b"root\n");
    times_of_directories(root);
}

fn links(root: &Path) {
    let d = root.join("links");
    fs::create_dir_all(d.join("sub")).unwrap();
    fs::write(d.join("a"), [b'A'; 5000]).unwrap();
    fs::hard_link(d.join("a"), d.join("b")).unwrap();
    fs::hard_link(d.join("a"), d.join("sub/c")).unwrap();
    symlink("nowhere", d.join("sym1")).unwrap();
    fs::hard_link(d.join("sym1"), d.join("sym2")).unwrap();
    symlink("/etc/passwd", d.join("abs1")).unwrap();
    fs::hard_link(d.join("abs1"), d.join("abs2")).unwrap();
    fs::hard_link(d.join("sym1"), d.join("sub/sym3")).unwrap();
    node(&d.join("fifo1"), FileType::Fifo, 0o600, 0);
    fs::hard_link(d.join("fifo1"), d.join("fifo2")).unwrap();
    fs::hard_link(d.join("fifo1"), d.join("sub/fifo3")).unwrap();
    node(
        &d.join("dev1"),
        FileType::CharacterDevice,
        0o600,
        makedev(1, 3),
    );
    fs::hard_link(d.join("dev1"), d.join("sub/dev2")).unwrap();
    fs::hard_link(d.join("a"), root.join("zz-link-to-a")).unwrap();
    // A long name that is linked to.
    let long = d.join("l".repeat(200));
    fs::write(&long, "long").unwrap();
    fs::hard_link(&long, d.join("zz-to-long")).unwrap();
}

fn holes(root: &Path) {
    let d = root.join("holes");
    fs::create_dir(&d).unwrap();
    let make = |name: &str, size: u64, data: &[(u64, u64)]| {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(d.join(name))
            .unwrap();
        file.set_len(size).unwrap();
        for &(offset, len) in data {
            let byte = b'a' + u8::try_from((offset >> 16) % 26).unwrap();
            file.write_all_at(&vec![byte; usize::try_from(len).unwrap()], offset)
                .unwrap();
        }
    };
    make("all", 10 * MIB, &[]);
    make("head", 4 * MIB, &[(0, MIB)]);
    make("tail", 4 * MIB, &[(3 * MIB, MIB)]);
    make("middle", 8 * MIB, &[(4 * MIB, MIB)]);
    let many: Vec<_> = (0..60).map(|i| (i * MIB, 65536)).collect();
    make("many", 64 * MIB, &many);
    make("odd", 3 * MIB + 777, &[(MIB + 4096, 5000)]);
    make("dense", MIB, &[(0, MIB)]);
    make("big", 9 * 1024 * MIB + 5, &[(8 * 1024 * MIB + 4096, 4096)]);
    // A long name of a file with holes.
    make(&"h".repeat(150), MIB, &[(0, 4096)]);
    fs::write(d.join("zeros"), vec![0; 1 << 20]).unwrap();
    fs::hard_link(d.join("middle"), d.join("middle-again")).unwrap();
}

fn attributes(root: &Path) {
    let d = root.join("attributes");
    fs::create_dir(&d).unwrap();
    let file = |name: &str| {
        let path = d.join(name);
        fs::write(&path, "x").unwrap();
        path
    };
    let all: Vec<u8> = (0..=255).collect();
    let f = file("user");
    xattr(&f, b"user.simple", b"hello");
    xattr(&f, b"user.empty", b"");
    xattr(&f, b"user.binary", &all);
    xattr(&f, b"trusted.t", b"t");
    let f = file("newline");
    xattr(&f, b"user.nl", b"line1\nline2\n\n30 size=7\nline4");
    xattr(&f, b"user.zz", b"after");
    let f = file("keys");
    xattr(&f, b"user.a=b", b"equals");
    xattr(&f, b"user.a%3Db%25", b"percent");
    xattr(&f, b"user.sp ace", b"space");
    xattr(&f, b"user.\xff\xfe", b"no text");
    xattr(&f, b"user.new\nline", b"line");
    xattr(&file("big"), b"user.big", &[b'B'; 3000]);
    xattr(&d, b"user.on-directory", b"d");
    xattr(&d, b"trusted.on-directory", b"t");
    xattr(&d, b"security.selinux", b"system_u:object_r:usr_t:s0\0");
    symlink("user", d.join("link")).unwrap();
    xattr(&d.join("link"), b"trusted.on-link", b"L\0\n");
    let label = b"system_u:object_r:lnk_t:s0\0";
    xattr(&d.join("link"), b"security.selinux", label);
    node(&d.join("fifo"), FileType::Fifo, 0o644, 0);
    xattr(&d.join("fifo"), b"trusted.on-fifo", b"F");
    xattr(
        &file("label"),
        b"security.selinux",
        b"system_u:object_r:bin_t:s0\0",
    );
    // Capabilities, one with a byte that is a newline, one on a file that is not root's.
    let capability = |path: &Path, bits: u32| {
        let mut value = 0x0200_0001u32.to_le_bytes().to_vec();
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&[0; 12]);
        xattr(path, b"security.capability", &value);
    };
    capability(&file("cap-raw"), 1 << 13);
    capability(&file("cap-newline"), 0x0a);
    let f = file("cap-owned");
    chown(&f, Some(1234), Some(1234)).unwrap();
    mode(&f, 0o4755);
    capability(&f, 1 << 10);
}

/// An access list's value: entries of tag, permissions and number.
pub(crate) fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&bits.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

fn lists(root: &Path) {
    const NONE: u32 = u32::MAX;
    let d = root.join("lists");
    fs::create_dir(&d).unwrap();
    let value = list(&[
        (1, 6, NONE),
        (2, 6, 1000),
        (4, 4, NONE),
        (8, 4, 2000),
        (16, 6, NONE),
        (32, 0, NONE),
    ]);
    fs::write(d.join("file"), "f").unwrap();
    xattr(&d.join("file"), b"system.posix_acl_access", &value);
    fs::create_dir(d.join("dir")).unwrap();
    fs::write(d.join("dir/inside"), "made before the default list").unwrap();
    xattr(&d.join("dir"), b"system.posix_acl_default", &value);
    xattr(&d.join("dir"), b"system.posix_acl_access", &value);
    // A default list alone, and a long one.
    fs::create_dir(d.join("only-default")).unwrap();
    xattr(&d.join("only-default"), b"system.posix_acl_default", &value);
    let mut many = vec![(1, 6, NONE)];
    many.extend((0..10).map(|i| (2, 4, 3000 + i)));
    many.extend([(4, 4, NONE), (16, 4, NONE), (32, 4, NONE)]);
    fs::write(d.join("many"), "m").unwrap();
    xattr(&d.join("many"), b"system.posix_acl_access", &list(&many));
}

fn nodes(root: &Path) {
    let d = root.join("nodes");
    fs::create_dir(&d).unwrap();
    node(
        &d.join("null"),
        FileType::CharacterDevice,
        0o666,
        makedev(1, 3),
    );
    node(&d.join("disk"), FileType::BlockDevice, 0o660, makedev(8, 0));
    lchown(d.join("disk"), Some(0), Some(6)).unwrap();
    node(
        &d.join("big"),
        FileType::CharacterDevice,
        0o600,
        makedev(4095, 1_048_575),
    );
    node(
        &d.join("whiteout"),
        FileType::CharacterDevice,
        0,
        makedev(0, 0),
    );
    node(
        &d.join("big-disk"),
        FileType::BlockDevice,
        0o600,
        makedev(4095, 1_048_575),
    );
    node(&d.join("fifo"), FileType::Fifo, 0o622, 0);
}

fn names(root: &Path, depth: usize) {
    let d = root.join("names");
    fs::create_dir(&d).unwrap();
    let long = [b'n'; 255];
    let names: [&[u8]; 17] = [
        b"\xff\xfe\x80",
        b"new\nline",
        b"back\\slash",
        b"-dash",
        b"trail ",
        b"tab\there",
        "\u{fc}n\u{ef}".as_bytes(),
        b"a=b",
        b"*?[x]",
        b"...",
        b"..foo",
        b"\x1b[31m",
        &long,
        &long[..93],
        &long[..94],
        &long[..95],
        &long[..100],
    ];
    for name in names {
        fs::write(d.join(OsStr::from_bytes(name)), name).unwrap();
    }
    let link = |name: &str, target: Vec<u8>| {
        symlink(OsString::from_vec(target), d.join(name)).unwrap();
    };
    link("to-no-text", b"t\xff\xe9".to_vec());
    link("to-long", vec![b'x'; 4000]);
    link("to-longest", vec![b'y'; 4095]);
    link("to-100", vec![b'l'; 100]);
    link("to-101", vec![b'l'; 101]);
    link("to-dots", b"../../..//a/./b/".to_vec());
    // Deeper than a path may be long.
    let mut at = openat(CWD, &d, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
    for i in 0..depth {
        let name = format!("{i:02}_{}", "d".repeat(50));
        mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
        at = openat(&at, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
        if i % 40 == 9 {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            let fd = openat(&at, "leaf", flags, Mode::from_raw_mode(0o644)).unwrap();
            rustix::io::write(fd, b"leaf").unwrap();
        }
    }
    // A path from the root that is as long as the system takes any.
    let left = PATH_BYTES_MAX.saturating_sub("names".len() + depth * 54 + 2);
    if left <= 2 * 255 {
        let name = "e".repeat(left / 2);
        mkdirat(&at, &name, Mode::from_raw_mode(0o755)).unwrap();
        at = openat(&at, &name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap();
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let name = "z".repeat(left - left / 2);
        openat(&at, name, flags, Mode::from_raw_mode(0o644)).unwrap();
    }
}

fn metadata(root: &Path) {
    let d = root.join("metadata");
    fs::create_dir(&d).unwrap();
    for id in [65_534, 2_097_151, 2_097_152, 4_294_967_294] {
        let path = d.join(format!("owner-{id}"));
        fs::write(&path, "o").unwrap();
        chown(&path, Some(id), Some(id)).unwrap();
    }
    for bits in [0o4755, 0o2755, 0o1777, 0o0000, 0o6711, 0o7777] {
        let path = d.join(format!("mode-{bits:04o}"));
        fs::write(&path, "m").unwrap();
        mode(&path, bits);
    }
    let path = d.join("suid-of-another");
    fs::write(&path, "m").unwrap();
    chown(&path, Some(33), Some(33)).unwrap();
    mode(&path, 0o6755);
    fs::create_dir_all(d.join("ro/sub")).unwrap();
    fs::write(d.join("ro/sub/f"), "f").unwrap();
    mode(&d.join("ro/sub"), 0o500);
    mode(&d.join("ro"), 0o555);
    fs::create_dir(d.join("sgid")).unwrap();
    fs::write(d.join("sgid/inside"), "i").unwrap();
    chown(d.join("sgid"), Some(0), Some(50)).unwrap();
    mode(&d.join("sgid"), 0o2775);
    fs::create_dir(d.join("empty")).unwrap();
    for bits in [0o0000, 0o1777, 0o7777] {
        let path = d.join(format!("dir-{bits:04o}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "i").unwrap();
        mode(&path, bits);
    }
    for size in [0, 1, 511, 512, 513, 1024] {
        fs::write(d.join(format!("size-{size}")), vec![b'e'; size]).unwrap();
    }
    let times = [
        ("ns", 1_700_000_000, 123_456_789),
        ("negative", -1_234_567_890, 0),
        ("negative-ns", -2, 500_000_000),
        ("zero", 0, 0),
        ("zero-ns", 0, 5),
        ("y2100", 4_102_444_800, 1),
        ("y2400", 13_569_465_600, 999_999_999),
    ];
    for (name, secs, nanos) in times {
        let path = d.join(format!("time-{name}"));
        fs::write(&path, "t").unwrap();
        time(&path, secs, nanos);
    }
    symlink("x", d.join("time-link")).unwrap();
    lchown(d.join("time-link"), Some(77), Some(88)).unwrap();
    time(&d.join("time-link"), 1_000_000_000, 7);
}

fn times_of_directories(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        // The deepest ones cannot be named by a path; theirs are the clock's.
        let short = entry.path().as_os_str().len() < 4000;
        if entry.file_type().unwrap().is_dir() && short {
            times_of_directories(&entry.path());
        }
    }
    time(dir, 1_600_000_000, 987_654_321);
}
