//! Disk images: files and loop devices, what is refused, and what an interruption leaves.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::fs::{SeekFrom, seek};
use sealcast::archive::{Content, Entry, Kind, Meta, Writer};

use crate::archive::{good, only, plain, said, shell};
use crate::support::{feed, have, root, run, sealcast};

const MIB: u64 = 1 << 20;

/// Bytes without a pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(len.div_ceil(8)).flatten().take(len).collect()
}

/// An image of 8 MiB and a bit, with a partition table's mark, holes, and zero bytes among data.
fn make_image(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let file = File::create(&path).unwrap();
    file.set_len(8 * MIB + 512).unwrap();
    file.write_all_at(&noise(4096), 0).unwrap();
    file.write_all_at(b"EFI PART", 512).unwrap();
    file.write_all_at(&noise(700_000), 2 * MIB).unwrap();
    file.write_all_at(&noise(8192), 6 * MIB + 4096).unwrap();
    file.write_all_at(&noise(512), 8 * MIB).unwrap();
    path
}

fn pack(path: &Path) -> Vec<u8> {
    let out = sealcast().args(["pack", "--image"]).arg(path).output();
    let out = out.unwrap();
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    out.stdout
}

fn unpack(archive: &[u8], target: &Path, args: &[&str]) -> Output {
    let mut command = sealcast();
    command.args(["unpack", "--image"]).arg(target).args(args);
    feed(command, archive)
}

/// Where a file has data.
fn data(path: &Path) -> Vec<(u64, u64)> {
    let file = File::open(path).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(start) = seek(&file, SeekFrom::Data(at)) {
        at = seek(&file, SeekFrom::Hole(start)).unwrap();
        found.push((start, at));
    }
    found
}

/// A loop device that goes away with this.
struct Loop(PathBuf);

impl Loop {
    /// A device of `size` bytes, all of which are 0xee; nothing where such devices cannot be made.
    fn new(dir: &Path, name: &str, size: u64) -> Option<Self> {
        if !root() || !have("losetup") {
            return None;
        }
        let file = dir.join(name);
        fs::write(&file, vec![0xee; size as usize]).unwrap();
        let mut command = Command::new("losetup");
        let out = command.args(["--show", "-f"]).arg(&file).output().unwrap();
        if !out.status.success() {
            // Not even root has them in many a container.
            eprintln!("SKIPPED: no loop devices: {}", said(&out));
            return None;
        }
        Some(Self(String::from_utf8(out.stdout).unwrap().trim().into()))
    }

    fn bytes(&self, at: u64, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        let file = File::open(&self.0).unwrap();
        file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    fn is_zero(&self, at: u64) -> bool {
        self.bytes(at, MIB).iter().all(|&b| b == 0)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.0).status();
    }
}

#[test]
fn an_image_comes_back_with_its_holes() {
    let dir = tempfile::tempdir().unwrap();
    let a = make_image(dir.path(), "disk.img");
    let archive = pack(&a);
    let b = dir.path().join("b");
    let out = unpack(&archive, &b, &[]);
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());
    assert_eq!(data(&a), data(&b));
    // Nothing but name, size, holes and content is in the archive.
    fs::create_dir(dir.path().join("other")).unwrap();
    fs::set_permissions(&b, PermissionsExt::from_mode(0o640)).unwrap();
    let moved = dir.path().join("other/disk.img");
    fs::rename(&b, &moved).unwrap();
    assert!(pack(&moved) == archive);
    // With the holes of a file of nothing else.
    let empty = dir.path().join("empty");
    File::create(&empty).unwrap().set_len(5 * MIB).unwrap();
    good(&unpack(&pack(&empty), &b, &["--no-sync"]));
    assert_eq!(
        (fs::metadata(&b).unwrap().len(), data(&b)),
        (5 * MIB, vec![])
    );
    only(dir.path(), &["b", "disk.img", "empty", "other"]);
}

