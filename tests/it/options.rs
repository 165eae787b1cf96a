//! Options of pack and unpack that choose what is packed and whose it becomes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Output;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use sealcast::archive::Reader;
use sealcast::archive::acl::{ACCESS, DEFAULT, from_text};

use crate::archive::{good, only, plain, said, shell, unpack};
use crate::support::{feed, root, run, sealcast};

#[test]
fn owners_are_mapped() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    shell(
        "mkdir -p a/d; echo x > a/file; ln -s x a/link; mkfifo a/d/fifo; \
         chown -h 1000:1001 a a/d a/link a/d/fifo; chown 5:6 a/file; chmod 4755 a/file",
        dir.path(),
    );
    let list = |user: u32, group: u32| {
        let text = format!("u::rwx,u:{user}:r,g::rx,g:{group}:r,m::rx,o::rx");
        from_text(text.as_bytes(), &|_, _| None).unwrap()
    };
    for name in [ACCESS, DEFAULT] {
        let value = list(1007, 1008);
        setxattr(at("a/d"), name, &value, XattrFlags::empty()).unwrap();
    }
    let tar = run(&["pack", at("a").to_str().unwrap()], b"").stdout;
    let map = ["--map-owner", "1000:200000:10", "--map-owner", "5:0:2"];
    good(&unpack(&tar, &at("b"), &map));
    let who = |name: &str| {
        let there = fs::symlink_metadata(at("b").join(name)).unwrap();
        (there.uid(), there.gid())
    };
    assert_eq!(who("file"), (0, 1));
    for name in [".", "d", "link", "d/fifo"] {
        assert_eq!(who(name), (200_000, 200_001), "{name}");
    }
    assert_eq!(fs::metadata(at("b/file")).unwrap().mode() & 0o7777, 0o4755);
    for name in [ACCESS, DEFAULT] {
        let mut value = vec![0; 1024];
        let len = getxattr(at("b/d"), name, &mut value[..]).unwrap();
        assert_eq!(value[..len], list(200_007, 200_008));
    }
    // Somebody is missing: first an owner, then one who is only in a list.
    let out = unpack(&tar, &at("c"), &["--map-owner", "1000:0:10"]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("file belongs to 5 "), "{}", said(&out));
    let few = ["--map-owner", "1000:0:2", "--map-owner", "5:2:2"];
    let out = unpack(&tar, &at("c"), &few);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("d belongs to 1007 "), "{}", said(&out));
    let out = unpack(
        &tar,
        &at("c"),
        &["--map-owner", "1:1:9", "--map-owner", "5:0"],
    );
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    only(dir.path(), &["a", "b"]);
    good(&unpack(
        &tar,
        &at("c"),
        &[&few[..], &["--no-xattrs"]].concat(),
    ));
}

#[test]
fn attributes_are_chosen_by_name() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("a/d")).unwrap();
    fs::write(at("a/f"), "x").unwrap();
    let names = ["user.one", "user.two", "trusted.three", "trusted.lov"];
    for (path, name) in [("a/f", 0), ("a/f", 1), ("a/d", 2), ("a/d", 3)] {
        setxattr(at(path), names[name], b"value", XattrFlags::empty()).unwrap();
    }
    let packed = |args: &[&str]| {
        let out = run(&[&["pack", at("a").to_str().unwrap()], args].concat(), b"");
        good(&out);
        out.stdout
    };
    let kept = |archive: &[u8], args: &[&str]| {
        let b = at("b");
        good(&unpack(archive, &b, args));
        let has = |name: &&str| {
            ["f", "d"]
                .iter()
                .any(|path| getxattr(b.join(path), *name, &mut [0; 9][..]).is_ok())
        };
        let kept: Vec<_> = names.iter().filter(|name| has(name)).copied().collect();
        fs::remove_dir_all(b).unwrap();
        kept
    };
    // What belongs to the file system stays there unless it is asked for.
    assert_eq!(kept(&packed(&[]), &[]), names[..3]);
    let all = packed(&["--xattrs-include", "*"]);
    assert_eq!(kept(&all, &[]), names[..3]);
    assert_eq!(kept(&all, &["--xattrs-include=*"]), names);
    assert_eq!(kept(&all, &["--xattrs-include=user.*"]), names[..2]);
    assert_eq!(kept(&all, &["--xattrs-exclude=user.o*"]), names[1..3]);
    assert_eq!(kept(&all, &["--no-xattrs"]), [""; 0]);
    assert_eq!(
        kept(&packed(&["--xattrs-exclude=user.one"]), &[]),
        names[1..3]
    );
    let bad = unpack(&all, &at("b"), &["--xattrs-include=["]);
    assert_eq!(bad.status.code(), Some(2), "{}", said(&bad));
}

