//! `sealcast keygen`: seeds to keys, keys to files, and what is public of them to people.

use std::io::{self, Write};
use std::path::Path;

use sealcast::crypt::sign::SigningKey;
use sealcast::seal::passphrase::WORK_LOG2;
use sealcast::seal::{
    self, AnyKey, Identity, NamedKey, Passphrase, Recipient, SenderKey, encrypt, parse_any_keys,
    parse_sender_keys, parse_signing_key, signing_key_line,
};
use sealcast::sys::{self, clock, entropy, keyfile};
use zeroize::Zeroizing;

use crate::cli::KeygenArgs;
use crate::exit::{ExitStatus, Failure};
use crate::plan::secret::Secrets;
use crate::present::console::Console;

pub(crate) fn run(args: &KeygenArgs, console: &Console) -> Result<(), Failure> {
    let secrets = Secrets::new(console, &args.passphrases, false);
    if let Some(path) = &args.public {
        return print_public(path, args.sign, &secrets, console);
    }
    if let Some(path) = &args.list {
        return list(path, &secrets, console);
    }
    let output = args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"));
    if let Some(path) = output.filter(|path| path.symlink_metadata().is_ok()) {
        // Before anybody thinks of a passphrase.
        return Err(sys::Error::KeyFileExists(path.into()).into());
    }
    let new = NewKey::make(args)?;
    let created = clock::utc(clock::unix_seconds());
    let text = Zeroizing::new(format!(
        "# created: {created}\n# public key: {}\n{}\n",
        new.public,
        new.secret.as_str()
    ));
    let file = if args.passphrase || args.passphrases.passphrase_file.is_some() {
        let passphrase = secrets.new_passphrase("this key")?;
        let seeds = [entropy::seed()?, entropy::seed()?];
        Zeroizing::new(encrypt(&text, &passphrase, seeds, WORK_LOG2)?)
    } else {
        Zeroizing::new(text.as_bytes().to_vec())
    };
    if let Some(path) = output {
        keyfile::create(path, &file)?;
        print(format!("{}\n", new.public).as_bytes())?;
    } else {
        if keyfile::stdout_exposed() {
            console.warning("the secret key goes into a file that others can read; see -o");
        }
        print(&file)?;
        console.note(&format!("public key: {}", new.public));
    }
    console.detail(1, || format!("fingerprint: {}", new.fingerprint));
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
            let sender = SenderKey::new(key.public());
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

/// What a file of keys holds.
enum FileKeys {
    Identities(Vec<Identity>),
    Signing(SigningKey),
    /// Not secret at all.
    Senders(Vec<NamedKey<SenderKey>>),
}

/// An OpenSSH key can be either; it is an identity unless `sign` says otherwise.
fn held(text: &str, passphrase: Option<&Passphrase>, sign: bool) -> Result<FileKeys, seal::Error> {
    let signing = || parse_signing_key(text, passphrase).map(FileKeys::Signing);
    if sign {
        return signing();
    }
    let identities = Identity::parse_file(text, passphrase).map(FileKeys::Identities);
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
    console: &Console,
) -> Result<(), Failure> {
    let parse = |text: &str, passphrase: Option<&Passphrase>| {
        // What is public already can have another form as a sender's key.
        match parse_sender_keys(text) {
            Ok(list) if sign => Ok(FileKeys::Senders(list.keys)),
            _ => held(text, passphrase, sign),
        }
    };
    let secret = |held: &FileKeys| !matches!(held, FileKeys::Senders(_));
    let publics: Vec<_> = match secrets.read_some(path, parse, secret)? {
        FileKeys::Identities(identities) => identities
            .iter()
            .map(|i| (i.recipient().to_string(), i.recipient().fingerprint()))
            .collect(),
        FileKeys::Signing(key) => {
            let sender = SenderKey::new(key.public());
            vec![(sender.to_string(), sender.fingerprint())]
        }
        FileKeys::Senders(keys) => keys
            .iter()
            .map(|named| (named.key.to_string(), named.key.fingerprint()))
            .collect(),
    };
    for (public, fingerprint) in publics {
        print(format!("{public}\n").as_bytes())?;
        console.detail(1, || format!("fingerprint: {fingerprint}"));
    }
    Ok(())
}

/// Lists public and secret keys alike.
fn list(path: &Path, secrets: &Secrets<'_>, console: &Console) -> Result<(), Failure> {
    let secret = |found: &(Vec<AnyKey>, usize)| {
        let secret = |found: &AnyKey| matches!(found, AnyKey::Identity(_) | AnyKey::Signing(_));
        found.0.iter().any(secret)
    };
    let (found, ignored) = secrets.read_some(path, parse_any_keys, secret)?;
    console.ignored_lines(path, ignored);
    let name = String::new;
    let lines = found.iter().map(|found| match found {
        AnyKey::Recipient(named) => recipient_line(named),
        AnyKey::SenderKey(named) => sender_line(named),
        AnyKey::Identity(identity) => recipient_line(&NamedKey {
            key: identity.recipient(),
            name: name(),
        }),
        AnyKey::Signing(key) => sender_line(&NamedKey {
            key: SenderKey::new(key.public()),
            name: name(),
        }),
    });
    print(lines.collect::<String>().as_bytes())
}

fn recipient_line(named: &NamedKey<Recipient>) -> String {
    let kind = match &named.key {
        Recipient::X25519(_) => "x25519",
        Recipient::Ssh(_) => "ssh-ed25519",
        Recipient::Hybrid(_) => "mlkem768x25519",
    };
    line(&named.key.fingerprint(), "recipient", kind, &named.name)
}

fn sender_line(named: &NamedKey<SenderKey>) -> String {
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