#[test]
fn tar_restores_images_and_makes_them() {
    if !have("tar") || !have("zstd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let a = make_image(dir.path(), "disk.img");
    fs::write(dir.path().join("archive"), pack(&a)).unwrap();
    shell(
        "mkdir x; zstd -dc archive | tar x --no-same-owner -C x; cmp disk.img x/disk.img; \
         zstd -dc archive | TZ=UTC0 tar tv --numeric-owner > list; \
         grep -q '^-rw------- 0/0 *8389120 1970-01-01 00:00 disk.img$' list",
        dir.path(),
    );
    assert_eq!(data(&a), data(&dir.path().join("x/disk.img")));
    let ours = sealcast().arg("pack").arg(&a).output().unwrap().stdout;
    for (name, make) in [
        ("ustar", "tar c --format=ustar disk.img > archive"),
        (
            "sparse",
            "tar c -S --format=posix disk.img | zstd > archive",
        ),
        ("gnu", "tar c -S --format=gnu disk.img > archive"),
        ("ours", ""),
    ] {
        shell(make, dir.path());
        let archive = match make {
            "" => ours.clone(),
            _ => fs::read(dir.path().join("archive")).unwrap(),
        };
        let b = dir.path().join(name);
        good(&unpack(&archive, &b, &[]));
        assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap(), "{name}");
        // Zero bytes that were stored take no space.
        assert!(fs::metadata(&b).unwrap().blocks() * 512 < 2 * MIB, "{name}");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/one"), "1").unwrap();
    fs::write(at("tree/two"), "2").unwrap();
    symlink("one", at("tree/link")).unwrap();
    let c = dir.path().to_str().unwrap();
    let packed = |args: &[&str]| run(&[&["pack", "-C", c], args].concat(), b"").stdout;
    let check = |archive: &[u8], what: &str| {
        let out = unpack(archive, &at("b"), &[]);
        assert_eq!(out.status.code(), Some(3), "{}", said(&out));
        assert!(said(&out).contains(what), "{}", said(&out));
        only(dir.path(), &["tree"]);
    };
    check(&packed(&["tree"]), ". is no regular file");
    check(&packed(&["tree/link"]), "tree/link is no regular file");
    check(
        &packed(&["tree/one", "tree/two"]),
        "tree/two is another entry",
    );
    check(&[], "empty");
    check(&[0; 1024], "it has no entry");
    let one = packed(&["tree/one"]);
    let out = unpack(&one, &at("b"), &["--max-bytes", "0"]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    for source in ["tree", "/dev/null", "tree/.."] {
        let out = run(&["pack", "--image", source], b"");
        assert!(matches!(out.status.code(), Some(1 | 2)), "{}", said(&out));
    }
    let conflicts: [&[&str]; 5] = [
        &["pack", "--image", "x", "y"],
        &["pack", "--image", "x", "--exclude", "y"],
        &["unpack", "--image", "x", "-C", "y"],
        &["unpack", "--image", "x", "--merge"],
        &["unpack", "--image", "x", "--no-devices"],
    ];
    for args in conflicts {
        assert_eq!(run(args, b"").status.code(), Some(2), "{args:?}");
    }
    only(dir.path(), &["tree"]);
}

#[test]
fn targets_are_judged_first() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let archive = pack(&make_image(dir.path(), "a"));
    let refused = |target: &Path, args: &[&str], status| {
        let out = unpack(&archive, target, args);
        assert_eq!(out.status.code(), Some(status), "{}", said(&out));
    };
    shell(
        "mkfifo fifo; mkdir d; ln -s nowhere link; echo old > old; chmod 640 old",
        dir.path(),
    );
    for target in [
        Path::new("-"),
        Path::new("/dev/null"),
        &at("fifo"),
        &at("d"),
    ] {
        refused(target, &["--replace"], 2);
    }
    refused(&at("old"), &[], 2);
    refused(&at("link"), &[], 2);
    refused(&at("no/b"), &[], 1);
    for target in ["new/", "new/."] {
        // There is nothing to read: what is wrong is noticed before.
        let out = unpack(b"", &at(target), &[]);
        assert_eq!(out.status.code(), Some(1), "{}", said(&out));
        assert!(said(&out).contains("a directory's"), "{}", said(&out));
    }
    assert_eq!(fs::read(at("old")).unwrap(), b"old\n");
    // What is there goes only when the new one is complete; its mode stays.
    let out = unpack(&archive[..archive.len() - 1], &at("old"), &["--replace"]);
    assert_eq!(out.status.code(), Some(3));
    assert_eq!(fs::read(at("old")).unwrap(), b"old\n");
    good(&unpack(&archive, &at("old"), &["--replace"]));
    assert!(fs::read(at("old")).unwrap() == fs::read(at("a")).unwrap());
    assert_eq!(fs::metadata(at("old")).unwrap().mode() & 0o7777, 0o640);
    only(dir.path(), &["a", "d", "fifo", "link", "old"]);
}

#[test]
fn a_mask_gives_no_rights_to_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let archive = pack(&make_image(dir.path(), "a"));
    let old = dir.path().join("old");
    fs::write(&old, "old").unwrap();
    fs::set_permissions(&old, PermissionsExt::from_mode(0o604)).unwrap();
    let list = b"user::rw-,user:1234:rw-,group::---,mask::rw-,other::r--";
    let list = sealcast::archive::acl::from_text(list, &|_, _| None).unwrap();
    let name = sealcast::archive::acl::ACCESS;
    if rustix::fs::setxattr(&old, name, &list, rustix::fs::XattrFlags::empty()).is_err() {
        eprintln!("SKIPPED: no access lists here");
        return;
    }
    assert_eq!(fs::metadata(&old).unwrap().mode() & 0o777, 0o664);
    good(&unpack(&archive, &old, &["--replace"]));
    assert_eq!(fs::metadata(&old).unwrap().mode() & 0o777, 0o604);
    // Nor does a list that new files of a directory are given.
    let default = sealcast::archive::acl::DEFAULT;
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(dir.path(), default, &list, flags).unwrap();
    good(&unpack(&archive, &old, &["--replace"]));
    assert_eq!(fs::metadata(&old).unwrap().mode() & 0o777, 0o604);
    assert!(rustix::fs::getxattr(&old, name, &mut [0u8; 256]).is_err());
}

