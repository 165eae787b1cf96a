//! A receiver's driver: sockets, clock and output around [`Receiver`].

use std::io;
use std::net::SocketAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags};

mod sink;

pub use sink::Sink;
use sink::{Outlet, Trouble};

use super::{Control, Error};
use crate::net::{Buffers, NetConfig, RECEIVE_BUFFER_SMALL, ReceiverSockets, ip_udp_len, mtu_to};
use crate::proto::{
    Awaits, Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, ReceiverStats, Target,
};
use crate::sys::clock::Clock;
use crate::sys::signals::SignalWatch;
use crate::sys::wait;
use crate::sys::wake::Wake;
use crate::units::{Duration, Instant};
use crate::wire::LeaveReason;

/// A command that closed its input has this long to end by itself and say why.
const EXIT_MAX: Duration = Duration::from_secs(2);
/// A command that was told to stop has this long to do it; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(60);
/// What is waited for is told this often.
const WAITING_EVERY: Duration = Duration::from_secs(1);
/// Batches received before anything else is done.
const BATCHES_MAX: usize = 8;

/// What the driver tells while it runs.
pub enum News<'a> {
    /// Data does not flow yet; told once a second.
    Waiting(Awaits),
    /// The system grants so few bytes of receive buffer that the sender must go slowly.
    SmallBuffer(u32),
    /// The sender's datagrams do not fit our network.
    Mtu {
        /// Bytes of the longest of them, with headers.
        datagram: usize,
        /// Bytes that fit.
        mtu: usize,
    },
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
    /// The stream was taken up in another session than the one in which it began.
    pub resumed: bool,
}

/// Faults made on purpose, for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The share of incoming datagrams that is dropped, from 0 to 1.
    pub loss: f64,
}

/// Receives one session into `sink`, which has done its work before the sender hears that we are
/// done. A command is not left behind: when this returns it has ended.
///
/// # Errors
/// Any [`Error`]; the sender was told that we leave first, if there is one.
pub fn catch(
    mut config: ReceiverConfig,
    net: &NetConfig,
    sink: Sink,
    faults: Faults,
    control: Control<'_>,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<Report, Error> {
    let mut outlet = Outlet::new(sink, control.wake.clone(), control.watch)?;
    let sockets = match net.receiver() {
        Ok(sockets) => sockets,
        Err(e) => {
            outlet.stop();
            return Err(e.into());
        }
    };
    config.socket_bytes = sockets.receive_buffer();
    let clock = Clock::new();
    let mut driver = Driver {
        receiver: Receiver::new(config, control.seed, clock.now()),
        sockets,
        told_at: None,
        outlet,
        clock,
        faults,
        dice: StdRng::from_seed(control.seed),
        complete: false,
        finishing: false,
        gone_at: None,
        stopped_at: None,
        failure: None,
        end: None,
        started: None,
        resumed: false,
    };
    let result = driver.run(control, tell);
    if result.is_err() {
        driver.outlet.stop();
    }
    result
}

struct Driver {
    receiver: Receiver,
    sockets: ReceiverSockets,
    /// When it was told what is waited for.
    told_at: Option<Instant>,
    outlet: Outlet,
    clock: Clock,
    faults: Faults,
    dice: StdRng,
    /// The verified end was reached.
    complete: bool,
    /// All is written; the consumer does the rest.
    finishing: bool,
    /// When a command closed its input.
    gone_at: Option<Instant>,
    /// When a command was told to stop.
    stopped_at: Option<Instant>,
    failure: Option<Error>,
    end: Option<ReceiverEnd>,
    started: Option<Instant>,
    resumed: bool,
}

impl Driver {
    fn run(
        &mut self,
        control: Control<'_>,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Result<Report, Error> {
        let mut buffers = Buffers::default();
        // First of all: what is said of sessions later is to be an answer to this.
        self.tell_waiting(self.clock.now(), tell);
        loop {
            let more = self.receive(&mut buffers)?;
            let now = self.clock.now();
            self.notice_signal(control.watch, now);
            if self.receiver.poll_timeout().is_some_and(|at| at <= now) {
                self.receiver.handle_timeout(now);
            }
            self.hand_out(now);
            self.notice_end(now);
            self.send(now);
            self.tell_events(now, tell);
            if self.receiver.is_done() && self.is_settled(now) {
                return self.report();
            }
            self.tell_waiting(now, tell);
            tell(News::Tick(&self.receiver));
            if !more {
                self.sleep(control.wake)?;
            }
        }
    }

    fn receive(&mut self, buffers: &mut Buffers) -> Result<bool, Error> {
        let (receiver, dice, clock) = (&mut self.receiver, &mut self.dice, &self.clock);
        let loss = self.faults.loss;
        let mut more = false;
        for port in self.sockets.all() {
            for batch in 1..=BATCHES_MAX {
                let now = clock.now();
                let some = port
                    .receive(buffers, |from, datagram| {
                        if loss == 0.0 || !dice.random_bool(loss) {
                            receiver.handle_datagram(now, from, datagram);
                        }
                    })
                    .map_err(Error::system("cannot receive"))?;
                if !some {
                    break;
                }
                more |= batch == BATCHES_MAX;
            }
        }
        Ok(more)
    }

    fn notice_signal(&mut self, watch: &SignalWatch, now: Instant) {
        if let Some(signal) = watch.caught()
            && self.failure.is_none()
        {
            self.failure = Some(Error::Interrupted(signal));
            self.receiver.leave(now, LeaveReason::Interrupted);
        }
    }

