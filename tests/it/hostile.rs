//! Archives that mean harm, and some that only look like it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::archive::{good, only, said, unpack};

/// Header fields for hostile archives.
pub(crate) struct Forge(pub(crate) Vec<u8>);

impl Forge {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn header(mut self, kind: u8, name: &[u8], link: &[u8], size: u64) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.as_old_mut().linkflag = [kind];
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getegid().as_raw()));
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    /// Gives the last header another mode.
    pub(crate) fn mode(self, mode: u32) -> Self {
        self.field(100, format!("{mode:07o}\0").as_bytes())
    }

    /// Gives the last header another owner.
    pub(crate) fn owner(self, id: u32) -> Self {
        let id = format!("{id:07o}\0");
        self.field(108, id.as_bytes()).field(116, id.as_bytes())
    }

    /// Overwrites a field of the last header.
    fn field(mut self, at: usize, bytes: &[u8]) -> Self {
        let block = self.0.len() - 512;
        self.0[block + at..block + at + bytes.len()].copy_from_slice(bytes);
        let mut header = tar::Header::from_byte_slice(&self.0[block..]).clone();
        header.set_cksum();
        self.0[block..].copy_from_slice(header.as_bytes());
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn dir(self, name: &[u8]) -> Self {
        self.header(b'5', name, b"", 0)
    }

    pub(crate) fn file(self, name: &[u8], content: &[u8]) -> Self {
        self.header(b'0', name, b"", content.len() as u64)
            .raw(content)
    }

    pub(crate) fn symlink(self, name: &[u8], to: &[u8]) -> Self {
        self.header(b'2', name, to, 0)
    }

    pub(crate) fn link(self, name: &[u8], to: &[u8]) -> Self {
        self.header(b'1', name, to, 0)
    }

    pub(crate) fn records(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            sealcast::archive::pax::emit(&mut body, key.as_bytes(), value);
        }
        self.header(kind, b"x", b"", body.len() as u64).raw(&body)
    }

    pub(crate) fn done(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// What an archive tries, and the archive.
pub(crate) type Case = (&'static str, Vec<u8>);

fn names() -> Vec<Case> {
    let f = Forge::new;
    vec![
        ("absolute", f().file(b"/tmp/sealcast-evil", b"x").done()),
        ("dotdot", f().file(b"../evil", b"x").done()),
        (
            "dotdot inside",
            f().dir(b"d/").file(b"d/../../evil", b"x").done(),
        ),
        ("empty name", f().file(b"", b"x").done()),
        ("hollow name", f().file(b"a//b", b"x").done()),
        ("root as file", f().file(b".", b"x").done()),
        ("root as link", f().symlink(b"./", b"/etc").done()),
        ("file with slash", f().file(b"a/", b"x").done()),
    ]
}

fn links() -> Vec<Case> {
    let f = Forge::new;
    vec![
        ("link outside", f().link(b"a", b"../small/empty").done()),
        ("link absolute", f().link(b"a", b"/etc/passwd").done()),
        ("link to nothing", f().link(b"a", b"b").done()),
        ("link to itself", f().link(b"a", b"a").done()),
        (
            "link to later",
            f().link(b"a", b"b").file(b"b", b"x").done(),
        ),
        ("link to directory", f().dir(b"d/").link(b"a", b"d").done()),
        (
            "link through symlink",
            f().symlink(b"s", b"..").link(b"a", b"s/evil").done(),
        ),
        (
            "link with content",
            f().file(b"a", b"1")
                .header(b'1', b"b", b"a", 5)
                .raw(b"hello")
                .done(),
        ),
    ]
}

fn types() -> Vec<Case> {
    let f = Forge::new;
    vec![
        (
            "through a symlink",
            f().symlink(b"l", b"..").file(b"l/evil", b"x").done(),
        ),
        (
            "symlink, then directory",
            f().symlink(b"l", b"/tmp").dir(b"l/").done(),
        ),
        (
            "symlink, then file",
            f().symlink(b"l", b"../evil").file(b"l", b"x").done(),
        ),
        (
            "file, then symlink",
            f().file(b"l", b"x").symlink(b"l", b"/etc").done(),
        ),
        ("twice", f().file(b"a", b"1").file(b"a", b"2").done()),
        ("directory twice", f().dir(b"a/").dir(b"a/").done()),
        (
            "under a file",
            f().file(b"a", b"1").file(b"a/b", b"2").done(),
        ),
        ("unknown type", f().header(b'Z', b"z", b"", 0).done()),
        ("volume label", f().header(b'V', b"z", b"", 0).done()),
        ("multi-volume", f().header(b'M', b"z", b"", 0).done()),
        // Its content is an entry to readers that take it for an empty one.
        (
            "directory with content",
            f().header(0, b"d/", b"", 512).dir(b"e/").done(),
        ),
    ]
}

fn records() -> Vec<Case> {
    let f = Forge::new;
    vec![
        (
            "path in global",
            f().records(b'g', &[("path", b"../evil")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "size in global",
            f().records(b'g', &[("size", b"1")]).file(b"a", b"x").done(),
        ),
        (
            "path in record",
            f().records(b'x', &[("path", b"/tmp/evil")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "nul in record",
            f().records(b'x', &[("path", b"a\0b")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "two records",
            f().records(b'x', &[("path", b"b")])
                .records(b'x', &[])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "records, long name",
            f().records(b'x', &[("size", b"0")])
                .header(b'L', b"l", b"", 2)
                .raw(b"b\0")
                .file(b"a", b"x")
                .done(),
        ),
        (
            "records, then end",
            f().records(b'x', &[("path", b"b")]).done(),
        ),
        (
            "records unframed",
            f().header(b'x', b"x", b"", 6)
                .raw(b"7 a=b\n")
                .file(b"a", b"x")
                .done(),
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let f = Forge::new;
    vec![
        (
            "bad size",
            f().records(b'x', &[("size", b"-1")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "negative size",
            f().header(b'0', b"a", b"", 0)
                .field(124, &[0xff; 12])
                .done(),
        ),
        (
            "size of 88 bits",
            f().header(b'0', b"a", b"", 0)
                .field(124, b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
                .done(),
        ),
        (
            "great device",
            f().header(b'3', b"a", b"", 0)
                .field(329, b"\x80\0\0\0\xff\xff\xff\xff")
                .done(),
        ),
        (
            "negative device",
            f().header(b'4', b"a", b"", 0).field(337, &[0xff; 8]).done(),
        ),
        (
            "great size",
            f().records(b'x', &[("size", b"18446744073709551615")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "bad time",
            f().records(b'x', &[("mtime", b"1e9")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "great owner",
            f().records(b'x', &[("uid", b"4294967295")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "records bomb",
            f().header(b'x', b"x", b"", 64 << 20)
                .raw(&vec![b'1'; 4096])
                .done(),
        ),
        (
            "long name bomb",
            f().header(b'L', b"x", b"", 64 << 20)
                .raw(&vec![b'n'; 4096])
                .done(),
        ),
        (
            "long empty name",
            f().header(b'L', b"x", b"", 1)
                .raw(b"\0")
                .file(b"a", b"x")
                .done(),
        ),
    ]
}

fn maps() -> Vec<Case> {
    let f = Forge::new;
    vec![
        (
            "sparse beyond",
            f().records(
                b'x',
                &[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"9,2")],
            )
            .file(b"a", b"xy")
            .done(),
        ),
        (
            "sparse overlap",
            f().records(
                b'x',
                &[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"2,1,1,1")],
            )
            .file(b"a", b"xy")
            .done(),
        ),
        (
            "sparse short",
            f().records(
                b'x',
                &[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,1")],
            )
            .file(b"a", b"xy")
            .done(),
        ),
        (
            "sparse on a link",
            f().records(b'x', &[("GNU.sparse.size", b"10")])
                .symlink(b"a", b"x")
                .done(),
        ),
        (
            "sparse name",
            f().records(
                b'x',
                &[
                    ("GNU.sparse.name", b"../evil"),
                    ("GNU.sparse.size", b"2"),
                    ("GNU.sparse.map", b"0,2"),
                ],
            )
            .file(b"a", b"xy")
            .done(),
        ),
    ]
}

fn wholes() -> Vec<Case> {
    let f = Forge::new;
    vec![
        (
            "newer version",
            f().records(b'g', &[("comment", b"sealcast archive 2")])
                .done(),
        ),
        (
            "ours without totals",
            f().records(b'g', &[("comment", b"sealcast archive 1")])
                .file(b"a", b"x")
                .done(),
        ),
        (
            "wrong totals",
            f().records(b'g', &[("comment", b"sealcast archive 1")])
                .file(b"a", b"x")
                .records(b'g', &[("comment", b"sealcast totals 2 1 0")])
                .done(),
        ),
        (
            "after totals",
            f().records(b'g', &[("comment", b"sealcast archive 1")])
                .records(b'g', &[("comment", b"sealcast totals 0 0 0")])
                .file(b"a", b"x")
                .done(),
        ),
        ("checksum", {
            let mut a = f().file(b"a", b"x").file(b"b", b"x").done();
            a[1024] ^= 1;
            a
        }),
        (
            "huge file",
            f().file(b"a", b"x").header(b'0', b"b", b"", 1 << 40).done(),
        ),
        (
            "deeper than a tree may be",
            f().header(b'L', b"x", b"", 4099)
                .raw(&[&b"a/".repeat(2049)[..], b"\0"].concat())
                .dir(b"x")
                .done(),
        ),
        (
            "deep",
            f().header(b'L', b"x", b"", 20_000)
                .raw(&b"a/".repeat(10_000))
                .dir(b"x")
                .done(),
        ),
    ]
}

/// Archives that are refused, each for one reason.
pub(crate) fn harmful() -> Vec<Case> {
    let cases = [names, links, types, records, sizes, maps, wholes];
    cases.iter().flat_map(|group| group()).collect()
}

#[test]
fn hostile_archives_are_refused() {
    let cases = harmful();
    assert_eq!(cases.len(), 59);
    let dir = tempfile::tempdir().unwrap();
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    for (name, archive) in cases {
        let out = unpack(&archive, &area.join("b"), &[]);
        assert_eq!(out.status.code(), Some(3), "{name}: {}", said(&out));
        assert!(said(&out).contains("error: "), "{name}");
        only(&area, &[]);
    }
    only(dir.path(), &["area"]);
}

/// So many directories with nearly 1 MiB of attributes each.
pub(crate) fn attributes(directories: u32) -> Vec<u8> {
    let values: Vec<_> = (0..15).map(|i| format!("SCHILY.xattr.user.{i}")).collect();
    let value = vec![b'v'; 65_000];
    let records: Vec<(&str, &[u8])> = values.iter().map(|key| (&**key, &*value)).collect();
    let add = |a: Forge, i| a.records(b'x', &records).dir(format!("{i}/").as_bytes());
    (0..directories).fold(Forge::new(), add).done()
}

#[test]
fn what_is_kept_of_entries_is_bounded_by_its_bytes() {
    let attributes = attributes(5);
    let many = |add: fn(Forge, &[u8]) -> Forge| {
        let names = (0..2000).map(|n| format!("{n:050}"));
        names
            .fold(Forge::new(), |a, name| add(a, name.as_bytes()))
            .done()
    };
    let directories = many(Forge::dir);
    let implied = many(|a, name| a.symlink(&[name, b"/l"].concat(), b"x"));
    let links = many(|a, name| a.symlink(name, b"x"));
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("attributes", attributes, "5000000", "4800000"),
        ("directories", directories, "270000", "250000"),
        ("implied", implied, "350000", "330000"),
        ("links", links, "80001", "79999"),
    ];
    for (name, archive, enough, little) in cases {
        let b = dir.path().join(name);
        let out = unpack(&archive, &b, &["--no-xattrs", "--max-memory", little]);
        let out = match name {
            // They are not kept then.
            "attributes" => {
                good(&out);
                fs::remove_dir_all(&b).unwrap();
                unpack(&archive, &b, &["--max-memory", little])
            }
            _ => out,
        };
        assert_eq!(out.status.code(), Some(3), "{name}: {}", said(&out));
        assert!(said(&out).contains("--max-memory"), "{}", said(&out));
        only(dir.path(), &[]);
        let out = unpack(&archive, &b, &["--no-xattrs", "--max-memory", enough]);
        good(&out);
        fs::remove_dir_all(&b).unwrap();
    }
}

#[test]
fn every_name_is_data() {
    let names = [".sealcast-incomplete", ".sealcast-0123456789abcdef.partial"];
    let archive = names.iter().fold(Forge::new(), |a, name| {
        a.file(name.as_bytes(), b"x")
            .file(format!("d/{name}").as_bytes(), b"x")
            .dir(format!("e/{name}/").as_bytes())
            .file(format!("e/{name}/stage").as_bytes(), b"x")
    });
    let archive = archive.done();
    let dir = tempfile::tempdir().unwrap();
    for args in [&[][..], &["--replace"], &["--merge"], &["--merge"]] {
        let out = unpack(&archive, &dir.path().join("b"), args);
        good(&out);
        assert!(out.stderr.is_empty(), "{}", said(&out));
        for name in names {
            for path in [name, &format!("d/{name}"), &format!("e/{name}/stage")] {
                assert_eq!(fs::read(dir.path().join("b").join(path)).unwrap(), b"x");
            }
        }
        only(&dir.path().join("b"), &[names[1], names[0], "d", "e"]);
    }
    only(dir.path(), &["b"]);
}

/// Archives that only look harmful.
pub(crate) fn harmless() -> Vec<Case> {
    let f = Forge::new;
    // A value with newlines neither hides a record nor makes one.
    let value = b"1\n30 path=../evil\n\n";
    let newlines: &[(&str, &[u8])] = &[("user.comment", value), ("path", b"named")];
    // The last of two records counts, as everywhere.
    let twice: &[(&str, &[u8])] = &[("path", b"first"), ("path", b"last")];
    vec![
        (
            "newlines",
            f().records(b'x', newlines).file(b"a", b"x").done(),
        ),
        (
            "last wins",
            f().records(b'x', twice).file(b"a", b"x").done(),
        ),
        // The record's size counts, not the header's.
        ("size", {
            let announced = f().records(b'x', &[("size", b"3")]);
            let file = announced.header(b'0', b"a", b"", 0).raw(b"xyz");
            file.file(b"b", b"y").done()
        }),
        // A link that leads out is only a link.
        (
            "link",
            f().symlink(b"out", b"/etc/passwd")
                .link(b"same", b"out")
                .file(b"a", b"x")
                .done(),
        ),
        ("implied", f().file(b"d/e/f", b"x").dir(b"d/").done()),
        (
            "long",
            f().header(b'L', b"x", b"", 5)
                .raw(b"long\0")
                .file(b"a", b"x")
                .done(),
        ),
        (
            "old directory",
            f().header(0, b"d/", b"", 0)
                .mode(0o755)
                .file(b"d/a", b"x")
                .done(),
        ),
    ]
}

#[test]
fn odd_but_harmless_archives_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let expected: [(&str, &[u8]); 7] = [
        ("named", b"x"),
        ("last", b"x"),
        ("a", b"xyz"),
        ("a", b"x"),
        ("d/e/f", b"x"),
        ("long", b"x"),
        ("d/a", b"x"),
    ];
    for ((name, archive), (path, content)) in harmless().into_iter().zip(expected) {
        let b = dir.path().join(name.replace(' ', "-"));
        good(&unpack(&archive, &b, &[]));
        assert_eq!(fs::read(b.join(path)).unwrap(), content, "{name}");
    }
    let same = fs::symlink_metadata(dir.path().join("link/same")).unwrap();
    assert!(same.is_symlink() && same.nlink() == 2);
}

#[test]
fn directories_between_count_as_entries() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Forge::new().file(b"a/b/c/d/e", b"x").done();
    let out = unpack(&archive, &dir.path().join("b"), &["--max-entries", "3"]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    only(dir.path(), &[]);
}

#[test]
fn a_merge_leaves_directories_alone_that_the_archive_does_not_mention() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("home/.ssh");
    fs::create_dir_all(&inner).unwrap();
    for path in [&dir.path().join("home"), &inner] {
        fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    }
    let archive = Forge::new().file(b"home/.ssh/sub/new", b"x").done();
    good(&unpack(&archive, dir.path(), &["--merge"]));
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("home"), mode("home/.ssh")), (0o700, 0o700));
    // What is new is as open as the mask lets it be.
    assert_ne!(mode("home/.ssh/sub"), 0o700);
}

/// Reads a tar stream to its end, content and all.
fn read_through(tar: &[u8]) -> Result<u64, sealcast::archive::Error> {
    let mut reader = sealcast::archive::Reader::new(tar, &|_, _| None);
    while reader.next()?.is_some() {
        loop {
            let len = reader.data()?.len();
            if len == 0 {
                break;
            }
            reader.consume(len);
        }
    }
    Ok(reader.seen().entries)
}

/// Some of everything that a reader knows.
fn rich() -> Vec<u8> {
    let records: &[(&str, &[u8])] = &[
        ("mtime", b"-12.5"),
        ("SCHILY.xattr.user.a", b"\n\n"),
        ("SCHILY.acl.access", b"user::rwx,group::r--,other::r--"),
        ("LIBARCHIVE.xattr.user.b", b"aGVsbG8"),
    ];
    let map: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"holes"),
        ("GNU.sparse.realsize", b"9000"),
    ];
    Forge::new()
        .records(b'g', &[("comment", b"sealcast archive 1")])
        .dir(b"./")
        .records(b'x', records)
        .file(b"a", b"content")
        .link(b"b", b"a")
        .records(b'x', map)
        .header(b'0', b"x", b"", 512 + 2)
        .raw(b"2\n0\n2\n9000\n0\n")
        .raw(b"xy")
        .header(b'L', b"x", b"", 5)
        .raw(b"long\0")
        .symlink(b"s", b"to")
        .records(b'g', &[("comment", b"sealcast totals 5 9 0")])
        .done()
}

#[test]
fn what_mutations_spoil_is_whole_before() {
    assert_eq!(read_through(&rich()).unwrap(), 5);
}

proptest::proptest! {
    #[test]
    fn no_mutation_makes_a_reader_panic(
        changes in proptest::collection::vec((0usize..12_000, proptest::num::u8::ANY), 1..12),
        fix in proptest::bool::ANY,
    ) {
        let mut tar = rich();
        let len = tar.len();
        for (at, byte) in changes {
            tar[at % len] = byte;
        }
        if fix {
            // Checksums made right again let the changes reach what lies behind them.
            for block in tar.chunks_exact_mut(512) {
                if &block[257..262] == b"ustar" {
                    block[148..156].fill(b' ');
                    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
                    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
            }
        }
        let _ = read_through(&tar);
    }
}