#[test]
fn a_size_that_no_file_can_have_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tar = plain(&pack(&make_image(dir.path(), "disk.img")));
    let find = |what: &[u8]| tar.windows(what.len()).position(|w| w == what).unwrap();
    let at = find(b"GNU.sparse.realsize=") - 3;
    let record = |size: &str| format!("{} GNU.sparse.realsize={size}\n", size.len() + 24);
    let (short, long) = (record("8389120"), record("9223372036854775808"));
    assert_eq!(&tar[at..at + short.len()], short.as_bytes());
    // The header before the records says how long they are.
    let header = at / 512 * 512 - 512;
    let records = at / 512 * 512;
    let len = u64::from_str_radix(std::str::from_utf8(&tar[header + 124..][..11]).unwrap(), 8);
    let len = usize::try_from(len.unwrap()).unwrap();
    let mut bad = tar[..header + 512].to_vec();
    let grown = len + long.len() - short.len();
    bad[header + 124..][..11].copy_from_slice(format!("{grown:011o}").as_bytes());
    bad[header + 148..][..8].fill(b' ');
    let sum: u32 = bad[header..].iter().map(|&b| u32::from(b)).sum();
    bad[header + 148..][..7].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    bad.extend_from_slice(&tar[records..at]);
    bad.extend_from_slice(long.as_bytes());
    bad.extend_from_slice(&tar[at + short.len()..records + len]);
    bad.resize(bad.len().next_multiple_of(512), 0);
    bad.extend_from_slice(&tar[(records + len).next_multiple_of(512)..]);
    let out = unpack(&bad, &dir.path().join("b"), &[]);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("too great"), "{}", said(&out));
    only(dir.path(), &["disk.img"]);
}

