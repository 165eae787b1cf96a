//! A receiver's driver: sockets, clock and output around [`Receiver`].

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver as Channel, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags};

use super::socket::{Buffers, NetConfig, Port};
use super::{Control, Error, wait};
use crate::edge::clock::Clock;
use crate::edge::interrupt::Watch;
use crate::edge::stdio::{Cancel, Output};
use crate::proto::{
    Delivery, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, ReceiverStats, Target,
};
use crate::units::{Duration, Instant};
use crate::wire::LeaveReason;

/// Blocks that may wait for the consumer.
const WRITES_MAX: usize = 4;
/// Batches received before anything else is done.
const BATCHES_MAX: usize = 8;

/// What the driver tells while it runs.
pub enum News<'a> {
    /// Something happened.
    Event(&'a ReceiverEvent),
    /// Time has passed.
    Tick(&'a Receiver),
}

/// How a catch ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// The session.
    pub end: ReceiverEnd,
    /// What was counted.
    pub stats: ReceiverStats,
    /// From the first data to the end.
    pub elapsed: Duration,
}

/// Faults made on purpose, for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The share of incoming datagrams that is dropped, from 0 to 1.
    pub loss: f64,
}

/// Receives one session into `output`, which is committed before the sender hears that we are done.
///
/// # Errors
/// Any [`Error`]; the sender was told that we leave first, if there is one.
pub fn catch(
    mut config: ReceiverConfig,
    net: &NetConfig,
    output: Output,
    faults: Faults,
    control: Control<'_>,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<Report, Error> {
    let (group, own) = net.receiver()?;
    config.socket_bytes = group.receive_buffer();
    let clock = Clock::new();
    let writer = Writer::new(output.writer()?, control.wake.clone())?;
    let mut driver = Driver {
        receiver: Receiver::new(config, control.seed, clock.now()),
        net,
        group,
        own,
        output: Some(output),
        clock,
        faults,
        dice: StdRng::from_seed(control.seed),
        writer,
        complete: false,
        failure: None,
        end: None,
        started: None,
    };
    driver.run(control, tell)
}

/// The thread that writes, so that a slow consumer never keeps the socket waiting.
struct Writer {
    blocks: Option<SyncSender<Delivery>>,
    written: Channel<io::Result<Vec<u8>>>,
    waiting: usize,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    fn new(mut file: File, wake: Cancel) -> Result<Self, Error> {
        let (blocks, deliveries) = sync_channel::<Delivery>(WRITES_MAX);
        let (done, written) = channel();
        // It may be stuck in a write to a consumer that does not read when we give up, and must not
        // keep us: it ends with the process.
        let thread = thread::Builder::new()
            .name("sc-write".into())
            .spawn(move || {
                for delivery in deliveries {
                    let result = file.write_all(&delivery.buf[..delivery.len]);
                    let failed = result.is_err();
                    // The driver is gone when nobody listens.
                    let _ = done.send(result.map(|()| delivery.buf));
                    wake.cancel();
                    if failed {
                        return;
                    }
                }
            })
            .map_err(|source| Error::Socket {
                what: "cannot start a thread",
                source,
            })?;
        Ok(Self {
            blocks: Some(blocks),
            written,
            waiting: 0,
            thread: Some(thread),
        })
    }

    fn has_room(&self) -> bool {
        self.waiting < WRITES_MAX
    }

    fn write(&mut self, delivery: Delivery) {
        if let Some(blocks) = &self.blocks
            && blocks.try_send(delivery).is_ok()
        {
            self.waiting += 1;
        }
    }

    fn close(&mut self) {
        self.blocks = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing left to do.
            let _ = thread.join();
        }
    }
}

struct Driver<'a> {
    receiver: Receiver,
    net: &'a NetConfig,
    group: Port,
    own: Port,
    /// Gone once it is complete and in its place.
    output: Option<Output>,
    clock: Clock,
    faults: Faults,
    dice: StdRng,
    writer: Writer,
    complete: bool,
    failure: Option<Error>,
    end: Option<ReceiverEnd>,
    started: Option<Instant>,
}

