//! Published archives that take other tars in, and our own hostile ones, against GNU tar, bsdtar
//! and Python: an archive is refused, or it holds what all three say it holds.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use sealcast::crypt::hash;

use crate::archive::{only, plain, said, squeeze, squeeze_at, unpack};
use crate::hostile::{Case, Forge, harmful, harmless};
use crate::support::{feed, have, sealcast};

/// The crate of another reader, with the archives of its own tests: those of tar-rs, and those
/// that made readers differ. From the crate registry, once a target directory.
const CRATE: &str = "astral-tokio-tar-0.7.0";
const SITE: &str = "https://static.crates.io/crates/astral-tokio-tar";
const SHA256: &str = "6f2e989b33246fe9240d39accf4dd9a01e0b6c1f3ce9dd095e0a47fa02505523";

/// The archives of the crate; `None` without a registry.
fn published() -> Option<Vec<(String, Vec<u8>)>> {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{CRATE}.crate"));
    let good = || {
        let bytes = fs::read(&file).ok()?;
        (hex::encode(hash::sha256(&bytes)) == SHA256).then_some(bytes)
    };
    if good().is_none() {
        if !have("curl") {
            return None;
        }
        let mut curl = Command::new("curl");
        curl.args(["-fsSL", "--max-time", "60", "-o"]).arg(&file);
        let out = feed(
            {
                curl.arg(format!("{SITE}/{CRATE}.crate"));
                curl
            },
            b"",
        );
        if !out.status.success() {
            assert!(std::env::var_os("CI").is_none(), "curl: {}", said(&out));
            eprintln!("SKIPPED: {CRATE} cannot be fetched");
            return None;
        }
    }
    let bytes = good().expect("the crate is not the one that is known");
    let mut found = Vec::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*bytes));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.extension().is_some_and(|e| e == "tar") {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            found.push((path.file_name().unwrap().to_str().unwrap().into(), bytes));
        }
    }
    Some(found)
}

/// Lists archives, one a line: its file, and the names in it or nothing. Python's errors are few,
/// as it takes a bad header for the end.
const PYTHON: &str = "
import os, sys, tarfile
for path in sys.argv[1:]:
    try:
        with tarfile.open(path, 'r:', errorlevel=2) as t:
            names = [os.fsencode(m.name).hex() or '-' for m in t.getmembers()]
            print(path, *names)
    except (tarfile.TarError, ValueError, OSError, IndexError):
        print(path, '!')
";

/// A name without what readers add or take away, and with the rest of it escaped as tars do.
fn shown(name: &[u8]) -> String {
    let mut name = name;
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let mut out = String::new();
    for &b in name {
        match b {
            b'\n' => out.push_str("\\n"),
            b'\\' => out.push_str("\\\\"),
            0x20..0x7f => out.push(b.into()),
            _ => out.push_str(&format!("\\{b:03o}")),
        }
    }
    if out == "." { String::new() } else { out }
}

/// What a program lists, when it is content with the archive.
fn listed(program: &[&str], path: &Path) -> Option<Vec<String>> {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).arg(path).env("LC_ALL", "C");
    let out = feed(command, b"");
    let names = || {
        let text = String::from_utf8(out.stdout.clone()).unwrap();
        let plain = |l: &str| l.trim_start_matches("./").trim_end_matches('/').to_owned();
        text.lines().map(plain).collect()
    };
    out.status.success().then(names)
}

/// What the others say of archives that lie in `dir`, by name; nothing where one is not content.
fn judged(dir: &Path, names: &[String]) -> BTreeMap<String, [Option<Vec<String>>; 3]> {
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).args(&paths).current_dir(dir);
    let out = feed(python, b"");
    assert!(out.status.success(), "{}", said(&out));
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(text.lines().count(), names.len());
    let mut found = BTreeMap::new();
    for ((name, path), line) in names.iter().zip(&paths).zip(text.lines()) {
        let words: Vec<_> = line.split(' ').skip(1).collect();
        let name_of = |word: &&str| match *word {
            "-" => String::new(),
            hex => shown(&hex::decode(hex).unwrap()),
        };
        let python = (words != ["!"]).then(|| words.iter().map(name_of).collect());
        let gnu = listed(&["tar", "--quoting-style=escape", "-tf"], path);
        let bsd = listed(&["bsdtar", "-tf"], path);
        found.insert(name.clone(), [gnu, bsd, python]);
    }
    found
}

