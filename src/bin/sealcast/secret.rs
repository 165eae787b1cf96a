//! Secret keys out of their files, unlocked with a passphrase where they have one.

use std::path::Path;

use sealcast::crypt::sign::SigningKey;
use sealcast::edge::{keyfile, passphrase as edge};
use sealcast::seal::passphrase::{decrypt, is_encrypted};
use sealcast::seal::{self, Identity, Passphrase, parse_signing_key};
use zeroize::Zeroizing;

use crate::exit::{ExitStatus, Failure};
use crate::report::Voice;

/// Where secrets come from, and who is asked.
pub(crate) struct Secrets<'a> {
    voice: &'a Voice,
    /// A file that has the passphrase; without it the terminal is asked.
    passphrase_file: Option<&'a Path>,
    /// Whether standard input has data, and cannot have keys.
    beside_data: bool,
}

impl<'a> Secrets<'a> {
    pub(crate) fn new(
        voice: &'a Voice,
        passphrase_file: Option<&'a Path>,
        beside_data: bool,
    ) -> Self {
        Self {
            voice,
            passphrase_file,
            beside_data,
        }
    }

    /// The passphrase of `what` that exists already.
    pub(crate) fn passphrase(&self, what: &str) -> Result<Passphrase, Failure> {
        let text = match self.passphrase_file {
            Some(path) => edge::read(path)?,
            None => edge::ask(&format!("Passphrase of {what}"))?,
        };
        sound(text)
    }

    /// A passphrase for `what` that is new: a person must type it twice.
    pub(crate) fn new_passphrase(&self, what: &str) -> Result<Passphrase, Failure> {
        if let Some(path) = self.passphrase_file {
            return sound(edge::read(path)?);
        }
        let first = edge::ask(&format!("New passphrase for {what}"))?;
        let passphrase = sound(first.clone())?;
        if *first != *edge::ask("The same again")? {
            return Err(Failure::new(
                ExitStatus::Usage,
                "the two passphrases are not the same",
            ));
        }
        Ok(passphrase)
    }

    /// The identities in a file.
    pub(crate) fn identities(&self, path: &Path) -> Result<Vec<Identity>, Failure> {
        self.read(path, Identity::parse_file)
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
        let fault = |e| Failure::key_file(path, &e);
        let file = if self.beside_data {
            keyfile::read_beside_data(path)?
        } else {
            keyfile::read(path)?
        };
        let ask = || self.passphrase(&path.display().to_string());
        if is_encrypted(&file.bytes) {
            let text = decrypt(&file.bytes, Some(&ask()?)).map_err(fault)?;
            let text = std::str::from_utf8(&text)
                .map_err(|_| fault(seal::Error::Key("what is encrypted in it is not text")))?;
            return parse(text, None).map_err(fault);
        }
        let text = file.text(path)?;
        let (parsed, open) = match parse(text, None) {
            Err(seal::Error::Locked) => (parse(text, Some(&ask()?)), false),
            parsed => (parsed, true),
        };
        let parsed = parsed.map_err(fault)?;
        if file.exposed && open {
            self.voice.warning(&format!(
                "{} can be read by others than its owner; `chmod 600` it",
                path.display()
            ));
        }
        Ok(parsed)
    }
}

fn sound(text: Zeroizing<String>) -> Result<Passphrase, Failure> {
    if text.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, "the passphrase is empty"));
    }
    Ok(Passphrase::new(text))
}
