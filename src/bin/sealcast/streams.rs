//! Standard streams that were closed when the process began.
//!
//! The runtime opens `/dev/null` in their place before `main`, and what is written there is lost
//! with success. So they are looked at before that.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use sealcast::sys::stdio;
use sealcast::units::Duration;

use crate::cli::Command;
use crate::exit::{ExitStatus, Failure};

const STDIN: u8 = 1;
const STDOUT: u8 = 2;

/// A stream that nobody wants is waited for no longer, and only in a pipe that is open.
const UNREAD_WAIT: Duration = Duration::from_ms(500);

static CLOSED: AtomicU8 = AtomicU8::new(0);

#[ctor::ctor(unsafe)]
fn look() {
    for (stream, bit) in [(stdin(), STDIN), (stdout(), STDOUT)] {
        if rustix::io::fcntl_getfd(stream) == Err(Errno::BADF) {
            CLOSED.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

/// Refuses a command that reads or writes data where nothing is open.
pub(crate) fn check(command: &Command) -> Result<(), Failure> {
    let closed = CLOSED.load(Ordering::Relaxed);
    let (reads, writes) = uses(command);
    let refuse = |name| Failure::new(ExitStatus::Local, format!("{name} is closed"));
    if reads && closed & STDIN != 0 {
        return Err(refuse("standard input"));
    }
    if writes && closed & STDOUT != 0 {
        return Err(refuse("standard output"));
    }
    match command {
        Command::Pack(_) if !reads => refuse_unread(UNREAD_WAIT),
        _ => Ok(()),
    }
}

/// At the end of a command: whether a stream came meanwhile that it does not read.
pub(crate) fn check_again(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Pack(_) if !uses(command).0 => refuse_unread(Duration::ZERO),
        _ => Ok(()),
    }
}

/// Refuses a stream of ours that comes in where none is read: filters that changed places would
/// send in clear what was to be sealed. The filter before us writes as soon as it starts.
fn refuse_unread(wait: Duration) -> Result<(), Failure> {
    let head = stdio::peek_stdin(wait).unwrap_or_default();
    let sealed = head.starts_with(b"age-encryption.org/") || head.starts_with(b"-----BEGIN AGE");
    let archive = head.starts_with(b"\x28\xb5\x2f\xfd") || head.get(1..4) == Some(b"\x2a\x4d\x18");
    let what = match (sealed, archive) {
        (true, _) => "a sealed stream",
        (_, true) => "an archive",
        (false, false) => return Ok(()),
    };
    let message = format!("standard input is {what}, and pack reads none");
    Err(Failure::new(ExitStatus::Usage, message)
        .hint("pack comes first: `sealcast pack ... | sealcast seal ... | sealcast cast`"))
}

/// Whether a command reads data from standard input, and writes some to standard output.
fn uses(command: &Command) -> (bool, bool) {
    match command {
        Command::Pack(args) => {
            let mut lists = args.files_from.iter().chain(&args.exclude_from);
            let reads = lists.any(|path| path == Path::new("-"));
            (reads, args.output.is_none())
        }
        Command::Seal(args) => (true, args.output.is_none()),
        Command::Cast(args) => (args.command.is_empty(), false),
        Command::Catch(args) => (false, args.output.is_none() && args.command.is_empty()),
        Command::Open(args) => (true, args.output.is_none()),
        Command::Unpack(_) => (true, false),
        Command::Keygen(_) => (false, true),
        Command::Selftest(_) => (false, false),
    }
}
