//! Transcripts: what a person types, and what comes back. The files in `tests/cmd` and the console
//! blocks of README.md are run as they stand.
//!
//! A transcript has these lines:
//!
//! ```text
//! # a comment
//! ! needs TOOL...       skip the file where a tool is missing
//! == NAME               begins a file that lies in the directory, up to a line with `==` alone
//! $ COMMAND             run by `bash -euo pipefail` of its own; all commands share a directory
//! > MORE                continues COMMAND on the next line
//! ? STATUS              after the output, when the status is not 0
//! ```
//!
//! All other lines are output, of both streams in one. In them `[..]` stands for anything in a
//! line, and `...` alone for any number of lines. `$PORT` is a port that no other transcript uses.
//! The commands in `tests/cmd/bin` are found: `session` runs a sender with its receivers, `await`
//! waits for what a program says, so that no transcript hangs on how fast a machine is.
//! `SEALCAST_BLESS=1 cargo test --test it script` writes what came back into the files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{have, ports};

/// A command that takes longer hangs: the longest takes 15 s.
const SECONDS_MAX: &str = "150";

#[derive(Debug, Default, PartialEq)]
struct Step {
    /// Where the output begins and ends in the file, as indices of lines.
    lines: (usize, usize),
    command: String,
    output: Vec<String>,
    status: i32,
}

#[derive(Debug, Default, PartialEq)]
struct Script {
    needs: Vec<String>,
    files: Vec<(String, String)>,
    steps: Vec<Step>,
}

fn parse(text: &str) -> Script {
    let mut script = Script::default();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if let Some(tools) = line.strip_prefix("! needs ") {
            script.needs.extend(tools.split(' ').map(str::to_owned));
        } else if let Some(name) = line.strip_prefix("== ") {
            let body: String = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "==")
                .fold(String::new(), |body, line| body + line + "\n");
            script.files.push((name.to_owned(), body));
        } else if let Some(command) = line.strip_prefix("$ ") {
            let mut step = Step {
                command: command.to_owned(),
                ..Step::default()
            };
            let mut end = number + 1;
            while let Some((_, more)) = lines.next_if(|(_, line)| line.starts_with("> ")) {
                step.command = step.command + "\n" + &more[2..];
                end += 1;
            }
            step.lines = (end, end);
            let ours = |line: &str| {
                ["$ ", "# ", "! ", "== "]
                    .iter()
                    .any(|p| line.starts_with(p))
            };
            while let Some((number, line)) = lines.next_if(|(_, line)| !ours(line)) {
                step.lines.1 = number + 1;
                if let Some(status) = line.strip_prefix("? ") {
                    step.status = status.parse().expect("a status");
                    break;
                }
                step.output.push(line.to_owned());
            }
            trim(&mut step.output);
            script.steps.push(step);
        } else {
            let known = line.is_empty() || line.starts_with('#');
            assert!(known, "line {}: {line:?} belongs to nothing", number + 1);
        }
    }
    script
}

/// Empty lines at the end part one step from the next.
fn trim(output: &mut Vec<String>) {
    while output.last().is_some_and(String::is_empty) {
        output.pop();
    }
}

/// Whether lines are as expected.
fn fits(expected: &[String], actual: &[String]) -> bool {
    match (expected.split_first(), actual.split_first()) {
        (Some((any, rest)), _) if any == "..." => {
            (0..=actual.len()).any(|skipped| fits(rest, &actual[skipped..]))
        }
        (Some((a, expected)), Some((b, actual))) => line_fits(a, b) && fits(expected, actual),
        (None, None) => true,
        _ => false,
    }
}

fn line_fits(expected: &str, actual: &str) -> bool {
    let Some((start, rest)) = expected.split_once("[..]") else {
        return expected == actual;
    };
    actual.strip_prefix(start).is_some_and(|tail| {
        let mut cuts = tail.char_indices().map(|(at, _)| at).chain([tail.len()]);
        cuts.any(|at| line_fits(rest, &tail[at..]))
    })
}

/// Runs one command: its output, and its status as a shell tells it.
fn run(command: &str, dir: &Path, port: usize) -> (Vec<String>, i32) {
    let bin = Path::new(env!("CARGO_BIN_EXE_sealcast")).parent().unwrap();
    let tools = root().join("tests/cmd/bin");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("timeout")
        .args(["--kill-after=5", SECONDS_MAX, "bash", "-euo", "pipefail"])
        .args(["-c", &format!("exec 2>&1\n{command}")])
        .current_dir(dir)
        .env(
            "PATH",
            format!("{}:{}:{path}", bin.display(), tools.display()),
        )
        .env("PORT", port.to_string())
        .env("HOME", dir)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    trim(&mut lines);
    (lines, output.status.code().unwrap_or(-1))
}

