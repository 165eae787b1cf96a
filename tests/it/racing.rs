//! Trees that others change while we are at work on them: a tree that is packed is told as far as
//! it was seen, and one that is restored never reaches what is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::archive::{good, pack, said, shell, unpack};
use crate::support::{feed, have, root, sealcast};

/// What does not compress, so that a pipe that nobody reads stops the one who packs it.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 7u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out
}

/// A tree whose first file is long, and everything after it of the kinds that will change.
fn restless(dir: &Path) -> PathBuf {
    let a = dir.join("a");
    fs::create_dir_all(a.join("dir-to-file")).unwrap();
    fs::create_dir(a.join("dir-to-link")).unwrap();
    fs::create_dir(a.join("dir-gone")).unwrap();
    fs::create_dir(a.join("dir-still")).unwrap();
    for name in ["dir-gone/x", "dir-to-file/x", "dir-to-link/x"] {
        fs::write(a.join(name), "x").unwrap();
    }
    for to in ["gone", "dir", "link", "fifo", "socket", "same"] {
        fs::write(a.join(format!("file-{to}")), to).unwrap();
    }
    symlink("x", a.join("link-gone")).unwrap();
    symlink("x", a.join("link-to-file")).unwrap();
    symlink("x", a.join("link-to-dir")).unwrap();
    fs::write(a.join("zz"), "after").unwrap();
    fs::write(a.join("a-link"), "one").unwrap();
    fs::hard_link(a.join("a-link"), a.join("z-link")).unwrap();
    fs::write(a.join("aa-shrinks"), noise(64 << 20)).unwrap();
    a
}

/// Changes everything that [`restless`] made.
fn change(a: &Path) {
    let at = |name: &str| a.join(name);
    let file = fs::OpenOptions::new().write(true).open(at("aa-shrinks"));
    file.unwrap().set_len(1000).unwrap();
    for name in ["dir-gone", "dir-to-file", "dir-to-link"] {
        fs::remove_dir_all(at(name)).unwrap();
    }
    for name in ["file-gone", "file-dir", "file-link", "file-fifo"] {
        fs::remove_file(at(name)).unwrap();
    }
    for name in ["file-socket", "link-gone", "link-to-file", "link-to-dir"] {
        fs::remove_file(at(name)).unwrap();
    }
    fs::write(at("z-link"), "another").unwrap();
    fs::write(at("dir-to-file"), "file").unwrap();
    symlink("dir-still", at("dir-to-link")).unwrap();
    fs::create_dir(at("file-dir")).unwrap();
    symlink("zz", at("file-link")).unwrap();
    shell("mkfifo file-fifo", a);
    std::os::unix::net::UnixListener::bind(at("file-socket")).unwrap();
    fs::write(at("link-to-file"), "file").unwrap();
    fs::create_dir(at("link-to-dir")).unwrap();
}

/// Packs `a` and changes it while the first file is read.
fn pack_meanwhile(a: &Path, args: &[&str]) -> Output {
    let mut child = sealcast()
        .args(["pack", "--threads", "1"])
        .args(args)
        .arg(a)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdout.take().unwrap();
    // The first file is under way, and nobody takes what comes of it.
    let mut archive = vec![0; 10_000];
    pipe.read_exact(&mut archive).unwrap();
    change(a);
    pipe.read_to_end(&mut archive).unwrap();
    let mut out = child.wait_with_output().unwrap();
    out.stdout = archive;
    out
}

