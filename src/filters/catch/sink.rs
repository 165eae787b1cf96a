//! Where a received stream goes: a file, a pipe or a command that we run; and how that ends.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver as Channel, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

use crate::filters::Error;
use crate::proto::Delivery;
use crate::sys;
use crate::sys::command::ChildGroup;
use crate::sys::signals::SignalWatch;
use crate::sys::stdio::Output;
use crate::sys::wake::Wake;
use crate::wire::LeaveReason;

/// Blocks that may wait for the consumer.
const WRITES_MAX: usize = 4;

/// What consumes the stream.
#[derive(Debug)]
pub enum Sink {
    /// Whoever reads standard output, or a file.
    Output(Output),
    /// A command that reads the stream from its standard input, which is a pipe of ours. It leads a
    /// process group of its own, so that all of it can be stopped.
    Command(Child),
}

/// How a consumer ended that did not take everything well: the error, and what the sender is told.
pub(super) type Trouble = (Error, LeaveReason);

/// A consumer with the thread that writes to it, so that a slow one never keeps the socket waiting.
pub(super) struct Outlet {
    /// Closed when there is nothing more to write.
    blocks: Option<SyncSender<Delivery>>,
    written: Channel<io::Result<Vec<u8>>>,
    waiting: usize,
    stage: Stage,
    wake: Wake,
}

enum Stage {
    Output(Output),
    /// The output is being put in its place, which may take its time with a slow disk.
    Committing(Channel<Result<(), sys::Error>>),
    Command {
        group: ChildGroup,
        stopped: bool,
    },
    Ended,
}

impl Outlet {
    pub(super) fn new(sink: Sink, wake: Wake, watch: &SignalWatch) -> Result<Self, Error> {
        let system = Error::system;
        let (file, stage) = match sink {
            Sink::Output(output) => (output.writer()?, Stage::Output(output)),
            Sink::Command(mut child) => {
                let Some(stdin) = child.stdin.take() else {
                    let missing = io::ErrorKind::InvalidInput.into();
                    return Err(system("the command's input is no pipe")(missing));
                };
                let stage = Stage::Command {
                    group: ChildGroup::new(child, watch)?,
                    stopped: false,
                };
                (File::from(OwnedFd::from(stdin)), stage)
            }
        };
        let (blocks, deliveries) = sync_channel(WRITES_MAX);
        let (done, written) = channel();
        let bell = wake.clone();
        // It may be stuck in a write to a consumer that does not read when we give up, and must not
        // keep us: it ends with the process.
        thread::Builder::new()
            .name("sc-write".into())
            .spawn(move || {
                write(file, &deliveries, |result| {
                    // The driver is gone when nobody listens.
                    let _ = done.send(result);
                    bell.wake();
                });
            })
            .map_err(system("cannot start a thread"))?;
        Ok(Self {
            blocks: Some(blocks),
            written,
            waiting: 0,
            stage,
            wake,
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.waiting < WRITES_MAX
    }

    pub(super) fn write(&mut self, delivery: Delivery) {
        if let Some(blocks) = &self.blocks
            && blocks.try_send(delivery).is_ok()
        {
            self.waiting += 1;
        }
    }

    /// The next buffer that was written, or why it was not.
    pub(super) fn written(&mut self) -> Option<io::Result<Vec<u8>>> {
        let result = self.written.try_recv().ok()?;
        self.waiting -= 1;
        Some(result)
    }

    /// Whether everything that was handed over is written.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// The stream is complete and written: the consumer sees its end, and is to do what is left.
    pub(super) fn finish(&mut self) -> Result<(), Trouble> {
        // The writer has nothing left to do; it ends, and closes the command's input.
        self.blocks = None;
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Output(output) => {
                let bell = self.wake.clone();
                let (done, committed) = channel();
                let commit = move || {
                    // The driver waits for it.
                    let _ = done.send(output.commit());
                    bell.wake();
                };
                let thread = thread::Builder::new().name("sc-commit".into());
                thread
                    .spawn(commit)
                    .map_err(|e| local("cannot start a thread", e))?;
                self.stage = Stage::Committing(committed);
            }
            other => self.stage = other,
        }
        Ok(())
    }

    /// How the consumer ended, once: well, or with this trouble. Nothing while it works.
    pub(super) fn ended(&mut self) -> Option<Result<(), Trouble>> {
        let result = match &mut self.stage {
            Stage::Output(_) | Stage::Ended => return None,
            Stage::Committing(committed) => match committed.try_recv() {
                Err(TryRecvError::Empty) => return None,
                Ok(result) => result.map_err(|e| (e.into(), LeaveReason::Local)),
                Err(TryRecvError::Disconnected) => Err(local(
                    "the output's last step failed",
                    io::ErrorKind::Other.into(),
                )),
            },
            Stage::Command { group, .. } => match group.ended()? {
                Ok(status) => judge(status),
                Err(e) => Err(local("cannot wait for the command", e)),
            },
        };
        self.stage = Stage::Ended;
        Some(result)
    }

    /// Whether something is still at work that must not be left alone.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self.stage, Stage::Committing(_) | Stage::Command { .. })
    }

    pub(super) fn is_command(&self) -> bool {
        matches!(self.stage, Stage::Command { .. })
    }

    /// Stops a command before it can take the end of its input for the end of the stream.
    pub(super) fn stop(&mut self) {
        if let Stage::Command { stopped, .. } = &mut self.stage
            && !std::mem::replace(stopped, true)
        {
            self.signal(Signal::TERM);
        }
    }

    /// Ends a command that did not heed [`Outlet::stop`].
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Stage::Command { group, .. } = &self.stage {
            group.signal(signal);
        }
    }

    /// What shows that the consumer has gone or ended.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        match &self.stage {
            // Nothing is asked of it: a reader that went away shows itself unasked.
            Stage::Output(output) => Some(PollFd::new(output, PollFlags::empty())),
            Stage::Command { group, .. } => Some(PollFd::new(group, PollFlags::IN)),
            Stage::Committing(_) | Stage::Ended => None,
        }
    }
}

/// Writes blocks until there are no more or one cannot be written.
fn write(
    mut file: File,
    deliveries: &Channel<Delivery>,
    mut tell: impl FnMut(io::Result<Vec<u8>>),
) {
    for delivery in deliveries {
        let result = file.write_all(&delivery.buf[..delivery.len]);
        let failed = result.is_err();
        tell(result.map(|()| delivery.buf));
        if failed {
            return;
        }
    }
}

fn local(what: &'static str, source: io::Error) -> Trouble {
    (Error::system(what)(source), LeaveReason::Local)
}

fn judge(status: ExitStatus) -> Result<(), Trouble> {
    if status.success() {
        return Ok(());
    }
    let small = |n: i32| u8::try_from(n).unwrap_or(u8::MAX);
    let reason = match (status.code(), status.signal()) {
        (Some(code), _) => LeaveReason::Status(small(code)),
        (None, Some(signal)) => LeaveReason::Signal(small(signal)),
        (None, None) => LeaveReason::Consumer,
    };
    Err((Error::Consumer(status.to_string()), reason))
}
