//! One name for one thing: public types, the glossary, and comments that stand alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{none, product, root, sources};

/// The name of the public type that a line declares.
fn public_type(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace();
    let kind = words.next()?;
    let name = words
        .next()
        .filter(|_| ["struct", "enum", "trait", "type"].contains(&kind))?;
    let end = name.find(|c: char| !c.is_alphanumeric());
    Some(&name[..end.unwrap_or(name.len())])
}

#[test]
fn no_two_public_types_have_one_name() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources(&["src"]) {
        for (number, line) in product(&text) {
            // Each room has an `Error`; inside a trait, `type` declares none.
            if let Some(name) = public_type(line).filter(|name| *name != "Error") {
                let place = format!("{}:{number}", path.display());
                found.entry(name.to_owned()).or_default().push(place);
            }
        }
    }
    assert!(
        found.len() > 200,
        "only {} types: is the search right?",
        found.len()
    );
    let twice = found.iter().filter(|(_, places)| places.len() > 1);
    let faults: Vec<_> = twice
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    none("public types of one name", &faults);
}

#[test]
fn comments_on_items_begin_sentences_of_their_own() {
    let mut faults = Vec::new();
    for (path, text) in sources(&["src"]) {
        let mut before = "";
        for (number, line) in product(&text) {
            let line = line.trim_start();
            let first = line
                .strip_prefix("/// ")
                .filter(|_| !before.starts_with("///"))
                .and_then(|text| text.chars().next());
            if first.is_some_and(char::is_lowercase) {
                faults.push(format!("{}:{number}: {line}", path.display()));
            }
            before = line;
        }
    }
    none("comments that finish the sentence of another", &faults);
}

/// The rows of the glossary: the word, what it means, where it comes from.
fn glossary() -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(root().join("src/GLOSSARY.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        [cells[0], cells[1], cells[2]].map(str::to_owned)
    })
    .filter(|[word, ..]| word != "word")
    .collect()
}

#[test]
fn the_glossary_has_one_meaning_for_each_word() {
    let rows = glossary();
    assert!(rows.len() > 100, "only {} words", rows.len());
    let mut words = BTreeSet::new();
    let mut faults = Vec::new();
    for [word, meaning, source] in rows {
        if meaning.is_empty() || source.is_empty() {
            faults.push(format!("{word}: no meaning or source"));
        }
        for word in word.split(", ") {
            if !words.insert(word.to_lowercase()) {
                faults.push(format!("{word}: twice"));
            }
        }
    }
    none("faults of the glossary", &faults);
}

/// Words that mean several things, or that only this project would know, each with the one to use:
/// they are neither names nor parts of names.
const GONE: [(&str, &str); 26] = [
    ("gather", "reassembly"),
    ("ticket", "resume"),
    ("overheard", "candidate"),
    ("doubt", "polluted"),
    ("greeting", "handshake"),
    ("pledge", "auto_parity"),
    ("roster", "members"),
    ("encore", "late receivers"),
    ("siege", "replay"),
    ("foresight", "auto_parity"),
    ("turnout", "attendance"),
    ("arrears", "debt"),
    ("squeezer", "compressor"),
    ("squeezed", "compressed"),
    ("conveyor", "FrameReader"),
    ("slicer", "FrameWriter"),
    ("courtesy", "yielding"),
    ("canvas", "ImageWriter"),
    ("confine", "sandbox"),
    ("inventory", "AnyKey"),
    ("cutter", "batcher"),
    ("ears", "sockets"),
    ("outlet", "sink"),
    ("starter", "start_signal"),
    ("voice", "console"),
    ("journal", "log"),
];

#[test]
fn words_that_are_gone_stay_away() {
    let mut faults = Vec::new();
    for (path, text) in sources(&["src"]) {
        for (number, line) in product(&text) {
            let line = super::code(line);
            if line.contains('"') {
                continue;
            }
            for name in line.split(|c: char| c != '_' && !c.is_alphanumeric()) {
                let parts = name.split('_').map(str::to_lowercase);
                for part in parts {
                    let gone = GONE.iter().find(|(gone, _)| part == *gone);
                    if let Some((gone, better)) = gone {
                        let place = format!("{}:{number}", path.display());
                        faults.push(format!("{place}: {gone} is {better}"));
                    }
                }
            }
        }
    }
    none("words of old", &faults);
}
