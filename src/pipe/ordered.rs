//! Parallel work on a stream with its order kept.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Builder};

/// Pulls jobs from `next` on one thread, runs `work` on `workers` threads and hands the results to
/// `sink` on the calling thread, in the order in which the jobs came.
///
/// At most `workers + depth` jobs are under way at any time. The first error in stream order ends
/// everything: later results are dropped, and `stop` is called once so that a reader that blocks
/// inside `next` can be woken. `next` ends the stream with `Ok(None)`.
///
/// # Errors
/// The first error of `next`, `work` or `sink` in stream order.
pub fn ordered<J, R, E>(
    workers: usize,
    depth: usize,
    next: impl FnMut() -> Result<Option<J>, E> + Send,
    work: impl Fn(J) -> Result<R, E> + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
    stop: impl Fn(),
) -> Result<(), E>
where
    J: Send,
    R: Send,
    E: Send + From<std::io::Error>,
{
    let (job_in, job_out) = sync_channel::<(J, SyncSender<Result<R, E>>)>(depth.max(1));
    let (order_in, order_out) = sync_channel::<Receiver<Result<R, E>>>(depth.max(1) + workers);
    let jobs = Mutex::new(job_out);
    thread::scope(|scope| {
        Builder::new()
            .name("sc-read".into())
            .spawn_scoped(scope, move || feed(next, &job_in, &order_in))?;
        for i in 0..workers.max(1) {
            let (jobs, work) = (&jobs, &work);
            Builder::new()
                .name(format!("sc-work-{i}"))
                .spawn_scoped(scope, move || {
                    loop {
                        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((job, reply)) = job else { break };
                        // Nobody waits for the reply after an error; that is no error of its own.
                        let _ = reply.send(work(job));
                    }
                })?;
        }
        let result = drain(&order_out, &mut sink);
        drop(order_out);
        if result.is_err() {
            stop();
        }
        result
    })
}

fn feed<J, R, E>(
    mut next: impl FnMut() -> Result<Option<J>, E>,
    jobs: &SyncSender<(J, SyncSender<Result<R, E>>)>,
    order: &SyncSender<Receiver<Result<R, E>>>,
) {
    loop {
        let (reply, result) = sync_channel(1);
        match next() {
            Ok(Some(job)) => {
                if order.send(result).is_err() || jobs.send((job, reply)).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(e) => {
                let _ = reply.send(Err(e));
                let _ = order.send(result);
                return;
            }
        }
    }
}

fn drain<R, E>(
    order: &Receiver<Receiver<Result<R, E>>>,
    sink: &mut impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<std::io::Error>,
{
    while let Ok(result) = order.recv() {
        // A worker that panicked drops its reply; the scope then passes the panic on.
        let result = result
            .recv()
            .map_err(|_| std::io::Error::other("a worker died"))?;
        sink(result?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn order_is_kept_whatever_a_job_takes() {
        let mut jobs = 0..100u64;
        let mut seen = Vec::new();
        ordered::<_, _, io::Error>(
            3,
            4,
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

    #[test]
    fn the_first_error_in_order_ends_all() {
        let mut jobs = 0..;
        let mut seen = 0;
        let result = ordered::<u64, _, io::Error>(
            2,
            2,
            || Ok(jobs.next()),
            |n| {
                if n == 10 {
                    Err(io::Error::other("ten"))
                } else {
                    Ok(n)
                }
            },
            |_| {
                seen += 1;
                Ok(())
            },
            || {},
        );
        assert_eq!(result.unwrap_err().to_string(), "ten");
        assert_eq!(seen, 10);
    }
}