#[test]
fn everything_can_belong_to_who_unpacks() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    shell(
        "mkdir -p a/d; echo x > a/file; ln -s x a/link; mkfifo a/d/fifo; echo y > a/own; \
         chown -h 1000:1001 a a/d a/link a/d/fifo; chown 5:6 a/file; chmod 4755 a/file a/own",
        dir.path(),
    );
    let archive = run(&["pack", at("a").to_str().unwrap()], b"").stdout;
    good(&unpack(&archive, &at("b"), &["--no-same-owner"]));
    let meta = |name: &str| fs::symlink_metadata(at("b").join(name)).unwrap();
    for name in [".", "d", "link", "d/fifo", "file", "own"] {
        assert_eq!((meta(name).uid(), meta(name).gid()), (0, 0), "{name}");
    }
    assert_eq!(meta("file").mode() & 0o7777, 0o755);
    assert_eq!(meta("own").mode() & 0o7777, 0o4755);
    // Where an owner has no number, the error tells what to do.
    let unpack = format!("unshare -r {} unpack -C c", env!("CARGO_BIN_EXE_sealcast"));
    fs::write(at("archive"), &archive).unwrap();
    let script = format!("! {unpack} < archive 2> words; grep -q 'hint: --no-same-owner' words");
    shell(&script, dir.path());
    shell(
        &format!("{unpack} --no-same-owner < archive; test -s c/file"),
        dir.path(),
    );
}

#[test]
fn what_is_mounted_again_is_packed_once() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    let script = format!(
        "mkdir -p t/data t/root/data; echo 1 > t/data/f; mount --bind t/data t/root/data; \
         {bin} pack --one-file-system t | {bin} unpack -C b; {bin} pack t/root/data | \
         {bin} unpack -C c; test -s c/f; test -s b/data/f; test -d b/root/data; \
         test -z \"$(ls -A b/root/data)\""
    );
    shell(
        &format!(
            "unshare -m bash -euo pipefail -c '{}'",
            script.replace('\'', "'\\''")
        ),
        dir.path(),
    );
}

/// Packs what a list on standard input names, below `dir`.
fn pack_list(dir: &Path, list: &[u8], args: &[&str]) -> Output {
    let mut command = sealcast();
    command.args(["pack", "-T", "-", "-C"]).arg(dir).args(args);
    feed(command, list)
}

