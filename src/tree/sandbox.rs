//! A second wall: threads that hold hostile bytes give up the rest of the system, where Linux has
//! Landlock. The first is that everything is done by single names in open directories.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use rustix::fd::OwnedFd;

/// The latest version of Landlock whose rights are known here.
const KNOWN: ABI = ABI::V6;

/// Leaves this thread, and those that it starts from now on, what is below `dir` and what is open
/// already: no other file can be opened, made or changed by name, no TCP connection made, and no
/// process outside signalled. Where Landlock is missing, or cannot tell files that are linked from
/// one directory to another, everything stays as it is.
pub(super) fn restrict_thread(dir: &OwnedFd) -> Result<RestrictionStatus, RulesetError> {
    let everything = AccessFs::from_all(KNOWN);
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(everything)?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?
        .create()?
        .add_rule(PathBeneath::new(dir, everything))?
        .restrict_self()
}

#[cfg(test)]
mod tests {
    use super::*;
    use landlock::RulesetStatus;
    use std::fs;

    #[test]
    fn what_is_outside_is_out_of_reach() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&inside, &outside] {
            fs::create_dir(dir.path().join("a")).unwrap();
            fs::create_dir(dir.path().join("b")).unwrap();
            fs::write(dir.path().join("a/file"), "text").unwrap();
        }
        let dir = fs::File::open(inside.path()).unwrap().into();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                match restrict_thread(&dir) {
                    Ok(status) if status.ruleset != RulesetStatus::NotEnforced => {}
                    // The system has none.
                    _ => return,
                }
                let link = |dir: &tempfile::TempDir| {
                    fs::hard_link(dir.path().join("a/file"), dir.path().join("b/link"))
                };
                link(&inside).unwrap();
                link(&outside).unwrap_err();
                fs::write(inside.path().join("new"), "text").unwrap();
                fs::write(outside.path().join("new"), "text").unwrap_err();
                fs::read(outside.path().join("a/file")).unwrap_err();
                fs::remove_file(outside.path().join("a/file")).unwrap_err();
            });
        });
        // Others are as free as before.
        fs::write(outside.path().join("new"), "text").unwrap();
    }
}