/// The names that our reader gives.
fn ours(archive: &[u8]) -> Vec<String> {
    let tar = plain(archive);
    let mut reader = sealcast::archive::Reader::new(&*tar, &|_, _| None);
    let mut names = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        names.push(shown(&entry.path));
    }
    names
}

/// Unpacks each archive where there is nothing else, and compares those that are taken with what
/// the others say. Returns which were taken, and those of them on which the others differ.
fn differ(cases: &[(String, Vec<u8>)]) -> (Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let files: Vec<String> = cases
        .iter()
        .map(|(name, _)| name.replace(['/', ' '], "-"))
        .collect();
    for (file, (_, bytes)) in files.iter().zip(cases) {
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    let others = judged(dir.path(), &files);
    let (mut taken, mut alone) = (Vec::new(), Vec::new());
    for (file, (name, bytes)) in files.iter().zip(cases) {
        let out = unpack(bytes, &area.join("b"), &[]);
        if !out.status.success() {
            assert_eq!(out.status.code(), Some(3), "{name}: {}", said(&out));
            only(&area, &[]);
            continue;
        }
        only(&area, &["b"]);
        fs::remove_dir_all(area.join("b")).unwrap();
        let ours = Some(ours(bytes));
        if others[file].iter().any(|theirs| *theirs != ours) {
            eprintln!("{name}: ours {ours:?}\n  theirs {:?}", others[file]);
            alone.push(name.clone());
        }
        taken.push(name.clone());
    }
    (taken, alone)
}

fn have_peers() -> bool {
    ["tar", "bsdtar", "python3"].iter().all(|tool| have(tool))
}

#[test]
fn published_archives_are_refused_or_read_as_by_others() {
    if !have_peers() {
        return;
    }
    let Some(cases) = published() else {
        return;
    };
    assert_eq!(cases.len(), 24);
    let (taken, alone) = differ(&cases);
    assert_eq!(alone, [""; 0]);
    let refused = cases
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !taken.contains(name));
    // Three are damaged; one has a directory twice, one a file without a name, one two headers
    // that announce the same entry.
    let expected = [
        "diff-014-unterminated-pax.tar",
        "diff-024-pending-pax-boundary.tar",
        "diff-039-truncated-entry-body.tar",
        "duplicate_dirs.tar",
        "empty_filename.tar",
        "pax-overrides-extension-header.tar",
    ];
    assert_eq!(refused.collect::<Vec<_>>(), expected);
}

/// The same for all files of a directory that somebody names, such as other readers' test data.
#[test]
fn archives_of_choice() {
    let Some(dir) = std::env::var_os("SEALCAST_ARCHIVES") else {
        return;
    };
    let mut cases: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| {
            (
                e.file_name().into_string().unwrap(),
                fs::read(e.path()).unwrap(),
            )
        })
        .collect();
    cases.sort();
    let (taken, alone) = differ(&cases);
    eprintln!("{} of {} taken: {taken:#?}", taken.len(), cases.len());
    assert_eq!(alone, [""; 0]);
}

