//! A small tree with a bit of everything, for tests on a machine of which nothing is known.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::Error;

/// Fills the directory `dir`, which must exist and be empty, with about 8 MiB: text and noise,
/// hundreds of small files, links of both kinds, a file with holes, a fifo, odd and long names, an
/// empty and a read-only directory, and times with nanoseconds. It is the same every time.
///
/// # Errors
/// [`Error::System`] when something cannot be made.
pub fn sample(dir: &Path) -> Result<(), Error> {
    fill(dir).map_err(Error::system(
        "make a sample tree in",
        dir.as_os_str().as_bytes(),
    ))
}

fn fill(dir: &Path) -> io::Result<()> {
    let mut noise = Noise(0x5EA1_CA57);
    fs::write(dir.join("noise"), noise.bytes(3 << 20))?;
    text(&dir.join("text"), 4 << 20)?;
    small_files(&dir.join("small"), &mut noise)?;
    links(&dir.join("links"))?;
    sparse(&dir.join("holes"))?;
    names(&dir.join("names"))?;
    fs::create_dir(dir.join("empty"))?;
    fs::write(dir.join("empty-file"), "")?;
    let mut at = dir.join("deep");
    for _ in 0..12 {
        at.push("a-name-that-makes-the-path-longer");
    }
    fs::create_dir_all(&at)?;
    fs::write(at.join("leaf"), "deep down\n")?;
    let shut = dir.join("read-only");
    fs::create_dir(&shut)?;
    fs::write(shut.join("inside"), "read, not written\n")?;
    fs::set_permissions(shut.join("inside"), fs::Permissions::from_mode(0o400))?;
    for (i, name) in ["a", "b", "c"].iter().enumerate() {
        let path = dir.join(format!("time-{name}"));
        fs::write(&path, name)?;
        let secs = [-1_000_000_000, 0, 4_200_000_000][i];
        set_time(&path, secs, 123_456_789)?;
    }
    set_time(&dir.join("links"), 1_600_000_000, 987_654_321)?;
    set_time(&shut, 1_500_000_000, 5)?;
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o555))?;
    set_time(dir, 1_700_000_000, 42)
}

/// Lines that compress well.
fn text(path: &Path, size: usize) -> io::Result<()> {
    let mut out = io::BufWriter::new(File::create(path)?);
    let mut written = 0;
    let mut n = 0u64;
    while written < size {
        let line = format!("line {n:08} of a text that repeats itself a good deal\n");
        out.write_all(line.as_bytes())?;
        written += line.len();
        n += 1;
    }
    out.flush()
}

fn small_files(dir: &Path, noise: &mut Noise) -> io::Result<()> {
    for d in 0..10 {
        let dir = dir.join(format!("{d}"));
        fs::create_dir_all(&dir)?;
        for f in 0..40 {
            let path = dir.join(format!("file-{f:02}"));
            fs::write(&path, noise.bytes(d * 97 + f * 51))?;
            let mode = if f % 7 == 0 { 0o755 } else { 0o640 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

fn links(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    fs::write(dir.join("one"), "one object, three names\n")?;
    fs::hard_link(dir.join("one"), dir.join("three"))?;
    fs::hard_link(dir.join("one"), dir.join("two"))?;
    symlink("one", dir.join("relative"))?;
    symlink("/nonexistent/./..//x/", dir.join("dangling"))?;
    symlink("t".repeat(200), dir.join("long-target"))?;
    rustix::fs::mknodat(
        CWD,
        dir.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    )?;
    Ok(())
}

/// Where the file system knows no holes, these are zero bytes, and no harm is done.
fn sparse(dir: &Path) -> io::Result<()> {
    fs::create_dir(dir)?;
    let make = |name: &str| {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(dir.join(name))
    };
    let file = make("middle")?;
    file.set_len(16 << 20)?;
    file.write_all_at(&[b'm'; 64 << 10], 8 << 20)?;
    let file = make("all")?;
    file.set_len(5 << 20)?;
    let file = make("odd-end")?;
    file.set_len((2 << 20) + 777)?;
    file.write_all_at(b"start", 0)
}

fn names(dir: &Path) -> io::Result<()> {
    use std::ffi::OsStr;
    fs::create_dir(dir)?;
    let long = "n".repeat(255);
    let names: [&[u8]; 12] = [
        b"new\nline",
        b"tab\tand space ",
        b"back\\slash",
        b"-dash",
        b"...",
        b"*?[x]",
        b"a=b",
        "\u{fc}n\u{ef}code".as_bytes(),
        b"\xff\xfe\x80",
        b"\x1b[31mred",
        &long.as_bytes()[..101],
        long.as_bytes(),
    ];
    for name in names {
        match fs::write(dir.join(OsStr::from_bytes(name)), name) {
            // A file system that wants text for names.
            Err(e) if e.raw_os_error() == Some(84) || e.kind() == io::ErrorKind::InvalidInput => {}
            made => made?,
        }
    }
    Ok(())
}

fn set_time(path: &Path, secs: i64, nanos: i64) -> io::Result<()> {
    let time = Timespec {
        tv_sec: secs,
        tv_nsec: nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Bytes without a pattern, the same every time: xorshift.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            out.extend_from_slice(&self.0.to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::differences;

    #[test]
    fn the_sample_is_the_same_every_time_and_differences_are_seen() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        sample(a.path()).unwrap();
        sample(b.path()).unwrap();
        let time = |dir: &Path| set_time(dir, 7, 7).unwrap();
        // The directories whose times are left to the clock differ; nothing else does.
        let all = differences(a.path(), b.path()).unwrap();
        assert!(all.iter().all(|d| d.contains(": time ")), "{all:#?}");
        let before = all.len();

        let at = |name: &str| b.path().join(name);
        let check = |what: &str| {
            let all = differences(a.path(), b.path()).unwrap();
            assert!(all.iter().any(|d| d.contains(what)), "{what}: {all:#?}");
        };
        fs::write(at("new"), "").unwrap();
        check("new: not expected");
        fs::remove_file(at("new")).unwrap();
        fs::remove_file(at("links/two")).unwrap();
        check("links/two: missing");
        fs::write(at("links/two"), "one object, three names\n").unwrap();
        check("links/two: no one object with");
        fs::set_permissions(at("text"), fs::Permissions::from_mode(0o600)).unwrap();
        check("text: mode 0600");
        let file = OpenOptions::new()
            .write(true)
            .open(at("holes/middle"))
            .unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        drop(file);
        check("holes/middle: holes");
        let file = OpenOptions::new().write(true).open(at("noise")).unwrap();
        file.write_all_at(b"x", 1 << 20).unwrap();
        check("noise: content");
        time(&at("time-a"));
        check("time-a: time 7 s 7 ns for -1000000000 s 123456789 ns");
        assert!(differences(a.path(), b.path()).unwrap().len() > before);
        // So that an ordinary user can remove them.
        for dir in [&a, &b] {
            let shut = dir.path().join("read-only");
            fs::set_permissions(shut, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
