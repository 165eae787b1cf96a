//! What a page says of a command line: its synopsis and its options.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::roff::{bold, escape};

/// The options that every command has and no synopsis needs.
const EVERYWHERE: [&str; 2] = ["help", "version"];

/// The section SYNOPSIS: each option with its value, those of which one is needed in braces.
pub(super) fn synopsis(name: &str, command: &Command) -> String {
    let mut page = format!(".SH SYNOPSIS\n.SY \"{}\"\n", escape(name));
    let required: Vec<_> = command
        .get_groups()
        .filter(|group| group.is_required_set())
        .collect();
    let grouped: Vec<_> = required.iter().flat_map(|group| group.get_args()).collect();
    for group in &required {
        let choices: Vec<_> = group
            .get_args()
            .filter_map(|id| command.get_arguments().find(|arg| arg.get_id() == id))
            .map(usage)
            .collect();
        // The library wants a group that may change for this question.
        let several = clap::ArgGroup::clone(group).is_multiple();
        let more = if several { "...\\&" } else { "" };
        writeln!(page, "{{{}}}{more}", choices.join(" | ")).unwrap();
    }
    let free = |arg: &&Arg| {
        !grouped.contains(&arg.get_id()) && !EVERYWHERE.contains(&arg.get_id().as_str())
    };
    let (operands, options): (Vec<_>, Vec<_>) = command
        .get_arguments()
        .filter(free)
        .partition(|arg| arg.is_positional());
    for option in options {
        let repeated = matches!(option.get_action(), ArgAction::Append | ArgAction::Count);
        let more = if repeated { "...\\&" } else { "" };
        writeln!(page, "[{}]{more}", usage(option)).unwrap();
    }
    for operand in operands {
        let end = if operand.is_last_set() {
            "\\-\\-\\ "
        } else {
            ""
        };
        writeln!(page, "[{end}{}]", usage(operand)).unwrap();
    }
    if command.has_subcommands() {
        page.push_str("\\fISUBCOMMAND\\fR\\ ...\n");
    }
    page.push_str(".YS\n");
    page
}

/// An argument as it is typed, the short form if there is one.
fn usage(arg: &Arg) -> String {
    let name = match (arg.get_short(), arg.get_long()) {
        (Some(short), _) => format!("\\fB\\-{short}\\fR"),
        (None, Some(long)) => format!("\\fB{}\\fR", escape(&format!("--{long}"))),
        (None, None) => {
            let many = arg.get_num_args().is_some_and(|n| n.max_values() > 1);
            return value(arg) + if many { "..." } else { "" };
        }
    };
    if takes_value(arg) {
        format!("{name}\\ {}", value(arg))
    } else {
        name
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn value(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    format!("\\fI{}\\fR", escape(&names.join(" ")))
}

/// The sections with the options, those without a heading of their own first.
pub(super) fn options(command: &Command) -> String {
    let mut headings = vec![None];
    for arg in command.get_arguments() {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    let mut page = String::new();
    for heading in headings {
        let title = heading.unwrap_or("Options").to_uppercase();
        writeln!(page, ".SH \"{}\"", escape(&title)).unwrap();
        for arg in command.get_arguments() {
            if arg.get_help_heading() == heading && !EVERYWHERE.contains(&arg.get_id().as_str()) {
                page.push_str(&option(arg));
            }
        }
    }
    page
}

fn option(arg: &Arg) -> String {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("\\fB\\-{short}\\fR")));
    let long = arg.get_long();
    names.extend(long.map(|long| format!("\\fB{}\\fR", escape(&format!("--{long}")))));
    let mut page = format!(".TP\n{}", names.join(", "));
    if takes_value(arg) {
        let space = if names.is_empty() { "" } else { " " };
        write!(page, "{space}{}", value(arg)).unwrap();
        let defaults = arg.get_default_values().join(std::ffi::OsStr::new(" "));
        if !defaults.is_empty() {
            let default = escape(defaults.to_str().unwrap());
            write!(page, " [default: {default}]").unwrap();
        }
    }
    page.push('\n');
    let help = arg.get_long_help().or_else(|| arg.get_help());
    page.push_str(&paragraphs(&help.unwrap().to_string(), ".IP\n"));
    if takes_value(arg) && !arg.get_possible_values().is_empty() {
        page.push_str(".RS\n");
        for choice in arg.get_possible_values() {
            let help = choice.get_help().unwrap().to_string();
            let help = paragraphs(&help, "");
            write!(page, ".TP\n\\fB{}\\fR\n{help}", escape(choice.get_name())).unwrap();
        }
        page.push_str(".RE\n");
    }
    page
}

/// A text of several paragraphs, with what comes between them. A stop that was taken off a
/// single sentence is put back.
pub(super) fn paragraphs(text: &str, between: &str) -> String {
    let mut page = String::new();
    for paragraph in text.split("\n\n") {
        if !page.is_empty() {
            page.push_str(between);
        }
        let stop = if paragraph.ends_with('.') { "" } else { "." };
        writeln!(page, "{}{stop}", bold(paragraph)).unwrap();
    }
    page
}
