//! Passphrases from people and files: never from the data, never shown.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Error, keyfile, signals};

/// Bytes of the longest passphrase.
const BYTES_MAX: usize = 4096;

/// Asks on the terminal of this process, wherever its standard streams lead, and hides the answer.
///
/// # Errors
/// [`Error::NoTerminal`] when there is none, [`Error::PassphraseTooLong`], and [`Error::System`].
pub fn ask(prompt: &str) -> Result<Zeroizing<String>, Error> {
    let tty = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(Error::NoTerminal)?;
    let failed = |source| Error::System {
        what: "cannot ask on the terminal",
        source,
    };
    let quiet = Quiet::new(&tty).map_err(failed)?;
    // A signal in between must not leave a terminal that shows nothing.
    let (shown, settings) = (tty.try_clone().map_err(failed)?, quiet.before.clone());
    let _guard = signals::on_interrupt(move || {
        let _ = tcsetattr(&shown, OptionalActions::Now, &settings);
    })?;
    write!(&tty, "{prompt}: ").map_err(failed)?;
    let answer = first_line(&tty).map_err(failed)?;
    drop(quiet);
    writeln!(&tty).map_err(failed)?;
    answer.ok_or(Error::PassphraseTooLong)
}

/// The passphrase that a file holds.
#[derive(Debug)]
pub struct PassphraseFile {
    /// Its first line, without the end.
    pub line: Zeroizing<String>,
    /// Whether others than the owner can read it.
    pub exposed: bool,
}

/// Reads a file whose first line is a passphrase; `-` is standard input.
///
/// # Errors
/// [`Error::Open`], [`Error::Changeable`], [`Error::PassphraseNotText`] and
/// [`Error::PassphraseTooLong`].
pub fn read(path: &Path) -> Result<PassphraseFile, Error> {
    let (file, meta) = keyfile::open(path)?;
    let exposed = keyfile::exposed(&meta);
    match first_line(&file) {
        Ok(Some(line)) => Ok(PassphraseFile { line, exposed }),
        Ok(None) => Err(Error::PassphraseTooLong),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => {
            Err(Error::PassphraseNotText(path.into()))
        }
        Err(source) => Err(Error::Open {
            path: path.into(),
            source,
        }),
    }
}

/// `None` when it is too long.
fn first_line(file: &File) -> io::Result<Option<Zeroizing<String>>> {
    let mut line = Zeroizing::new(String::with_capacity(BYTES_MAX + 1));
    // A buffer of one byte keeps no copy and takes nothing beyond the line.
    let mut input = BufReader::with_capacity(1, file).take(BYTES_MAX as u64 + 1);
    input.read_line(&mut line)?;
    if line.len() > BYTES_MAX {
        return Ok(None);
    }
    while line.ends_with(['\n', '\r']) {
        line.pop();
    }
    Ok(Some(line))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    tty: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(tty: &'a File) -> io::Result<Self> {
        let before = tcgetattr(tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(tty, OptionalActions::Now, &quiet)?;
        Ok(Self { tty, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.tty, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_file_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        for (content, wanted) in [
            ("blue sky\nmore\n", "blue sky"),
            ("blue\r\n", "blue"),
            (" blue ", " blue "),
            ("", ""),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap().line.as_str(), wanted);
        }
        std::fs::write(&path, "x".repeat(BYTES_MAX + 1)).unwrap();
        assert!(matches!(read(&path), Err(Error::PassphraseTooLong)));
    }
}
