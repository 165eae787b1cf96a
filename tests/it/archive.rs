//! The archive: round trips, other archivers, targets, and what can go wrong on the way.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use sealcast::tree::{differences, sample};

use crate::support::{feed, have, root, run, sealcast};
use crate::tree::nasty;

pub(crate) fn pack(args: &[&str], dir: &Path) -> Vec<u8> {
    let out = sealcast().arg("pack").args(args).arg(dir).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert!(out.stderr.is_empty(), "{}", said(&out));
    out.stdout
}

pub(crate) fn unpack(archive: &[u8], target: &Path, args: &[&str]) -> Output {
    let mut command = sealcast();
    command
        .args(["unpack", "--no-sync", "-C"])
        .arg(target)
        .args(args);
    feed(command, archive)
}

pub(crate) fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

pub(crate) fn good(out: &Output) {
    assert!(out.status.success(), "{}", said(out));
}

pub(crate) fn same(a: &Path, b: &Path) {
    let all = differences(a, b).unwrap();
    assert!(all.is_empty(), "{all:#?}");
}

pub(crate) fn shell(script: &str, dir: &Path) {
    let out = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(out.status.success(), "{script}: {}", said(&out));
}

/// Mounts `m` again so that nothing can be written. Landlock lets go of a stage that was removed a
/// moment after its process has ended, and until then the file system is busy.
pub(crate) const READ_ONLY: &str =
    "for i in $(seq 50); do mount -o remount,ro m 2>/dev/null && break; sleep 0.1; done";

/// Nothing is in `dir` but `names`: no stage was left.
pub(crate) fn only(dir: &Path, names: &[&str]) {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, names);
}

pub(crate) fn make_sample(dir: &Path, name: &str) -> std::path::PathBuf {
    let tree = dir.join(name);
    fs::create_dir(&tree).unwrap();
    sample(&tree).unwrap();
    tree
}

#[test]
fn a_nasty_tree_comes_back_whole() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    fs::create_dir(&a).unwrap();
    nasty(&a, 70);
    let archive = pack(&[], &a);
    let out = unpack(&archive, &b, &[]);
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    same(&a, &b);
    // Packing the copy gives the same bytes: nothing that is packed was lost.
    assert!(pack(&["--threads", "1"], &b) == archive);
    only(dir.path(), &["a", "b"]);
}

#[test]
fn an_ordinary_user_gets_a_sample_back() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    if rustix::process::geteuid().is_root() {
        if !have("setpriv") {
            return;
        }
        // The tree is root's; the user may read it, and gets a copy of their own.
        let tree = make_sample(dir.path(), "a");
        shell("chown -R 65534:65534 a", dir.path());
        let copy = dir.path().join("sealcast");
        fs::copy(bin, &copy).unwrap();
        let user = "setpriv --reuid 65534 --regid 65534 --clear-groups";
        shell(
            &format!("{user} ./sealcast pack a | {user} ./sealcast unpack --no-sync -C b"),
            dir.path(),
        );
        same(&tree, &dir.path().join("b"));
        return;
    }
    let tree = make_sample(dir.path(), "a");
    let out = unpack(&pack(&[], &tree), &dir.path().join("b"), &[]);
    good(&out);
    same(&tree, &dir.path().join("b"));
}

#[test]
fn gnu_tar_sees_no_stranger_in_our_records() {
    if !have("tar") || !have("zstd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = make_sample(dir.path(), "a");
    fs::write(dir.path().join("archive"), pack(&[], &a)).unwrap();
    // Silence, and a full listing.
    shell(
        "zstd -dc archive | tar t > list 2> words; test ! -s words; \
         test $(tr -cd '/\\n' < list | wc -l) -gt 400; tail -1 list | grep -q time-c",
        dir.path(),
    );
}

#[test]
fn plain_tar_is_taken_too() {
    if !have("tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/x/y")).unwrap();
    fs::write(dir.path().join("a/x/y/file"), "content").unwrap();
    // Without its directories: they are made as a user would make them.
    shell("tar c --format=ustar -C a x/y/file > archive", dir.path());
    let b = dir.path().join("b");
    good(&unpack(
        &fs::read(dir.path().join("archive")).unwrap(),
        &b,
        &[],
    ));
    assert_eq!(fs::read(b.join("x/y/file")).unwrap(), b"content");
    let mode = fs::metadata(b.join("x")).unwrap().mode() & 0o7777;
    assert_eq!(
        mode,
        fs::metadata(dir.path().join("a/x")).unwrap().mode() & 0o7777
    );
}

