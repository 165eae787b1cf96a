//! Where a received stream goes: the interface, and what the program uses.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

use crate::filters::Error;
use crate::sys::command::ChildGroup;
use crate::sys::signals::SignalWatch;
use crate::sys::stdio::Output;
use crate::sys::stoppable::StoppableWriter;
use crate::sys::wake::Wake;
use crate::wire::LeaveReason;

/// Takes a received stream, block by block, on a thread of its own. It is dropped without
/// [`BlockSink::finish`] when the stream is not complete: what was written then must not pass for
/// the whole.
pub trait BlockSink: Send {
    /// Writes all of a block, whose bytes are authenticated as far as the session has keys.
    ///
    /// # Errors
    /// What the system says: the session then ends.
    fn write(&mut self, block: &[u8]) -> io::Result<()>;

    /// The stream is complete and written: does what is left, say a rename.
    ///
    /// # Errors
    /// Any [`Error`]: the sender then counts this receiver as failed.
    fn finish(self: Box<Self>) -> Result<(), Error>;

    /// A handle that ends a blocked [`BlockSink::write`] with an error. Without one, a session that
    /// ends waits for the write.
    fn stopper(&self) -> Option<Wake> {
        None
    }

    /// What reads the stream behind this sink, if the driver is to watch it. Asked for once, before
    /// the first block.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    fn consumer(&mut self) -> Result<Option<Box<dyn Consumer>>, Error> {
        Ok(None)
    }
}

/// A process that reads the stream, as the driver watches it while another thread writes.
pub trait Consumer {
    /// Shows that it has gone or ended.
    fn poll_fd(&self) -> PollFd<'_>;

    /// A command of ours, whose end is waited for; otherwise some process behind a pipe.
    fn command(&mut self) -> Option<&mut ChildGroup> {
        None
    }
}

/// Any writer. It is flushed at the end of a complete stream.
#[derive(Debug)]
pub struct WriteSink<W>(pub W);

impl<W: Write + Send> BlockSink for WriteSink<W> {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.0.write_all(block)
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        self.0.flush().map_err(Error::Output)
    }
}

/// A file, which takes its name at the end of a complete stream; or standard output.
#[derive(Debug)]
pub struct OutputSink {
    output: Output,
    writer: StoppableWriter,
}

impl OutputSink {
    /// Writes to `output`.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn new(output: Output) -> Result<Self, Error> {
        let writer = StoppableWriter::new(output.writer()?)?;
        Ok(Self { output, writer })
    }
}

impl BlockSink for OutputSink {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        let written = self.writer.write_all(block);
        written.map_err(|e| self.output.named_error(e))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        Ok(self.output.commit()?)
    }

    fn stopper(&self) -> Option<Wake> {
        Some(self.writer.stopper())
    }

    fn consumer(&mut self) -> Result<Option<Box<dyn Consumer>>, Error> {
        Ok(Some(Box::new(PipeReader(self.output.writer()?))))
    }
}

/// Whatever reads what we write.
struct PipeReader(File);

impl Consumer for PipeReader {
    fn poll_fd(&self) -> PollFd<'_> {
        // Nothing is asked of it: a reader that went away shows itself unasked.
        PollFd::new(&self.0, PollFlags::empty())
    }
}

/// A command that reads the stream from its standard input. When the session returns, it has ended.
pub struct CommandSink {
    writer: StoppableWriter,
    command: Option<ChildGroup>,
}

impl CommandSink {
    /// Writes to the standard input of `command`, which is a pipe of ours. The command leads a
    /// process group of its own, so that all of it can be stopped; with `watch` also before a
    /// second signal ends this process.
    ///
    /// # Errors
    /// [`Error::System`] when its input is no pipe or it cannot be watched.
    pub fn new(mut command: Child, watch: Option<&SignalWatch>) -> Result<Self, Error> {
        let Some(stdin) = command.stdin.take() else {
            let missing = io::ErrorKind::InvalidInput.into();
            return Err(Error::system("the command's input is no pipe")(missing));
        };
        let command = ChildGroup::new(command, watch)?;
        let writer = StoppableWriter::new(File::from(OwnedFd::from(stdin)))?;
        Ok(Self {
            writer,
            command: Some(command),
        })
    }
}

impl BlockSink for CommandSink {
    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        self.writer.write_all(block)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        // The command sees the end of its input.
        Ok(())
    }

    fn stopper(&self) -> Option<Wake> {
        Some(self.writer.stopper())
    }

    fn consumer(&mut self) -> Result<Option<Box<dyn Consumer>>, Error> {
        let command = self.command.take();
        Ok(command.map(|command| Box::new(Command(command)) as Box<dyn Consumer>))
    }
}

impl Drop for CommandSink {
    fn drop(&mut self) {
        // The session never began.
        if let Some(command) = self.command.take() {
            command.signal(Signal::TERM);
        }
    }
}

struct Command(ChildGroup);

impl Consumer for Command {
    fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.0, PollFlags::IN)
    }

    fn command(&mut self) -> Option<&mut ChildGroup> {
        Some(&mut self.0)
    }
}

/// Why a consumer did not take everything well: the error, and what the sender is told.
pub(super) type ConsumerFailure = (Error, LeaveReason);

/// How a command ended: well, or with this failure.
pub(super) fn outcome(ended: io::Result<ExitStatus>) -> Result<(), ConsumerFailure> {
    let status = ended.map_err(|e| {
        let error = Error::system("cannot wait for the command")(e);
        (error, LeaveReason::Local)
    })?;
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
