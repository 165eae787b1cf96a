//! `sealcast keygen`: seeds to keys, and keys to files.

use std::io::{self, Write};
use std::path::Path;

use sealcast::crypt::sign::SigningKey;
use sealcast::edge::keyfile::KeyFile;
use sealcast::edge::{clock, entropy, keyfile};
use sealcast::seal::{Identity, Sender, parse_signing_key, signing_key_line};
use zeroize::Zeroizing;

use crate::cli::KeygenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::Voice;

pub(crate) fn run(args: &KeygenArgs, voice: &Voice) -> Result<(), Failure> {
    if let Some(path) = &args.public {
        return print_public(path, voice);
    }
    let seed = Zeroizing::new(entropy::seed()?);
    let (public, fingerprint, secret) = if args.sign {
        let key = SigningKey::from_seed(*seed);
        let sender = Sender::new(key.public());
        let line = signing_key_line(&key);
        (sender.to_string(), sender.fingerprint(), line)
    } else {
        let identity = Identity::from_seed(*seed);
        let recipient = identity.recipient();
        let line = identity
            .to_line()
            .ok_or_else(|| Failure::new(ExitStatus::Bug, "a new identity has no text form"))?;
        (recipient.to_string(), recipient.fingerprint(), line)
    };
    let created = clock::utc(clock::unix_seconds());
    let text = Zeroizing::new(format!(
        "# created: {created}\n# public key: {public}\n{}\n",
        secret.as_str()
    ));
    if let Some(path) = &args.output {
        keyfile::create(path, &text)?;
        print(&format!("{public}\n"))?;
    } else {
        print(&text)?;
        voice.note(&format!("public key: {public}"));
    }
    voice.detail(1, || format!("fingerprint: {fingerprint}"));
    Ok(())
}

fn print_public(path: &Path, voice: &Voice) -> Result<(), Failure> {
    let text = secret(keyfile::read(path)?, path, voice);
    let fault = |e| Failure::key_file(path, &e);
    // An OpenSSH key can be either; as an identity its public half is the line that ssh knows.
    let signing = parse_signing_key(&text);
    let publics: Vec<_> = match (Identity::parse_file(&text), signing) {
        (Ok(identities), _) => identities
            .iter()
            .map(|i| (i.recipient().to_string(), i.recipient().fingerprint()))
            .collect(),
        (Err(_), Ok(key)) => {
            let sender = Sender::new(key.public());
            vec![(sender.to_string(), sender.fingerprint())]
        }
        (Err(e), Err(_)) => return Err(fault(e)),
    };
    for (public, fingerprint) in publics {
        print(&format!("{public}\n"))?;
        voice.detail(1, || format!("fingerprint: {fingerprint}"));
    }
    Ok(())
}

/// Reads a file with secret keys for a filter that takes data from standard input.
pub(crate) fn read_secret(path: &Path, voice: &Voice) -> Result<Zeroizing<String>, Failure> {
    Ok(secret(keyfile::read_beside_data(path)?, path, voice))
}

/// The text of a file with secret keys; warns when it is no secret.
fn secret(file: KeyFile, path: &Path, voice: &Voice) -> Zeroizing<String> {
    if file.exposed {
        voice.warning(&format!(
            "{} can be read by others than its owner; `chmod 600` it",
            path.display()
        ));
    }
    file.text
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Failure::io("standard output", &e))
}
