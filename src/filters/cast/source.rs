//! Where a stream comes from: the interface, what the program uses, and the thread that reads.

use std::io::{self, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, SyncSender};

use crate::filters::Error;
use crate::sys::command::ChildGroup;
use crate::sys::signals::SignalWatch;
use crate::sys::stdio::Input;
use crate::sys::wake::Wake;

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// A stream to be sent, once or several times. One thread of its own reads it, in each session from
/// the first byte to the last.
pub trait BlockSource: Send {
    /// Reads at least one byte into `buf`, whose length is 256 KiB; zero at the end of a stream
    /// that is complete.
    ///
    /// # Errors
    /// Any [`Error`]: the receivers then count the stream as broken off.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error>;

    /// A handle that ends a blocked [`BlockSource::read`] with an error. Without one, a session
    /// that is broken off waits for the read.
    fn stopper(&self) -> Option<Wake> {
        None
    }

    /// Whether the first byte must not be read before the session has started.
    fn waits_for_start(&self) -> bool {
        false
    }

    /// Whether [`BlockSource::rewind`] makes it give the same bytes once more.
    fn can_rewind(&self) -> bool {
        false
    }

    /// Makes it ready for another session.
    ///
    /// # Errors
    /// [`Error::Input`] when it cannot be read again.
    fn rewind(&mut self) -> Result<(), Error> {
        Err(Error::Input(io::ErrorKind::NotSeekable.into()))
    }

    /// Ends whatever still produces: the session is over. Called at the end of each.
    fn close(&mut self) {}
}

/// Any reader, sent once.
#[derive(Debug)]
pub struct ReadSource<R>(pub R);

impl<R: Read + Send> BlockSource for ReadSource<R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        read_some(&mut self.0, buf)
    }
}

/// An open file, device or pipe; and perhaps the command at its other end, which must end well for
/// the stream to count as complete.
pub struct InputSource {
    input: Input,
    producer: Option<ChildGroup>,
}

impl InputSource {
    /// What `input` gives.
    pub const fn new(input: Input) -> Self {
        Self {
            input,
            producer: None,
        }
    }

    /// What a command writes to the pipe `input`. The command leads a process group of its own, all
    /// of which is stopped when it is not wanted any more; with `watch` also before a second signal
    /// ends this process.
    ///
    /// # Errors
    /// [`Error::System`] when the command cannot be watched; it is killed then.
    pub fn of_command(
        input: Input,
        command: Child,
        watch: Option<&SignalWatch>,
    ) -> Result<Self, Error> {
        Ok(Self {
            input,
            producer: Some(ChildGroup::new(command, watch)?),
        })
    }
}

impl BlockSource for InputSource {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        match read_some(&mut self.input, buf)? {
            0 => self.end(),
            n => Ok(n),
        }
    }

    fn stopper(&self) -> Option<Wake> {
        Some(self.input.stopper())
    }

    fn can_rewind(&self) -> bool {
        self.input.can_rewind()
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.input.rewind().map_err(Error::Input)
    }

    fn close(&mut self) {
        // It has ended already, or its output is not wanted any more.
        if let Some(producer) = self.producer.take() {
            producer.stop();
        }
    }
}

impl InputSource {
    /// The input has ended: so must its producer, unless the session is over.
    fn end(&mut self) -> Result<usize, Error> {
        let stop = self.input.stopper();
        let producer = self.producer.as_mut();
        match producer.and_then(|command| command.wait(None, Some(&stop))) {
            None => Ok(0),
            Some(Ok(status)) if status.success() => Ok(0),
            Some(Ok(status)) => Err(Error::Producer(status.to_string())),
            Some(Err(e)) => Err(Error::Producer(e.to_string())),
        }
    }
}

/// What a command writes that is started anew whenever a session starts.
pub struct CommandSource<'a> {
    start: Box<dyn Fn() -> Result<InputSource, Error> + Send + 'a>,
    stop: Wake,
    running: Option<InputSource>,
}

impl<'a> CommandSource<'a> {
    /// What the command that `start` starts writes.
    ///
    /// # Errors
    /// [`Error::System`] when the process has no descriptor left.
    pub fn new(start: impl Fn() -> Result<InputSource, Error> + Send + 'a) -> Result<Self, Error> {
        Ok(Self {
            start: Box::new(start),
            stop: Wake::new()?,
            running: None,
        })
    }
}

impl BlockSource for CommandSource<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let source = match &mut self.running {
            Some(source) => source,
            none => {
                let InputSource { input, producer } = (self.start)()?;
                none.insert(InputSource {
                    input: input.stopped_by(self.stop.clone()),
                    producer,
                })
            }
        };
        source.read(buf)
    }

    fn stopper(&self) -> Option<Wake> {
        Some(self.stop.clone())
    }

    fn waits_for_start(&self) -> bool {
        true
    }

    fn rewind(&mut self) -> Result<(), Error> {
        self.stop.clear();
        Ok(())
    }

    fn close(&mut self) {
        if let Some(mut source) = self.running.take() {
            source.close();
        }
    }
}

fn read_some(input: &mut impl Read, buf: &mut [u8]) -> Result<usize, Error> {
    loop {
        match input.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done.map_err(Error::Input),
        }
    }
}

/// What the reading thread sends.
pub(super) enum Chunk {
    Data(Vec<u8>),
    End,
    Failed(Error),
}

/// The reading thread's ends of its channels.
pub(super) struct ReadThread {
    /// Where chunks go.
    pub(super) chunks: SyncSender<Chunk>,
    /// Buffers that have served.
    pub(super) free: Receiver<Vec<u8>>,
    /// Says that the session has started; closed when it never does.
    pub(super) started: Receiver<()>,
    /// Wakes the driver up.
    pub(super) wake: Wake,
}

impl ReadThread {
    /// Reads the stream to its end, and tells how it ended; if `waits`, not before the session has
    /// started.
    pub(super) fn run(&self, source: &mut dyn BlockSource, waits: bool) {
        if waits && self.started.recv().is_err() {
            return;
        }
        let end = loop {
            let mut buf = self.free.try_recv().unwrap_or_default();
            buf.resize(READ_BYTES, 0);
            match source.read(&mut buf) {
                Ok(0) => break Chunk::End,
                Ok(n) => {
                    buf.truncate(n);
                    if self.chunks.send(Chunk::Data(buf)).is_err() {
                        break Chunk::End;
                    }
                    self.wake.wake();
                }
                Err(error) => break Chunk::Failed(error),
            }
        };
        // The driver may have ended before us.
        let _ = self.chunks.send(end);
        self.wake.wake();
        source.close();
    }
}
