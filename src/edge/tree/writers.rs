//! Small files, made by several threads: most of an operating system is small files, and to make
//! one takes longer than to read it from an archive.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use rustix::fd::OwnedFd;

use super::{Error, extract, restore};
use crate::archive::Meta;

/// The longest file that is kept in memory for another thread.
pub(super) const SMALL_BYTES_MAX: u64 = 256 << 10;

/// What may wait to be written, in bytes of content with a bit for the rest of each.
const WAITING_BYTES_MAX: usize = 8 << 20;
const JOB_BYTES: usize = 1 << 10;

/// Buffers that are kept: each may have grown to the length of the longest file.
const SPARE_MAX: usize = 16;

/// More threads than this only wait for each other in the file system.
const THREADS_MAX: usize = 4;

/// A file to be made.
pub(super) struct Job {
    pub(super) dir: Arc<OwnedFd>,
    pub(super) path: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) data: Vec<u8>,
}

impl Job {
    fn cost(&self) -> usize {
        self.data.len() + self.path.len() + JOB_BYTES
    }
}

/// Threads that make files, in no order. Dropping this ends them.
pub(super) struct Writers(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    /// Told when there is work, or no more to come.
    work: Condvar,
    /// Told when work was done.
    done: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    waiting_bytes: usize,
    /// Jobs that were taken and are not done.
    under_way: usize,
    ended: bool,
    error: Option<Error>,
    /// Buffers that have served and will again.
    spare: Vec<Vec<u8>>,
    lost: restore::Lost,
}

impl Writers {
    /// Starts threads, as many as there are processors, within reason.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        restorer: &restore::Restorer,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
        });
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

    /// A buffer that has served before, if there is one.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.0.lock().spare.pop().unwrap_or_default()
    }

    /// Has a file made some time; waits while too much does already.
    ///
    /// # Errors
    /// Why an earlier file could not be made.
    pub(super) fn give(&self, job: Job) -> Result<(), Error> {
        let full =
            |queue: &mut Queue| queue.error.is_none() && queue.waiting_bytes > WAITING_BYTES_MAX;
        let queue = self.0.done.wait_while(self.0.lock(), full);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.take_error()?;
        queue.waiting_bytes += job.cost();
        queue.jobs.push_back(job);
        drop(queue);
        self.0.work.notify_one();
        Ok(())
    }

    /// Waits until all files are made.
    ///
    /// # Errors
    /// Why one could not be made.
    pub(super) fn settle(&self) -> Result<(), Error> {
        let busy = |queue: &mut Queue| {
            queue.error.is_none() && (queue.under_way > 0 || !queue.jobs.is_empty())
        };
        let queue = self.0.done.wait_while(self.0.lock(), busy);
        queue.unwrap_or_else(PoisonError::into_inner).take_error()
    }

    /// What could not be restored for want of privilege, when all files are made.
    pub(super) fn lost(&self) -> restore::Lost {
        self.0.lock().lost
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.ended = true;
        // After an error nobody wants the rest.
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
        while let Some(mut job) = self.next() {
            let cost = job.cost();
            let result = extract::small_file(&job, &mut restorer);
            let mut queue = self.lock();
            queue.under_way -= 1;
            queue.waiting_bytes -= cost;
            job.data.clear();
            if queue.spare.len() < SPARE_MAX {
                queue.spare.push(job.data);
            }
            queue.lost = queue.lost.and(restorer.take_lost());
            if let Err(error) = result {
                queue.error.get_or_insert(error);
            }
            drop(queue);
            self.done.notify_all();
        }
    }

    fn next(&self) -> Option<Job> {
        let idle = |queue: &mut Queue| queue.jobs.is_empty() && !queue.ended;
        let queue = self.work.wait_while(self.lock(), idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        let job = queue.jobs.pop_front()?;
        queue.under_way += 1;
        Some(job)
    }
}