#[test]
fn the_bytes_depend_on_the_tree_alone() {
    let dir = tempfile::tempdir().unwrap();
    let a = make_sample(dir.path(), "a");
    let one = pack(&["--threads", "1"], &a);
    assert!(one == pack(&["--threads", "4"], &a));
    good(&unpack(&one, &dir.path().join("b"), &[]));
    assert!(one == pack(&["--threads", "3"], &dir.path().join("b")));
}

/// What waits to be written holds the memory of a few frames: neither a file in many frames nor
/// many files in as many frames may wait for more.
#[test]
fn frames_of_any_length_are_taken() {
    let dir = tempfile::tempdir().unwrap();
    let a = make_sample(dir.path(), "a");
    fs::write(a.join("long"), b"0123456789abcdef".repeat(20_000)).unwrap();
    for i in 0..300 {
        fs::write(a.join(format!("short{i}")), vec![b'x'; i]).unwrap();
    }
    let tar = plain(&pack(&[], &a));
    for len in [700, 4096, 300_000] {
        let archive: Vec<u8> = tar.chunks(len).flat_map(squeeze).collect();
        let b = dir.path().join(len.to_string());
        good(&unpack(&archive, &b, &[]));
        same(&a, &b);
        // With one processor there is one writer.
        let mut one = Command::new("taskset");
        one.args(["-c", "0"]).arg(sealcast().get_program());
        one.args(["unpack", "-q", "--replace", "--no-sync", "-C"])
            .arg(&b);
        good(&feed(one, &archive));
        same(&a, &b);
    }
}

/// A small tree with one of each, and its tar stream.
pub(crate) fn small(dir: &Path) -> Vec<u8> {
    let a = dir.join("small");
    fs::create_dir_all(a.join("d")).unwrap();
    fs::write(a.join("d/file"), vec![b'x'; 700]).unwrap();
    fs::hard_link(a.join("d/file"), a.join("d/link")).unwrap();
    symlink("file", a.join("d/sym")).unwrap();
    fs::write(a.join(format!("d/{}", "n".repeat(120))), "long").unwrap();
    fs::write(a.join("empty"), "").unwrap();
    plain(&pack(&[], &a))
}

pub(crate) fn plain(archive: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut tar = Vec::new();
    sealcast::archive::Decoder::new(archive)
        .unwrap()
        .read_to_end(&mut tar)
        .unwrap();
    tar
}

/// A frame with its announcement.
pub(crate) fn squeeze(data: &[u8]) -> Vec<u8> {
    squeeze_at(3, data)
}

pub(crate) fn squeeze_at(level: i32, data: &[u8]) -> Vec<u8> {
    let mut compressor = sealcast::archive::FrameCompressor::new().unwrap();
    let mut frame = Vec::new();
    let announcement = compressor.compress(data, level, &mut frame).unwrap();
    [&announcement[..], &frame].concat()
}

#[test]
fn a_cut_archive_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let b = dir.path().join("b");
    assert!(tar.len() < 20_000 && tar.len().is_multiple_of(512));
    for cut in (0..tar.len())
        .step_by(512)
        .chain([1, 511, 513, 1000, tar.len() - 1])
    {
        let out = unpack(&tar[..cut], &b, &[]);
        assert_eq!(out.status.code(), Some(3), "{cut}: {}", said(&out));
        assert!(!b.exists(), "{cut}");
    }
    let squeezed: Vec<u8> = tar.chunks(3 * 512).flat_map(squeeze).collect();
    for cut in (0..squeezed.len()).step_by(37) {
        let out = unpack(&squeezed[..cut], &b, &[]);
        assert_eq!(out.status.code(), Some(3), "{cut}: {}", said(&out));
    }
    only(dir.path(), &["small"]);
    good(&unpack(&squeezed, &b, &[]));
    same(&dir.path().join("small"), &b);
}

