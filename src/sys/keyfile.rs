//! Key files: read whole and bounded, made for their owner alone and never over another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::Error;
use super::stdio::same_file;
use super::strict_modes;

/// Bytes of the longest key file: what age allows, for lists of recipients are long.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 20;

/// Room for what comes from a pipe; few keys need more.
const PIPE_START_BYTES: usize = 16 << 10;

/// The content of a key file.
#[derive(Debug)]
pub struct KeyFile {
    /// The content, erased when dropped.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether others than the owner can read it, which matters for secrets.
    pub exposed: bool,
}

impl KeyFile {
    /// The content as text; `path` is named in the error.
    ///
    /// # Errors
    /// [`Error::KeyFileNotText`].
    pub fn text(&self, path: &Path) -> Result<&str, Error> {
        std::str::from_utf8(&self.bytes).map_err(|_| Error::KeyFileNotText(path.into()))
    }
}

/// Opens the key file `path`, of which nobody but root and the user can change anything; `-` is
/// standard input.
///
/// # Errors
/// [`Error::Open`] and [`Error::Changeable`].
pub(super) fn open(path: &Path) -> Result<(File, fs::Metadata), Error> {
    let failed = |source| Error::Open {
        path: path.into(),
        source,
    };
    let named = if path == Path::new("-") {
        Path::new("/dev/stdin")
    } else {
        strict_modes::check_way(path)?;
        path
    };
    let file = File::open(named).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    strict_modes::check_file(path, &file, &meta)?;
    Ok((file, meta))
}

/// Reads the key file `path`; `-` is standard input.
///
/// # Errors
/// [`Error::Open`], [`Error::Changeable`] and [`Error::KeyFileTooLong`].
pub fn read(path: &Path) -> Result<KeyFile, Error> {
    let (mut file, meta) = open(path)?;
    let known = usize::try_from(meta.len().min(KEY_FILE_BYTES_MAX)).unwrap_or(0);
    let mut bytes = Zeroizing::new(Vec::with_capacity(known.max(PIPE_START_BYTES) + 1));
    loop {
        if bytes.len() == bytes.capacity() {
            // A buffer that grows by itself leaves a copy of the secret behind.
            let mut larger = Zeroizing::new(Vec::with_capacity(bytes.len() * 2));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        let len = bytes.len();
        let room = bytes.capacity();
        bytes.resize(room, 0);
        let got = file.read(&mut bytes[len..]);
        bytes.truncate(len + got.as_ref().map_or(0, |got| *got));
        match got {
            Ok(0) => break,
            Ok(_) if bytes.len() as u64 > KEY_FILE_BYTES_MAX => {
                return Err(Error::KeyFileTooLong(path.into()));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => {
                let path = path.into();
                return Err(Error::Open { path, source });
            }
        }
    }
    Ok(KeyFile {
        bytes,
        exposed: exposed(&meta),
    })
}

/// Reads the key file `path` for a filter whose data comes from standard input.
///
/// # Errors
/// Those of [`beside_data`] and of [`read`].
pub fn read_beside_data(path: &Path) -> Result<KeyFile, Error> {
    beside_data(path)?;
    read(path)
}

/// Refuses `path` when it is standard input, which has the data and cannot have keys as well.
///
/// # Errors
/// [`Error::StdinTwice`].
pub fn beside_data(path: &Path) -> Result<(), Error> {
    let same = || -> io::Result<bool> {
        let (file, data) = (
            fs::metadata(path)?,
            io::stdin().as_fd().try_clone_to_owned()?,
        );
        let data = File::from(data).metadata()?;
        // A regular file can be read twice, each time from its beginning.
        Ok(!file.is_file() && same_file(&file, &data))
    };
    if path == Path::new("-") || same().unwrap_or(false) {
        return Err(Error::StdinTwice(path.into()));
    }
    Ok(())
}

/// Refuses `output` when it is one of `inputs`: keys are not overwritten with data.
///
/// # Errors
/// [`Error::SameFile`].
pub fn not_overwritten<'a>(
    output: Option<&Path>,
    inputs: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Error> {
    let Some(there) = output.and_then(|path| fs::metadata(path).ok()) else {
        return Ok(());
    };
    let same = |path: &Path| fs::metadata(path).is_ok_and(|m| same_file(&m, &there));
    match inputs
        .into_iter()
        .find(|path| there.is_file() && same(path))
    {
        Some(path) => Err(Error::SameFile(path.into())),
        None => Ok(()),
    }
}

/// Whether standard output is a file that others than its owner can read.
pub fn stdout_exposed() -> bool {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    let meta = stdout.and_then(|fd| File::from(fd).metadata());
    meta.is_ok_and(|meta| exposed(&meta))
}

/// Whether others than its owner can read a file.
pub(super) fn exposed(meta: &fs::Metadata) -> bool {
    meta.is_file() && meta.permissions().mode() & 0o044 != 0
}

/// Makes the key file `path` with mode 0600 and the given content.
///
/// # Errors
/// [`Error::KeyFileExists`], [`Error::Open`], and [`Error::Write`] when it cannot be written; then
/// it is not there.
pub fn create(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::KeyFileExists(path.into()),
            _ => Error::Open {
                path: path.into(),
                source,
            },
        })?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(|source| {
            // Half a key is none; that it cannot be removed either is the lesser trouble.
            let _ = fs::remove_file(path);
            Error::Write {
                path: path.into(),
                source,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, b"secret\n").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            create(&path, b"other\n"),
            Err(Error::KeyFileExists(_))
        ));
        let found = read(&path).unwrap();
        assert_eq!(found.text(&path).unwrap(), "secret\n");
        assert!(!found.exposed);
        for mode in [0o640, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(&path).unwrap().exposed);
        }
    }

    #[test]
    fn what_others_can_write_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "x").unwrap();
        for mode in [0o602, 0o622, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read(&path), Err(Error::Changeable { .. })));
        }
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let file = read(&path).unwrap();
        assert!(matches!(file.text(&path), Err(Error::KeyFileNotText(_))));
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(Error::KeyFileTooLong(_))
        ));
    }
}
