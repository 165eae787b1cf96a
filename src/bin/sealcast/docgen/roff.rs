//! Texts of the manual as roff: plain paragraphs, lists, literal blocks and headings.

use std::fmt::Write as _;

/// Turns a text into roff.
///
/// `## NAME` begins a section and `### Name` a part of one. `- ` and `1. ` begin items of lists,
/// ` :: ` is between a term and its meaning, four spaces mark literal lines, and backquotes bold
/// words. A paragraph is one line.
pub(super) fn roff(text: &str) -> String {
    let mut page = String::new();
    let mut literal = false;
    let mut blank = true;
    let mut heading = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            blank = true;
            continue;
        }
        let code = line.strip_prefix("    ");
        if literal && code.is_none() {
            page.push_str(".fi\n.RE\n");
            literal = false;
        }
        let begins_paragraph = blank && !heading && !page.is_empty();
        heading = false;
        if let Some(code) = code {
            if !literal {
                // Within a section a paragraph ends first; after a heading there is none.
                page.push_str(if begins_paragraph { ".PP\n" } else { "" });
                page.push_str(".RS 4\n.nf\n");
                literal = true;
            } else if blank {
                page.push('\n');
            }
            writeln!(page, "{}", escape(code)).unwrap();
        } else if let Some(name) = line.strip_prefix("### ") {
            writeln!(page, ".SS \"{}\"", escape(name)).unwrap();
            heading = true;
        } else if let Some(name) = line.strip_prefix("## ") {
            writeln!(page, ".SH \"{}\"", escape(name)).unwrap();
            heading = true;
        } else if let Some((term, meaning)) = line.split_once(" :: ") {
            writeln!(page, ".TP\n{}\n{}", bold(term), bold(meaning)).unwrap();
        } else if let Some((mark, item)) = item(line) {
            writeln!(page, ".IP {mark}\n{}", bold(item)).unwrap();
        } else {
            page.push_str(if begins_paragraph { ".PP\n" } else { "" });
            writeln!(page, "{}", bold(line)).unwrap();
        }
        blank = false;
    }
    if literal {
        page.push_str(".fi\n.RE\n");
    }
    page
}

/// The mark and width of an item of a list, and its words.
fn item(line: &str) -> Option<(String, &str)> {
    if let Some(item) = line.strip_prefix("- ") {
        return Some(("\\(bu 2".into(), item));
    }
    let (number, item) = line.split_once(". ")?;
    number.parse::<u8>().ok()?;
    Some((format!("{number}. 3"), item))
}

/// A line of words, those in backquotes set bold.
pub(super) fn bold(line: &str) -> String {
    let mut out = String::new();
    for (i, part) in line.split('`').enumerate() {
        let part = plain(part);
        if i % 2 == 1 {
            write!(out, "\\fB{part}\\fR").unwrap();
        } else {
            out.push_str(&part);
        }
    }
    not_a_request(out)
}

/// A line of words that mean themselves.
pub(super) fn escape(line: &str) -> String {
    not_a_request(plain(line))
}

fn plain(text: &str) -> String {
    text.replace('\\', "\\e")
        .replace('…', "...")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('"', "\\(dq")
}

/// The same line where a dot at its beginning would make it a request.
fn not_a_request(line: String) -> String {
    if line.starts_with('.') {
        format!("\\&{line}")
    } else {
        line
    }
}

#[test]
fn texts_become_roff() {
    let text =
        "## A\n\n    x -y\n\n    z\n\nIt's `b`.\n\n- one\n- two\n\n1. three\n\n`t` :: m\n\n.four\n";
    assert_eq!(
        roff(text),
        ".SH \"A\"\n.RS 4\n.nf\nx \\-y\n\nz\n.fi\n.RE\n.PP\nIt\\(aqs \\fBb\\fR.\n\
         .IP \\(bu 2\none\n.IP \\(bu 2\ntwo\n.IP 1. 3\nthree\n.TP\n\\fBt\\fR\nm\n.PP\n\\&.four\n"
    );
}