#[test]
fn what_follows_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let b = dir.path().join("b");
    let refused = |bytes: &[u8]| {
        let out = unpack(bytes, &b, &[]);
        assert_eq!(out.status.code(), Some(3), "{}", said(&out));
        assert!(!b.exists());
    };
    refused(&[&tar[..], b"x"].concat());
    refused(&[&tar[..], &tar[..]].concat());
    // One zero block is not an end, and ours has totals before it.
    refused(&tar[..tar.len() - 512]);
    let without_totals = [&tar[..tar.len() - 2048], &[0; 1024]].concat();
    refused(&without_totals);
    good(&unpack(&[&tar[..], &[0; 10240]].concat(), &b, &[]));
}

#[test]
fn limits_hold() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let b = dir.path().join("b");
    for limit in [["--max-entries", "3"], ["--max-bytes", "700"]] {
        let out = unpack(&tar, &b, &limit);
        assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    }
    only(dir.path(), &["small"]);
    good(&unpack(
        &tar,
        &b,
        &["--max-entries", "7", "--max-bytes", "704"],
    ));
}

#[test]
fn an_incomplete_tree_is_kept_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let out = unpack(
        &tar[..tar.len() - 1024],
        &area.join("b"),
        &["--keep-partial"],
    );
    assert_eq!(out.status.code(), Some(3));
    let kept = fs::read_dir(&area).unwrap().next().unwrap().unwrap().path();
    assert!(
        said(&out).contains(kept.to_str().unwrap()),
        "{}",
        said(&out)
    );
    assert_eq!(fs::read(kept.join("tree/d/file")).unwrap().len(), 700);
}

#[test]
fn devices_and_set_id_bits_can_be_left_out() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::create_dir(&a).unwrap();
    nasty(&a, 60);
    let b = dir.path().join("b");
    let out = unpack(&pack(&[], &a), &b, &["--no-devices", "--no-setuid"]);
    good(&out);
    assert!(said(&out).contains("7 device nodes"), "{}", said(&out));
    assert!(!b.join("nodes/null").exists() && b.join("nodes/fifo").exists());
    let mode = |path: &str| fs::metadata(b.join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("metadata/mode-6711"), 0o711);
    assert_eq!(mode("metadata/mode-7777"), 0o1777);
    let capability = |tree: &Path| {
        rustix::fs::getxattr(
            tree.join("attributes/cap-raw"),
            "security.capability",
            &mut [0; 64][..],
        )
    };
    assert!(capability(&a).is_ok() && capability(&b).is_err());
}

#[test]
fn several_paths_keep_their_names_and_patterns_leave_out() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    fs::write(dir.path().join("lone"), "lone").unwrap();
    let c = dir.path().to_str().unwrap();
    let out = run(
        &[
            "pack",
            "-C",
            c,
            "lone",
            "./small/",
            "--exclude",
            "small/d/*m",
            "--exclude",
            "empty",
        ],
        b"",
    );
    good(&out);
    let b = dir.path().join("b");
    good(&unpack(&out.stdout, &b, &[]));
    assert_eq!(fs::read(b.join("lone")).unwrap(), b"lone");
    assert_eq!(fs::read(b.join("small/d/link")).unwrap().len(), 700);
    assert!(fs::symlink_metadata(b.join("small/d/sym")).is_err());
    assert!(!b.join("small/empty").exists());
    for bad in [
        &["pack", "..", "."][..],
        &["pack", "-C", c, "lone", "lone"],
        &["pack", "--exclude", "[", "."],
    ] {
        assert_eq!(run(bad, b"").status.code(), Some(2), "{bad:?}");
    }
    assert_eq!(run(&["pack", "/nonexistent"], b"").status.code(), Some(1));
}

