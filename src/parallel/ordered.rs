//! Parallel work on a stream with its order kept.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder};

/// Who does the work.
#[derive(Clone, Copy, Debug)]
pub struct Workers {
    /// How many threads run `work`.
    pub count: usize,
    /// How many jobs more than that have been taken and not yet handed on at any time.
    pub ahead: usize,
    /// Whether the caller's thread only hands results on. Otherwise it is one of the workers, and
    /// whichever has the next result hands it on: then a sink that waits keeps a worker waiting.
    pub dedicated_writer: bool,
}

impl From<usize> for Workers {
    /// So many threads, which seldom wait for the slowest of them.
    fn from(workers: usize) -> Self {
        Self {
            count: workers,
            ahead: 2,
            dedicated_writer: false,
        }
    }
}

/// Takes jobs from `next`, runs `work` on them and hands the results to `sink`, in the order in
/// which the jobs came.
///
/// Each worker takes its jobs itself: what a processor has read it works on while it still has it
/// at hand. `next` and `sink` are each called by one thread at a time.
///
/// The first error in stream order ends everything: later results are dropped, and `stop` is called
/// once so that a worker that blocks inside `next` can be woken. `next` ends the stream with
/// `Ok(None)`, and is not called again then.
///
/// # Errors
/// The first error of `next`, `work` or `sink` in stream order.
pub fn ordered<J, R, E>(
    workers: impl Into<Workers>,
    next: impl FnMut() -> Result<Option<J>, E> + Send,
    work: impl Fn(J) -> Result<R, E> + Sync,
    sink: impl FnMut(R) -> Result<(), E> + Send,
    stop: impl Fn() + Sync,
) -> Result<(), E>
where
    R: Send,
    E: Send,
{
    let workers = workers.into();
    let shared = Shared {
        limit: (workers.count + workers.ahead) as u64,
        source: Mutex::new(Jobs {
            next,
            taken: 0,
            ended: false,
        }),
        sink: Mutex::new(sink),
        results: Mutex::new(Results {
            done: BTreeMap::new(),
            turn: 0,
            served: workers.dedicated_writer,
            working: 0,
            ended: None,
        }),
        moved: Condvar::new(),
        added: Condvar::new(),
        stop,
    };
    thread::scope(|scope| {
        let mut spawned = 0;
        for i in usize::from(!workers.dedicated_writer)..workers.count {
            lock(&shared.results).working += 1;
            let worker = Builder::new()
                .name(format!("sc-work-{i}"))
                .spawn_scoped(scope, || shared.run(&work));
            match worker {
                Ok(_) => spawned += 1,
                // With fewer threads than asked for it takes longer, and that is all.
                Err(_) => lock(&shared.results).working -= 1,
            }
        }
        if workers.dedicated_writer && spawned > 0 {
            return shared.serve();
        }
        let mut results = lock(&shared.results);
        results.working += 1;
        if spawned == 0 {
            results.served = false;
        }
        drop(results);
        shared.run(&work);
    });
    let results = shared.results.into_inner();
    match results.unwrap_or_else(PoisonError::into_inner).ended {
        Some(End::Failed(error)) => Err(error),
        Some(End::Panicked) | None => Ok(()),
    }
}

/// What the workers share. Who holds both locks took that of the source first.
struct Shared<N, S, T, R, E> {
    limit: u64,
    source: Mutex<Jobs<N>>,
    sink: Mutex<S>,
    results: Mutex<Results<R, E>>,
    /// Told whenever the turn moves on or everything ends.
    moved: Condvar,
    /// Told whenever there is a result, a worker is done or everything ends.
    added: Condvar,
    stop: T,
}

struct Jobs<N> {
    next: N,
    taken: u64,
    ended: bool,
}

struct Results<R, E> {
    /// Results that await their turn.
    done: BTreeMap<u64, Result<R, E>>,
    /// The job whose result comes next.
    turn: u64,
    /// Whether a thread hands results on. It will find what is added.
    served: bool,
    /// Workers that may still add results.
    working: usize,
    ended: Option<End<E>>,
}

