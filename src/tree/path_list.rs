//! Paths of a list, in the order in which a walk would come by.

use std::path::{Path, PathBuf};

use super::Error;

/// A path and the name that it has in the archive; the root of the tree has an empty one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListedPath<'a> {
    pub(super) name: Vec<u8>,
    pub(super) path: &'a Path,
}

/// Sorts paths by their names and takes each once; `name_of` says what their names are.
///
/// # Errors
/// Those of `name_of`, and [`Error::Argument`] when two paths have one name, but not one place.
pub(super) fn sorted<'a>(
    paths: impl Iterator<Item = &'a PathBuf>,
    name_of: impl Fn(&Path) -> Result<Vec<u8>, Error>,
) -> Result<Vec<ListedPath<'a>>, Error> {
    let listed = paths.map(|path| {
        let name = name_of(path)?;
        Ok(ListedPath { name, path })
    });
    let mut all = listed.collect::<Result<Vec<_>, Error>>()?;
    // What is in a directory comes right after it, as in a walk.
    all.sort_by(|a, b| parts(&a.name).cmp(parts(&b.name)));
    let strangers = |a: &Path, b: &Path| a.is_absolute() != b.is_absolute();
    let clash = all
        .windows(2)
        .find(|pair| is_in(&pair[1].name, &pair[0].name) && strangers(pair[0].path, pair[1].path));
    if let Some(pair) = clash {
        return Err(Error::Argument {
            path: pair[1].path.into(),
            what: "another path has the same name in the archive, or contains it",
        });
    }
    all.dedup_by(|later, first| later.name == first.name);
    Ok(all)
}

/// The names in a path; the root has none.
fn parts(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|&b| b == b'/').filter(|part| !part.is_empty())
}

/// Whether `name` is `dir` or below it.
pub(super) fn is_in(name: &[u8], dir: &[u8]) -> bool {
    let rest = name.strip_prefix(dir);
    dir.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn names(paths: &[&str]) -> Result<Vec<String>, Error> {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        let name_of = |path: &Path| {
            let raw = path.as_os_str().as_bytes();
            Ok(raw.strip_prefix(b"/").unwrap_or(raw).to_vec())
        };
        let all = sorted(paths.iter(), name_of)?;
        let text = |listed: &ListedPath<'_>| String::from_utf8(listed.name.clone()).unwrap();
        Ok(all.iter().map(text).collect())
    }

    #[test]
    fn lists_become_walks() {
        let list = ["b", "a.x", "a/y", "a", "b", "", "a/x/z"];
        let sorted = ["", "a", "a/x/z", "a/y", "a.x", "b"];
        assert_eq!(names(&list).unwrap(), sorted);
        assert!(names(&["a", "/b", "/b/c"]).is_ok());
        assert!(names(&["a", "/a"]).is_err() && names(&["/a", "a/b"]).is_err());
        assert!(is_in(b"a/b", b"a") && is_in(b"a", b"") && !is_in(b"ab", b"a"));
    }
}