impl Driver<'_> {
    fn run(
        &mut self,
        control: Control<'_>,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Result<Report, Error> {
        let mut buffers = Buffers::new();
        loop {
            let more = self.receive(&mut buffers)?;
            let now = self.clock.now();
            self.notice_signal(control.watch, now);
            if self.receiver.poll_timeout().is_some_and(|at| at <= now) {
                self.receiver.handle_timeout(now);
            }
            self.hand_out(now);
            self.send(now);
            self.tell_events(now, tell);
            if self.receiver.is_done() {
                return self.report();
            }
            tell(News::Tick(&self.receiver));
            if !more {
                self.sleep(control.wake)?;
            }
        }
    }

    fn receive(&mut self, buffers: &mut Buffers) -> Result<bool, Error> {
        let (receiver, dice, clock) = (&mut self.receiver, &mut self.dice, &self.clock);
        let loss = self.faults.loss;
        let mut more = true;
        for port in [&self.own, &self.group] {
            for _ in 0..BATCHES_MAX {
                let now = clock.now();
                more = port
                    .receive(buffers, |from, datagram| {
                        if loss == 0.0 || !dice.random_bool(loss) {
                            receiver.handle_datagram(now, from, datagram);
                        }
                    })
                    .map_err(|e| Error::socket("cannot receive", self.net.group, e))?;
                if !more {
                    break;
                }
            }
        }
        Ok(more)
    }

    fn notice_signal(&mut self, watch: &Watch, now: Instant) {
        if let Some(signal) = watch.caught()
            && self.failure.is_none()
        {
            self.failure = Some(Error::Interrupted(signal));
            self.receiver.leave(now, LeaveReason::Interrupted);
        }
    }

    /// Hands blocks to the writer and takes its answers.
    fn hand_out(&mut self, now: Instant) {
        while let Ok(result) = self.writer.written.try_recv() {
            self.writer.waiting -= 1;
            match result {
                Ok(buf) => self.receiver.recycle(buf),
                Err(e) => self.fail_output(now, e),
            }
        }
        while self.writer.has_room()
            && self.failure.is_none()
            && let Some(delivery) = self.receiver.pull(now)
        {
            self.writer.write(delivery);
        }
        if self.complete && self.writer.waiting == 0 && self.failure.is_none() {
            self.complete = false;
            self.writer.close();
            match self.output.take().map_or(Ok(()), Output::commit) {
                Ok(()) => self.receiver.consumed(now),
                Err(e) => self.fail(now, e.into(), LeaveReason::Local),
            }
        }
    }

    fn fail_output(&mut self, now: Instant, error: io::Error) {
        let reason = match error.kind() {
            io::ErrorKind::BrokenPipe => LeaveReason::Consumer,
            _ => LeaveReason::Local,
        };
        self.fail(now, Error::Output(error), reason);
    }

    fn fail(&mut self, now: Instant, error: Error, reason: LeaveReason) {
        self.failure.get_or_insert(error);
        self.receiver.leave(now, reason);
    }

    fn send(&mut self, now: Instant) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.receiver.poll_transmit(now, &mut buf) {
            let Target::Peer(to) = transmit.to else {
                continue;
            };
            // What finds no room is lost like any datagram, and said again. So is what cannot be
            // sent at all: an address that somebody made up must not end us, and a sender that
            // cannot be reached is noticed by its silence.
            let _ = self.own.send(to, &buf, transmit.segment);
        }
    }

    fn tell_events(&mut self, now: Instant, tell: &mut dyn FnMut(News<'_>)) {
        while let Some(event) = self.receiver.poll_event() {
            match &event {
                ReceiverEvent::Started => self.started = Some(now),
                ReceiverEvent::Complete { .. } => {
                    self.complete = true;
                    self.hand_out(now);
                }
                ReceiverEvent::Ended(end) => self.end = Some(end.clone()),
                _ => {}
            }
            tell(News::Event(&event));
        }
    }

    fn report(&mut self) -> Result<Report, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        Ok(Report {
            end: self.end.clone().unwrap_or(ReceiverEnd::NoSender),
            stats: self.receiver.stats(),
            elapsed: self
                .started
                .map_or(Duration::ZERO, |at| self.clock.now().since(at)),
        })
    }

    fn sleep(&mut self, wake: &Cancel) -> Result<(), Error> {
        let now = self.clock.now();
        let mut fds = vec![
            PollFd::new(&self.own, PollFlags::IN),
            PollFd::new(&self.group, PollFlags::IN),
            PollFd::new(wake, PollFlags::IN),
        ];
        if let Some(output) = self.output.as_ref().filter(|_| self.failure.is_none()) {
            // Nothing is asked of it: a reader that went away shows itself unasked.
            fds.push(PollFd::new(output, PollFlags::empty()));
        }
        wait::wait(&mut fds, now, self.receiver.poll_timeout()).map_err(|source| {
            Error::Socket {
                what: "cannot wait",
                source,
            }
        })?;
        if !fds[2].revents().is_empty() {
            wake.clear();
        }
        let lost = PollFlags::ERR | PollFlags::HUP;
        let gone = fds.get(3).is_some_and(|fd| fd.revents().intersects(lost));
        if gone && self.failure.is_none() && self.end.is_none() {
            self.fail_output(now, io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
