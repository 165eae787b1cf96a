//! Standard streams that were closed when the process began.
//!
//! The runtime opens `/dev/null` in their place before `main`, and what is written there is lost
//! with success. So they are looked at before that.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};

use crate::cli::Command;
use crate::exit::{ExitStatus, Failure};

const STDIN: u8 = 1;
const STDOUT: u8 = 2;

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
    Ok(())
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