#[test]
fn a_file_that_appears_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    let tar = plain(&pack(&make_image(dir.path(), "a")));
    let b = dir.path().join("b");
    let mut child = sealcast()
        .args(["unpack", "--image"])
        .arg(&b)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&tar[..2048]).unwrap();
    while fs::read_dir(dir.path()).unwrap().count() < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(&b, "mine").unwrap();
    stdin.write_all(&tar[2048..]).unwrap();
    drop(stdin);
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("File exists"), "{}", said(&out));
    assert_eq!(fs::read(&b).unwrap(), b"mine");
    only(dir.path(), &["a", "b"]);
}

#[test]
fn an_image_with_errors_is_restored_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::new(Vec::new()).unwrap();
    let entry = Entry {
        path: b"disk.img".to_vec(),
        kind: Kind::File(Content::dense(5)),
        meta: Meta::default(),
    };
    writer.entry(&entry).unwrap();
    writer.data(b"hello").unwrap();
    writer.count_error();
    let (tar, _) = writer.finish().unwrap();
    let out = unpack(&tar, &dir.path().join("b"), &[]);
    good(&out);
    assert!(
        said(&out).contains("warning: the image changed"),
        "{}",
        said(&out)
    );
    assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"hello");
}

#[test]
fn a_cut_archive_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let archive = pack(&make_image(dir.path(), "a"));
    let tar = plain(&archive);
    let b = dir.path().join("b");
    let last = (0..9).map(|i| tar.len() - 512 * i - 1);
    for cut in (0..tar.len()).step_by(90 * 512).chain(last) {
        let out = unpack(&tar[..cut], &b, &["--no-sync"]);
        assert_eq!(out.status.code(), Some(3), "{cut}: {}", said(&out));
    }
    for cut in (0..archive.len()).step_by(70_001) {
        let out = unpack(&archive[..cut], &b, &["--no-sync"]);
        assert_eq!(out.status.code(), Some(3), "{cut}: {}", said(&out));
    }
    only(dir.path(), &["a"]);
    // Unless it shall be kept.
    let out = unpack(&tar[..tar.len() - 1024], &b, &["--keep-partial"]);
    assert_eq!(out.status.code(), Some(3));
    fs::remove_file(dir.path().join("a")).unwrap();
    let kept = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
    let kept = kept.path();
    assert!(
        said(&out).contains(kept.to_str().unwrap()),
        "{}",
        said(&out)
    );
    assert_eq!(fs::metadata(kept).unwrap().len(), 8 * MIB + 512);
}

#[test]
fn an_image_that_changes_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::write(&a, vec![b'a'; 48 << 20]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let out = std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = fs::OpenOptions::new().write(true).open(&a).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                file.write_all_at(b"more", 0).unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let out = sealcast().args(["pack", "--image"]).arg(&a).output();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        out.unwrap()
    });
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("changed while"), "{}", said(&out));
    let back = unpack(&out.stdout, &dir.path().join("b"), &[]);
    assert_eq!(back.status.code(), Some(3), "{}", said(&back));
    // And it does not become its own archive.
    let mut command = sealcast();
    command.args(["pack", "--image"]).arg(&a).arg("-o").arg(&a);
    assert_eq!(feed(command, b"").status.code(), Some(2));
    let mut command = sealcast();
    let out = fs::OpenOptions::new().append(true).open(&a).unwrap();
    command
        .args(["pack", "--image"])
        .arg(&a)
        .stdout(out)
        .stderr(Stdio::null());
    assert_eq!(command.status().unwrap().code(), Some(2));
    assert_eq!(fs::metadata(&a).unwrap().len(), 48 << 20);
    only(dir.path(), &["a"]);
}

