//! Lists of public keys from the command line and from files.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use sealcast::seal::{List, Named, Recipient, Sender, parse_recipients, parse_senders};
use sealcast::sys::keyfile::{self, KeyFile};

use crate::exit::{ExitStatus, Failure};
use crate::report::Voice;

/// The recipients in each of `files`; `beside_data` when standard input has data.
pub(crate) fn recipients_files(
    files: &[PathBuf],
    beside_data: bool,
    voice: &Voice,
) -> Result<Vec<List<Recipient>>, Failure> {
    let mut lists = Vec::new();
    for path in files {
        let file = read(path, beside_data)?;
        let list = parse_recipients(file.text(path)?).map_err(|e| Failure::key_file(path, &e))?;
        voice.passed_over(path, list.passed_over);
        lists.push(list);
    }
    Ok(lists)
}

/// All recipients of the lists, each once, in the order in which they were given.
pub(crate) fn join_recipients(
    lists: Vec<List<Recipient>>,
    may_be_empty: bool,
    voice: &Voice,
) -> Result<Vec<Named<Recipient>>, Failure> {
    let all = List::join(lists).keys;
    if all.is_empty() && !may_be_empty {
        let fact = "no recipient is left: all are revoked";
        return Err(Failure::new(ExitStatus::Usage, fact));
    }
    Ok(each_once(all, "recipient", Recipient::fingerprint, voice))
}

/// The senders that `texts` name, each a key or a file of keys; none when there are no texts.
pub(crate) fn senders(
    texts: &[String],
    beside_data: bool,
    voice: &Voice,
) -> Result<Vec<Named<Sender>>, Failure> {
    let mut lists = Vec::new();
    for text in texts {
        lists.push(from(text, beside_data, voice)?);
    }
    let all = List::join(lists).keys;
    if all.is_empty() && !texts.is_empty() {
        let fact = "no sender is left: all are revoked";
        return Err(Failure::new(ExitStatus::Usage, fact));
    }
    Ok(each_once(all, "trusted", Sender::fingerprint, voice))
}

fn each_once<K: Display>(
    mut all: Vec<Named<K>>,
    what: &str,
    fingerprint: impl Fn(&K) -> String,
    voice: &Voice,
) -> Vec<Named<K>> {
    let mut seen = BTreeSet::new();
    all.retain(|named| seen.insert(named.key.to_string()));
    for Named { key, name } in &all {
        voice.detail(1, || {
            format!("{what} {} {}", fingerprint(key), name.escape_debug())
                .trim_end()
                .to_string()
        });
    }
    all
}

/// One key, when `text` is one, or else those in the file of that name. What is a key is never
/// looked for as a file: who can make one in this directory must not choose whom we trust.
fn from(text: &str, beside_data: bool, voice: &Voice) -> Result<List<Sender>, Failure> {
    let parsed = parse_senders(text);
    let path = Path::new(text);
    match parsed {
        Ok(list) => return Ok(list),
        Err(e) if like_a_key(text) && !path.exists() => {
            return Err(Failure::key_text(text, &e.one()));
        }
        Err(_) => {}
    }
    let file = read(path, beside_data)?;
    let list = parse_senders(file.text(path)?).map_err(|e| Failure::key_file(path, &e))?;
    voice.passed_over(path, list.passed_over);
    Ok(list)
}

fn read(path: &Path, beside_data: bool) -> Result<KeyFile, Failure> {
    Ok(if beside_data {
        keyfile::read_beside_data(path)?
    } else {
        keyfile::read(path)?
    })
}

fn like_a_key(text: &str) -> bool {
    let lower = text.trim_start().to_ascii_lowercase();
    let keys = [
        "sealsign1",
        "sealsign-secret-",
        "ssh-ed25519 ",
        "age1",
        "age-secret-key-",
    ];
    keys.iter().any(|key| lower.starts_with(key))
}
