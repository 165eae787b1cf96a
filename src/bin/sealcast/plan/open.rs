//! `sealcast open`: what can open a stream, and whose streams are opened.

use std::path::Path;

use sealcast::filters::SealedInput;
use sealcast::seal::opener::{MaxAge, Policy, Trust};
use sealcast::seal::{self, FileKey, Identity, Keyring, NamedKey, Passphrase, SenderKey};
use sealcast::sys::clock;
use sealcast::sys::stdio::Input;

use super::secret::Secrets;
use crate::cli::OpenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::present::Console;

/// What can open a stream.
pub(crate) struct OpenKeys<'a> {
    passphrase: bool,
    open: Vec<Identity>,
    /// Files of identities with a passphrase, which is asked for only when no other fits.
    locked: Vec<&'a Path>,
    secrets: &'a Secrets<'a>,
    console: &'a Console,
}

impl<'a> OpenKeys<'a> {
    pub(crate) fn read(
        args: &'a OpenArgs,
        secrets: &'a Secrets<'a>,
        console: &'a Console,
    ) -> Result<Self, Failure> {
        let (mut open, mut locked) = (Vec::new(), Vec::new());
        for path in &args.identity {
            match secrets.open_identities(path)? {
                Some(found) => open.extend(found),
                None => locked.push(path.as_path()),
            }
        }
        let keys = Self {
            passphrase: args.passphrase,
            open,
            locked,
            secrets,
            console,
        };
        keys.show(&keys.open);
        Ok(keys)
    }

    fn show(&self, identities: &[Identity]) {
        for identity in identities {
            let fingerprint = || identity.recipient().fingerprint();
            self.console
                .detail(1, || format!("identity {}", fingerprint()));
        }
    }

    pub(crate) fn unwrap(&self, incoming: &SealedInput<Input>) -> Result<FileKey, Failure> {
        if self.passphrase {
            let header = incoming.header();
            // No passphrase is asked for in vain.
            if !Passphrase::fits(header) {
                return Err(not_for_passphrase());
            }
            return Ok(self.secrets.passphrase("this stream")?.unwrap(header)?);
        }
        let mut found = incoming.unwrap(&Keyring::new(&self.open));
        for path in &self.locked {
            if !matches!(found, Err(seal::Error::NoIdentity { .. })) {
                break;
            }
            let identities = self.secrets.identities(path)?;
            self.show(&identities);
            found = incoming.unwrap(&Keyring::new(&identities));
        }
        Ok(found?)
    }
}

fn not_for_passphrase() -> Failure {
    let fact = "the stream is sealed for keys, not with a passphrase";
    Failure::new(ExitStatus::NoIdentity, fact).hint("give the file with yours by -i in place of -p")
}

/// Whose streams are opened.
pub(crate) fn trust(args: &OpenArgs, known: &[NamedKey<SenderKey>]) -> Trust {
    if args.unsigned {
        return Trust::Unsigned;
    }
    let keys = known.iter().map(|named| named.key).collect();
    Trust::Senders(keys, policy(args))
}

/// What a signed stream must say of itself.
pub(crate) fn policy(args: &OpenArgs) -> Policy {
    Policy {
        label: args.label.clone(),
        max_age: args.max_age.map(|max_s| MaxAge {
            now_s: clock::unix_seconds(),
            max_s,
        }),
        serial_min: args.min_serial,
    }
}