    /// Hands blocks to the writer and takes its answers.
    fn hand_out(&mut self, now: Instant) {
        while let Some(result) = self.outlet.written() {
            match result {
                Ok(buf) => self.receiver.recycle(buf),
                // It will say by its exit status why it reads no more.
                Err(_) if self.outlet.is_command() => {
                    self.gone_at.get_or_insert(now);
                }
                Err(e) => self.fail_output(now, e),
            }
        }
        while self.outlet.has_room()
            && self.gone_at.is_none()
            && self.failure.is_none()
            && let Some(delivery) = self.receiver.pull(now)
        {
            self.outlet.write(delivery);
        }
        let written = self.complete && self.outlet.is_idle() && self.gone_at.is_none();
        if written && !self.finishing && self.failure.is_none() {
            self.finishing = true;
            if let Err(trouble) = self.outlet.finish() {
                self.fail(now, trouble);
            }
        }
    }

    /// Notices how the consumer ended; a command that stopped reading ends soon, or is stopped.
    fn notice_end(&mut self, now: Instant) {
        match self.outlet.ended() {
            // Stopped by us: that is not why the session ended.
            Some(_) if self.stopped_at.is_some() => {}
            Some(Ok(())) if self.finishing => self.receiver.consumed(now),
            Some(Ok(())) => self.fail(now, (Error::ConsumerEnded, LeaveReason::Consumer)),
            Some(Err(trouble)) => self.fail(now, trouble),
            None => {}
        }
        let gone = |at: Instant| now.since(at) >= EXIT_MAX;
        if self.gone_at.is_some_and(gone) && self.outlet.is_command() {
            self.fail(now, (Error::ConsumerClosed, LeaveReason::Consumer));
        }
    }

    fn fail_output(&mut self, now: Instant, error: io::Error) {
        let reason = match error.kind() {
            io::ErrorKind::BrokenPipe => LeaveReason::Consumer,
            _ => LeaveReason::Local,
        };
        self.fail(now, (Error::Output(error), reason));
    }

    fn fail(&mut self, now: Instant, (error, reason): Trouble) {
        self.failure.get_or_insert(error);
        self.receiver.leave(now, reason);
    }

    /// Whether the consumer is out of the way, now that the session is over. One that has the whole
    /// stream may take its time; any other must not take what it has for the whole.
    fn is_settled(&mut self, now: Instant) -> bool {
        if !self.outlet.is_busy() {
            return true;
        }
        if !self.finishing || self.failure.is_some() {
            let since = *self.stopped_at.get_or_insert(now);
            self.outlet.stop();
            if now.since(since) >= STOP_MAX {
                self.outlet.kill();
            }
        }
        false
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
            let _ = self.sockets.send(to, &buf);
        }
    }

    fn tell_events(&mut self, now: Instant, tell: &mut dyn FnMut(News<'_>)) {
        while let Some(event) = self.receiver.poll_event() {
            match &event {
                ReceiverEvent::Found {
                    from, datagram_len, ..
                } => self.check_path(*from, *datagram_len, tell),
                ReceiverEvent::Joined { from, .. } => self.sockets.keep(*from),
                ReceiverEvent::Started => {
                    self.started.get_or_insert(now);
                }
                ReceiverEvent::Waits { from } => self.resumed |= from.is_some(),
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

    /// Whether what this sender sends can come to us.
    fn check_path(&mut self, from: SocketAddr, datagram: usize, tell: &mut dyn FnMut(News<'_>)) {
        let buffer = self.sockets.receive_buffer();
        if buffer < RECEIVE_BUFFER_SMALL {
            tell(News::SmallBuffer(buffer));
        }
        let datagram = datagram + ip_udp_len(from);
        if let Some(mtu) = mtu_to(from).filter(|&mtu| mtu < datagram) {
            tell(News::Mtu { datagram, mtu });
        }
    }

    fn tell_waiting(&mut self, now: Instant, tell: &mut dyn FnMut(News<'_>)) {
        let due = |at: Instant| now.since(at) >= WAITING_EVERY;
        if self.told_at.is_none_or(due)
            && let Some(awaits) = self.receiver.awaits()
        {
            self.told_at = Some(now);
            tell(News::Waiting(awaits));
        }
    }

    fn report(&mut self) -> Result<Report, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        Ok(Report {
            end: self.end.clone().unwrap_or(ReceiverEnd::NoSender),
            stats: self.receiver.stats(),
            resumed: self.resumed,
            elapsed: self
                .started
                .map_or(Duration::ZERO, |at| self.clock.now().since(at)),
        })
    }

    fn sleep(&mut self, wake: &Wake) -> Result<(), Error> {
        let now = self.clock.now();
        let mut fds = vec![PollFd::new(wake, PollFlags::IN)];
        fds.extend(self.outlet.poll_fd());
        let outlet = fds.len() == 2;
        fds.extend(
            self.sockets
                .all()
                .map(|port| PollFd::new(port, PollFlags::IN)),
        );
        wait::wait(&mut fds, now, self.receiver.poll_timeout())
            .map_err(Error::system("cannot wait"))?;
        if !fds[0].revents().is_empty() {
            wake.clear();
        }
        let lost = PollFlags::ERR | PollFlags::HUP;
        let gone = outlet && fds[1].revents().intersects(lost) && !self.outlet.is_command();
        if gone && self.failure.is_none() && self.end.is_none() {
            self.fail_output(now, io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
