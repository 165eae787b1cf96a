//! The public test vectors of the age format (C2SP CCTV), all of them, through the library.
//!
//! They come from the npm registry, as package `cctv-age`, once a target directory.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealcast::crypt::hash;
use sealcast::filters::{Monitor, SealedInput};
use sealcast::seal::opener::Trust;
use sealcast::seal::{Error, Identity, Keyring, Passphrase};
use zeroize::Zeroizing;

use crate::support::have;

const PACKAGE: &str = "cctv-age@0.2.0";
const FILE: &str = "cctv-age-0.2.0.tgz";
const SHA256: &str = "94a2a220a95b158a69997e84405bb5d4ef84adf05d15bf341b83ec3ba9dd846e";
const VECTORS: usize = 143;

/// The archive with the vectors; `None` without npm or a registry.
fn fetch() -> Option<Vec<u8>> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let good = |path: PathBuf| {
        let bytes = std::fs::read(path).ok()?;
        (hex::encode(hash::sha256(&bytes)) == SHA256).then_some(bytes)
    };
    if let Some(bytes) = good(dir.join(FILE)) {
        return Some(bytes);
    }
    if !have("npm") {
        return None;
    }
    let done = Command::new("npm")
        .args(["pack", PACKAGE, "--pack-destination"])
        .arg(dir)
        .current_dir(dir)
        .output()
        .unwrap();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(std::env::var_os("CI").is_none(), "npm pack: {said}");
        eprintln!("SKIPPED: {PACKAGE} cannot be fetched");
        return None;
    }
    Some(good(dir.join(FILE)).expect("the package is not the one that is known"))
}

/// The vectors by name: the package has each as a string of base64.
fn vectors(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut text = String::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().ends_with("index.js") {
            entry.read_to_string(&mut text).unwrap();
        }
    }
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((name, rest)) = line
            .strip_prefix("var ")
            .and_then(|line| line.split_once("_default = __toBinary(\""))
        else {
            continue;
        };
        let (data, _) = rest.split_once('"').unwrap();
        found.insert(name.to_string(), STANDARD.decode(data).unwrap());
    }
    found
}

/// A vector: what is told of it, and the file.
struct Vector {
    fields: Vec<(String, String)>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(bytes: &[u8]) -> Self {
        let at = bytes.windows(2).position(|w| w == b"\n\n").unwrap();
        let fields = std::str::from_utf8(&bytes[..at]).unwrap().lines();
        let fields: Vec<_> = fields
            .map(|line| line.split_once(": ").unwrap())
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        let mut vector = Self {
            fields,
            file: bytes[at + 2..].to_vec(),
        };
        if vector.all("compressed").next() == Some("zlib") {
            let mut file = Vec::new();
            let mut zlib = flate2::read::ZlibDecoder::new(&vector.file[..]);
            zlib.read_to_end(&mut file).unwrap();
            vector.file = file;
        }
        vector
    }

    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let fields = self.fields.iter().filter(move |(k, _)| k == key);
        fields.map(|(_, value)| value.as_str())
    }

    /// Opens the file; what was released counts whatever the end.
    fn open(&self) -> (Vec<u8>, Result<(), Error>) {
        let mut out = Vec::new();
        let mut open = || {
            let incoming = SealedInput::read(&self.file[..], 1 << 20)?;
            let mut result = None;
            for passphrase in self.all("passphrase") {
                let passphrase = Passphrase::new(Zeroizing::new(passphrase.to_string()));
                result = Some(passphrase.unwrap(incoming.header()));
            }
            let key = if let Some(result) = result {
                result?
            } else {
                let lines = self.all("identity");
                let mut identities = Vec::new();
                for line in lines {
                    identities.extend(Identity::parse_file(line, None)?);
                }
                incoming.unwrap(&Keyring::new(&identities))?
            };
            incoming.open(&key, &Trust::Unsigned, &mut out, 2, Monitor::default())
        };
        let result = open().map(|_| ());
        (out, result)
    }

    /// What is wrong with how the file was taken; nothing when all is as it should be.
    fn check(&self) -> Option<String> {
        let (out, result) = self.open();
        let told = result
            .as_ref()
            .err()
            .map_or("opened".into(), Error::to_string);
        let expected = self.all("expect").next().unwrap();
        let as_expected = match (expected, &result) {
            ("success", Ok(())) => true,
            ("no match", Err(Error::NoIdentity { .. } | Error::WrongPassphrase)) => true,
            ("HMAC failure", Err(Error::HeaderForged)) => true,
            // What does not even begin like armor is taken for a file without.
            ("armor failure", Err(Error::Armor(_) | Error::NotAge)) => true,
            (
                "header failure",
                Err(Error::Header { .. } | Error::Empty | Error::NotAge | Error::Truncated { .. }),
            ) => true,
            (
                "payload failure",
                Err(
                    Error::Chunk { .. }
                    | Error::EmptyChunk { .. }
                    | Error::Truncated { .. }
                    | Error::Trailing { .. },
                ),
            ) => true,
            _ => false,
        };
        if !as_expected {
            return Some(format!("expected {expected}: {told}"));
        }
        let released = hex::encode(hash::sha256(&out));
        match self.all("payload").next() {
            Some(payload) if payload != released => {
                Some(format!("{} bytes released, {told}", out.len()))
            }
            None if !out.is_empty() => Some("something was released".into()),
            _ => None,
        }
    }
}

#[test]
fn all_public_vectors_are_taken_as_they_should_be() {
    let Some(archive) = fetch() else {
        return;
    };
    let vectors = vectors(&archive);
    assert_eq!(vectors.len(), VECTORS);
    let mut wrong = Vec::new();
    for (name, bytes) in &vectors {
        match Vector::parse(bytes).check() {
            None => println!("ok {name}"),
            Some(problem) => wrong.push(format!("{name}: {problem}")),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