/// What GNU tar lists of an archive.
fn listed(archive: &[u8], dir: &Path) -> Vec<String> {
    fs::write(dir.join("archive"), archive).unwrap();
    let mut tar = Command::new("bash");
    tar.args(["-euo", "pipefail", "-c", "zstd -dc archive | tar t"]);
    tar.current_dir(dir);
    let out = feed(tar, b"");
    assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_tree_that_changes_is_told_as_it_was_seen() {
    if !have("tar") || !have("zstd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = restless(dir.path());
    let out = pack_meanwhile(&a, &[]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let words = said(&out);
    let mut faults: Vec<_> = words.lines().filter(|l| l.contains("warning: ")).collect();
    faults.sort_unstable();
    let changed = "changed while it was read";
    let vanished = "vanished before it was read";
    let expected = [
        ("aa-shrinks", changed),
        ("dir-gone", vanished),
        ("dir-to-file", changed),
        ("dir-to-link", changed),
        ("file-dir", changed),
        ("file-fifo", changed),
        ("file-gone", vanished),
        ("file-link", changed),
        ("file-socket", changed),
        ("link-gone", vanished),
        ("link-to-dir", changed),
        ("link-to-file", changed),
        ("z-link", changed),
    ]
    .map(|(name, what)| format!("sealcast pack: warning: {name} {what}"));
    assert_eq!(faults, expected);
    let count = "error: 13 objects were not packed as found; the archive says so";
    assert!(words.contains(count), "{words}");
    // The long file keeps its place with zero bytes, and what nobody changed is there.
    let still = [
        "./",
        "a-link",
        "aa-shrinks",
        "dir-still/",
        "file-same",
        "z-link",
        "zz",
    ];
    assert_eq!(listed(&out.stdout, dir.path()), still);
    let b = dir.path().join("b");
    let back = unpack(&out.stdout, &b, &[]);
    good(&back);
    let words = said(&back);
    assert!(words.contains("13 objects were not packed"), "{words}");
    assert_eq!(fs::metadata(b.join("aa-shrinks")).unwrap().len(), 64 << 20);
    assert_eq!(fs::read(b.join("zz")).unwrap(), b"after");
}

#[test]
fn a_strict_pack_of_a_changing_tree_ends_in_no_archive() {
    let dir = tempfile::tempdir().unwrap();
    let a = restless(dir.path());
    let out = pack_meanwhile(&a, &["--strict"]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    let words = "error: aa-shrinks changed while it was read";
    assert!(said(&out).contains(words), "{}", said(&out));
    let b = dir.path().join("b");
    let back = unpack(&out.stdout, &b, &[]);
    assert_eq!(back.status.code(), Some(3), "{}", said(&back));
    assert!(!b.exists());
}

/// Makes, grows, cuts, moves and removes things in `dir` until told to stop.
fn stir(dir: &Path, stop: &AtomicBool) {
    let mut n = 0u32;
    while !stop.load(Ordering::Relaxed) {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let path = dir.join(format!("d{}/f{}", n >> 8 & 3, n >> 10 & 31));
        let _ = match n >> 20 & 7 {
            0 => fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)),
            1 => fs::create_dir(&path).and_then(|()| fs::write(path.join("in"), "in")),
            2 => symlink("nowhere", &path),
            3 => fs::rename(&path, path.with_extension("moved")),
            4 => fs::hard_link(&path, path.with_extension("link")),
            5 => fs::write(&path, vec![b'x'; (n >> 12 & 0xfffff) as usize]),
            6 => fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|f| f.set_len(u64::from(n >> 24))),
            _ => fs::remove_file(path.with_extension("link")),
        };
    }
}

#[test]
fn a_tree_in_turmoil_leaves_sound_archives() {
    if !have("tar") || !have("zstd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    for d in 0..4 {
        fs::create_dir_all(a.join(format!("d{d}"))).unwrap();
        for f in 0..32 {
            fs::write(a.join(format!("d{d}/f{f}")), vec![b'f'; f * 9000]).unwrap();
        }
    }
    let stop = AtomicBool::new(false);
    let mut faults = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| stir(&a, &stop));
        for round in 0..8 {
            let out = sealcast().arg("pack").arg(&a).output().unwrap();
            let words = said(&out);
            let warned = words.lines().filter(|l| l.contains("warning: ")).count();
            faults += warned;
            assert_eq!(out.status.code(), Some(i32::from(warned > 0)), "{words}");
            if warned > 0 {
                assert!(
                    words.contains(&format!("error: {warned} object")),
                    "{words}"
                );
            }
            let names = listed(&out.stdout, dir.path());
            assert!(names.len() > 4, "{names:?}");
            let b = dir.path().join(format!("b{round}"));
            let back = unpack(&out.stdout, &b, &[]);
            good(&back);
            let told = said(&back).contains(&format!("{warned} objects were not packed"));
            assert_eq!(told, warned > 0, "{warned}: {}", said(&back));
            fs::remove_dir_all(&b).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(faults > 0, "nothing changed in time");
}

/// Everything about a directory that an attack could change.
fn state(dir: &Path) -> BTreeMap<PathBuf, (u32, u32, i64, u64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let m = fs::symlink_metadata(&path).unwrap();
        let content = if m.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        if m.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let time = m.mtime() * 1_000_000_000 + m.mtime_nsec();
        found.insert(path, (m.mode(), m.uid(), time, m.nlink(), content));
    }
    found
}

/// Swaps what is in the stages below `places` for symbolic links to the same in `victim`, and
/// back, until told to stop. Counts the swaps.
fn swap(places: &[PathBuf], victim: &Path, stop: &AtomicBool) -> usize {
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        for place in places {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name().into_string().unwrap();
                let is_stage = name.starts_with(".sealcast-") && name.ends_with(".partial");
                let (at, on) = (entry.path(), entry.file_type().is_ok_and(|t| t.is_dir()));
                if is_stage {
                    let at = at.join("tree");
                    for name in ["d0", "d1", "d2", "d3", "d4", "d2/e", "fifo-1", "fifo-7"] {
                        swaps += one_swap(&at.join(name), &victim.join(name));
                    }
                } else if on && name.starts_with('d') {
                    swaps += one_swap(&at, &victim.join(&name));
                }
            }
        }
    }
    swaps
}

