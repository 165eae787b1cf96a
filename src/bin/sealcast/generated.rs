//! Manual pages and completions: rendered from the command line's definition and the texts in
//! `man/`, and compared with the files in the tree.
//!
//! `SEALCAST_BLESS=1 cargo test --bin sealcast generated` writes them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::ExitStatus;

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
const FORMATS: [(&str, &str, &str, &[&str]); 3] = [
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
        let page = format!("sealcast-{name}");
        let sub = command.find_subcommand(name).cloned().unwrap();
        let sub = sub
            .name(&*Box::leak(page.clone().into_boxed_str()))
            .bin_name(format!("sealcast {name}"));
        files.insert(format!("man/{page}.1").into(), filter(name, sub));
    }
    for (name, section, about, texts) in FORMATS {
        let mut page = title(name, section);
        write!(page, ".SH NAME\n{name} \\- {about}\n").unwrap();
        texts.iter().for_each(|text| page.push_str(&roff(text)));
        page.push_str(&roff("## SEE ALSO\n\n`sealcast`(1)\n"));
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
    // An apostrophe, which plain typesetters would turn into a quotation mark.
    let apostrophe = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    format!("{apostrophe}.TH {name} {section} \"\" \"sealcast\" \"Sealcast Manual\"\n")
}

fn overview(command: &clap::Command) -> String {
    let man = Man::new(command.clone());
    let mut page = title("sealcast", "1");
    page.push_str(&section(|out| man.render_name_section(out)));
    page.push_str(&section(|out| man.render_synopsis_section(out)));
    let mut list = String::from("## SUBCOMMANDS\n\n");
    for sub in command.get_subcommands() {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(list, "`sealcast-{}`(1): {about}.\n", sub.get_name()).unwrap();
    }
    page.push_str(&roff(&list));
    page.push_str(&section(|out| man.render_options_section(out)));
    page.push_str(&roff(text("sealcast")));
    page.push_str(&exit_status());
    page.push_str(&roff(
        "## SEE ALSO\n\n`sealcast-format`(5), `sealcast-keys`(7), `sealcast-protocol`(7)\n",
    ));
    page
}

fn filter(name: &str, command: clap::Command) -> String {
    let man = Man::new(command);
    let mut page = title(&format!("sealcast-{name}"), "1");
    page.push_str(&section(|out| man.render_name_section(out)));
    page.push_str(&section(|out| man.render_synopsis_section(out)));
    page.push_str(&section(|out| man.render_description_section(out)));
    page.push_str(&section(|out| man.render_options_section(out)));
    page.push_str(&roff(text(name)));
    page.push_str(&exit_status());
    page.push_str(&roff(
        "## SEE ALSO\n\n`sealcast`(1), `sealcast-format`(5), `sealcast-keys`(7), \
         `sealcast-protocol`(7)\n",
    ));
    page
}

fn section(render: impl Fn(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    render(&mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    // Each section repeats a definition that a page needs once at most, and we never.
    out.lines()
        .filter(|l| !l.starts_with(".ie") && !l.starts_with(".el"))
        .fold(String::new(), |mut page, line| {
            page.push_str(line);
            page.push('\n');
            page
        })
}

fn exit_status() -> String {
    let mut page = String::from(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in ExitStatus::TABLE {
        write!(page, ".TP\n\\fB{code}\\fR\n{}\n", escape(meaning)).unwrap();
    }
    page
}

/// Turns a text into roff: `## NAME` begins a section, `### Name` a part of one, four spaces mark
/// literal lines, backquotes bold words.
fn roff(text: &str) -> String {
    let mut page = String::new();
    let mut literal = false;
    let mut blank = true;
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("    ") {
            if !literal {
                page.push_str(".PP\n.RS 4\n.nf\n");
                literal = true;
            }
            writeln!(page, "{}", escape(line)).unwrap();
            blank = false;
            continue;
        }
        if line.trim().is_empty() {
            blank = true;
            continue;
        }
        if literal {
            page.push_str(".fi\n.RE\n");
            literal = false;
        }
        if let Some(heading) = line.strip_prefix("### ") {
            writeln!(page, ".SS \"{}\"", escape(heading)).unwrap();
        } else if let Some(heading) = line.strip_prefix("## ") {
            writeln!(page, ".SH \"{}\"", escape(heading)).unwrap();
        } else {
            if blank && !page.ends_with("\"\n") {
                page.push_str(".PP\n");
            }
            writeln!(page, "{}", bold(line)).unwrap();
        }
        blank = false;
    }
    if literal {
        page.push_str(".fi\n.RE\n");
    }
    page
}

fn bold(line: &str) -> String {
    let mut out = String::new();
    for (i, part) in line.split('`').enumerate() {
        let part = escape(part);
        if i % 2 == 1 {
            write!(out, "\\fB{part}\\fR").unwrap();
        } else {
            out.push_str(&part);
        }
    }
    out
}

fn escape(text: &str) -> String {
    let text = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
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
         run SEALCAST_BLESS=1 cargo test --bin sealcast generated"
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
