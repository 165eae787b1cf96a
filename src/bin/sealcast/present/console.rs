//! The console on standard error: whole lines, each with the filter's name, since six of us may
//! share one terminal.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sealcast::net;

use crate::cli::{GlobalArgs, When};

/// Progress is drawn at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What is waited for is said again after this time, where it cannot be rewritten in place.
const WAITING_AGAIN: Duration = Duration::from_secs(10);

/// Says things on standard error on behalf of one filter.
pub(crate) struct Console {
    name: &'static str,
    quiet: bool,
    verbose: u8,
    /// Carriage returns on a terminal, lines elsewhere.
    terminal: bool,
    /// Whether progress is wanted.
    progress: bool,
    /// Whether nothing is drawn at all, not even what is waited for.
    still: bool,
    state: Mutex<Drawn>,
}

#[derive(Default)]
struct Drawn {
    muted: bool,
    last: Option<Instant>,
    width: usize,
    waiting: Option<(Instant, String)>,
}

impl Console {
    pub(crate) fn new(name: &'static str, global: &GlobalArgs) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let progress = match global.progress {
            When::Auto => terminal && !global.quiet,
            When::Always => true,
            When::Never => false,
        };
        Self {
            name,
            quiet: global.quiet,
            verbose: global.verbose,
            terminal,
            progress,
            still: global.progress == When::Never,
            state: Mutex::default(),
        }
    }

    /// What failed, on which object. Never silenced.
    pub(crate) fn error(&self, text: &str) {
        self.print("error: ", text);
    }

    /// What a person can do about the error before it. Never silenced.
    pub(crate) fn hint(&self, text: &str) {
        self.print("hint: ", text);
    }

    /// Something is not as it should be, but the work goes on.
    pub(crate) fn warning(&self, text: &str) {
        if !self.quiet {
            self.print("warning: ", text);
        }
    }

    /// What happened, for a person who wants to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.print("", text);
        }
    }

    /// Details, for `-v` (level 1) and `-vv` (level 2).
    pub(crate) fn detail(&self, level: u8, text: impl FnOnce() -> String) {
        if self.verbose >= level {
            self.print("", &text());
        }
    }

    /// Whether details of this level are wanted.
    pub(crate) fn tells(&self, level: u8) -> bool {
        self.verbose >= level
    }

    /// Draws a line of progress, if it is time for one.
    pub(crate) fn progress(&self, text: impl FnOnce() -> String) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let early = |last: Instant| last.elapsed() < PROGRESS_EVERY;
        if !self.progress || state.muted || state.last.is_some_and(early) {
            return;
        }
        state.last = Some(Instant::now());
        self.draw(&mut state, &text());
    }

    /// Says what is waited for: in place on a terminal, elsewhere when it has changed or was not
    /// said for a while. The `countdown` behind it changes all the time, and is no news.
    pub(crate) fn waiting(&self, text: &str, countdown: &str) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let known = |(at, said): &(Instant, String)| said == text && at.elapsed() < WAITING_AGAIN;
        let silent = self.quiet || self.still || state.muted;
        if silent || !self.terminal && state.waiting.as_ref().is_some_and(known) {
            return;
        }
        state.waiting = Some((Instant::now(), text.to_owned()));
        self.draw(&mut state, &safe(&format!("{text}{countdown}")));
    }

    fn draw(&self, state: &mut Drawn, text: &str) {
        let text = format!("sealcast {}: {text}", self.name);
        if self.terminal {
            let width = state.width;
            state.width = text.chars().count();
            line(&format!("\r{text:width$}"));
        } else {
            line(&format!("{text}\n"));
        }
    }

    /// How many lines of a key file were ignored, for `-v`.
    pub(crate) fn ignored_lines(&self, path: &Path, lines: usize) {
        if lines > 0 {
            self.detail(1, || {
                let path = path.display();
                format!("{path}: ignored {lines} ssh keys that are revoked or not ed25519")
            });
        }
    }

    /// Draws no progress on a terminal that has the data, too: they would mix.
    pub(crate) fn mute_beside(&self, output: &impl AsFd) {
        if rustix::termios::isatty(output)
            && let Ok(mut state) = self.state.lock()
        {
            state.muted = true;
        }
    }

    /// Takes the line of progress away.
    pub(crate) fn done(&self) {
        if self.terminal
            && let Ok(mut state) = self.state.lock()
            && state.width > 0
        {
            line(&format!("\r{:width$}\r", "", width = state.width));
            state.width = 0;
        }
    }

    fn print(&self, kind: &str, text: &str) {
        self.done();
        line(&format!("sealcast {}: {kind}{}\n", self.name, safe(text)));
    }
}

/// Writes to standard error with one call, so that lines of several filters do not mix.
pub(crate) fn line(text: &str) {
    // With standard error gone there is no one left to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What is said never moves the cursor, nor shows a secret key that stands where a name should.
fn safe(text: &str) -> String {
    const SHOWN: usize = 12;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(secret) = secret_in(rest) {
        out += &plain(&rest[..secret.start + SHOWN]);
        out.push('…');
        rest = &rest[secret.end..];
    }
    out + &plain(rest)
}

/// Where the first secret key is.
fn secret_in(text: &str) -> Option<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let starts = ["age-secret-key-", "sealsign-secret-"].map(|prefix| lower.find(prefix));
    let start = starts.into_iter().flatten().min()?;
    let other = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let end = lower[start..]
        .find(other)
        .map_or(text.len(), |len| start + len);
    Some(start..end).filter(|secret| secret.len() > 40)
}

/// Controls, and the marks that turn the direction of writing around.
pub(crate) fn hides(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}');
    let isolates = matches!(c, '\u{2066}'..='\u{2069}');
    c.is_control() || turns || isolates
}

/// What a peer calls itself or says, without what would move the cursor or begin a line of ours.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if hides(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

/// What is waited for when there is no way out of this machine, or none into it.
pub(crate) fn no_network(error: &net::Error) -> String {
    match error {
        net::Error::Interface { name, .. } => format!("waiting for the interface {name}"),
        net::Error::NoRoute { to, .. } => format!("waiting for a route to {to}"),
        other => format!("waiting: {other}"),
    }
}

/// A number of receivers for people.
pub(crate) fn receivers(n: u32) -> String {
    if n == 1 {
        "1 receiver".into()
    } else {
        format!("{n} receivers")
    }
}

/// A number of bytes for people: three digits and a binary unit.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{n} B"),
        _ if value < 10.0 => format!("{value:.2} {}", UNITS[unit]),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_harmless() {
        let secret = format!("AGE-SECRET-KEY-1{}", "Q".repeat(58));
        let said = safe(&format!("cannot open /tmp/{secret}: not there; {secret}"));
        assert_eq!(
            said,
            "cannot open /tmp/AGE-SECRET-K…: not there; AGE-SECRET-K…"
        );
        assert_eq!(safe("a\nb\u{1b}[31m"), "a\u{fffd}b\u{fffd}[31m");
        assert_eq!(
            safe("no AGE-SECRET-KEY-1…, 3 °C"),
            "no AGE-SECRET-KEY-1…, 3 °C"
        );
    }
}
