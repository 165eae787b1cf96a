//! The habits of the house, checked: who imports whom, what pure modules keep away from, sizes,
//! words, and kinds that are written down twice.

#![allow(clippy::unwrap_used, reason = "tests may be terse")]

mod circles;
mod words;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The library's modules and their ranks; imports go from a greater rank to a smaller one.
const RANKS: [(&str, u8); 13] = [
    ("units", 0),
    ("crypt", 1),
    ("fec", 1),
    ("wire", 1),
    ("archive", 1),
    ("proto", 2),
    ("seal", 2),
    ("sys", 2),
    ("tree", 3),
    ("image", 3),
    ("parallel", 3),
    ("net", 3),
    ("filters", 4),
];
/// Modules that know no system.
const PURE: [&str; 7] = ["units", "crypt", "fec", "wire", "archive", "proto", "seal"];
const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 700;
const FN_LINES_MAX: usize = 70;
/// A test tells a story from its beginning to its end.
const TEST_FN_LINES_MAX: usize = 80;

/// What pure modules do not touch.
const IMPURE: [&str; 18] = [
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "std::os::",
    "std::time",
    "Udp",
    "Tcp",
    "UnixStream",
    "SystemTime",
    "SysRng",
    "OsRng",
    "ThreadRng",
    "thread_rng",
    "rand::rng()",
    "println!",
    "eprintln!",
    "eprint!",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `dir`, by their paths in the tree, in order.
fn files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root().join(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != ".git" {
                    dirs.push(entry.path());
                }
            } else if name != ".git" {
                found.push(entry.path().strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn sources(dirs: &[&str]) -> Vec<(PathBuf, String)> {
    dirs.iter()
        .flat_map(|dir| files(dir))
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .map(|path| {
            let text = std::fs::read_to_string(root().join(&path)).unwrap();
            (path, text)
        })
        .collect()
}

/// The library's module that `path` belongs to, with its rank.
fn module(path: &Path) -> Option<(&'static str, u8)> {
    let name = path.strip_prefix("src").ok()?.iter().next()?.to_str()?;
    let name = name.strip_suffix(".rs").unwrap_or(name);
    RANKS.iter().find(|rank| rank.0 == name).copied()
}

/// What stands before a comment; strings with slashes in them are cut short, which does no harm.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// The lines of a file that are not its unit tests, numbered from one.
fn product(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines.enumerate().map(|(i, line)| (i + 1, line))
}

/// The names right after each `crate::` in a line, also in braces: `use crate::{a, b::c}`.
fn imports(line: &str) -> Vec<&str> {
    let word = |text: &'_ str| {
        let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        end.unwrap_or(text.len())
    };
    let mut names = Vec::new();
    for (at, marker) in line.match_indices("crate::") {
        let rest = &line[at + marker.len()..];
        let before = line[..at].chars().next_back();
        if before.is_some_and(|c| c == '$' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(list) => {
                let mut depth = 0;
                let parts = list.split(|c| {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    c == ',' && depth == 0
                });
                names.extend(parts.map(|part| {
                    let part = part.trim();
                    &part[..word(part)]
                }));
            }
            None => names.push(&rest[..word(rest)]),
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[track_caller]
fn none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
}

#[test]
fn imports_point_left() {
    let ranks: BTreeMap<_, _> = RANKS.into_iter().collect();
    let mut faults = Vec::new();
    let mut seen = 0;
    for (path, text) in sources(&["src"]) {
        let Some((own, rank)) = module(&path) else {
            continue;
        };
        // A list that is spread over lines is one for us.
        let joined = text.replace("crate::{\n", "crate::{");
        for line in joined.lines() {
            for name in imports(code(line)) {
                let Some(&other) = ranks.get(name) else {
                    continue;
                };
                seen += 1;
                if name != own && other >= rank {
                    faults.push(format!("{}: {own} imports {name}", path.display()));
                }
            }
        }
    }
    assert!(seen > 50, "only {seen} imports found: is the search right?");
    none("imports that do not point left", &faults);
}

#[test]
fn the_search_for_imports_finds_them() {
    assert_eq!(imports("use crate::wire::{A, B};"), ["wire"]);
    assert_eq!(
        imports("use crate::{units::{A, B}, fec, crypt::c};"),
        ["units", "fec", "crypt"]
    );
    assert_eq!(
        imports("let x = crate::net::y(crate::sys::z);"),
        ["net", "sys"]
    );
    assert!(imports("$crate::x mycrate::y").is_empty());
}

#[test]
fn every_module_has_a_rank() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let mut ranked: Vec<_> = RANKS.iter().map(|rank| rank.0).collect();
    ranked.sort_unstable();
    assert_eq!(declared, ranked);
    let map = std::fs::read_to_string(root().join("src/ARCHITECTURE.md")).unwrap();
    for (name, _) in RANKS {
        assert!(map.contains(&format!("| `{name}` |")), "{name} is no row");
    }
    let groups: Vec<String> = (0..=4)
        .map(|rank| {
            let of = RANKS.iter().filter(|r| r.1 == rank);
            of.map(|r| r.0).collect::<Vec<_>>().join(", ")
        })
        .collect();
    let line = format!("{} < bin/sealcast", groups.join(" < "));
    assert!(map.contains(&line), "ARCHITECTURE.md lacks {line:?}");
}

#[test]
fn pure_modules_know_no_system() {
    let mut faults = Vec::new();
    for (path, text) in sources(&["src"]) {
        let pure = module(&path).is_some_and(|(name, _)| PURE.contains(&name));
        if !pure {
            continue;
        }
        for (number, line) in product(&text) {
            for word in IMPURE.iter().filter(|word| code(line).contains(**word)) {
                faults.push(format!("{}:{number}: {word}", path.display()));
            }
        }
        faults.extend(unordered(&path, &text));
    }
    none("a pure module touches the system", &faults);
}

/// Walks over hash tables, whose order differs from run to run.
fn unordered(path: &Path, text: &str) -> Vec<String> {
    let tables = text.lines().filter_map(|line| {
        let (before, _) = line.split_once("HashMap")?;
        let name = before.trim_end_matches("std::collections::").trim_end();
        let name = name.trim_end_matches([':', '=']).trim_end();
        let start = name.rfind(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        Some(&name[start.map_or(0, |at| at + 1)..]).filter(|name| !name.is_empty())
    });
    let mut faults = Vec::new();
    for table in tables {
        for walk in ["iter", "keys", "values", "drain", "retain", "into_"] {
            let call = format!("{table}.{walk}");
            let whole = text.replace(char::is_whitespace, "");
            if whole.contains(&call) || whole.contains(&format!("in&self.{table}")) {
                faults.push(format!("{}: {call} has no order", path.display()));
            }
        }
    }
    faults
}

#[test]
fn files_are_in_shape() {
    let mut faults = String::new();
    for (path, text) in sources(&["src", "tests"]) {
        let name = path.display();
        // A design note or the map stands for a file's own words.
        if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!") {
            writeln!(faults, "{name}: says nothing about itself").unwrap();
        }
        let lines = product(&text).count();
        if lines > FILE_LINES_MAX && path.starts_with("src") {
            writeln!(faults, "{name}: {lines} lines").unwrap();
        }
        for (i, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX && !line.contains("https://") {
                writeln!(faults, "{name}:{}: {columns} columns", i + 1).unwrap();
            }
        }
        for (number, lines) in functions(&text) {
            let max = if path.starts_with("tests") {
                TEST_FN_LINES_MAX
            } else {
                FN_LINES_MAX
            };
            if lines > max {
                writeln!(faults, "{name}:{number}: a function of {lines} lines").unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

/// The functions of a file that rustfmt has seen: where each begins, and its lines.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        // `pub(crate)` has a bracket of its own.
        let head = match body
            .strip_prefix("pub(")
            .and_then(|rest| rest.split_once(')'))
        {
            Some((_, rest)) => rest,
            None => body,
        };
        let head = head.split('(').next().unwrap_or_default();
        if !head.split(' ').any(|word| word == "fn") || body.starts_with("//") {
            continue;
        }
        if body.ends_with('}') || body.ends_with(';') {
            continue;
        }
        let close = format!("{indent}}}");
        let declared = format!("{indent})");
        let end = lines[start..].iter().position(|line| {
            *line == close || (line.starts_with(&declared) && line.ends_with(';'))
        });
        if let Some(end) = end {
            found.push((start + 1, end + 1));
        }
    }
    found
}

#[test]
fn functions_are_measured() {
    let text = concat!(
        "//! x\n",
        "fn a() {\n    b(c);\n}\n\nimpl D {\n    pub(crate) fn e(\n",
        "        f: u8,\n    ) {\n    }\n}\n"
    );
    assert_eq!(functions(text), [(2, 3), (7, 4)]);
}

#[test]
fn unsafe_code_is_in_one_place() {
    let mut faults = Vec::new();
    for (path, text) in sources(&["src", "tests"]) {
        let name = path.to_str().unwrap();
        if name == "src/fec/kernel.rs" || name == "tests/tidy/main.rs" {
            continue;
        }
        for (i, line) in text.lines().enumerate() {
            let words = code(line).split(|c: char| c != '_' && !c.is_alphanumeric());
            let quoted = line.contains('"');
            // What runs before `main` is marked, though it does nothing that is not checked.
            let early = code(line).trim() == "#[ctor::ctor(unsafe)]";
            if !quoted
                && !early
                && words
                    .into_iter()
                    .any(|w| w == "unsafe" || w == "unsafe_code")
            {
                faults.push(format!("{name}:{}", i + 1));
            }
        }
    }
    none("unsafe code outside of src/fec/kernel.rs", &faults);
}

#[test]
fn the_tree_speaks_of_itself_alone() {
    // In parts, so that this file does not find itself.
    let machine = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "target"),
        concat!("/home", "/"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let mut faults = Vec::new();
    for path in files("") {
        let bytes = std::fs::read(root().join(&path)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for word in machine.iter().filter(|word| text.contains(**word)) {
            faults.push(format!("{}: {word}", path.display()));
        }
    }
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let index = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    for line in lock.lines().filter(|line| line.starts_with("source = ")) {
        if line != index {
            faults.push(format!("Cargo.lock: {line}"));
        }
    }
    none("the tree mentions what is not its own", &faults);
}

#[test]
fn the_protocol_page_has_the_kinds_of_the_source() {
    let path = root().join("src/bin/sealcast/man/protocol.txt");
    let page = std::fs::read_to_string(path).unwrap();
    for kind in sealcast::wire::DatagramKind::ALL {
        let (code, name) = (kind as u8, format!("{kind:?}").to_uppercase());
        let first = format!("{:#04x}", sealcast::wire::VERSION << 4 | code);
        let code = code.to_string();
        let row = [code.as_str(), &name, &first];
        let there = page
            .lines()
            .any(|line| line.split_whitespace().take(3).eq(row));
        assert!(there, "protocol(7) lacks the row {row:?}");
    }
}
