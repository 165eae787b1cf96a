//! The report for programs: what happens, each as a JSON object in a line of a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::console::{Console, hides};
use crate::exit::{ExitStatus, Failure};

/// The version of the objects; it changes when the meaning of a field does.
const VERSION: u32 = 1;

/// A file that takes events, if one is wanted.
pub(crate) struct EventLog {
    file: Option<File>,
    path: PathBuf,
    begun: Instant,
    /// Which session of a series this is, for those that are in one.
    pass: Option<u32>,
    /// The first line that could not be written.
    failed: Option<io::Error>,
}

impl EventLog {
    /// Opens the file at once, so that a name that cannot be written to is noticed before a person
    /// is kept waiting.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        if path == Some(Path::new("-")) {
            let why = "--report takes the name of a file, and `-` is none";
            return Err(Failure::new(ExitStatus::Usage, why));
        }
        let append = |path: &Path| File::options().create(true).append(true).open(path);
        let named = path.unwrap_or(Path::new(""));
        Ok(Self {
            file: path
                .map(append)
                .transpose()
                .map_err(|e| cannot(named, &e))?,
            path: named.into(),
            begun: Instant::now(),
            pass: None,
            failed: None,
        })
    }

    /// From now on, events are of this session of a series.
    pub(crate) fn pass(&mut self, pass: u32) {
        self.pass = Some(pass);
    }

    /// Writes an event with its fields, an object.
    pub(crate) fn event(&mut self, event: &str, fields: Value) {
        let Some(file) = &mut self.file else { return };
        let mut line = json!({
            "v": VERSION,
            "t_us": u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX),
            "event": event,
        });
        if let Some(pass) = self.pass {
            line["pass"] = pass.into();
        }
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        // One call for each line: several may share a file.
        let line = format!("{}\n", escaped(&line.to_string()));
        if let Err(e) = file.write_all(line.as_bytes()) {
            self.failed.get_or_insert(e);
        }
    }

    /// Writes the last event, with the failure that the session ended with.
    pub(crate) fn end(&mut self, mut fields: Value, failure: Option<&str>) {
        if let Some(failure) = failure {
            fields["error"] = failure.into();
        }
        self.event("ended", fields);
    }

    /// Ends with `result`; a line that could not be written is a failure, if nothing else is, and
    /// worth a word otherwise.
    pub(crate) fn close<E>(self, result: Result<(), E>, console: &Console) -> Result<(), Failure>
    where
        Failure: From<E>,
    {
        let lost = self.failed.map(|e| cannot(&self.path, &e));
        let Err(error) = result else {
            return lost.map_or(Ok(()), Err);
        };
        if let Some(lost) = lost {
            console.warning(&lost.message);
        }
        Err(error.into())
    }
}

/// The same JSON, harmless on a terminal: whatever would move the cursor or turn the direction of
/// writing around can only be in a string, where an escape is the same.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if hides(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    Failure::io(
        &format!("cannot write the report {}", path.display()),
        error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_harmless_and_the_same() {
        let name = "a\u{1b}[31m\u{7f}\u{9b}2J\u{202e}b\u{2028}é\n";
        let line = escaped(&json!({"name": name}).to_string());
        assert!(!line.chars().any(hides), "{line}");
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["name"], name);
    }
}
