//! Files, made by several threads: to make one takes longer than to read it from an archive.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use super::new_file::{Job, make_file};
use super::{Error, restore};

/// What may wait to be made, in bytes of all but content. Content is lent, and who lends it bounds
/// it.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// More threads than this only wait for each other in the file system.
const THREADS_MAX: usize = 4;

/// Threads that make files, in no order. Dropping this ends them.
pub(super) struct Writers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when there is work, or no more to come.
    work: Condvar,
    /// Told when as much was done as the extracting thread waits for.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// The cost of the jobs that are not done.
    waiting_bytes: usize,
    /// Threads that wait for work.
    idle: usize,
    /// The extracting thread is told when no more than this waits.
    awaited: Option<usize>,
    ended: bool,
    error: Option<Error>,
    skipped: restore::Skipped,
}

impl Writers {
    /// Starts threads, as many as there are processors, within reason.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        restorer: &restore::Restorer,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let writers = Self(Arc::clone(&shared));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for i in 0..processors.min(THREADS_MAX) {
            let (shared, restorer) = (Arc::clone(&shared), restorer.another());
            Builder::new()
                .name(format!("sc-file-{i}"))
                .spawn_scoped(scope, move || shared.run(restorer))
                .map_err(Error::system_thread)?;
        }
        Ok(writers)
    }

    /// Has a file made some time; waits while too many are to be made already.
    ///
    /// # Errors
    /// Why an earlier file could not be made.
    pub(super) fn push(&self, job: Job) -> Result<(), Error> {
        let mut queue = self.0.lock();
        if queue.waiting_bytes > WAITING_BYTES_MAX {
            // Not only until there is room for one: each wait costs a change of threads.
            queue = self.drain(queue, WAITING_BYTES_MAX / 2);
        }
        queue.take_error()?;
        queue.waiting_bytes += job.cost();
        queue.jobs.push_back(job);
        let idle = queue.idle > 0;
        drop(queue);
        if idle {
            self.0.work.notify_one();
        }
        Ok(())
    }

    /// Waits until all files are made.
    ///
    /// # Errors
    /// Why one could not be made.
    pub(super) fn wait_idle(&self) -> Result<(), Error> {
        self.drain(self.0.lock(), 0).take_error()
    }

    /// Waits until at most so much is waiting, or something went wrong.
    fn drain<'a>(&self, queue: MutexGuard<'a, Queue>, level: usize) -> MutexGuard<'a, Queue> {
        let over = |queue: &mut Queue| {
            let over = queue.error.is_none() && queue.waiting_bytes > level;
            queue.awaited = over.then_some(level);
            over
        };
        let queue = self.0.done.wait_while(queue, over);
        queue.unwrap_or_else(PoisonError::into_inner)
    }

    /// What could not be restored for want of privilege, when all files are made.
    pub(super) fn skipped(&self) -> restore::Skipped {
        self.0.lock().skipped
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.ended = true;
        // After an error the rest is not wanted.
        queue.jobs.clear();
        drop(queue);
        self.0.work.notify_all();
    }
}

impl Queue {
    fn take_error(&mut self) -> Result<(), Error> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut restorer: restore::Restorer) {
        let _guard = PanicGuard(self);
        while let Some(job) = self.next() {
            let cost = job.cost();
            let result = make_file(job, &mut restorer);
            let mut queue = self.lock();
            queue.waiting_bytes -= cost;
            queue.skipped = queue.skipped.and(restorer.take_skipped());
            if let Err(error) = result {
                queue.error.get_or_insert(error);
            }
            let done = queue.error.is_some() || queue.awaited >= Some(queue.waiting_bytes);
            drop(queue);
            if done {
                self.done.notify_all();
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        if queue.jobs.is_empty() {
            queue.idle += 1;
            let idle = |queue: &mut Queue| queue.jobs.is_empty() && !queue.ended;
            let woken = self.work.wait_while(queue, idle);
            queue = woken.unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
        queue.jobs.pop_front()
    }
}

/// Ends the wait for a thread that panics: what it had to do would never be done.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::system_thread(std::io::Error::other("one has panicked"));
            self.0.lock().error.get_or_insert(error);
            self.0.done.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Meta, Xattr};
    use crate::tree::new_file::{Body, JOB_BYTES};
    use bytes::Bytes;

    #[test]
    fn what_waits_is_bounded_by_all_that_it_holds() {
        let (dir, bytes) = (tempfile::tempfile().unwrap(), 60_000);
        let attribute = |n: u8| Xattr {
            name: vec![b'n', n],
            value: vec![n; bytes],
        };
        let job = Job {
            dir: Arc::new(dir.into()),
            path: vec![b'p'; 100],
            meta: Meta {
                xattrs: (0..10).map(attribute).collect(),
                ..Meta::default()
            },
            body: Body::Whole(Bytes::new()),
        };
        assert!((600_000..620_000).contains(&job.cost()));
        // Directories that are open for jobs leave room for others.
        const { assert!(WAITING_BYTES_MAX / JOB_BYTES <= 256) };
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let writers = Writers(Arc::default());
        writers.0.lock().waiting_bytes = JOB_BYTES;
        let shared = Arc::clone(&writers.0);
        let thread = std::thread::spawn(move || {
            let _guard = PanicGuard(&shared);
            panic!("as the test wants it");
        });
        assert!(writers.wait_idle().is_err());
        assert!(thread.join().is_err());
    }
}