fn one_swap(path: &Path, victim: &Path) -> usize {
    let aside = path.with_extension("aside");
    if fs::rename(path, &aside).is_err() {
        return 0;
    }
    let done = symlink(victim, path).is_ok();
    std::thread::sleep(Duration::from_micros(300));
    let _ = fs::remove_file(path);
    let _ = fs::rename(&aside, path);
    usize::from(done)
}

/// A tree of many small things in few directories; `zz` comes last.
fn crowd(tree: &Path) {
    for d in 0..5 {
        let at = tree.join(format!("d{d}"));
        fs::create_dir_all(at.join("e")).unwrap();
        for f in 0..60 {
            fs::write(at.join(format!("f{f}")), format!("new {f}")).unwrap();
            fs::write(at.join(format!("e/f{f}")), "new").unwrap();
        }
        fs::hard_link(at.join("f1"), at.join("g1")).unwrap();
        symlink("f1", at.join("s")).unwrap();
        fs::set_permissions(&at, PermissionsExt::from_mode(0o777)).unwrap();
    }
    for f in 0..9 {
        shell(&format!("mkfifo -m 777 fifo-{f}"), tree);
    }
}

/// One restoration under attack; its status.
fn attacked(archive: &[u8], dir: &Path, target: &str, args: &[&str], swaps: &AtomicUsize) -> i32 {
    let area = dir.join("area");
    let target = area.join(target);
    let (places, stop) = ([area, target.clone()], AtomicBool::new(false));
    let victim = dir.join("victim");
    std::thread::scope(|scope| {
        let attacker = scope.spawn(|| swap(&places, &victim, &stop));
        let out = unpack(archive, &target, args);
        stop.store(true, Ordering::Relaxed);
        swaps.fetch_add(attacker.join().unwrap(), Ordering::Relaxed);
        out.status.code().unwrap()
    })
}

#[test]
fn swapped_directories_lead_nowhere() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let victim = dir.path().join("victim");
    crowd(&tree);
    // The victim has what the archive would put there, closed to others, and old.
    crowd(&victim);
    shell(
        "find victim -type f -exec sh -c 'for f; do echo old > $f; done' _ {} +; \
         chmod -R go-rwx victim; find victim -exec touch -hd 2001-01-01 {} +",
        dir.path(),
    );
    let before = state(&victim);
    let archive = pack(&[], &tree);
    let swaps = AtomicUsize::new(0);
    let mut failures = 0;
    for round in 0..16 {
        let _ = fs::remove_dir_all(dir.path().join("area"));
        fs::create_dir_all(dir.path().join("area/old/d0/e")).unwrap();
        fs::create_dir(dir.path().join("area/old/d4")).unwrap();
        let (target, args) = match round % 4 {
            0 => ("new", &[][..]),
            1 => ("old", &["--replace"][..]),
            2 => ("old", &["--merge"][..]),
            _ => {
                // Its name says that it is a stage, which makes it no such thing.
                fs::create_dir(dir.path().join("area/old/.sealcast-0.partial")).unwrap();
                ("old", &["--replace"][..])
            }
        };
        let status = attacked(&archive, dir.path(), target, args, &swaps);
        assert!(status == 0 || status == 1, "{status}");
        failures += status;
        assert!(
            state(&victim) == before,
            "round {round}: the victim was changed"
        );
    }
    let swaps = swaps.into_inner();
    assert!(swaps > 60, "only {swaps} swaps");
    eprintln!("{swaps} swaps, {failures} of 16 runs failed");
}

/// A user who is not root.
const ALICE: u32 = 54_321;

/// Alice's directory, in which root has one that is closed to her.
struct Home {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let path = dir.path().join("home");
        let vault = path.join("vault");
        fs::create_dir_all(vault.join("d0")).unwrap();
        fs::write(vault.join("secret"), "root only").unwrap();
        fs::set_permissions(&vault, PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&path, Some(ALICE), Some(ALICE)).unwrap();
        Self { dir, path }
    }

    /// The name that root's directory has by now: it must be as it was.
    fn vault(&self) -> PathBuf {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        let vault = paths.find(|path| path.join("secret").exists());
        let vault = vault.expect("root's directory was removed");
        let m = fs::metadata(&vault).unwrap();
        assert_eq!((m.uid(), m.mode() & 0o7777), (0, 0o700));
        assert_eq!(fs::read(vault.join("secret")).unwrap(), b"root only");
        crate::archive::only(&vault, &["d0", "secret"]);
        vault
    }

    /// Unpacks while Alice does `act` again and again, from when there is a stage; her successes.
    fn attacked(
        &self,
        archive: &[u8],
        target: &Path,
        args: &[&str],
        act: impl Fn(&Path, &str) -> bool + Sync,
    ) -> (Output, usize) {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let alice = scope.spawn(|| {
                let user = rustix::process::Uid::from_raw(ALICE);
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
                let mut done = 0;
                while !stop.load(Ordering::Relaxed) {
                    let names = fs::read_dir(&self.path).unwrap().flatten();
                    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
                    let stage = names
                        .into_iter()
                        .find(|name| name.starts_with(".sealcast-"));
                    if let Some(stage) = stage {
                        done += usize::from(act(&self.path, &stage));
                    }
                }
                done
            });
            let out = unpack(archive, target, args);
            stop.store(true, Ordering::Relaxed);
            (out, alice.join().unwrap())
        })
    }
}

