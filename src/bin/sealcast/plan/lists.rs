//! Lists of public keys from the command line and from files.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use sealcast::seal::{
    KeyList, NamedKey, Recipient, SenderKey, parse_recipients, parse_sender_keys,
};
use sealcast::sys::keyfile::{self, KeyFile};

use crate::exit::{ExitStatus, Failure};
use crate::present::console::Console;

/// The recipients in each of `files`; `beside_data` when standard input has data.
pub(crate) fn recipients_files(
    files: &[PathBuf],
    beside_data: bool,
    console: &Console,
) -> Result<Vec<KeyList<Recipient>>, Failure> {
    let mut lists = Vec::new();
    for path in files {
        let file = read(path, beside_data)?;
        let list = parse_recipients(file.text(path)?).map_err(|e| Failure::key_file(path, &e))?;
        console.ignored_lines(path, list.ignored);
        lists.push(list);
    }
    Ok(lists)
}

/// All recipients of the lists, each once, in the order in which they were given.
pub(crate) fn join_recipients(
    lists: Vec<KeyList<Recipient>>,
    may_be_empty: bool,
    console: &Console,
) -> Result<Vec<NamedKey<Recipient>>, Failure> {
    let all = KeyList::join(lists).keys;
    if all.is_empty() && !may_be_empty {
        let fact = "no recipient is left: all are revoked";
        return Err(Failure::new(ExitStatus::Usage, fact));
    }
    Ok(each_once(all, "recipient", Recipient::fingerprint, console))
}

/// The senders that `texts` name, each a key or a file of keys; none when there are no texts.
pub(crate) fn senders(
    texts: &[String],
    beside_data: bool,
    console: &Console,
) -> Result<Vec<NamedKey<SenderKey>>, Failure> {
    let mut lists = Vec::new();
    for text in texts {
        lists.push(from(text, beside_data, console)?);
    }
    let all = KeyList::join(lists).keys;
    if all.is_empty() && !texts.is_empty() {
        let fact = "no sender is left: all are revoked";
        return Err(Failure::new(ExitStatus::Usage, fact));
    }
    Ok(each_once(all, "trusted", SenderKey::fingerprint, console))
}

fn each_once<K: Display>(
    mut all: Vec<NamedKey<K>>,
    what: &str,
    fingerprint: impl Fn(&K) -> String,
    console: &Console,
) -> Vec<NamedKey<K>> {
    let mut seen = BTreeSet::new();
    all.retain(|named| seen.insert(named.key.to_string()));
    for NamedKey { key, name } in &all {
        console.detail(1, || {
            format!("{what} {} {}", fingerprint(key), name.escape_debug())
                .trim_end()
                .to_string()
        });
    }
    all
}

/// One key, when `text` is one, or else those in the file of that name. What is a key is never
/// looked for as a file: who can make one in this directory must not choose whom we trust.
fn from(text: &str, beside_data: bool, console: &Console) -> Result<KeyList<SenderKey>, Failure> {
    let parsed = parse_sender_keys(text);
    let path = Path::new(text);
    match parsed {
        Ok(list) => return Ok(list),
        Err(e) if like_a_key(text) && !path.exists() => {
            return Err(Failure::key_text(text, &e.without_line()));
        }
        Err(_) => {}
    }
    let file = read(path, beside_data)?;
    let list = parse_sender_keys(file.text(path)?).map_err(|e| Failure::key_file(path, &e))?;
    console.ignored_lines(path, list.ignored);
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
