//! A second wall: threads that hold hostile bytes give up what they do not need of the system. The
//! first is that everything is done by single names in open directories.

use std::fmt;
use std::io;
use std::thread::Builder;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::fd::BorrowedFd;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// The latest version of Landlock whose rights are known here.
const KNOWN: ABI = ABI::V6;

/// What holds a thread back, or why it does not.
#[derive(Debug)]
pub struct Sandbox {
    landlock: Result<(), String>,
    seccomp: Result<(), String>,
}

impl Sandbox {
    /// Leaves this thread, and those that it starts from now on, what is open already and what is
    /// below `dir`, if there is one: no other file can be opened, made or changed by name, no
    /// program run, no connection made, and no process outside signalled or looked into.
    ///
    /// What the system has no means for stays as it is, and [`Sandbox`] tells what that is.
    /// Landlock counts as missing if it cannot tell files that are linked from one directory to
    /// another.
    pub fn enter(dir: Option<BorrowedFd<'_>>) -> Self {
        Self {
            landlock: landlock(dir),
            seccomp: seccomp(dir.is_some()),
        }
    }
}

/// Does `work` on a thread of its own, called `name`, which has given up what is not below `dir`,
/// and waits for it.
///
/// # Errors
/// That no thread can be started.
pub fn within<T: Send>(
    name: &str,
    dir: Option<BorrowedFd<'_>>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = Builder::new().name(name.into()).spawn_scoped(scope, || {
            // Whether the system can do that or not, nothing else depends on it.
            Sandbox::enter(dir);
            work()
        })?;
        let done = thread.join();
        Ok(done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

impl fmt::Display for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.landlock, &self.seccomp) {
            (Ok(()), Ok(())) => f.write_str("Landlock and seccomp"),
            (Ok(()), Err(why)) => write!(f, "Landlock, but not seccomp: {why}"),
            (Err(why), Ok(())) => write!(f, "seccomp, but not Landlock: {why}"),
            (Err(first), Err(second)) => {
                write!(f, "nothing; no Landlock: {first}; no seccomp: {second}")
            }
        }
    }
}

fn landlock(dir: Option<BorrowedFd<'_>>) -> Result<(), String> {
    let everything = AccessFs::from_all(KNOWN);
    let restrict = || -> Result<_, RulesetError> {
        let mut ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer)?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?
            .handle_access(AccessNet::from_all(KNOWN))?
            .scope(Scope::from_all(KNOWN))?
            .create()?;
        if let Some(dir) = dir {
            ruleset = ruleset.add_rule(PathBeneath::new(dir, everything))?;
        }
        ruleset.restrict_self()
    };
    match restrict() {
        Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
            Err("this system does not have it".into())
        }
        Ok(_) => Ok(()),
        Err(RulesetError::HandleAccesses(_)) => {
            Err("this system does not have it, or not in version 2".into())
        }
        Err(e) => Err(e.to_string()),
    }
}

/// Filters system calls; those that need names of files only where none may be used.
fn seccomp(names: bool) -> Result<(), String> {
    let refused = OUTSIDE.iter().chain(if names { &[][..] } else { BY_NAME });
    let rules = refused.map(|&call| (call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into();
    let arch = arch.map_err(|_| "it is not known for this machine".to_owned())?;
    let refuse = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch);
    let program = filter.and_then(BpfProgram::try_from);
    let program = program.map_err(|e| e.to_string())?;
    seccompiler::apply_filter(&program).map_err(|e| e.to_string())
}

/// Calls that reach other processes, other machines, or the system as a whole. Sending is not among
/// them: any thread may have to handle a signal, which wakes another by a socket that is open.
const OUTSIDE: &[i64] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_connect,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_kill,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Calls that take the name of a file.
const BY_NAME: &[i64] = &[
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_linkat,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_removexattr,
    libc::SYS_renameat2,
    libc::SYS_setxattr,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
];

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;
    use std::fs;
    use std::process::Command;

    #[test]
    fn what_is_outside_is_out_of_reach() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&inside, &outside] {
            fs::create_dir(dir.path().join("a")).unwrap();
            fs::create_dir(dir.path().join("b")).unwrap();
            fs::write(dir.path().join("a/file"), "text").unwrap();
        }
        let dir = fs::File::open(inside.path()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if Sandbox::enter(Some(dir.as_fd())).landlock.is_err() {
                    // The system has none.
                    return;
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

    #[test]
    fn nothing_can_be_named_or_run_without_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "text").unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let sandbox = Sandbox::enter(None);
                // So do handlers of signals, in whichever thread they run.
                rustix::net::send(&ours, b"x", rustix::net::SendFlags::empty()).unwrap();
                if sandbox.landlock.is_err() && sandbox.seccomp.is_err() {
                    return;
                }
                // Those that it starts as well.
                std::thread::scope(|inner| {
                    inner.spawn(|| {
                        fs::read(&path).unwrap_err();
                        fs::remove_file(&path).unwrap_err();
                        Command::new("/bin/true").status().unwrap_err();
                    });
                });
            });
        });
        assert_eq!(fs::read(path).unwrap(), b"text");
        let mut woken = [0];
        let flags = rustix::net::RecvFlags::empty();
        let (len, _) = rustix::net::recv(&theirs, &mut woken, flags).unwrap();
        assert_eq!((len, woken), (1, *b"x"));
    }
}
