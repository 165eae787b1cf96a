//! Key files: read whole and bounded, made for their owner alone and never over another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::Error;

/// Bytes of the longest key file: what age allows, for lists of recipients are long.
pub const KEY_FILE_BYTES_MAX: u64 = 16 << 20;

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

/// Reads the key file `path`.
///
/// # Errors
/// [`Error::Open`] and [`Error::KeyFileTooLong`].
pub fn read(path: &Path) -> Result<KeyFile, Error> {
    let open = |source| Error::Open {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(open)?;
    let meta = file.metadata().map_err(open)?;
    let capacity = usize::try_from(meta.len().min(KEY_FILE_BYTES_MAX)).unwrap_or(0);
    // Room for all of it at once: a buffer that grows leaves copies of the secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 1));
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(open)?;
    if bytes.len() as u64 > KEY_FILE_BYTES_MAX {
        return Err(Error::KeyFileTooLong(path.into()));
    }
    Ok(KeyFile {
        bytes,
        exposed: meta.is_file() && meta.permissions().mode() & 0o044 != 0,
    })
}

/// Reads the key file `path` for a filter whose data comes from standard input, which therefore
/// cannot have the key as well.
///
/// # Errors
/// [`Error::StdinTwice`], and those of [`read`].
pub fn read_beside_data(path: &Path) -> Result<KeyFile, Error> {
    let same = || -> io::Result<bool> {
        let (file, data) = (
            fs::metadata(path)?,
            io::stdin().as_fd().try_clone_to_owned()?,
        );
        let data = File::from(data).metadata()?;
        // A regular file can be read twice, each time from its beginning.
        Ok(!file.is_file() && (file.dev(), file.ino()) == (data.dev(), data.ino()))
    };
    if path == Path::new("-") || same().unwrap_or(false) {
        return Err(Error::StdinTwice(path.into()));
    }
    read(path)
}

/// Makes the key file `path` with mode 0600 and the given content.
///
/// # Errors
/// [`Error::KeyFileExists`], [`Error::Open`], and [`Error::Commit`] when it cannot be written; then
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
            Error::Commit {
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
