//! Which extended attributes go into an archive, and which are taken out of it.

use super::Glob;

/// Attributes by which a file system shows what is its own: no other knows them, and some take part
/// in how it stores a file.
const FOREIGN: [&[u8]; 16] = [
    b"afs.",
    b"btrfs.",
    b"ceph.",
    b"cifs.",
    b"lustre.",
    b"system.cifs_",
    b"system.nfs4",
    b"system.ntfs_",
    b"system.smb3_",
    b"trusted.gfid",
    b"trusted.glusterfs.",
    b"trusted.lma",
    b"trusted.lmv",
    b"trusted.lov",
    b"trusted.overlay.",
    b"user.overlay.",
];

/// A choice of attributes by their names.
#[derive(Clone, Debug, Default)]
pub struct XattrChoice(Chosen, Vec<Glob>);

/// What is chosen, unless a pattern says that it is not.
#[derive(Clone, Debug, Default)]
enum Chosen {
    #[default]
    Portable,
    All,
    Fitting(Vec<Glob>),
}

impl XattrChoice {
    /// Those that a pattern of `include` fits and none of `exclude`. Without patterns to include,
    /// all but those of the file system itself.
    pub fn new(include: Vec<Glob>, exclude: Vec<Glob>) -> Self {
        let chosen = match include.is_empty() {
            true => Chosen::Portable,
            false => Chosen::Fitting(include),
        };
        Self(chosen, exclude)
    }

    /// All of them.
    pub const fn all() -> Self {
        Self(Chosen::All, Vec::new())
    }

    /// None at all.
    pub const fn none() -> Self {
        Self(Chosen::Fitting(Vec::new()), Vec::new())
    }

    /// Whether an attribute is chosen.
    pub fn has(&self, name: &[u8]) -> bool {
        let fits = |globs: &[Glob]| globs.iter().any(|glob| glob.fits(name, false));
        let chosen = match &self.0 {
            Chosen::Portable => !FOREIGN.iter().any(|start| name.starts_with(start)),
            Chosen::All => true,
            Chosen::Fitting(globs) => fits(globs),
        };
        chosen && !fits(&self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_chosen_is_asked_for() {
        let globs = |all: &[&str]| -> Vec<Glob> {
            let globs = all.iter().map(|glob| Glob::new(glob.as_bytes()).unwrap());
            globs.collect()
        };
        let has = |include: &[&str], exclude: &[&str], name: &[u8]| {
            XattrChoice::new(globs(include), globs(exclude)).has(name)
        };
        assert!(has(&[], &[], b"user.a") && has(&[], &[], b"security.capability"));
        for name in [
            &b"btrfs.compression"[..],
            b"system.nfs4_acl",
            b"lustre.lov",
            b"trusted.lov",
            b"ceph.dir.layout",
            b"system.ntfs_attrib",
        ] {
            assert!(!has(&[], &[], name) && has(&["*"], &[], name));
        }
        assert!(has(&["user.*"], &[], b"user.a") && !has(&["user.*"], &[], b"trusted.a"));
        assert!(!has(&[], &["user.*"], b"user.a") && has(&[], &["user.*"], b"trusted.a"));
        assert!(!has(&["user.*"], &["user.a"], b"user.a"));
        assert!(!XattrChoice::none().has(b"user.a") && XattrChoice::all().has(b"btrfs.x"));
    }
}