/// The archives of a well-known generator of such, by its recipe.
fn slips() -> Vec<Case> {
    let f = Forge::new;
    vec![
        (
            "slip toctou",
            f().dir(b"d/sub")
                .symlink(b"d/sub", b"/tmp")
                .file(b"d/sub/PWNED.txt", b"x")
                .done(),
        ),
        (
            "slip case",
            f().symlink(b"LINK", b"/tmp")
                .file(b"link/PWNED.txt", b"x")
                .done(),
        ),
        (
            "slip unicode",
            f().symlink("caf\u{e9}".as_bytes(), b"/tmp")
                .file("cafe\u{301}/PWNED.txt".as_bytes(), b"x")
                .done(),
        ),
        (
            "slip unicode nfkc",
            f().symlink("\u{fb01}le".as_bytes(), b"/tmp")
                .file(b"file/PWNED.txt", b"x")
                .done(),
        ),
        (
            "slip hardlink",
            f().link(b"hl", b"/tmp/VICTIM.txt")
                .file(b"hl", b"PWNED")
                .done(),
        ),
        (
            "slip hardlink exfil",
            f().link(b"passwd", b"/etc/passwd").done(),
        ),
        (
            "slip exfil",
            f().symlink(b"passwd", b"/etc/passwd")
                .symlink(b"env", b"/proc/self/environ")
                .symlink(b"root", b"/")
                .done(),
        ),
        (
            "slip dotdot",
            f().file(b"../../../../../../tmp/PWNED.txt", b"x").done(),
        ),
        ("slip absolute", f().file(b"/tmp/PWNED.txt", b"x").done()),
        (
            "slip backslash",
            f().file(b"..\\..\\..\\tmp\\PWNED.txt", b"x").done(),
        ),
        (
            "slip readonly",
            f().file(b"readonly", b"x").mode(0o444).done(),
        ),
    ]
}

#[test]
fn published_slips_write_nothing_outside() {
    if !have_peers() {
        return;
    }
    let cases: Vec<_> = slips()
        .into_iter()
        .map(|(n, a)| (n.to_owned(), a))
        .collect();
    let (taken, alone) = differ(&cases);
    // Where names are compared byte by byte, as here, no two of them meet.
    let expected = [
        "case",
        "unicode",
        "unicode nfkc",
        "exfil",
        "backslash",
        "readonly",
    ];
    assert_eq!(taken, expected.map(|name| format!("slip {name}")));
    assert_eq!(alone, [""; 0]);
    assert!(!Path::new("/tmp/PWNED.txt").exists());
}

#[test]
fn nobody_reads_our_odd_archives_otherwise() {
    if !have_peers() {
        return;
    }
    let name = |(name, archive): Case| (name.to_owned(), archive);
    let cases: Vec<_> = harmful().into_iter().chain(harmless()).map(name).collect();
    let (taken, alone) = differ(&cases);
    let harmless: Vec<_> = harmless().iter().map(|case| case.0).collect();
    assert_eq!(taken, harmless);
    assert_eq!(alone, [""; 0]);
}

/// Names that meet only where the file system folds them.
#[test]
fn aliases_meet_nothing_where_names_are_folded() {
    if !crate::support::root() || !have("mkfs.ext4") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script = "truncate -s 64M img; mkfs.ext4 -q -F -O casefold -E encoding=utf8 img; \
        mkdir m; mount -o loop img m && mkdir m/d && chattr +F m/d";
    let mut make = Command::new("bash");
    make.args(["-euc", script]).current_dir(dir.path());
    let out = feed(make, b"");
    let unmount = || {
        Command::new("umount")
            .arg("-q")
            .arg(dir.path().join("m"))
            .status()
    };
    if !out.status.success() {
        // Not every kernel can: it takes CONFIG_UNICODE.
        let _ = unmount();
        eprintln!("SKIPPED: no file system here folds names");
        return;
    }
    let target = dir.path().join("m/d/t");
    let results: Vec<_> = slips()[1..3]
        .iter()
        .map(|(_, archive)| unpack(archive, &target, &[]).status.code())
        .collect();
    let left = fs::read_dir(dir.path().join("m/d")).unwrap().count();
    unmount().unwrap();
    assert_eq!(results, [Some(1), Some(1)]);
    assert_eq!(left, 0);
    assert!(!Path::new("/tmp/PWNED.txt").exists());
}

