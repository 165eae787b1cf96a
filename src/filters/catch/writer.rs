//! The thread that writes, so that a slow consumer never keeps the socket waiting.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{Builder, Scope};

use super::sink::BlockSink;
use crate::filters::Error;
use crate::proto::Delivery;
use crate::sys::wake::Wake;

/// Blocks that may wait for the consumer.
const WRITES_MAX: usize = 4;

enum Task {
    Write(Delivery),
    Finish,
}

/// What the writing thread has done.
pub(super) enum Done {
    /// A block is written; its buffer can serve again.
    Written(Vec<u8>),
    /// One could not be written, and no more will be.
    Failed(io::Error),
    /// The sink has done what was left at the end of the stream.
    Finished(Result<(), Error>),
}

/// The driver's handle of the writing thread; the thread ends when it is dropped.
pub(super) struct WriteThread {
    tasks: SyncSender<Task>,
    done: Receiver<Done>,
    /// Blocks that are not written yet.
    waiting: usize,
    /// It has said why it ends.
    ended: bool,
}

impl WriteThread {
    /// Starts the thread in `scope`. It wakes `wake` whenever it has done something.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        sink: Box<dyn BlockSink + 'scope>,
        wake: &Wake,
    ) -> Result<Self, Error> {
        // One place more than there are blocks: for the end.
        let (tasks, todo) = sync_channel(WRITES_MAX + 1);
        let (told, done) = channel();
        let wake = wake.clone();
        let tell = move |what| {
            // The driver may have ended before us.
            let _ = told.send(what);
            wake.wake();
        };
        Builder::new()
            .name("sc-write".into())
            .spawn_scoped(scope, move || run(sink, &todo, &tell))
            .map_err(Error::system("cannot start a thread"))?;
        Ok(Self {
            tasks,
            done,
            waiting: 0,
            ended: false,
        })
    }

    pub(super) const fn has_room(&self) -> bool {
        self.waiting < WRITES_MAX
    }

    /// Whether everything that was handed over is written.
    pub(super) const fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// Hands a block over, when there is room.
    pub(super) fn write(&mut self, delivery: Delivery) {
        self.waiting += usize::from(self.tasks.try_send(Task::Write(delivery)).is_ok());
    }

    /// The stream is complete: no block follows.
    pub(super) fn finish(&self) {
        // A thread that is gone has said why.
        let _ = self.tasks.try_send(Task::Finish);
    }

    /// What was done next, if anything was.
    pub(super) fn poll(&mut self) -> Option<Done> {
        let done = match self.done.try_recv() {
            Ok(done) => done,
            // It panicked, which the scope passes on once the session has ended.
            Err(TryRecvError::Disconnected) if !self.ended => {
                Done::Failed(io::Error::other("the sink panicked"))
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
        };
        match done {
            Done::Written(_) => self.waiting -= 1,
            Done::Failed(_) | Done::Finished(_) => self.ended = true,
        }
        Some(done)
    }
}

fn run(mut sink: Box<dyn BlockSink + '_>, todo: &Receiver<Task>, tell: &impl Fn(Done)) {
    for task in todo {
        match task {
            Task::Write(Delivery { buf, len, .. }) => match sink.write(&buf[..len]) {
                Ok(()) => tell(Done::Written(buf)),
                Err(error) => return tell(Done::Failed(error)),
            },
            Task::Finish => return tell(Done::Finished(sink.finish())),
        }
    }
}