#[test]
fn a_full_disk_and_a_signal_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let a = make_image(dir.path(), "a");
    let tar = plain(&pack(&a));
    let area = dir.path().join("area");
    fs::create_dir(&area).unwrap();
    let mut child = sealcast()
        .args(["unpack", "--image"])
        .arg(area.join("b"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Held open: the end of the input would be another story.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&tar[..99_999]).unwrap();
    while fs::read_dir(&area).unwrap().count() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(15));
    only(&area, &[]);
    if !root() {
        return;
    }
    fs::write(dir.path().join("archive"), tar).unwrap();
    let bin = env!("CARGO_BIN_EXE_sealcast");
    let script = format!(
        "mount -t tmpfs -o size=512k none area; s=0; \
         {bin} unpack --image area/b < archive 2> words || s=$?; test $s = 1; \
         grep -q 'No space' words; grep -q 'as it was' words; test -z \"$(ls -A area)\""
    );
    let script = script.replace('\'', "'\\''");
    shell(
        &format!("unshare -m bash -euo pipefail -c '{script}'"),
        dir.path(),
    );
}

#[test]
fn a_device_is_filled_and_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let a = make_image(dir.path(), "a");
    let size = 8 * MIB + 512;
    let Some(device) = Loop::new(dir.path(), "backing", 12 * MIB) else {
        return;
    };
    let out = unpack(&pack(&a), &device.0, &[]);
    good(&out);
    assert!(
        said(&out).contains("4193792 bytes after the image"),
        "{}",
        said(&out)
    );
    assert!(said(&out).contains("sgdisk -e"), "{}", said(&out));
    assert!(device.bytes(0, size) == fs::read(&a).unwrap());
    // What is behind the image is none of our business, and what is no data is no more.
    assert!(
        device
            .bytes(size, 12 * MIB - size)
            .iter()
            .all(|&b| b == 0xee)
    );
    let used = fs::metadata(dir.path().join("backing")).unwrap().blocks() * 512;
    assert!(used < 9 * MIB, "{used}");
    // The same by another name, whole: a device has no holes, and zero bytes cost nothing.
    let archive = pack(&device.0);
    assert!(archive.len() < 800_000, "{}", archive.len());
    let b = dir.path().join("b");
    good(&unpack(&archive, &b, &[]));
    assert!(fs::read(&b).unwrap() == device.bytes(0, 12 * MIB));
    assert!(fs::metadata(&b).unwrap().blocks() * 512 < 7 * MIB);
}

#[test]
fn a_device_that_does_not_fit_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let archive = pack(&make_image(dir.path(), "a"));
    let Some(device) = Loop::new(dir.path(), "backing", 8 * MIB) else {
        return;
    };
    let out = unpack(&archive, &device.0, &[]);
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(said(&out).contains("has 8388608 bytes, and the image has 8389120"));
    assert!(device.bytes(0, 8 * MIB).iter().all(|&b| b == 0xee));
    // Nor is one that takes no data called incomplete.
    let small = dir.path().join("small");
    fs::write(&small, noise(70_000)).unwrap();
    let set = |how| {
        shell(
            &format!("blockdev {how} {}", device.0.display()),
            dir.path(),
        );
    };
    set("--setro");
    let out = unpack(&pack(&small), &device.0, &[]);
    set("--setrw");
    assert_eq!(out.status.code(), Some(1), "{}", said(&out));
    assert!(!said(&out).contains("incomplete"), "{}", said(&out));
    assert!(device.bytes(0, 8 * MIB).iter().all(|&b| b == 0xee));
    if !have("mkfs.ext4") {
        return;
    }
    fs::write(dir.path().join("archive"), pack(&small)).unwrap();
    let (bin, device) = (env!("CARGO_BIN_EXE_sealcast"), device.0.display());
    let script = format!(
        "mkfs.ext4 -q {device}; mkdir m; mount {device} m; s=0; \
         {bin} unpack --image {device} < archive 2> words || s=$?; test $s = 1; \
         grep -q 'in use' words; {bin} pack --image {device} 2> words > image; \
         grep -q 'warning: .* is in use' words; umount m; e2fsck -fn {device} > words 2>&1"
    );
    shell(
        &format!(
            "unshare -m bash -euo pipefail -c '{}'",
            script.replace('\'', "'\\''")
        ),
        dir.path(),
    );
}