enum End<E> {
    Failed(E),
    /// A worker panicked; the scope passes that on.
    Panicked,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<N, S, T, R, E> Shared<N, S, T, R, E>
where
    T: Fn(),
{
    fn run<J>(&self, work: &impl Fn(J) -> Result<R, E>)
    where
        N: FnMut() -> Result<Option<J>, E>,
        S: FnMut(R) -> Result<(), E>,
    {
        let _guard = PanicGuard(self);
        while let Some((number, job)) = self.next_job() {
            self.hand_on(number, job.and_then(work));
        }
        lock(&self.results).working -= 1;
        self.added.notify_one();
    }

    /// The next job and its number, when there is room for its result.
    fn next_job<J>(&self) -> Option<(u64, Result<J, E>)>
    where
        N: FnMut() -> Result<Option<J>, E>,
    {
        let mut source = lock(&self.source);
        let number = source.taken;
        let full = |results: &mut Results<R, E>| {
            results.ended.is_none() && number - results.turn >= self.limit
        };
        let results = self.moved.wait_while(lock(&self.results), full);
        let over = results.unwrap_or_else(PoisonError::into_inner);
        if source.ended || over.ended.is_some() {
            return None;
        }
        drop(over);
        source.taken += 1;
        let job = (source.next)().transpose();
        source.ended = !matches!(job, Some(Ok(_)));
        Some((number, job?))
    }

    /// Adds a result, and hands on those whose turn it is unless another thread does so already.
    fn hand_on(&self, number: u64, result: Result<R, E>)
    where
        S: FnMut(R) -> Result<(), E>,
    {
        let mut results = lock(&self.results);
        results.done.insert(number, result);
        if std::mem::replace(&mut results.served, true) {
            drop(results);
            self.added.notify_one();
        } else if let Some(mut results) = self.drain(results) {
            results.served = false;
        }
    }

    /// Hands results on until there are no more, or an end.
    fn serve(&self)
    where
        S: FnMut(R) -> Result<(), E>,
    {
        let _guard = PanicGuard(self);
        let mut results = lock(&self.results);
        loop {
            let idle = |results: &mut Results<R, E>| {
                let nothing = !results.done.contains_key(&results.turn);
                nothing && results.working > 0 && results.ended.is_none()
            };
            let woken = self.added.wait_while(results, idle);
            results = woken.unwrap_or_else(PoisonError::into_inner);
            if results.ended.is_some() || !results.done.contains_key(&results.turn) {
                return;
            }
            let Some(drained) = self.drain(results) else {
                return;
            };
            results = drained;
        }
    }

    /// Hands on the results whose turn it is; nothing is left to do after an error.
    fn drain<'a>(
        &'a self,
        mut results: MutexGuard<'a, Results<R, E>>,
    ) -> Option<MutexGuard<'a, Results<R, E>>>
    where
        S: FnMut(R) -> Result<(), E>,
    {
        while results.ended.is_none() {
            let turn = results.turn;
            let Some(result) = results.done.remove(&turn) else {
                break;
            };
            drop(results);
            let result = result.and_then(&mut *lock(&self.sink));
            results = lock(&self.results);
            results.turn += 1;
            if let Err(error) = result {
                self.end(results, End::Failed(error));
                return None;
            }
            self.moved.notify_all();
        }
        Some(results)
    }

    /// Ends everything: no turn comes any more, and no job.
    fn end(&self, mut results: MutexGuard<'_, Results<R, E>>, end: End<E>) {
        results.ended.get_or_insert(end);
        results.done.clear();
        drop(results);
        self.moved.notify_all();
        self.added.notify_all();
        (self.stop)();
    }
}

/// Ends everything when its worker panics: the others would wait for its turn for ever.
struct PanicGuard<'a, N, S, T: Fn(), R, E>(&'a Shared<N, S, T, R, E>);

