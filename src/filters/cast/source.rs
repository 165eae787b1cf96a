//! Where a stream comes from: the thread that reads it, as often as it is sent.

use std::io::{self, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, SyncSender};

use crate::filters::{Control, Error};
use crate::sys::command::ChildGroup;
use crate::sys::stdio::Input;
use crate::sys::wake::Wake;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Starts a command at the head of a process group of its own, and gives what it writes.
pub type Make<'a> = dyn Fn() -> Result<(Input, Child), Error> + Sync + 'a;

/// What makes the stream.
pub enum Feed<'a> {
    /// An open file, device or pipe; and the command at its other end, if we started one, at the
    /// head of a process group of its own: it must end well for the stream to count as complete.
    Input(Input, Option<Child>),
    /// A command that is started anew whenever a session starts, and must end well likewise.
    Command(&'a Make<'a>),
}

/// What the reading thread sends.
pub(super) enum Chunk {
    Data(Vec<u8>),
    End,
    Failed(Error),
}

/// The source as the drivers use it, session after session.
pub(super) enum Tap<'a> {
    /// With `true` it is not read before the session has started: it may change until then.
    Input(Input, Option<ChildGroup>, bool),
    Command(&'a Make<'a>, Wake),
}

impl<'a> Tap<'a> {
    /// A source that is sent once, or again and again.
    pub(super) fn new(feed: Feed<'a>, repeat: bool, control: Control<'_>) -> Result<Self, Error> {
        Ok(match feed {
            Feed::Input(input, producer) => {
                let group = |child| ChildGroup::new(child, control.watch);
                Self::Input(input, producer.map(group).transpose()?, repeat)
            }
            Feed::Command(make) => Self::Command(make, Wake::new()?),
        })
    }

    /// The handle that stops [`Tap::run`] once it reads.
    pub(super) fn stop(&self) -> Wake {
        match self {
            Self::Input(input, ..) => input.stopper(),
            Self::Command(_, stop) => stop.clone(),
        }
    }

    /// Whether it gives the same once more.
    pub(super) fn can_rewind(&self) -> bool {
        matches!(self, Self::Input(input, ..) if input.can_rewind())
    }

    /// Makes ready for another session.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        match self {
            Self::Input(input, ..) => input.rewind().map_err(Error::Input),
            Self::Command(_, stop) => {
                stop.clear();
                Ok(())
            }
        }
    }

    /// Stops the command that writes, if there is one.
    pub(super) fn close(&mut self) {
        if let Self::Input(_, producer, _) = self
            && let Some(group) = producer.take()
        {
            group.stop();
        }
    }

    /// Reads the stream to its end, and tells how it ended. What is sent again and again is read,
    /// and a command for it started, when `may_go` says that the session has begun, and not if it
    /// never does.
    pub(super) fn run(
        &mut self,
        may_go: &Receiver<()>,
        pipes: (&SyncSender<Chunk>, &Receiver<Vec<u8>>),
        control: Control<'_>,
    ) {
        let (chunks, spare) = pipes;
        match self {
            Self::Input(_, _, true) if may_go.recv().is_err() => {}
            Self::Input(input, producer, _) => {
                read(input, producer.take(), chunks, spare, control.wake);
            }
            Self::Command(make, stop) => {
                if may_go.recv().is_err() {
                    return;
                }
                let group = |(input, child)| Ok((input, ChildGroup::new(child, control.watch)?));
                match make().and_then(group) {
                    Ok((input, group)) => {
                        let mut input = Input::stopped_by(input, stop.clone());
                        read(&mut input, Some(group), chunks, spare, control.wake);
                    }
                    Err(error) => {
                        // The driver may have ended before us.
                        let _ = chunks.send(Chunk::Failed(error));
                        control.wake.wake();
                    }
                }
            }
        }
    }
}

/// Reads the source to its end, and says how it ended.
fn read(
    input: &mut Input,
    mut producer: Option<ChildGroup>,
    chunks: &SyncSender<Chunk>,
    spare: &Receiver<Vec<u8>>,
    wake: &Wake,
) {
    let end = loop {
        let mut buf = spare.try_recv().unwrap_or_default();
        buf.resize(READ_BYTES, 0);
        match input.read(&mut buf) {
            Ok(0) => break finish(producer.as_mut(), &input.stopper()),
            Ok(n) => {
                buf.truncate(n);
                if chunks.send(Chunk::Data(buf)).is_err() {
                    break Chunk::End;
                }
                wake.wake();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Chunk::Failed(Error::Input(e)),
        }
    };
    // The driver may have ended before us.
    let _ = chunks.send(end);
    wake.wake();
    // It has ended already, or its output is not wanted any more.
    if let Some(group) = producer {
        group.stop();
    }
}

/// The input has ended: so must its producer, unless nobody waits for that any more.
fn finish(producer: Option<&mut ChildGroup>, cancel: &Wake) -> Chunk {
    match producer.and_then(|group| group.wait(None, Some(cancel))) {
        None => Chunk::End,
        Some(Ok(status)) if status.success() => Chunk::End,
        Some(Ok(status)) => Chunk::Failed(Error::Producer(status.to_string())),
        Some(Err(e)) => Chunk::Failed(Error::Producer(e.to_string())),
    }
}