#[test]
fn absolute_paths_of_anything_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "x").unwrap();
    symlink("file", at("link")).unwrap();
    shell("mkfifo fifo", dir.path());
    let mut command = sealcast();
    command
        .arg("pack")
        .args([at("link"), at("fifo"), at("file")]);
    let out = command.current_dir("/").output().unwrap();
    assert!(
        out.status.success() && out.stderr.is_empty(),
        "{}",
        said(&out)
    );
    let copy = at("copy");
    good(&unpack(&out.stdout, &copy, &[]));
    let below = copy.join(dir.path().strip_prefix("/").unwrap());
    assert_eq!(
        fs::read_link(below.join("link")).unwrap(),
        Path::new("file")
    );
    only(&below, &["fifo", "file", "link"]);
}

#[test]
fn what_cannot_be_read_is_named_and_counted() {
    if !root() || !have("setpriv") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let bin = dir.path().join("sealcast");
    fs::copy(env!("CARGO_BIN_EXE_sealcast"), &bin).unwrap();
    let a = dir.path().join("a");
    fs::create_dir_all(a.join("shut")).unwrap();
    fs::write(a.join("secret"), "s").unwrap();
    fs::write(a.join("open"), "o").unwrap();
    std::os::unix::net::UnixListener::bind(a.join("socket")).unwrap();
    for name in ["secret", "shut"] {
        fs::set_permissions(a.join(name), PermissionsExt::from_mode(0o000)).unwrap();
    }
    let user = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(&bin).arg("pack").args(args).arg(&a);
        feed(command, b"")
    };
    let out = user(&[]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    for word in [
        "cannot read secret",
        "cannot read shut",
        "left out socket",
        "2 objects",
    ] {
        assert!(said(&out).contains(word), "{word}: {}", said(&out));
    }
    let b = dir.path().join("b");
    let back = unpack(&out.stdout, &b, &[]);
    good(&back);
    assert!(
        said(&back).contains("2 objects were not packed"),
        "{}",
        said(&back)
    );
    only(&b, &["open", "shut"]);
    let out = user(&["--strict"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(
        unpack(&out.stdout, &dir.path().join("c"), &[])
            .status
            .code(),
        Some(3)
    );
}

#[test]
fn a_changing_file_leaves_a_sound_archive() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::create_dir(&a).unwrap();
    let path = a.join("log");
    fs::write(&path, vec![b'l'; 64 << 20]).unwrap();
    fs::write(a.join("zz"), "after").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let out = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all(b"more\n").unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        let out = sealcast().arg("pack").arg(&a).output().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        out
    });
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(
        said(&out).contains("log changed while it was read"),
        "{}",
        said(&out)
    );
    let b = dir.path().join("b");
    good(&unpack(&out.stdout, &b, &[]));
    assert_eq!(fs::read(b.join("zz")).unwrap(), b"after");
    assert!(fs::metadata(b.join("log")).unwrap().len() >= 64 << 20);
}

#[test]
fn the_archive_is_not_packed_into_itself() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    let a = dir.path().join("small");
    let file = a.join("d/archive");
    let out = sealcast()
        .arg("pack")
        .arg(&a)
        .arg("-o")
        .arg(&file)
        .output()
        .unwrap();
    good(&out);
    assert!(said(&out).contains("it is the archive"), "{}", said(&out));
    let b = dir.path().join("b");
    good(&unpack(&fs::read(&file).unwrap(), &b, &[]));
    assert!(!b.join("d/archive").exists() && b.join("d/file").exists());
}

#[test]
fn a_signal_leaves_nothing_behind() {
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let mut child = sealcast()
        .args(["unpack", "-C"])
        .arg(area.join("b"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&tar[..3072]).unwrap();
    while fs::read_dir(&area).unwrap().count() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.signal(), Some(15));
    assert!(out.stderr.is_empty(), "{}", said(&out));
    only(&area, &[]);
}

#[test]
fn a_closed_pipe_ends_pack_quietly() {
    use std::process::Stdio;
    let dir = tempfile::tempdir().unwrap();
    let a = make_sample(dir.path(), "a");
    let mut child = sealcast()
        .arg("pack")
        .arg(&a)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(141));
    assert!(out.stderr.is_empty(), "{}", said(&out));
}