/// Runs a script: what is not as expected, and the text with what came back.
fn play(name: &str, text: &str, port: usize) -> (String, String) {
    let script = parse(text);
    assert!(!script.steps.is_empty(), "{name} does nothing");
    if !script.needs.iter().all(|tool| have(tool)) {
        return (String::new(), text.to_owned());
    }
    let dir = tempfile::tempdir().unwrap();
    for (name, body) in &script.files {
        std::fs::write(dir.path().join(name), body).unwrap();
    }
    let mut faults = String::new();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut told = Vec::new();
    for step in &script.steps {
        let (output, status) = run(&step.command, dir.path(), port);
        if status == step.status && fits(&step.output, &output) {
            continue;
        }
        writeln!(faults, "{name}:{}: $ {}", step.lines.0, step.command).unwrap();
        writeln!(faults, "--- expected, status {}", step.status).unwrap();
        writeln!(faults, "{}", step.output.join("\n")).unwrap();
        writeln!(faults, "--- came, status {status}\n{}\n", output.join("\n")).unwrap();
        let mut new = output;
        if status != 0 {
            new.push(format!("? {status}"));
        }
        let (start, mut end) = step.lines;
        while end > start && lines[end - 1].is_empty() {
            end -= 1;
        }
        told.push((start..end, new));
    }
    for (range, new) in told.into_iter().rev() {
        lines.splice(range, new);
    }
    (faults, lines.join("\n") + "\n")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn transcripts() {
    let bless = std::env::var_os("SEALCAST_BLESS").is_some();
    assert!(
        !(bless && std::env::var_os("CI").is_some()),
        "nobody blesses in CI"
    );
    let only = std::env::var("SEALCAST_SCRIPT").unwrap_or_default();
    let entries = std::fs::read_dir(root().join("tests/cmd")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "txt"));
    paths.retain(|path| path.to_str().unwrap().contains(&only));
    paths.sort();
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(index) else { break };
            let text = std::fs::read_to_string(path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let (fault, new) = play(name, &text, ports() + 2 * index);
            if bless && new != text {
                std::fs::write(path, new).unwrap();
            } else if !fault.is_empty() {
                faults.lock().unwrap().push(fault);
            }
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The console blocks of a text in Markdown, as one script. Blocks for several machines are left
/// out; the program's own tests parse what is in those.
fn blocks(text: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            // Lines keep their numbers, so that a fault can be found.
            _ if inside => script.push_str(line),
            _ => {}
        }
        script.push('\n');
    }
    script
}

#[test]
fn readme() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let script = blocks(&text);
    let steps = parse(&script).steps.len();
    assert!(steps >= 6, "only {steps} commands in README.md");
    let (faults, _) = play("README.md", &script, ports());
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn scripts_are_parsed() {
    let text = "# why\n== f\n# in f\n==\n$ a\n> b\none\n\ntwo\n? 3\n\n$ c\n\n# end\n";
    let lines = |text: &[&str]| text.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let script = parse(text);
    assert_eq!(script.files, [("f".to_owned(), "# in f\n".to_owned())]);
    let step = |lines, command: &str, output, status| Step {
        lines,
        command: command.to_owned(),
        output,
        status,
    };
    assert_eq!(
        script.steps,
        [
            step((6, 10), "a\nb", lines(&["one", "", "two"]), 3),
            step((12, 13), "c", lines(&[]), 0),
        ]
    );
}

#[test]
fn wildcards() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (expected, actual, fit) in [
        ("a[..]c\n...\nz", "abbc\nx\ny\nz", true),
        ("...\nz", "z", true),
        ("a[..]c[..]e", "abcdce", true),
        ("a[..]c", "abcd", false),
        ("a", "a\nb", false),
        ("...\nz", "z\nb", false),
    ] {
        assert_eq!(fits(&lines(expected), &lines(actual)), fit, "{expected:?}");
    }
}

#[test]
fn a_wrong_transcript_is_seen() {
    let (faults, new) = play("x", "$ echo b; exit 4\na\n\n$ echo c\nc\n", ports());
    assert!(faults.contains("--- came, status 4\nb"), "{faults}");
    assert_eq!(new, "$ echo b; exit 4\nb\n? 4\n\n$ echo c\nc\n");
}