/// Lets two names change what they lead to.
fn exchange(dir: &Path, a: &str, b: &str) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let flags = RenameFlags::EXCHANGE;
    renameat_with(CWD, dir.join(a), CWD, dir.join(b), flags).is_ok()
}

/// A tree of Alice's with many directories, so that its restoration takes its time.
fn alices_tree(first: &str) -> Vec<u8> {
    let mut forge = crate::hostile::Forge::new()
        .dir(first.as_bytes())
        .owner(ALICE);
    forge = forge.dir(b"z/");
    for n in 0..1500 {
        forge = forge.dir(format!("z/{n}/").as_bytes()).owner(ALICE);
    }
    forge.done()
}

#[test]
fn a_real_directory_in_the_place_of_a_new_one_is_not_given_away() {
    if !root() {
        return;
    }
    let archive = alices_tree("d/");
    for _ in 0..3 {
        let home = Home::new();
        let swap = |dir: &Path, _: &str| exchange(dir, "d", "vault");
        home.attacked(&archive, &home.path, &["--merge"], swap);
        home.vault();
    }
}

#[test]
fn a_real_directory_in_the_place_of_an_old_one_is_not_given_away() {
    if !root() {
        return;
    }
    let archive = alices_tree("d/");
    let mut swaps = 0;
    for _ in 0..3 {
        let home = Home::new();
        fs::create_dir(home.path.join("d")).unwrap();
        std::os::unix::fs::chown(home.path.join("d"), Some(ALICE), Some(ALICE)).unwrap();
        let swap = |dir: &Path, _: &str| exchange(dir, "d", "vault");
        let (out, done) = home.attacked(&archive, &home.path, &["--merge"], swap);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{}", said(&out));
        swaps += done;
        home.vault();
    }
    assert!(swaps > 0);
}

#[test]
fn a_real_directory_in_the_place_of_a_stage_is_not_removed() {
    if !root() {
        return;
    }
    let archive = alices_tree("d/");
    let mut swaps = 0;
    for (target, args) in [
        ("", "--merge"),
        ("new", "--no-devices"),
        ("old", "--replace"),
    ] {
        let home = Home::new();
        fs::create_dir(home.path.join("old")).unwrap();
        let swap = |dir: &Path, stage: &str| exchange(dir, stage, "vault");
        let (out, done) = home.attacked(&archive, &home.path.join(target), &[args], swap);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{}", said(&out));
        swaps += done;
        home.vault();
    }
    assert!(swaps > 0);
}

#[test]
fn a_real_directory_in_the_place_of_a_target_is_not_replaced() {
    if !root() {
        return;
    }
    let archive = alices_tree("d/");
    let mut swaps = 0;
    for _ in 0..3 {
        let home = Home::new();
        let old = home.path.join("old");
        fs::create_dir(&old).unwrap();
        fs::write(old.join("file"), "old").unwrap();
        let swap = |dir: &Path, _: &str| exchange(dir, "old", "vault");
        let (out, done) = home.attacked(&archive, &old, &["--replace"], swap);
        assert!(matches!(out.status.code(), Some(0 | 1)), "{}", said(&out));
        swaps += done;
        home.vault();
    }
    assert!(swaps > 0);
}

#[test]
fn a_name_makes_nothing_a_stage() {
    if !root() {
        return;
    }
    let new = alices_tree("d/");
    for name in [
        ".sealcast-any.partial",
        ".sealcast-0123456789abcdef.partial",
    ] {
        for args in [&["--merge"][..], &["--merge", "--no-setuid"]] {
            let home = Home::new();
            fs::rename(home.path.join("vault"), home.path.join(name)).unwrap();
            good(&unpack(&new, &home.path, args));
            assert_eq!(home.vault(), home.path.join(name));
        }
        let home = Home::new();
        fs::rename(home.path.join("vault"), home.path.join(name)).unwrap();
        let out = unpack(&new, &home.path, &[]);
        assert_eq!(out.status.code(), Some(2), "{}", said(&out));
        home.vault();
        drop(home.dir);
    }
}
