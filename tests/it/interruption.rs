//! Streams that end too early, processes that are killed, disks without room: the target stays as
//! it was, and nothing that looks complete is left.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::archive::{
    READ_ONLY, good, make_sample, only, pack, plain, said, same, shell, small, squeeze, unpack,
};
use crate::support::{have, root, sealcast};

/// How many places a large archive is cut at; a longer run asks for more.
const CUTS: usize = 150;

/// Random bytes from a seed: xorshift.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Unpacks each of the `lengths` of the archive over a tree that is there, and over nothing.
fn refused(archive: &[u8], lengths: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let half = lengths.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        for (i, lengths) in lengths.chunks(half).enumerate() {
            let area = dir.path().join(i.to_string());
            scope.spawn(move || {
                let old = area.join("old");
                fs::create_dir_all(&old).unwrap();
                fs::write(old.join("precious"), "precious").unwrap();
                for (n, &len) in lengths.iter().enumerate() {
                    let out = match n % 2 {
                        0 => unpack(&archive[..len], &area.join("new"), &[]),
                        _ => unpack(&archive[..len], &old, &["--replace"]),
                    };
                    assert_eq!(out.status.code(), Some(3), "{len}: {}", said(&out));
                    assert!(said(&out).contains("error: "), "{len}: {}", said(&out));
                    only(&area, &["old"]);
                    only(&old, &["precious"]);
                }
                assert_eq!(fs::read(old.join("precious")).unwrap(), b"precious");
            });
        }
    });
}

#[test]
fn every_block_and_every_last_byte_counts() {
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    let tree = dir.path().join("small");
    // Enough to fill the end of the compressed stream, and of each kind of announcing header.
    fs::write(tree.join("noise"), noise(1, 3000)).unwrap();
    fs::File::create(tree.join("sparse"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let archive = pack(&["--level", "1"], &tree);
    let tar = plain(&archive);
    assert!(archive.len() > 3000 && tar.len() > 12_000, "{}", tar.len());
    refused(&tar, &(0..tar.len()).step_by(512).collect::<Vec<_>>());
    let last = archive.len() - 2048;
    refused(&archive, &(last..archive.len()).collect::<Vec<_>>());
    // Each half of the stream is a frame of its own here, and sound but for what is missing.
    let mut starts = Vec::new();
    let mut frames = Vec::new();
    for block in tar.chunks(512) {
        starts.push(frames.len());
        frames.extend(squeeze(block));
    }
    refused(&frames, &starts);
    good(&unpack(&frames, &dir.path().join("b"), &[]));
    same(&tree, &dir.path().join("b"));
}

#[test]
fn archives_without_totals_end_where_they_say() {
    if !have("tar") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    // No more than two zero blocks at the end, both of which it takes.
    for format in ["posix", "gnu", "oldgnu"] {
        let words = format!("tar c --format={format} -b1 -f archive -C small .");
        shell(&words, dir.path());
        let tar = fs::read(dir.path().join("archive")).unwrap();
        refused(&tar, &(0..tar.len()).step_by(512).collect::<Vec<_>>());
        good(&unpack(&tar, &dir.path().join(format), &[]));
    }
}

#[test]
fn a_large_archive_may_break_off_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_sample(dir.path(), "a");
    // More than two frames of what does not compress.
    fs::write(tree.join("large"), noise(2, 17 << 20)).unwrap();
    let archive = pack(&[], &tree);
    assert!(archive.len() > 20 << 20);
    let count = std::env::var("SEALCAST_CUTS").map_or(CUTS, |n| n.parse().unwrap());
    let places = noise(3, 8 * count);
    let place = |bytes: &[u8]| {
        let random = u64::from_le_bytes(bytes.try_into().unwrap());
        usize::try_from(random % archive.len() as u64).unwrap()
    };
    refused(&archive, &places.chunks(8).map(place).collect::<Vec<_>>());
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Waits until `done` says so, but not for ever.
fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(30), "no {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The stages in a directory.
fn stages(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let is_stage = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(".sealcast-") && name.ends_with(".partial")
    };
    entries.filter(is_stage).collect()
}

/// Starts to unpack half of a tar stream into `target`, until the first file is there.
fn half_way(tar: &[u8], target: &Path, stages_in: &Path, args: &[&str]) -> (Child, ChildStdin) {
    let mut child = sealcast()
        .args(["unpack", "--no-sync", "-C"])
        .arg(target)
        .args(args)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&tar[..tar.len() / 2]).unwrap();
    wait("file in a stage", || {
        stages(stages_in)
            .iter()
            .any(|s| fs::read_dir(s.join("tree")).is_ok_and(|d| d.count() > 0))
    });
    (child, stdin)
}

