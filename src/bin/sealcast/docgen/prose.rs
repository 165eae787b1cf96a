//! Plain English: no sentence of the pages, the help and README.md is long, and none has an idiom
//! that a learner of English misreads.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::exit::ExitStatus;

/// The words of a sentence at most.
const WORDS_MAX: usize = 35;

/// What a learner misreads, or what leaves open whom a sentence is about.
const IDIOMS: [&str; 36] = [
    "a word too many",
    "all is over",
    "anybody",
    "as ever",
    "as soon as as",
    "be it that",
    "by and by",
    "everybody",
    "gets through",
    "held up",
    "hold up",
    "holds up",
    "in silence",
    "let go",
    "let in",
    "lets go",
    "likewise",
    "made good",
    "make good",
    "makes good",
    "makes no sense",
    "nobody",
    "pass for",
    "passed off",
    "passed over",
    "passes over",
    "put up with",
    "puts up with",
    "somebody",
    "stands for itself",
    "taken for",
    "takes in",
    "turned away",
    "whoever",
    "with a word",
    "worth a word",
];

/// Everything that is written for people, by the name of its place, as paragraphs.
fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = vec![root.join("README.md")];
    for dir in [".github", "src/bin/sealcast/man"] {
        let entries = std::fs::read_dir(root.join(dir)).unwrap();
        let files = entries.map(|entry| entry.unwrap().path());
        paths.extend(files.filter(|path| path.is_file()));
    }
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        (name, std::fs::read_to_string(path).unwrap())
    };
    let mut texts: Vec<_> = paths.into_iter().map(read).collect();
    let mut command = Cli::command();
    command.build();
    for sub in command.get_subcommands() {
        texts.push((format!("{} --help", sub.get_name()), help(sub)));
    }
    let statuses = ExitStatus::TABLE.map(|(_, meaning)| meaning);
    texts.push(("the exit statuses".into(), statuses.join("\n\n")));
    texts
}

/// What `--help` says of a subcommand.
fn help(command: &clap::Command) -> String {
    let mut all: Vec<String> = Vec::new();
    all.extend(command.get_long_about().map(ToString::to_string));
    for arg in command.get_arguments() {
        let long = arg.get_long_help().or_else(|| arg.get_help());
        all.extend(long.map(ToString::to_string));
        for value in arg.get_possible_values() {
            all.extend(value.get_help().map(ToString::to_string));
        }
    }
    all.join("\n\n")
}

/// The paragraphs and items of a text, each in one line. Code, tables, headings and comments are
/// none.
fn paragraphs(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut code = false;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        let is_item = line.trim_start().starts_with("- ")
            || line.contains(" :: ")
            || line
                .split_once(". ")
                .is_some_and(|(n, _)| n.parse::<u8>().is_ok());
        let is_prose = !fence
            && !code
            && !line.trim().is_empty()
            && !["    ", "|", "#", "<", "---"]
                .iter()
                .any(|mark| line.starts_with(mark));
        if !is_prose || is_item {
            all.push(String::new());
        }
        if is_prose {
            let last = all.last_mut().unwrap();
            last.push_str(line.trim_start().trim_start_matches("- "));
            last.push(' ');
        }
    }
    all.retain(|paragraph| !paragraph.trim().is_empty());
    all
}

/// The sentences of a paragraph. What is in backquotes is one word.
fn sentences(paragraph: &str) -> Vec<String> {
    let mut plain = String::new();
    for (i, part) in paragraph.split('`').enumerate() {
        plain.push_str(if i % 2 == 1 { "CODE" } else { part });
    }
    let mut all = vec![String::new()];
    for word in plain.split_whitespace() {
        let last = all.last_mut().unwrap();
        last.push_str(word);
        last.push(' ');
        let bare = word.trim_end_matches([')', '*', '"']);
        if bare.ends_with(['.', '?', '!']) {
            all.push(String::new());
        }
    }
    all.retain(|sentence| !sentence.is_empty());
    all
}

/// Whether a sentence begins with `who` and asks nothing.
fn has_nameless_subject(sentence: &str) -> bool {
    let first = sentence.split(' ').next().unwrap_or_default();
    matches!(first, "Who" | "Whom" | "Whose") && !sentence.contains('?')
}

#[test]
fn the_pages_are_in_plain_english() {
    let mut faults = Vec::new();
    for (name, text) in texts() {
        for paragraph in paragraphs(&text) {
            for sentence in sentences(&paragraph) {
                let words = sentence.split_whitespace().count();
                if words > WORDS_MAX {
                    faults.push(format!("{name}: {words} words: {sentence}"));
                }
                let lower = format!(" {} ", sentence.to_lowercase());
                let idioms = IDIOMS.iter().filter(|idiom| {
                    let end = |c: char| !c.is_alphanumeric();
                    lower.match_indices(**idiom).any(|(at, found)| {
                        lower[..at].ends_with(end) && lower[at + found.len()..].starts_with(end)
                    })
                });
                faults.extend(idioms.map(|idiom| format!("{name}: {idiom:?}: {sentence}")));
                if has_nameless_subject(&sentence) {
                    faults.push(format!("{name}: who is this? {sentence}"));
                }
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{}\n{} faults",
        faults.join("\n"),
        faults.len()
    );
}

#[test]
fn sentences_are_found() {
    let text = "# A\n\nOne `x. y` is\ntwo. Three (four.) five\n- six. seven\n\n    code\n\
                | a | b |\n```sh\nrun it. now\n```\n1. eight\n";
    let found: Vec<_> = paragraphs(text).iter().flat_map(|p| sentences(p)).collect();
    let wanted = [
        "One CODE is two. ",
        "Three (four.) ",
        "five ",
        "six. ",
        "seven ",
        "1. ",
        "eight ",
    ];
    assert_eq!(found, wanted);
    assert!(has_nameless_subject("Who has it can. ") && !has_nameless_subject("Who has it? "));
}