impl<N, S, T: Fn(), R, E> Drop for PanicGuard<'_, N, S, T, R, E> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(lock(&self.0.results), End::Panicked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const SETTINGS: [Workers; 4] = [of(1, false), of(1, true), of(3, false), of(3, true)];

    const fn of(workers: usize, dedicated_writer: bool) -> Workers {
        Workers {
            count: workers,
            ahead: 1,
            dedicated_writer,
        }
    }

    #[test]
    fn order_is_kept_whatever_a_job_takes() {
        for workers in SETTINGS {
            let mut jobs = 0..100u64;
            let mut seen = Vec::new();
            ordered::<_, _, io::Error>(
                workers,
                || Ok(jobs.next()),
                |n| {
                    thread::sleep(std::time::Duration::from_micros((n * 37) % 400));
                    Ok(n)
                },
                |n| {
                    seen.push(n);
                    Ok(())
                },
                || panic!("nothing to stop"),
            )
            .unwrap();
            assert_eq!(seen, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_sink_that_waits_keeps_nobody_from_work() {
        let mut jobs = 0..10u64;
        let (done_in, done) = std::sync::mpsc::channel();
        let mut done = Some(done);
        ordered::<_, _, io::Error>(
            of(1, true),
            || Ok(jobs.next()),
            |n| {
                let _ = done_in.send(n);
                Ok(n)
            },
            // The first result stays here until the second job is done.
            |_| {
                let Some(done) = done.take() else {
                    return Ok(());
                };
                let wait = || done.recv_timeout(std::time::Duration::from_secs(20));
                assert_eq!((wait(), wait()), (Ok(0), Ok(1)));
                Ok(())
            },
            || {},
        )
        .unwrap();
        assert_eq!(jobs, 10..10);
    }

    #[test]
    fn the_first_error_in_order_ends_all() {
        let failing = |n, at| match n == at {
            true => Err(io::Error::other(format!("{n}"))),
            false => Ok(n),
        };
        for (workers, (at, sunk)) in SETTINGS
            .into_iter()
            .flat_map(|c| [(c, (10, 99)), (c, (99, 10))])
        {
            let mut jobs = 0..;
            let mut seen = 0;
            let result = ordered::<u64, _, io::Error>(
                workers,
                || Ok(jobs.next()),
                |n| failing(n, at),
                |n| {
                    failing(n, sunk)?;
                    seen += 1;
                    Ok(())
                },
                || {},
            );
            assert_eq!(result.unwrap_err().to_string(), "10");
            assert_eq!(seen, 10);
        }
    }

    #[test]
    fn a_worker_that_panics_takes_the_others_with_it() {
        for (workers, (at, sunk)) in SETTINGS
            .into_iter()
            .flat_map(|c| [(c, (10, 99)), (c, (99, 10))])
        {
            let mut jobs = 0..;
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                ordered::<u64, _, io::Error>(
                    workers,
                    || Ok(jobs.next()),
                    |n| {
                        assert!(n < at, "work");
                        Ok(n)
                    },
                    |n| {
                        assert!(n < sunk, "sink");
                        Ok(())
                    },
                    || {},
                )
            }));
            assert!(caught.is_err());
        }
    }

    #[test]
    fn a_reader_that_blocks_is_stopped() {
        let (stop, stopped) = std::sync::mpsc::channel();
        let stopped = Mutex::new(stopped);
        let mut jobs = 0..3;
        let result = ordered::<u64, _, io::Error>(
            2,
            || match jobs.next() {
                Some(n) => Ok(Some(n)),
                None => {
                    lock(&stopped).recv().unwrap();
                    Err(io::Error::other("stopped"))
                }
            },
            Ok,
            |n| match n {
                2 => Err(io::Error::other("two")),
                _ => Ok(()),
            },
            || stop.send(()).unwrap(),
        );
        assert_eq!(result.unwrap_err().to_string(), "two");
    }
}
