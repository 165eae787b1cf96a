//! Secret keys out of their files, unlocked with a passphrase where they have one.

use std::cell::OnceCell;
use std::path::Path;

use sealcast::crypt::sign::SigningKey;
use sealcast::seal::{self, Identity, Passphrase, decrypt, is_encrypted, parse_signing_key};
use sealcast::sys::keyfile::{self, KeyFile};
use sealcast::sys::passphrase as sys;
use sealcast::sys::secrecy;
use zeroize::Zeroizing;

use crate::cli::PassphraseArgs;
use crate::exit::{ExitStatus, Failure};
use crate::present::console::Console;

/// Where secrets come from, and who is asked.
pub(crate) struct Secrets<'a> {
    console: &'a Console,
    /// Which file has the passphrase; without one the terminal is asked. And its work at most.
    args: &'a PassphraseArgs,
    /// The passphrase of that file, which may be a pipe and is read once.
    read: OnceCell<Passphrase>,
    /// Whether standard input has data, and cannot have keys.
    beside_data: bool,
}

impl<'a> Secrets<'a> {
    pub(crate) fn new(console: &'a Console, args: &'a PassphraseArgs, beside_data: bool) -> Self {
        secrecy::protect();
        Self {
            console,
            args,
            read: OnceCell::new(),
            beside_data,
        }
    }

    /// The passphrase of `what` that exists already.
    pub(crate) fn passphrase(&self, what: &str) -> Result<Passphrase, Failure> {
        match &self.args.passphrase_file {
            Some(path) => self.of_file(path),
            None => self.sound(sys::ask(&format!("Passphrase of {what}"))?),
        }
    }

    fn of_file(&self, path: &Path) -> Result<Passphrase, Failure> {
        if let Some(passphrase) = self.read.get() {
            return Ok(passphrase.clone());
        }
        if self.beside_data {
            keyfile::beside_data(path)?;
        }
        let file = sys::read(path)?;
        self.warn_if(file.exposed, path);
        let passphrase = self.sound(file.line)?;
        Ok(self.read.get_or_init(|| passphrase).clone())
    }

    /// A passphrase for `what` that is new: a person must type it twice.
    pub(crate) fn new_passphrase(&self, what: &str) -> Result<Passphrase, Failure> {
        if let Some(path) = &self.args.passphrase_file {
            return self.of_file(path);
        }
        let first = sys::ask(&format!("New passphrase for {what}"))?;
        let passphrase = self.sound(first.clone())?;
        if *first != *sys::ask("The same again")? {
            return Err(Failure::new(
                ExitStatus::Usage,
                "the two passphrases are not the same",
            ));
        }
        Ok(passphrase)
    }

    /// The content of a file that is a secret as it is.
    pub(crate) fn raw(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let file = self.file(path)?;
        self.warn_if(file.exposed, path);
        Ok(file.bytes)
    }

    /// The identities in a file.
    pub(crate) fn identities(&self, path: &Path) -> Result<Vec<Identity>, Failure> {
        self.read(path, Identity::parse_file)
    }

    /// The identities in a file; none when they have a passphrase, which nobody is asked for yet.
    pub(crate) fn open_identities(&self, path: &Path) -> Result<Option<Vec<Identity>>, Failure> {
        let file = self.file(path)?;
        let found = if is_encrypted(&file.bytes) {
            decrypt(&file.bytes, None).and(Err(seal::Error::Locked))
        } else {
            Identity::parse_file(file.text(path)?, None)
        };
        match found {
            Ok(found) => {
                self.warn_if(file.exposed, path);
                Ok(Some(found))
            }
            Err(seal::Error::Locked) => Ok(None),
            Err(e) => Err(Failure::key_file(path, &e)),
        }
    }

    /// The signing key in a file.
    pub(crate) fn signing_key(&self, path: &Path) -> Result<SigningKey, Failure> {
        self.read(path, parse_signing_key)
    }

    /// Reads a file with secrets; `parse` may ask for a passphrase by [`seal::Error::Locked`].
    pub(crate) fn read<T>(
        &self,
        path: &Path,
        parse: impl Fn(&str, Option<&Passphrase>) -> Result<T, seal::Error>,
    ) -> Result<T, Failure> {
        self.read_some(path, parse, |_| true)
    }

    /// The same for a file that may have no secret, as `secret` finds in what was read.
    pub(crate) fn read_some<T>(
        &self,
        path: &Path,
        parse: impl Fn(&str, Option<&Passphrase>) -> Result<T, seal::Error>,
        secret: impl Fn(&T) -> bool,
    ) -> Result<T, Failure> {
        let fault = |e| Failure::key_file(path, &e);
        let file = self.file(path)?;
        let ask = || self.passphrase(&path.display().to_string());
        if is_encrypted(&file.bytes) {
            let text = match decrypt(&file.bytes, None) {
                Err(seal::Error::Locked) => decrypt(&file.bytes, Some(&ask()?)),
                other => other,
            };
            let text = text.map_err(fault)?;
            let text = std::str::from_utf8(&text)
                .map_err(|_| fault(seal::Error::Key("what is encrypted in it is not text")))?;
            return parse(text, None).map_err(fault);
        }
        let text = file.text(path)?;
        match parse(text, None) {
            Err(seal::Error::Locked) => parse(text, Some(&ask()?)).map_err(fault),
            Err(e) => Err(fault(e)),
            Ok(parsed) => {
                if secret(&parsed) {
                    self.warn_if(file.exposed, path);
                }
                Ok(parsed)
            }
        }
    }

    fn file(&self, path: &Path) -> Result<KeyFile, Failure> {
        Ok(if self.beside_data {
            keyfile::read_beside_data(path)?
        } else {
            keyfile::read(path)?
        })
    }

    /// A secret without a passphrase is worth a word when others can read it.
    fn warn_if(&self, exposed: bool, path: &Path) {
        if exposed {
            self.console.warning(&format!(
                "{} can be read by others than its owner; `chmod 600` it",
                path.display()
            ));
        }
    }

    fn sound(&self, text: Zeroizing<String>) -> Result<Passphrase, Failure> {
        if text.is_empty() {
            return Err(Failure::new(ExitStatus::Usage, "the passphrase is empty"));
        }
        Ok(Passphrase::new(text).allowing(self.args.max_work_factor))
    }
}
