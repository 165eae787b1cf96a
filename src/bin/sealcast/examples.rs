//! Every command line that README.md and the manual show is one that we understand.

use std::path::Path;

use clap::Parser;

use crate::cli::Cli;

/// The texts that show commands, by name, with the marks of a line that has one.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md")];
    let man = std::fs::read_dir(root.join("src/bin/sealcast/man")).unwrap();
    paths.extend(man.map(|entry| entry.unwrap().path()));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The lines of a text that a person may type: in blocks and tables of README.md, indented in the
/// manual.
fn typed(name: &str, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut inside, mut shell) = (false, false);
    for line in text.lines() {
        if line.starts_with("```") {
            shell = line == "```sh";
            inside = shell || line.starts_with("```console");
        } else if name == "README.md" && line.starts_with('|') {
            // In a table a bar within code has a backslash before it.
            let code = line.split('`').skip(1).step_by(2);
            lines.extend(code.map(|code| code.replace("\\|", "|")));
        } else if name == "README.md" && inside {
            let command = line.strip_prefix("$ ").or_else(|| line.strip_prefix("> "));
            // What comes back is not typed.
            let typed = command.or_else(|| shell.then_some(line));
            lines.extend(typed.map(str::to_owned));
        } else if name != "README.md" {
            lines.extend(line.strip_prefix("    ").map(str::to_owned));
        }
    }
    lines
}

/// The words of each command of ours in a line of shell: quotes hold words together, and pipes,
/// redirections and parentheses end a command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.replace("cargo run --release --", "sealcast");
    let mut all = vec![Vec::new()];
    let mut word = String::new();
    let mut quote = None;
    let mut skipped = false;
    for c in line.chars().chain([' ']) {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ' | '|' | '&' | ';' | '(' | ')' | '<' | '>') => {
                if !word.is_empty() && !std::mem::take(&mut skipped) {
                    let last = all.last_mut().unwrap();
                    last.push(std::mem::take(&mut word));
                }
                word.clear();
                match c {
                    ' ' => {}
                    '<' | '>' => skipped = true,
                    _ => all.push(Vec::new()),
                }
            }
            _ => word.push(c),
        }
    }
    for command in &mut all {
        let start = command.iter().position(|word| word == "sealcast");
        command.drain(..start.unwrap_or(command.len()));
    }
    all.retain(|command| !command.is_empty());
    all
}

#[test]
fn lines_are_taken_apart() {
    assert_eq!(
        commands("x | sealcast a -b 'c d' < e | (sealcast f >> g && wait)"),
        [vec!["sealcast", "a", "-b", "c d"], vec!["sealcast", "f"]]
    );
    assert!(commands("cp sealcast.1 man").is_empty());
}

#[test]
fn examples_are_understood() {
    let mut seen = 0;
    let mut faults = Vec::new();
    for (name, text) in texts() {
        for line in typed(&name, &text) {
            for command in commands(&line) {
                seen += 1;
                if let Err(e) = Cli::try_parse_from(&command) {
                    faults.push(format!("{name}: {line}\n{e}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 30, "only {seen} commands seen");
}