/// The names in an archive, in order.
fn names(archive: &[u8]) -> Vec<String> {
    let tar = plain(archive);
    let mut reader = Reader::new(&tar[..], &|_, _| None);
    let mut names = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

#[test]
fn lists_of_names_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    shell(
        "mkdir -p a/d; touch a/d/one a/d/two a/-x ' ' \"$(printf 'new\\nline')\" b; ln -s a link",
        dir.path(),
    );
    let check = |list: &str, args: &[&str], wanted: &[&str]| {
        let out = pack_list(dir.path(), list.as_bytes(), args);
        good(&out);
        assert!(out.stderr.is_empty(), "{}", said(&out));
        assert_eq!(names(&out.stdout), wanted, "{list:?}");
    };
    // A directory is packed whole, once, and the order of the list does not matter.
    let whole = ["a", "a/-x", "a/d", "a/d/one", "a/d/two", "b"];
    check("a/d/one\nb\n\na\n./a/\nb", &[], &whole);
    check("b\n", &["a"], &whole);
    check("a\n", &["--exclude", "d"], &["a", "a/-x"]);
    check("a/d/one\na/-x", &[], &["a/-x", "a/d/one"]);
    check(" \nlink\n", &[], &[" ", "link"]);
    check("new\nline\0b\0", &["-0"], &["b", "new\nline"]);
    good(&pack_list(&at("a"), b"-x\n", &[]));
    let empty = pack_list(dir.path(), b"\n", &[]);
    good(&empty);
    assert!(said(&empty).contains("no names"), "{}", said(&empty));
    assert!(names(&empty.stdout).is_empty());
    let all = pack_list(dir.path(), b".\n./a\nb\n", &[]).stdout;
    assert!(all == run(&["pack", dir.path().to_str().unwrap()], b"").stdout);
    // What is not there is told, counted, and does not end the run.
    let out = pack_list(dir.path(), b"no\nno/x\nb\nlink\nlink/d\n", &[]);
    assert_eq!(out.status.code(), Some(1));
    for words in [
        "cannot read no: No such",
        "cannot read no/x:",
        "link/d: Not a dir",
        "3 obj",
    ] {
        assert!(said(&out).contains(words), "{}", said(&out));
    }
    assert_eq!(names(&out.stdout), ["b", "link"]);
    let back = unpack(&out.stdout, &at("copy"), &[]);
    good(&back);
    assert!(said(&back).contains("3 objects"), "{}", said(&back));
    assert_eq!(
        pack_list(dir.path(), b"no\n", &["--strict"]).status.code(),
        Some(1)
    );
    // What is left out is left out with all below it, wherever the list begins.
    for glob in ["d", "a/d", "d/", "/a"] {
        let out = pack_list(dir.path(), b"a//d/one\nb\n", &["--exclude", glob]);
        good(&out);
        assert_eq!(names(&out.stdout), ["b"], "{glob}");
    }
    // The old archive is left out as the new one is.
    fs::write(at("a/x.tar"), "old").unwrap();
    let to = at("a/x.tar");
    let out = pack_list(dir.path(), b"a", &["-o", to.to_str().unwrap()]);
    good(&out);
    assert_eq!(names(&fs::read(&to).unwrap()), &whole[..5]);
    fs::remove_file(&to).unwrap();
    let out = pack_list(dir.path(), b"", &["--exclude-from", "-"]);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    for list in ["../x", "b\n/b"] {
        assert_eq!(
            pack_list(dir.path(), list.as_bytes(), &[]).status.code(),
            Some(2)
        );
    }
    assert_eq!(run(&["pack", "-0", "x"], b"").status.code(), Some(2));
    let out = run(&["pack", "-T", "/nonexistent"], b"");
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
}

#[test]
fn links_are_followed_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    shell(
        "mkdir -p out/deep a/d; echo text > out/deep/file; echo one > a/one; \
         ln -s ../out/deep a/dir; ln -s one a/two; ln -s ../one a/d/three; mkfifo out/fifo; \
         ln -s ../out/fifo a/fifo; ln -s dir a/again; ln -s a top",
        dir.path(),
    );
    let pack = |args: &[&str], path: &str| {
        let mut command = sealcast();
        command
            .args(["pack", "-L", "-C"])
            .arg(dir.path())
            .args(args);
        command.arg(path);
        feed(command, b"")
    };
    let out = pack(&[], "a");
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    good(&unpack(&out.stdout, &at("b"), &[]));
    shell(
        "test -z \"$(find b -type l)\"; diff -r a/d b/d; cmp out/deep/file b/dir/file; \
         test -p b/fifo; \
         test b/one -ef b/two; test b/one -ef b/d/three; test b/dir/file -ef b/again/file; \
         test $(find b -type f | wc -l) = 5; test $(stat -c %h b/one) = 3",
        dir.path(),
    );
    assert_eq!(names(&pack(&["a/one", "a/dir"], "top/d").stdout).len(), 5);
    // Loops, and links to nowhere, are told and counted; the rest is there.
    shell(
        "ln -s .. a/d/up; ln -s nowhere a/gone; ln -s self a/self",
        dir.path(),
    );
    let out = pack(&[], "a");
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    for words in [
        "cannot read d/up: Too many levels",
        "cannot follow gone: it leads nowhere",
        "cannot read self: Too many levels",
        "3 objects",
    ] {
        assert!(said(&out).contains(words), "{words}: {}", said(&out));
    }
    good(&unpack(&out.stdout, &at("c"), &[]));
    shell("rm b/fifo c/fifo; diff -r b c", dir.path());
}

#[test]
fn a_deep_walk_comes_back_through_links() {
    let dir = tempfile::tempdir().unwrap();
    // Deeper than directories are kept open, with a link on the way at every turn.
    shell(
        "mkdir store a; at=a; for i in $(seq 90); do mkdir -p store/$i/x; touch store/$i/z; \
         ln -s $PWD/store/$i $at/l; at=store/$i/x; done",
        dir.path(),
    );
    let out = run(&["pack", "-L", dir.path().join("a").to_str().unwrap()], b"");
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    assert_eq!(names(&out.stdout).len(), 1 + 3 * 90);
}