#[test]
fn a_killed_unpack_has_changed_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_sample(dir.path(), "a");
    let tar = plain(&pack(&[], &tree));
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let old = area.join("old");
    let reset = || {
        let _ = fs::remove_dir_all(&old);
        fs::create_dir(&old).unwrap();
        fs::write(old.join("precious"), "precious").unwrap();
    };
    reset();
    // Beside the target the stage is left, which the next run tells of: it may be somebody's.
    for (target, args) in [("new", &[][..]), ("old", &["--replace"])] {
        let target = area.join(target);
        let (mut child, stdin) = half_way(&tar, &target, &area, args);
        signal(&child, Signal::KILL);
        child.wait().unwrap();
        drop(stdin);
        only(&old, &["precious"]);
        assert!(!area.join("new").exists());
        let left = stages(&area);
        assert_eq!(left.len(), 1);
        let out = unpack(&tar, &target, args);
        good(&out);
        let words = said(&out);
        assert!(words.contains("an earlier unpack left"), "{words}");
        assert!(words.contains(left[0].to_str().unwrap()), "{words}");
        same(&tree, &target);
        assert_eq!(stages(&area), left);
        fs::remove_dir_all(&left[0]).unwrap();
        fs::remove_dir_all(&target).unwrap();
        reset();
    }
    // Inside the target, where only a run for this target can have left it, the next removes it and
    // says so.
    let (mut child, stdin) = half_way(&tar, &old, &old, &["--merge"]);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    drop(stdin);
    assert_eq!(fs::read(old.join("precious")).unwrap(), b"precious");
    let left = stages(&old);
    assert_eq!(left.len(), 1);
    let out = unpack(&tar, &old, &["--merge"]);
    good(&out);
    let words = format!("removed {}", left[0].display());
    assert!(said(&out).contains(&words), "{}", said(&out));
    assert_eq!(stages(&old), [""; 0].map(PathBuf::from));
    assert!(old.join("noise").exists());
}

#[test]
fn a_stage_in_use_is_not_called_left() {
    let dir = tempfile::tempdir().unwrap();
    let tar = plain(&pack(&[], &make_sample(dir.path(), "a")));
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let (child, mut stdin) = half_way(&tar, &area.join("a"), &area, &[]);
    let out = unpack(&tar, &area.join("b"), &[]);
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    stdin.write_all(&tar[tar.len() / 2..]).unwrap();
    drop(stdin);
    good(&child.wait_with_output().unwrap());
    same(&area.join("a"), &area.join("b"));
    only(&area, &["a", "b"]);
}

#[test]
fn an_old_tree_that_goes_away_is_not_called_left() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let area = dir.path().join("area");
    let old = area.join("old");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("file"), "").unwrap();
    // Enough that others come by while they are removed.
    for n in 0..20_000 {
        fs::hard_link(old.join("file"), old.join(n.to_string())).unwrap();
    }
    std::thread::scope(|scope| {
        let replacing = scope.spawn(|| good(&unpack(&tar, &old, &["--replace"])));
        for n in 0.. {
            let out = unpack(&tar, &area.join(format!("other{n}")), &[]);
            good(&out);
            assert!(out.stderr.is_empty(), "{}", said(&out));
            if replacing.is_finished() {
                break;
            }
        }
    });
}

#[test]
fn a_killed_producer_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let tree = make_sample(dir.path(), "a");
    fs::write(tree.join("large"), noise(4, 1 << 20)).unwrap();
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let mut producer = sealcast()
        .arg("pack")
        .arg(&tree)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = producer.stdout.take().unwrap();
    // It has begun to write, and what it writes is more than the pipe holds.
    let mut first = [0; 1000];
    pipe.read_exact(&mut first).unwrap();
    let mut consumer = sealcast()
        .args(["unpack", "-C"])
        .arg(area.join("b"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = consumer.stdin.take().unwrap();
    stdin.write_all(&first).unwrap();
    signal(&producer, Signal::KILL);
    producer.wait().unwrap();
    std::io::copy(&mut pipe, &mut stdin).unwrap();
    drop(stdin);
    let out = consumer.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("too early"), "{}", said(&out));
    only(&area, &[]);
}