/// Runs a command with a file as its input, and says how much memory it had at most, in KiB.
const MEASURE: &str = "
import resource, subprocess, sys
status = subprocess.run(sys.argv[2:], stdin=open(sys.argv[1], 'rb')).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
";

/// What little a GiB takes on the wire: frames of the same block over and over, after `head`.
fn bomb(head: &[u8], block: &[u8; 512], tail: &[u8]) -> Vec<u8> {
    let piece = squeeze_at(9, &block.repeat(16 << 10));
    [squeeze(head), piece.repeat(128), squeeze(tail)].concat()
}

#[test]
fn bombs_take_no_memory() {
    if !have("python3") {
        return;
    }
    let f = Forge::new;
    let gib = 1 << 30;
    let zero = [0; 512];
    let announcing = |kind: u8| {
        let head = f().header(kind, b"x", b"", gib).0;
        let tail = f().file(b"a", b"x").done();
        (char::from(kind).to_string(), bomb(&head, &zero, &tail), 3)
    };
    let mut cases: Vec<(String, Vec<u8>, i32)> = "xgLK".bytes().map(announcing).collect();
    let dense = f().header(b'0', b"a", b"", gib).0;
    cases.push(("content".into(), bomb(&dense, &zero, &zero.repeat(2)), 3));
    cases.push(("zero blocks".into(), bomb(&zero.repeat(2), &zero, &[]), 3));
    // Maps that say of themselves that they go on: one of nothing, one of numbers.
    let mut chain = tar::Header::new_gnu();
    chain.set_path("a").unwrap();
    chain.set_entry_type(tar::EntryType::GNUSparse);
    chain.set_size(0);
    chain.as_gnu_mut().unwrap().set_is_extended(true);
    chain.set_cksum();
    let mut more = zero;
    more[504] = 1;
    cases.push(("empty chain".into(), bomb(chain.as_bytes(), &more, &[]), 3));
    for segment in more[..504].chunks_exact_mut(12) {
        segment.copy_from_slice(b"00000000000\0");
    }
    cases.push(("chain".into(), bomb(chain.as_bytes(), &more, &[]), 3));
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"a"),
        ("GNU.sparse.realsize", b"1000000000"),
    ];
    let head = f().records(b'x', records).header(b'0', b"x", b"", gib).0;
    let mut count = b"1048576\n".to_vec();
    count.resize(512, b'0');
    let digits: [u8; 512] = *b"0\n".repeat(256).first_chunk().unwrap();
    let head = [head, count].concat();
    cases.push(("leading map".into(), bomb(&head, &digits, &[]), 3));
    let squeezed = squeeze(&crate::hostile::attributes(75));
    cases.push(("attributes".into(), squeezed, 3));
    let dir = tempfile::tempdir().unwrap();
    for (name, archive, expected) in cases {
        assert!(archive.len() < 150_000, "{name}: {}", archive.len());
        let (file, target) = (dir.path().join("bomb"), dir.path().join("b"));
        fs::write(&file, &archive).unwrap();
        let mut measure = Command::new("python3");
        measure.args(["-c", MEASURE]).arg(&file);
        measure.arg(sealcast().get_program());
        measure
            .args(["unpack", "--no-sync", "--max-bytes", "1000000"])
            .args(["--max-memory", "64M", "-C"])
            .arg(&target);
        let out = feed(measure, b"");
        let text = String::from_utf8(out.stdout.clone()).unwrap();
        let numbers: Vec<i32> = text
            .split_whitespace()
            .map(|n| n.parse().unwrap())
            .collect();
        let [status, memory] = numbers[..] else {
            panic!("{text}{}", said(&out));
        };
        assert_eq!(status, expected, "{name}: {}", said(&out));
        // Attributes of directories are kept to the end, up to 64 MiB of them.
        let most = if name == "attributes" { 128 } else { 64 };
        assert!(memory < most << 10, "{name}: {memory} KiB");
        let _ = fs::remove_dir(&target);
        only(dir.path(), &["bomb"]);
    }
}
