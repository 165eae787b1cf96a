//! Names in an archive: which are safe, and how to show them.

use std::fmt;

/// The longest single name.
pub const COMPONENT_BYTES_MAX: usize = 255;

/// The longest path.
pub const PATH_BYTES_MAX: usize = 16_384;

/// The most names in a path.
pub const DEPTH_MAX: usize = 2048;

/// What makes a name unfit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum Flaw {
    /// It is empty.
    Empty,
    /// It begins with a slash.
    Absolute,
    /// One of its parts is `..`.
    DotDot,
    /// One of its parts is `.` or empty.
    Hollow,
    /// It contains a zero byte.
    Nul,
    /// It, or one of its parts, is too long.
    Long,
    /// A file's name ends in a slash.
    Slash,
    /// It names the root of the tree, which only a directory can be.
    Root,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Absolute => "it is absolute",
            Self::DotDot => "it contains `..`",
            Self::Hollow => "it contains an empty part or a `.`",
            Self::Nul => "it contains a zero byte",
            Self::Long => "it is too long",
            Self::Slash => "it ends in a slash but is no directory",
            Self::Root => "only a directory can stand there",
        })
    }
}

/// A name that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The path without a leading `./` and without trailing slash; empty for the root.
    pub path: Vec<u8>,
    /// Whether it ended in a slash, as only a directory's may.
    pub slash: bool,
}

/// Checks a name as it stands in an archive. What passes stays below the root by its words alone.
///
/// # Errors
/// The first [`Flaw`].
pub fn check(raw: &[u8]) -> Result<Checked, Flaw> {
    if raw.is_empty() {
        return Err(Flaw::Empty);
    }
    if raw.contains(&0) {
        return Err(Flaw::Nul);
    }
    if raw[0] == b'/' {
        return Err(Flaw::Absolute);
    }
    if raw.len() > PATH_BYTES_MAX {
        return Err(Flaw::Long);
    }
    let mut rest = raw;
    while let Some(shorter) = rest.strip_prefix(b"./") {
        rest = shorter;
    }
    if rest.is_empty() || rest == b"." {
        return Ok(Checked {
            path: Vec::new(),
            slash: true,
        });
    }
    let (path, slash) = match rest.strip_suffix(b"/") {
        Some(path) => (path, true),
        None => (rest, false),
    };
    for (depth, part) in path.split(|&b| b == b'/').enumerate() {
        match part {
            _ if depth == DEPTH_MAX => return Err(Flaw::Long),
            b".." => return Err(Flaw::DotDot),
            b"" | b"." => return Err(Flaw::Hollow),
            _ if part.len() > COMPONENT_BYTES_MAX => return Err(Flaw::Long),
            _ => {}
        }
    }
    Ok(Checked {
        path: path.to_vec(),
        slash,
    })
}

/// The directory that holds `path`, and the last name. The root's own parent is the root.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(i) => (&path[..i], &path[i + 1..]),
        None => (&[], path),
    }
}

/// Joins a directory and a name.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return name.to_vec();
    }
    [dir, name].join(&b'/')
}

/// Shows a name to people: text as it is, everything that could act on a terminal escaped.
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(".");
        }
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c) {
                    write!(f, "{}", c.escape_default())?;
                } else {
                    write!(f, "{c}")?;
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_judged() {
        let ok = |raw: &[u8], path: &[u8], slash| {
            let path = path.to_vec();
            assert_eq!(check(raw), Ok(Checked { path, slash }), "{}", Shown(raw));
        };
        ok(b"./", b"", true);
        ok(b".", b"", true);
        ok(b"././a", b"a", false);
        ok(b"a/b/", b"a/b", true);
        ok(b"...", b"...", false);
        ok(b"..a/.b", b"..a/.b", false);
        ok(b"\xff\n", b"\xff\n", false);
        let bad = |raw: &[u8], flaw| assert_eq!(check(raw), Err(flaw), "{}", Shown(raw));
        bad(b"", Flaw::Empty);
        bad(b"/", Flaw::Absolute);
        bad(b"/etc/passwd", Flaw::Absolute);
        bad(b"..", Flaw::DotDot);
        bad(b"a/../b", Flaw::DotDot);
        bad(b"./../b", Flaw::DotDot);
        bad(b"a/..", Flaw::DotDot);
        bad(b"a/../", Flaw::DotDot);
        bad(b"a//b", Flaw::Hollow);
        bad(b"a/./b", Flaw::Hollow);
        bad(b"a/.", Flaw::Hollow);
        bad(b".//a", Flaw::Hollow);
        bad(b"a//", Flaw::Hollow);
        bad(b"a\0b", Flaw::Nul);
        bad(&[b'n'; 256], Flaw::Long);
    }

    #[test]
    fn nothing_shown_can_act_on_a_terminal() {
        assert_eq!(
            Shown(b"a\x1b[2J\n\xff\\\xc3\xa4").to_string(),
            "a\\u{1b}[2J\\n\\xff\\\\ä"
        );
    }

    proptest! {
        #[test]
        fn what_passes_stays_below(raw in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), Just(b'a'), any::<u8>()], 0..40)) {
            if let Ok(name) = check(&raw) {
                let path = std::path::Path::new(std::str::from_utf8(&name.path).unwrap_or("x"));
                let normal = |c| matches!(c, std::path::Component::Normal(_));
                prop_assert!(path.components().all(normal));
                prop_assert!(!name.path.contains(&0));
                if !name.path.is_empty() {
                    // Checking is idempotent: the clean form is clean.
                    prop_assert_eq!(check(&name.path).unwrap().path, name.path);
                }
            }
        }
    }
}
