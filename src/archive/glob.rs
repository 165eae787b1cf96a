//! Patterns that choose entries by their paths.

/// A pattern that cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub enum BadPattern {
    /// It is empty, or only slashes.
    #[error("a pattern is empty")]
    Empty,
    /// A `[` without its `]`.
    #[error("a `[` is not closed")]
    Unclosed,
    /// A backslash at the end.
    #[error("a backslash escapes nothing")]
    Escape,
}

/// A pattern. `*` and `?` stand for bytes other than `/`, `**` for any bytes, `[…]` for one of a
/// set, `\` takes the next byte as it is. Without a slash inside, the pattern is compared with the
/// last name of a path, otherwise with the whole path from the root. A slash at the end makes it
/// fit directories only.
#[derive(Clone, Debug)]
pub struct Glob {
    tokens: Vec<Token>,
    whole_path: bool,
    directories_only: bool,
}

#[derive(Clone, Debug)]
enum Token {
    Byte(u8),
    One,
    Run {
        slash: bool,
    },
    Set {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn new(pattern: &[u8]) -> Result<Self, BadPattern> {
        let (pattern, directories_only) = match pattern.strip_suffix(b"/") {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        let whole_path = pattern.contains(&b'/');
        let mut rest = pattern.strip_prefix(b"/").unwrap_or(pattern);
        if rest.is_empty() {
            return Err(BadPattern::Empty);
        }
        let mut tokens = Vec::new();
        while let Some((&byte, mut after)) = rest.split_first() {
            tokens.push(match byte {
                b'*' if after.starts_with(b"*") => {
                    after = &after[1..];
                    Token::Run { slash: true }
                }
                b'*' => Token::Run { slash: false },
                b'?' => Token::One,
                b'[' => {
                    let (set, behind) = set(after).ok_or(BadPattern::Unclosed)?;
                    after = behind;
                    set
                }
                b'\\' => {
                    let (&byte, behind) = after.split_first().ok_or(BadPattern::Escape)?;
                    after = behind;
                    Token::Byte(byte)
                }
                byte => Token::Byte(byte),
            });
            rest = after;
        }
        Ok(Self {
            tokens,
            whole_path,
            directories_only,
        })
    }

    /// Whether the pattern fits the entry at `path`.
    pub fn fits(&self, path: &[u8], is_directory: bool) -> bool {
        if self.directories_only && !is_directory {
            return false;
        }
        let text = if self.whole_path {
            path
        } else {
            super::name::split(path).1
        };
        // `reached[i]`: the tokens so far can have eaten `text[..i]`. No pattern is slow.
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for token in &self.tokens {
            let before = std::mem::replace(&mut reached, vec![false; text.len() + 1]);
            if let Token::Run { slash } = token {
                let mut on = false;
                for (i, &was) in before.iter().enumerate() {
                    on = was || (on && (*slash || text[i - 1] != b'/'));
                    reached[i] = on;
                }
            } else {
                for (i, &byte) in text.iter().enumerate() {
                    reached[i + 1] = before[i] && token.is(byte);
                }
            }
        }
        reached[text.len()]
    }
}

impl Token {
    fn is(&self, byte: u8) -> bool {
        match self {
            Self::Byte(b) => *b == byte,
            Self::One => byte != b'/',
            Self::Set { negated, ranges } => {
                byte != b'/'
                    && ranges
                        .iter()
                        .any(|&(low, high)| (low..=high).contains(&byte))
                        != *negated
            }
            Self::Run { .. } => false,
        }
    }
}

/// A set after its `[`, and what follows its `]`. A `]` that comes first belongs to the set.
fn set(text: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, text) = match text.strip_prefix(b"!").or_else(|| text.strip_prefix(b"^")) {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut ranges = Vec::new();
    let mut i = 0;
    loop {
        match *text.get(i)? {
            b']' if i > 0 => break,
            low => {
                let range = text.get(i + 1) == Some(&b'-') && *text.get(i + 2)? != b']';
                let high = if range { text[i + 2] } else { low };
                ranges.push((low, high));
                i += if range { 3 } else { 1 };
            }
        }
    }
    Some((Token::Set { negated, ranges }, &text[i + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Glob::new(pattern.as_bytes())
            .unwrap()
            .fits(path.as_bytes(), false)
    }

    #[test]
    fn patterns_fit_what_they_say() {
        assert!(fits("*.o", "src/deep/a.o"));
        assert!(!fits("*.o", "src/a.o/b"));
        assert!(fits("src/*.o", "src/a.o"));
        assert!(!fits("src/*.o", "src/deep/a.o"));
        assert!(!fits("src/*.o", "old/src/a.o"));
        assert!(fits("src/**.o", "src/deep/a.o"));
        assert!(fits("/a.o", "a.o") && !fits("/a.o", "src/a.o"));
        assert!(fits("**/cache", "a/b/cache"));
        assert!(fits("[a-c]?[!x]", "b1y") && !fits("[a-c]?[!x]", "b1x"));
        assert!(fits("[]]", "]") && fits("[^]]", "x"));
        assert!(fits("\\*", "*") && !fits("\\*", "a"));
        assert!(!fits("a?b", "a/b") && !fits("x/a[/]b", "x/a/b"));
        assert!(fits("*", ".hidden"));
    }

    #[test]
    fn a_slash_at_the_end_wants_a_directory() {
        let glob = Glob::new(b"tmp/").unwrap();
        assert!(glob.fits(b"a/tmp", true) && !glob.fits(b"a/tmp", false));
    }

    #[test]
    fn no_pattern_is_slow() {
        let pattern = "*a".repeat(200);
        assert!(!fits(&pattern, &"a".repeat(199)));
    }

    #[test]
    fn bad_patterns_are_named() {
        let bad = |p: &str| Glob::new(p.as_bytes()).unwrap_err();
        assert_eq!(bad(""), BadPattern::Empty);
        assert_eq!(bad("/"), BadPattern::Empty);
        assert_eq!(bad("a[bc"), BadPattern::Unclosed);
        assert_eq!(bad("a[b-"), BadPattern::Unclosed);
        assert_eq!(bad("a\\"), BadPattern::Escape);
    }
}