#[test]
fn what_is_kept_of_a_cut_archive_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let tar = small(dir.path());
    let area = dir.path().join("area");
    let old = area.join("old");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("precious"), "precious").unwrap();
    let cut = &tar[..tar.len() - 1024];
    for (place, args) in [(&area, "--replace"), (&old, "--merge")] {
        let out = unpack(cut, &old, &["--keep-partial", args]);
        assert_eq!(out.status.code(), Some(3), "{}", said(&out));
        let left = stages(place);
        let [stage] = &left[..] else {
            panic!("{left:?}");
        };
        let tree = stage.join("tree");
        let words = format!("the incomplete tree is kept in {}", tree.display());
        assert!(said(&out).contains(&words), "{}", said(&out));
        assert_eq!(fs::read(tree.join("d/file")).unwrap().len(), 700);
        assert_eq!(fs::read(old.join("precious")).unwrap(), b"precious");
        assert!(!old.join("d").exists() && !old.join("empty").exists());
    }
}

#[test]
fn without_room_nothing_is_left() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    small(dir.path());
    fs::write(dir.path().join("small/large"), noise(5, 4 << 20)).unwrap();
    fs::write(
        dir.path().join("archive"),
        pack(&[], &dir.path().join("small")),
    )
    .unwrap();
    shell(
        "truncate -s 9M long; tar c long > tar; mv tar long",
        dir.path(),
    );
    let bin = env!("CARGO_BIN_EXE_sealcast");
    // For a new target, an old one, and one that is filled in place; then with a file whose rest is
    // missing, which nobody shall wait for; then with no room for names, once the names of removed
    // stages are let go; then where nothing may be written.
    let script = format!(
        "mkdir m; mount -t tmpfs -o size=2m none m; mkdir m/old; echo old > m/old/precious; \
         fails() {{ s=0; {bin} unpack --no-sync \"$@\" < archive 2> words || s=$?; \
         test $s = 1; test \"$(ls -A m)\" = old; test \"$(ls -A m/old)\" = precious; \
         test $(cat m/old/precious) = old; }}; \
         all() {{ fails -C m/new; grep -q \"$1\" words; \
         fails --replace -C m/old; grep -q \"$1\" words; \
         fails --merge -C m/old; grep -q \"$1\" words; }}; \
         all 'cannot write large: No space left'; \
         head -c 9M long > archive.9; mv archive archive.4; mv archive.9 archive; \
         all 'cannot write long: No space left'; mv archive.4 archive; \
         until mount -o remount,nr_inodes=8 m 2>/dev/null; do sleep 0.1; done; \
         all 'No space left'; \
         mount -o remount,nr_inodes=0,size=50m m; {READ_ONLY}; all 'Read-only file system'; \
         mount -o remount,rw m; {bin} unpack --no-sync -C m/new < archive; test -s m/new/large"
    );
    let script = format!(
        "unshare -m bash -euo pipefail -c '{}'",
        script.replace('\'', "'\\''")
    );
    shell(&script, dir.path());
}

#[test]
fn threads_that_hold_hostile_bytes_have_given_rights_up() {
    let dir = tempfile::tempdir().unwrap();
    let tar = plain(&pack(&[], &make_sample(dir.path(), "a")));
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let (mut child, stdin) = half_way(&tar, &area.join("b"), &area, &["-v"]);
    let tasks = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let mut held = Vec::new();
    for task in tasks {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap_or_default().trim().to_owned()
        };
        if field("NoNewPrivs:") == "1" && field("Seccomp:") == "2" {
            held.push(field("Name:"));
        } else {
            // The one that waits for the others, and the one that waits for signals.
            let name = field("Name:");
            assert!(name == "sealcast" || name == "sc-signal", "{name}");
        }
    }
    for name in ["sc-decode", "sc-commit", "sc-restore", "sc-file-0"] {
        assert!(held.iter().any(|held| held == name), "{name}: {held:?}");
    }
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    drop(stdin);
    let mut words = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut words)
        .unwrap();
    assert!(
        words.contains("held back by") && words.contains("seccomp"),
        "{words}"
    );
}