#[test]
fn an_interrupted_device_does_not_boot() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    fs::write(&a, noise(5 << 20)).unwrap();
    let tar = plain(&pack(&a));
    let Some(device) = Loop::new(dir.path(), "backing", 5 * MIB) else {
        return;
    };
    let fill = || fs::write(&device.0, vec![0xee; 5 << 20]).unwrap();
    let start = 512 * 3;
    for cut in [
        600_000,
        2_000_000,
        4_800_000,
        tar.len() - 2048,
        tar.len() - 1,
    ] {
        fill();
        let out = unpack(&tar[..cut], &device.0, &["--no-sync"]);
        assert_eq!(out.status.code(), Some(3), "{cut}: {}", said(&out));
        let words = format!("{} is incomplete", device.0.display());
        assert!(said(&out).contains(&words), "{}", said(&out));
        assert!(said(&out).contains("run again") && !said(&out).contains("as it was"));
        assert!(device.is_zero(0) && device.is_zero(4 * MIB), "{cut}");
    }
    // Before the archive has said what it is, nothing is touched.
    fill();
    assert_eq!(
        unpack(&tar[..start - 1], &device.0, &[]).status.code(),
        Some(3)
    );
    assert!(device.bytes(0, 5 * MIB).iter().all(|&b| b == 0xee));
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        fill();
        let mut child = sealcast()
            .args(["unpack", "--image"])
            .arg(&device.0)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&tar[..4 << 20]).unwrap();
        while device.bytes(2 * MIB, 16) == [0xee; 16] {
            std::thread::sleep(Duration::from_millis(5));
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        let out = child.wait_with_output().unwrap();
        // Held to here: the end of the input would be another story.
        drop(stdin);
        assert_eq!(out.status.signal(), Some(signal.as_raw()));
        // One that is killed cannot say anything.
        let told = said(&out).contains("is incomplete") && said(&out).contains("run again");
        assert_eq!(
            told,
            signal == rustix::process::Signal::TERM,
            "{}",
            said(&out)
        );
        assert!(device.is_zero(0) && device.is_zero(4 * MIB));
    }
    let out = unpack(&tar, &device.0, &[]);
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    assert!(device.bytes(0, 5 * MIB) == fs::read(&a).unwrap());
}

#[test]
fn a_file_system_survives() {
    if !have("mkfs.ext4") || !have("e2fsck") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    shell(
        "mkdir tree; head -c 3000000 /dev/urandom > tree/big; echo hello > tree/hello; \
         mkfs.ext4 -q -d tree disk.img 16M",
        dir.path(),
    );
    let archive = pack(&dir.path().join("disk.img"));
    good(&unpack(&archive, &dir.path().join("copy"), &[]));
    shell(
        "cmp disk.img copy; e2fsck -fn copy > words 2>&1",
        dir.path(),
    );
    let Some(device) = Loop::new(dir.path(), "backing", 16 * MIB) else {
        return;
    };
    let out = unpack(&archive, &device.0, &[]);
    good(&out);
    assert!(out.stderr.is_empty(), "{}", said(&out));
    let device = device.0.display();
    shell(
        &format!("cmp disk.img {device}; e2fsck -fn {device} > words 2>&1"),
        dir.path(),
    );
}
