//! `sealcast keygen`: seeds to keys, keys to files, and what is public of them to people.

use std::io::{self, Write};
use std::path::Path;

use sealcast::crypt::sign::SigningKey;
use sealcast::edge::{clock, entropy, keyfile};
use sealcast::seal::passphrase::{WORK_LOG2, encrypt, is_encrypted};
use sealcast::seal::{
    self, Identity, Named, Passphrase, Recipient, Sender, parse_recipients, parse_senders,
    parse_signing_key, signing_key_line,
};
use zeroize::Zeroizing;

use crate::cli::KeygenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::Voice;
use crate::secret::Secrets;

pub(crate) fn run(args: &KeygenArgs, voice: &Voice) -> Result<(), Failure> {
    let secrets = Secrets::new(voice, args.passphrase_file.as_deref(), false);
    if let Some(path) = &args.public {
        return print_public(path, args.sign, &secrets, voice);
    }
    if let Some(path) = &args.list {
        return list(path, &secrets);
    }
    let new = NewKey::make(args)?;
    let created = clock::utc(clock::unix_seconds());
    let text = Zeroizing::new(format!(
        "# created: {created}\n# public key: {}\n{}\n",
        new.public,
        new.secret.as_str()
    ));
    let file = if args.passphrase {
        let passphrase = secrets.new_passphrase("this key")?;
        let seeds = [entropy::seed()?, entropy::seed()?];
        Zeroizing::new(encrypt(&text, &passphrase, seeds, WORK_LOG2)?)
    } else {
        Zeroizing::new(text.as_bytes().to_vec())
    };
    if let Some(path) = &args.output {
        keyfile::create(path, &file)?;
        print(format!("{}\n", new.public).as_bytes())?;
    } else {
        print(&file)?;
        voice.note(&format!("public key: {}", new.public));
    }
    voice.detail(1, || format!("fingerprint: {}", new.fingerprint));
    Ok(())
}

/// A key that was just made.
struct NewKey {
    secret: Zeroizing<String>,
    public: String,
    fingerprint: String,
}

impl NewKey {
    fn make(args: &KeygenArgs) -> Result<Self, Failure> {
        let seed = Zeroizing::new(entropy::seed()?);
        if args.sign {
            let key = SigningKey::from_seed(*seed);
            let sender = Sender::new(key.public());
            return Ok(Self {
                secret: signing_key_line(&key),
                public: sender.to_string(),
                fingerprint: sender.fingerprint(),
            });
        }
        let identity = if args.pq {
            Identity::hybrid_from_seed(*seed)
        } else {
            Identity::from_seed(*seed)
        };
        let secret = identity
            .to_line()
            .ok_or_else(|| Failure::new(ExitStatus::Bug, "a new identity has no text form"))?;
        let recipient = identity.recipient();
        Ok(Self {
            secret,
            public: recipient.to_string(),
            fingerprint: recipient.fingerprint(),
        })
    }
}

/// What a file with secret keys holds.
enum Held {
    Identities(Vec<Identity>),
    Signing(SigningKey),
}

/// An OpenSSH key can be either; it is an identity unless `sign` says otherwise.
fn held(text: &str, passphrase: Option<&Passphrase>, sign: bool) -> Result<Held, seal::Error> {
    let signing = || parse_signing_key(text, passphrase).map(Held::Signing);
    if sign {
        return signing();
    }
    let identities = Identity::parse_file(text, passphrase).map(Held::Identities);
    match identities {
        // A key that is locked is so as either; what it lacks is not another type.
        Err(seal::Error::Locked | seal::Error::WrongPassphrase) => identities,
        Err(e) => signing().map_err(|_| e),
        found => found,
    }
}

fn print_public(
    path: &Path,
    sign: bool,
    secrets: &Secrets<'_>,
    voice: &Voice,
) -> Result<(), Failure> {
    let publics: Vec<_> = match secrets.read(path, |text, pass| held(text, pass, sign))? {
        Held::Identities(identities) => identities
            .iter()
            .map(|i| (i.recipient().to_string(), i.recipient().fingerprint()))
            .collect(),
        Held::Signing(key) => {
            let sender = Sender::new(key.public());
            vec![(sender.to_string(), sender.fingerprint())]
        }
    };
    for (public, fingerprint) in publics {
        print(format!("{public}\n").as_bytes())?;
        voice.detail(1, || format!("fingerprint: {fingerprint}"));
    }
    Ok(())
}

/// Lists public and secret keys alike.
fn list(path: &Path, secrets: &Secrets<'_>) -> Result<(), Failure> {
    let file = keyfile::read(path)?;
    let public = !is_encrypted(&file.bytes);
    let (recipients, senders) = match file.text(path) {
        Ok(text) if public => (parse_recipients(text), parse_senders(text)),
        _ => (Err(seal::Error::Locked), Err(seal::Error::Locked)),
    };
    let mut lines = Vec::new();
    for named in recipients.iter().flat_map(|list| &list.keys) {
        lines.push(recipient_line(named));
    }
    for named in senders.iter().flat_map(|list| &list.keys) {
        lines.push(sender_line(named));
    }
    if lines.is_empty() {
        lines = secret_lines(path, secrets)?;
    }
    print(lines.concat().as_bytes())
}

fn secret_lines(path: &Path, secrets: &Secrets<'_>) -> Result<Vec<String>, Failure> {
    let held = secrets.read(path, |text, passphrase| held(text, passphrase, false))?;
    let name = String::new();
    let sender = |key: &SigningKey| {
        let (key, name) = (Sender::new(key.public()), name.clone());
        sender_line(&Named { key, name })
    };
    Ok(match &held {
        Held::Signing(key) => vec![sender(key)],
        Held::Identities(all) => {
            let of = |identity: &Identity| {
                let (key, name) = (identity.recipient(), name.clone());
                let mut lines = vec![recipient_line(&Named { key, name })];
                if let Identity::Ssh(key) = identity {
                    lines.push(sender(key));
                }
                lines
            };
            all.iter().flat_map(of).collect()
        }
    })
}

fn recipient_line(named: &Named<Recipient>) -> String {
    let kind = match &named.key {
        Recipient::X25519(_) => "x25519",
        Recipient::Ssh(_) => "ssh-ed25519",
        Recipient::Hybrid(_) => "mlkem768x25519",
    };
    line(&named.key.fingerprint(), "recipient", kind, &named.name)
}

fn sender_line(named: &Named<Sender>) -> String {
    line(&named.key.fingerprint(), "sender", "ed25519", &named.name)
}

fn line(fingerprint: &str, role: &str, kind: &str, name: &str) -> String {
    let name = name.escape_debug();
    let line = format!("{fingerprint} {role} {kind} {name}");
    format!("{}\n", line.trim_end())
}

fn print(content: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(content)
        .and_then(|()| out.flush())
        .map_err(|e| Failure::io("standard output", &e))
}
