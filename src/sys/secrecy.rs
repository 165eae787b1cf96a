//! Memory with secrets: kept off disks and from other programs, as far as the system allows.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps what this process remembers to itself: no core file has it, and no other program of the
/// user can attach to it or look into it. Memory that it has by now is not swapped out, where the
/// system lets it lock that much, as it does root. What cannot be had is done without.
///
/// Commands that the process runs inherit that they leave no core files, and nothing else of it.
pub fn protect() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // A limit of zero is not heeded where a program takes core files in; the second line is.
    let _ = setrlimit(Resource::Core, none);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = mlockall(MlockAllFlags::CURRENT | MlockAllFlags::ONFAULT);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::dumpable_behavior;

    #[test]
    fn a_process_with_secrets_cannot_be_dumped() {
        protect();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
