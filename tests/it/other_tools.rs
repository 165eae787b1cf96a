//! Archives of pack in the hands of other programs: each reads every archive to its end.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output};

use crate::archive::{good, make_sample, said};
use crate::support::{have, sealcast};

/// Archives of all shapes, by name.
fn archives(dir: &Path) -> Vec<(&'static str, Vec<u8>)> {
    make_sample(dir, "sample");
    fs::write(
        dir.join("image"),
        [vec![1; 70_000], vec![0; 70_000], vec![2; 70_000]].concat(),
    )
    .unwrap();
    let hole = fs::OpenOptions::new()
        .write(true)
        .open(dir.join("image"))
        .unwrap();
    hole.set_len(4 << 20).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::write(dir.join("none"), "").unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("tree", &["sample"]),
        ("paths", &["sample/text", "sample/links"]),
        ("file", &["sample/empty-file"]),
        ("directory", &["empty"]),
        ("nothing", &["-T", "none"]),
        ("image", &["--image", "image"]),
    ];
    cases
        .map(|(name, args)| {
            let mut pack = sealcast();
            let out = pack
                .arg("pack")
                .args(args)
                .current_dir(dir)
                .output()
                .unwrap();
            good(&out);
            (name, out.stdout)
        })
        .into()
}

/// What others see of an archive.
fn tar_of(archive: &[u8]) -> Vec<u8> {
    zstd::decode_all(archive).unwrap()
}

/// How many entries there are, as we see it.
fn entries(archive: &[u8]) -> usize {
    let decoder = sealcast::archive::Decoder::new(archive).unwrap();
    let mut reader = sealcast::archive::Reader::new(std::io::BufReader::new(decoder), &|_, _| None);
    let mut count = 0;
    while reader.next().unwrap().is_some() {
        count += 1;
    }
    assert!(reader.totals().is_some(), "it has its totals for us");
    count
}

/// Runs a program on each archive as a tar stream in a file; what it says.
fn each(program: &[&str], check: impl Fn(&str, &[u8], &Output)) {
    let dir = tempfile::tempdir().unwrap();
    for (name, archive) in archives(dir.path()) {
        let file = format!("{name}.tar");
        fs::write(dir.path().join(&file), tar_of(&archive)).unwrap();
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .arg(file)
            .current_dir(dir.path());
        let out = command.output().unwrap();
        assert!(out.status.success(), "{name}: {}", said(&out));
        check(name, &archive, &out);
    }
}

fn lines(out: &Output) -> usize {
    out.stdout
        .split(|&b| b == b'\n')
        .filter(|line| !line.is_empty())
        .count()
}

const PYTHON: &str = r#"
import sys, tarfile, zlib
with tarfile.open(sys.argv[1]) as t:
    for m in t:
        data = t.extractfile(m).read() if m.isreg() else b""
        if m.isreg() and len(data) != m.size: sys.exit("%r is cut" % m.name)
        print(ascii(m.name), m.type, zlib.crc32(data))
"#;

#[test]
fn python_reads_every_archive() {
    if !have("python3") {
        return;
    }
    each(&["python3", "-c", PYTHON], |name, archive, out| {
        assert_eq!(lines(out), entries(archive), "{name}");
        assert!(out.stderr.is_empty(), "{name}: {}", said(out));
    });
    // Whatever is in it comes out: against what is on the disk.
    let dir = tempfile::tempdir().unwrap();
    archives(dir.path());
    let tree = dir.path().join("sample");
    let out = sealcast().arg("pack").arg(&tree).output().unwrap();
    fs::write(dir.path().join("tar"), tar_of(&out.stdout)).unwrap();
    let mut command = Command::new("python3");
    let told = command
        .args(["-c", PYTHON, "tar"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    good(&told);
    let told = String::from_utf8(told.stdout).unwrap();
    let crc = |path: &str| {
        let mut crc = flate2::Crc::new();
        crc.update(&fs::read(tree.join(path)).unwrap());
        crc.sum()
    };
    for path in ["noise", "text", "holes/middle", "time-a", "empty-file"] {
        let line = told
            .lines()
            .find(|line| line.starts_with(&format!("'{path}' ")));
        let line = line.unwrap_or_else(|| panic!("{path} is missing"));
        assert!(line.ends_with(&format!(" {}", crc(path))), "{line}");
    }
}

#[test]
fn tars_list_every_archive() {
    if !have("tar") || !have("bsdtar") {
        return;
    }
    for program in [["tar", "tf"], ["bsdtar", "tf"]] {
        each(&program, |name, archive, out| {
            assert_eq!(lines(out), entries(archive), "{name}");
            assert!(out.stderr.is_empty(), "{name}: {}", said(out));
        });
    }
}

#[test]
fn busybox_and_7z_read_every_archive() {
    if !have("busybox") || !have("7zz") {
        return;
    }
    each(&["busybox", "tar", "tf"], |name, _, out| {
        assert!(out.stderr.is_empty(), "{name}: {}", said(out));
    });
    each(&["7zz", "t"], |name, _, out| {
        let words = String::from_utf8_lossy(&out.stdout);
        assert!(!words.contains("Warning"), "{name}: {words}");
    });
}

#[test]
fn the_tar_crate_reads_every_archive() {
    let dir = tempfile::tempdir().unwrap();
    for (name, archive) in archives(dir.path()) {
        let tar = tar_of(&archive);
        let mut types = Vec::new();
        let mut reader = tar::Archive::new(&tar[..]);
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            types.push(entry.header().entry_type());
        }
        assert_eq!(types.len(), entries(&archive), "{name}: {types:?}");
        assert!(!types.contains(&tar::EntryType::XGlobalHeader));
    }
}

/// Go's own reader, where Go is installed.
#[test]
fn go_reads_every_archive() {
    const GO: &str = r#"package main
import ("archive/tar"; "fmt"; "io"; "os")
func main() {
    f, _ := os.Open(os.Args[1]); t := tar.NewReader(f)
    for { h, err := t.Next(); if err == io.EOF { return }
        if err != nil { fmt.Fprintln(os.Stderr, err); os.Exit(1) }
        io.Copy(io.Discard, t); fmt.Printf("%q\n", h.Name) } }
"#;
    let installed = Command::new("go").arg("version").output();
    if !installed.is_ok_and(|out| out.status.success()) {
        eprintln!("SKIPPED: go is missing");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("main.go"), GO).unwrap();
    let reader = dir.path().join("reader");
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&reader).arg("main.go");
    good(
        &build
            .current_dir(dir.path())
            .env("GOCACHE", dir.path())
            .output()
            .unwrap(),
    );
    each(&[reader.to_str().unwrap()], |name, archive, out| {
        assert_eq!(lines(out), entries(archive), "{name}: {}", said(out));
    });
}
