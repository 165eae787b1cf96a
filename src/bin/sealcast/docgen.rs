//! Manual pages and completions: rendered from the command line's definition and the texts in
//! `man/`, and compared with the files in the tree.
//!
//! `SEALCAST_BLESS=1 cargo test --bin sealcast docgen` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::ExitStatus;

mod options;
mod prose;
mod roff;

use options::{options, paragraphs, synopsis};
use roff::{escape, roff};

/// The date on every page: of the last change that a reader of the manual should know of.
const REVISED: &str = "2026-11-29";

/// Files by their path in the tree.
type Files = BTreeMap<PathBuf, String>;

/// Sections of its own that a page has after its options.
fn text(page: &str) -> &'static str {
    match page {
        "sealcast" => include_str!("man/sealcast.txt"),
        "pack" => include_str!("man/pack.txt"),
        "seal" => include_str!("man/seal.txt"),
        "cast" => include_str!("man/cast.txt"),
        "catch" => include_str!("man/catch.txt"),
        "open" => include_str!("man/open.txt"),
        "unpack" => include_str!("man/unpack.txt"),
        "keygen" => include_str!("man/keygen.txt"),
        "selftest" => include_str!("man/selftest.txt"),
        other => panic!("no text for {other}"),
    }
}

/// Pages that are not of a subcommand: name, section, description, texts.
const TOPICS: [(&str, &str, &str, &[&str]); 4] = [
    (
        "sealcast-format",
        "5",
        "formats of keys, sealed streams and archives",
        &[
            include_str!("man/format-seal.txt"),
            include_str!("man/format-archive.txt"),
        ],
    ),
    (
        "sealcast-keys",
        "7",
        "keys of receivers and senders, and how to keep them",
        &[include_str!("man/keys.txt")],
    ),
    (
        "sealcast-performance",
        "7",
        "measured figures, and how to measure them",
        &[include_str!("man/performance.txt")],
    ),
    (
        "sealcast-protocol",
        "7",
        "the multicast protocol of cast and catch",
        &[include_str!("man/protocol.txt")],
    ),
];

fn render() -> Files {
    let mut files = Files::new();
    let mut command = Cli::command();
    command.build();
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    files.insert("man/sealcast.1".into(), overview(&command));
    for name in &names {
        let sub = command.find_subcommand(name).unwrap();
        files.insert(format!("man/sealcast-{name}.1").into(), filter(name, sub));
    }
    for (name, section, about, texts) in TOPICS {
        let mut page = title(name, section);
        page.push_str(&heading(name, about));
        texts.iter().for_each(|text| page.push_str(&roff(text)));
        page.push_str(&see_also(name));
        files.insert(format!("man/{name}.{section}").into(), page);
    }
    let shells = [
        (Shell::Bash, "sealcast.bash"),
        (Shell::Zsh, "_sealcast"),
        (Shell::Fish, "sealcast.fish"),
    ];
    for (shell, name) in shells {
        let mut out = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "sealcast", &mut out);
        files.insert(
            Path::new("completions").join(name),
            String::from_utf8(out).unwrap(),
        );
    }
    files
}

fn title(name: &str, section: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {name} {section} \"{REVISED}\" \"sealcast {version}\" \"Sealcast Manual\"\n")
}

fn heading(name: &str, about: &str) -> String {
    format!(".SH NAME\n{} \\- {}\n", escape(name), escape(about))
}

fn about(command: &clap::Command) -> String {
    let about = command.get_about().map(ToString::to_string);
    about.unwrap_or_default()
}

fn overview(command: &clap::Command) -> String {
    let mut page = title("sealcast", "1");
    page.push_str(&heading("sealcast", &about(command)));
    page.push_str(&synopsis("sealcast", command));
    page.push_str(".SH SUBCOMMANDS\n");
    for sub in command.get_subcommands() {
        let name = escape(&format!("sealcast-{}", sub.get_name()));
        let about = paragraphs(&about(sub), "");
        write!(page, ".TP\n\\fB{name}\\fR(1)\n{about}").unwrap();
    }
    page.push_str(&options(command));
    page.push_str(&roff(text("sealcast")));
    page.push_str(&exit_status());
    page.push_str(&see_also("sealcast"));
    page
}

fn filter(name: &str, command: &clap::Command) -> String {
    let page_name = format!("sealcast-{name}");
    let mut page = title(&page_name, "1");
    page.push_str(&heading(&page_name, &about(command)));
    page.push_str(&synopsis(&format!("sealcast {name}"), command));
    let description = command.get_long_about().unwrap().to_string();
    let description = paragraphs(&description, ".PP\n");
    write!(page, ".SH DESCRIPTION\n{description}").unwrap();
    page.push_str(&options(command));
    page.push_str(&roff(text(name)));
    page.push_str(&exit_status());
    page.push_str(&see_also(&page_name));
    page
}

/// The pages of the manual that are about more than one subcommand, but `page` itself.
fn see_also(page: &str) -> String {
    let mut all = vec![("sealcast", "1")];
    all.extend(TOPICS.iter().map(|(name, section, ..)| (*name, *section)));
    let others: Vec<_> = all.iter().filter(|(name, _)| *name != page).collect();
    let others: Vec<_> = others
        .iter()
        .map(|(name, section)| format!("`{name}`({section})"))
        .collect();
    roff(&format!("## SEE ALSO\n\n{}\n", others.join(", ")))
}

fn exit_status() -> String {
    let mut page = String::from(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in ExitStatus::TABLE {
        write!(page, ".TP\n\\fB{code}\\fR\n{}\n", escape(meaning)).unwrap();
    }
    page
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn there() -> Files {
    let mut files = Files::new();
    for dir in ["man", "completions"] {
        for entry in std::fs::read_dir(root().join(dir)).unwrap() {
            let name = Path::new(dir).join(entry.unwrap().file_name());
            let content = std::fs::read_to_string(root().join(&name)).unwrap();
            files.insert(name, content);
        }
    }
    files
}

#[test]
fn generated_files_are_fresh() {
    let wanted = render();
    if std::env::var_os("SEALCAST_BLESS").is_some() {
        assert!(std::env::var_os("CI").is_none(), "blessing is for people");
        for (name, content) in &wanted {
            std::fs::write(root().join(name), content).unwrap();
        }
    }
    let there = there();
    let stale: Vec<_> = wanted
        .iter()
        .filter(|(name, content)| there.get(*name) != Some(content))
        .collect();
    let stale: Vec<_> = stale.into_iter().map(|(name, _)| name).collect();
    let orphans: Vec<_> = there
        .keys()
        .filter(|name| !wanted.contains_key(*name))
        .collect();
    assert!(
        stale.is_empty() && orphans.is_empty(),
        "stale or missing: {stale:?}, not generated: {orphans:?}; \
         run SEALCAST_BLESS=1 cargo test --bin sealcast docgen"
    );
}

#[test]
fn every_exit_status_is_in_the_table() {
    use ExitStatus::{Bug, ClosedPipe, Data, Evicted, Local, NoIdentity, Sender, Transfer, Usage};
    for status in [
        Local, Usage, Data, NoIdentity, Sender, Transfer, Evicted, Bug, ClosedPipe,
    ] {
        assert!(
            ExitStatus::TABLE.iter().any(|row| row.0 == status as u8),
            "{status:?}"
        );
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}
