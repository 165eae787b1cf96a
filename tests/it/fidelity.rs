//! What comes back is what was there: a tree with everything that can be lost, through our program
//! and through others', with every difference named that is theirs; and a comparison that would
//! see each.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{FallocateFlags, FileType, fallocate, lremovexattr, makedev};
use sealcast::tree::differences;

use crate::archive::{good, pack, said, same, shell, unpack};
use crate::support::{have, root};
use crate::tree::{list, mode, nasty, node, time, xattr};

/// The differences between trees, each as its path and its fact.
fn facts(a: &Path, b: &Path) -> BTreeSet<String> {
    let fact = |d: String| {
        let (path, what) = d.rsplit_once(": ").unwrap();
        let words = ["no ", "unexpected ", "attribute ", "one ", "number "];
        let known = words.iter().any(|word| what.starts_with(word));
        let end = if known {
            what.find(" for ").and_then(|at| what[..at].rfind(' '))
        } else {
            what.find(' ')
        };
        let what = &what[..end.unwrap_or(what.len())];
        format!("{path}: {what}")
    };
    differences(a, b).unwrap().into_iter().map(fact).collect()
}

/// A nasty tree whose paths others can name, in a directory of its own.
fn tree() -> Option<(tempfile::TempDir, std::path::PathBuf)> {
    if !root() || !["tar", "bsdtar", "zstd"].iter().all(|tool| have(tool)) {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::create_dir(&a).unwrap();
    nasty(&a, 60);
    Some((dir, a))
}

/// That names are no longer names of one object.
fn unlinked(names: &[&str]) -> BTreeSet<String> {
    let lost = ["no number of names", "no one object with"];
    let both = |name: &&str| lost.map(|lost| format!("{name}: {lost}"));
    names.iter().flat_map(both).collect()
}

fn set(facts: &[&str]) -> BTreeSet<String> {
    facts.iter().map(|&f| f.to_owned()).collect()
}

/// Libarchive reads half a second before a full one as half a second after it.
const HALF_SECOND: &str = "metadata/time-negative-ns: time";

#[test]
fn others_restore_what_we_pack() {
    let Some((dir, a)) = tree() else {
        return;
    };
    fs::write(dir.path().join("archive"), pack(&[], &a)).unwrap();
    // It wonders at the times. The usual words for everything that it can restore, and without
    // access lists of its own, which then are attributes like others.
    for (b, words) in [("gnu", "--acls --selinux"), ("plain", "")] {
        let words = format!("--numeric-owner --xattrs --xattrs-include='*' {words} -p");
        let unzip = "zstd -dc archive | tar x";
        let quiet = "2> words; ! grep -v 'time stamp' words >&2";
        shell(
            &format!("mkdir {b}; {unzip} {words} -C {b} {quiet}"),
            dir.path(),
        );
        assert_eq!(facts(&a, &dir.path().join(b)), set(&[]), "{words}");
    }
    shell(
        "mkdir bsd; bsdtar xp --numeric-owner --xattrs --acls -f archive -C bsd 2> words; \
         cat words >&2; test ! -s words",
        dir.path(),
    );
    // It takes what GNU tar escapes in keys as it stands, and forgets the root's time.
    let expected = set(&[
        ".: time",
        HALF_SECOND,
        "attributes/keys: no attribute user.a%3Db%25",
        "attributes/keys: no attribute user.a=b",
        "attributes/keys: unexpected attribute user.a%253Db%2525",
        "attributes/keys: unexpected attribute user.a%3Db",
    ]);
    assert_eq!(facts(&a, &dir.path().join("bsd")), expected);
}

/// What one form of archive loses of the tree.
fn lost(dir: &Path, a: &Path, name: &str, command: &str) -> BTreeSet<String> {
    shell(&format!("{command} | zstd -1 > archive"), dir);
    let b = dir.join(name);
    let out = unpack(&fs::read(dir.join("archive")).unwrap(), &b, &[]);
    good(&out);
    assert!(out.stderr.is_empty(), "{name}: {}", said(&out));
    facts(a, &b)
}

#[test]
fn we_restore_what_others_pack() {
    let Some((dir, a)) = tree() else {
        return;
    };
    let lost = |name: &str, command: &str| lost(dir.path(), &a, name, command);
    let gnu = "tar c --xattrs --acls --selinux --numeric-owner --format=posix -C a";
    let links = unlinked(&[
        "links/dev1",
        "links/fifo1",
        "links/fifo2",
        "links/sub/dev2",
        "links/sub/fifo3",
    ]);
    // GNU tar links files and symbolic links only. Its form 1.0 is in the first of these.
    for version in ["1.0", "0.1", "0.0"] {
        let command = format!("{gnu} -S --sparse-version={version} .");
        assert_eq!(lost(version, &command), links, "{version}");
    }
    // Without -S holes are zero bytes; nine gibibytes of them take too long.
    let mut dense = links.clone();
    dense.insert("holes/big: missing".into());
    for name in [
        "all",
        "head",
        "many",
        "middle",
        "middle-again",
        "odd",
        "tail",
    ] {
        dense.insert(format!("holes/{name}: holes"));
    }
    dense.insert(format!("holes/{}: holes", "h".repeat(150)));
    let command = format!("{gnu} --exclude=./holes/big .");
    assert_eq!(lost("dense", &command), dense);
    // It says that names are no text, and leaves with status 1. It links fifos, but no devices.
    let bsd = "{ bsdtar c --format=pax --xattrs --acls --numeric-owner -C a . 2> words || true; }";
    let mut expected = unlinked(&["links/dev1", "links/sub/dev2"]);
    expected.insert(HALF_SECOND.into());
    assert_eq!(lost("bsd", bsd), expected);
    // Older forms have neither attributes nor fractions of a second.
    for form in ["gnu", "oldgnu"] {
        let all = lost(
            form,
            &format!("tar c --format={form} -S --numeric-owner -C a ."),
        );
        let known = |fact: &&String| {
            let (path, what) = fact.rsplit_once(": ").unwrap();
            links.contains(*fact)
                || what == "time"
                || what.starts_with("no attribute ")
                || (what == "mode" && path.starts_with("lists/"))
        };
        let unknown: Vec<_> = all.iter().filter(|fact| !known(fact)).collect();
        assert!(unknown.is_empty(), "{form}: {unknown:#?}");
    }
}

/// A change of a tree: what the comparison says of it, and how it is made.
type Mutation = (&'static str, fn(&Path));

/// Leaves an object's time as it was.
fn quietly(path: &Path, change: impl FnOnce(&Path)) {
    let before = rustix::fs::lstat(path).unwrap();
    change(path);
    time(path, before.st_mtime, before.st_mtime_nsec.cast_signed());
}

fn write_at(path: &Path, bytes: &[u8], at: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

fn instead(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).unwrap();
    make(path);
}

fn of_content() -> Vec<Mutation> {
    vec![
        ("metadata/size-513: content", |b| {
            quietly(&b.join("metadata/size-513"), |f| write_at(f, b"x", 512));
        }),
        ("holes/big: content", |b| {
            quietly(&b.join("holes/big"), |f| {
                write_at(f, b"x", (8 << 30) + 4100);
            });
        }),
        ("metadata/size-1: size", |b| {
            quietly(&b.join("metadata/size-1"), |f| write_at(f, b"\0", 1));
        }),
        ("holes/all: size", |b| {
            let file = fs::OpenOptions::new().write(true).open(b.join("holes/all"));
            file.unwrap().set_len((10 << 20) + 1).unwrap();
        }),
        ("holes/tail: holes", |b| {
            quietly(&b.join("holes/tail"), |f| write_at(f, &[0; 4096], 0));
        }),
        ("holes/zeros: holes", |b| {
            quietly(&b.join("holes/zeros"), |f| {
                let file = fs::OpenOptions::new().write(true).open(f).unwrap();
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(file, punch, 65_536, 65_536).unwrap();
            });
        }),
        ("names/to-dots: target", |b| {
            instead(&b.join("names/to-dots"), |p| {
                symlink("../../..//a/b/", p).unwrap();
            });
        }),
        ("names/to-longest: target", |b| {
            instead(&b.join("names/to-longest"), |p| {
                symlink("y".repeat(4094), p).unwrap();
            });
        }),
    ]
}

fn of_names() -> Vec<Mutation> {
    vec![
        ("metadata/empty: missing", |b| {
            fs::remove_dir(b.join("metadata/empty")).unwrap();
        }),
        ("names/-dash: missing", |b| {
            fs::remove_file(b.join("names/-dash")).unwrap();
        }),
        ("names/new: not", |b| {
            fs::write(b.join("names/new"), "").unwrap();
        }),
        ("names/trail: not", |b| {
            fs::rename(b.join("names/trail "), b.join("names/trail")).unwrap();
        }),
        ("links/sub/c: no one object with", |b| {
            instead(&b.join("links/sub/c"), |p| {
                fs::write(p, [b'A'; 5000]).unwrap();
            });
        }),
        ("links/sub/sym3: no one object with", |b| {
            instead(&b.join("links/sub/sym3"), |p| {
                symlink("nowhere", p).unwrap();
            });
        }),
        ("links/fifo2: no one object with", |b| {
            instead(&b.join("links/fifo2"), |p| {
                node(p, FileType::Fifo, 0o600, 0);
            });
        }),
        ("metadata/size-1: unexpected one object with", |b| {
            let other = b.join("metadata/time-other");
            fs::hard_link(b.join("metadata/size-1"), other).unwrap();
        }),
        ("links/a: number of names", |b| {
            fs::remove_file(b.join("links/b")).unwrap();
        }),
    ]
}

fn of_kinds() -> Vec<Mutation> {
    vec![
        ("nodes/null: device", |b| {
            let again = |p: &Path| node(p, FileType::CharacterDevice, 0o666, makedev(1, 5));
            instead(&b.join("nodes/null"), again);
        }),
        ("nodes/whiteout: device", |b| {
            let again = |p: &Path| node(p, FileType::CharacterDevice, 0, makedev(0, 1));
            instead(&b.join("nodes/whiteout"), again);
        }),
        ("nodes/disk: type", |b| {
            let again = |p: &Path| node(p, FileType::CharacterDevice, 0o660, makedev(8, 0));
            instead(&b.join("nodes/disk"), again);
        }),
        ("nodes/fifo: type", |b| {
            instead(&b.join("nodes/fifo"), |p| fs::write(p, "").unwrap());
        }),
        ("metadata/empty: type", |b| {
            fs::remove_dir(b.join("metadata/empty")).unwrap();
            symlink("ro", b.join("metadata/empty")).unwrap();
        }),
    ]
}

fn of_metadata() -> Vec<Mutation> {
    vec![
        ("metadata/mode-0000: mode", |b| {
            mode(&b.join("metadata/mode-0000"), 1);
        }),
        ("metadata/mode-4755: mode", |b| {
            mode(&b.join("metadata/mode-4755"), 0o755);
        }),
        ("metadata/dir-1777: mode", |b| {
            mode(&b.join("metadata/dir-1777"), 0o777);
        }),
        ("metadata/sgid: mode", |b| {
            mode(&b.join("metadata/sgid"), 0o775);
        }),
        ("metadata/owner-65534: owner", |b| {
            chown(b.join("metadata/owner-65534"), Some(65_535), None).unwrap();
        }),
        ("metadata/owner-4294967294: owner", |b| {
            chown(b.join("metadata/owner-4294967294"), None, Some(1)).unwrap();
        }),
        ("metadata/time-link: owner", |b| {
            lchown(b.join("metadata/time-link"), Some(78), None).unwrap();
        }),
        ("metadata/time-ns: time", |b| {
            time(&b.join("metadata/time-ns"), 1_700_000_000, 123_456_788);
        }),
        ("metadata/time-negative: time", |b| {
            time(&b.join("metadata/time-negative"), -1_234_567_889, 0);
        }),
        ("metadata/time-y2400: time", |b| {
            time(
                &b.join("metadata/time-y2400"),
                13_569_465_600 - (1 << 33),
                999_999_999,
            );
        }),
        ("metadata/time-link: time", |b| {
            time(&b.join("metadata/time-link"), 1_000_000_000, 8);
        }),
        ("metadata/ro/sub: time", |b| {
            time(&b.join("metadata/ro/sub"), 1_600_000_000, 0);
        }),
        (".: time", |b| time(b, 1_600_000_000, 987_654_322)),
        (".: mode", |b| mode(b, 0o755)),
        (".: owner", |b| chown(b, Some(5), Some(8)).unwrap()),
    ]
}

fn of_attributes() -> Vec<Mutation> {
    fn remove(path: &Path, name: &[u8]) {
        lremovexattr(path, name).unwrap();
    }
    vec![
        ("attributes/newline: attribute user.nl", |b| {
            xattr(&b.join("attributes/newline"), b"user.nl", b"line1");
        }),
        ("attributes/user: no attribute user.empty", |b| {
            remove(&b.join("attributes/user"), b"user.empty");
        }),
        ("attributes: unexpected attribute user.new", |b| {
            xattr(&b.join("attributes"), b"user.new", b"");
        }),
        ("attributes/keys: no attribute user.\\xff\\xfe", |b| {
            remove(&b.join("attributes/keys"), b"user.\xff\xfe");
        }),
        ("attributes/link: attribute trusted.on-link", |b| {
            xattr(&b.join("attributes/link"), b"trusted.on-link", b"L\0");
        }),
        ("attributes/label: attribute security.selinux", |b| {
            xattr(&b.join("attributes/label"), b"security.selinux", b"x\0");
        }),
        (
            "attributes/cap-owned: no attribute security.capability",
            |b| {
                chown(b.join("attributes/cap-owned"), Some(1234), None).unwrap();
            },
        ),
        ("lists/many: attribute system.posix_acl_access", |b| {
            let value = list(&[
                (1, 6, u32::MAX),
                (2, 4, 3000),
                (4, 4, u32::MAX),
                (16, 4, u32::MAX),
                (32, 4, u32::MAX),
            ]);
            xattr(&b.join("lists/many"), b"system.posix_acl_access", &value);
        }),
        (
            "lists/only-default: no attribute system.posix_acl_default",
            |b| {
                remove(&b.join("lists/only-default"), b"system.posix_acl_default");
            },
        ),
        (".: no attribute user.on-root", |b| {
            remove(b, b"user.on-root");
        }),
    ]
}

/// Compares two trees that somebody names, parted by a colon: tests/debian_image does.
#[test]
fn trees_of_choice() {
    if let Ok(trees) = std::env::var("SEALCAST_TREES") {
        let (a, b) = trees.split_once(':').unwrap();
        same(Path::new(a), Path::new(b));
    }
}

#[test]
fn every_kind_of_difference_is_seen() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::create_dir(&a).unwrap();
    nasty(&a, 1);
    let archive = pack(&[], &a);
    let all = [of_content, of_names, of_kinds, of_metadata, of_attributes];
    let all: Vec<Mutation> = all.iter().flat_map(|of| of()).collect();
    assert_eq!(all.len(), 47);
    for (expected, change) in all {
        good(&unpack(&archive, &b, &["--replace"]));
        same(&a, &b);
        change(&b);
        let facts = facts(&a, &b);
        assert!(facts.contains(expected), "{expected}: {facts:#?}");
    }
}
