//! A receiver's driver: sockets, clock and output around [`Receiver`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

mod event;
mod sink;
mod writer;

pub use event::{CatchEvent, CatchReport};
pub use sink::{BlockSink, CommandSink, Consumer, OutputSink, WriteSink};
use sink::{ConsumerFailure, outcome};
use writer::{Done, WriteThread};

use super::{Error, Runtime};
use crate::net::{
    self, Buffers, NetConfig, RECEIVE_BUFFER_SMALL, ReceiverSockets, ip_udp_len, mtu_to, send_error,
};
use crate::proto::{Receiver, ReceiverConfig, ReceiverEnd, ReceiverEvent, Target};
use crate::sys::wait;
use crate::units::{Duration, Instant};
use crate::wire::LeaveReason;

/// A command that closed its input has this long to end by itself and say why.
const EXIT_MAX: Duration = Duration::from_secs(2);
/// A command that was told to stop has this long to do it; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(60);
/// What is waited for is reported this often.
const WAITING_EVERY: Duration = Duration::from_secs(1);
/// Groups are joined again this often: their interfaces come and go.
const JOIN_EVERY: Duration = Duration::from_secs(1);
/// Batches received before anything else is done.
const BATCHES_MAX: usize = 8;

/// A catch: which session, and where on the network.
#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct CatchConfig {
    /// The session. The size of the socket's buffer is set as the system grants it.
    pub receiver: ReceiverConfig,
    /// Where on the network the session is.
    pub net: NetConfig,
    /// The share of incoming datagrams that is dropped on purpose, from 0 to 1: for tests.
    pub test_loss: f64,
}

/// Receives one session into `sink`, which has done its work before the sender hears that we are
/// done. `tell` hears what happens meanwhile. A command is not left behind: when this returns it
/// has ended.
///
/// # Errors
/// Any [`Error`]; the sender was told that we leave first, if there is one.
pub fn catch<'a>(
    config: &CatchConfig,
    mut sink: Box<dyn BlockSink + 'a>,
    runtime: &Runtime,
    tell: &mut dyn FnMut(CatchEvent<'_>),
) -> Result<CatchReport, Error> {
    let sockets = config.net.receiver()?;
    let mut receiver = config.receiver.clone();
    receiver.socket_bytes = sockets.receive_buffer();
    let (stop, consumer) = (sink.stopper(), sink.consumer()?);
    thread::scope(|scope| {
        let mut driver = Driver {
            receiver: Receiver::new(receiver, runtime.seed, runtime.clock.now()),
            sockets,
            runtime,
            writer: WriteThread::start(scope, sink, runtime.wake())?,
            consumer,
            state: Consumption::Running,
            loss: config.test_loss,
            dice: StdRng::from_seed(runtime.seed),
            told_at: None,
            join_at: Instant::ZERO,
            network: None,
            complete: false,
            failure: None,
            end: None,
            started: None,
            resumed: false,
        };
        let result = driver.run(tell);
        if result.is_err() {
            driver.signal(Signal::TERM);
        }
        if let Some(stop) = stop {
            stop.wake();
        }
        result
    })
}

struct Driver<'a> {
    receiver: Receiver,
    sockets: ReceiverSockets,
    runtime: &'a Runtime,
    writer: WriteThread,
    consumer: Option<Box<dyn Consumer>>,
    state: Consumption,
    /// The share of datagrams that is dropped on purpose.
    loss: f64,
    dice: StdRng,
    /// When it was told what is waited for.
    told_at: Option<Instant>,
    /// When the groups are joined again.
    join_at: Instant,
    /// Why nothing can be heard, or the newest datagram did not get out.
    network: Option<net::Error>,
    /// The verified end was reached.
    complete: bool,
    failure: Option<Error>,
    end: Option<ReceiverEnd>,
    started: Option<Instant>,
    resumed: bool,
}

/// How far the consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumption {
    /// It takes blocks.
    Running,
    /// A command closed its input at this moment. It will say by its exit status why.
    Closed(Instant),
    /// The sink has the whole stream, and does what is left.
    Committing,
    /// So has a command, and is to end.
    Exiting,
    /// A command was told to stop at this moment.
    Stopping(Instant),
    /// Nothing of it is at work any more.
    Ended,
}

impl Driver<'_> {
    fn run(&mut self, tell: &mut dyn FnMut(CatchEvent<'_>)) -> Result<CatchReport, Error> {
        let mut buffers = Buffers::default();
        loop {
            // First of all: what is said of sessions later is to be an answer to this.
            self.join(self.now(), tell)?;
            self.tell_waiting(self.now(), tell);
            let more = self.receive(&mut buffers)?;
            let now = self.now();
            self.poll_stop(now);
            if self.receiver.poll_timeout().is_some_and(|at| at <= now) {
                self.receiver.handle_timeout(now);
            }
            self.deliver(now);
            self.poll_consumer(now);
            self.send(now);
            self.tell_events(now, tell);
            if self.receiver.is_done() && self.is_settled(now) {
                return self.report();
            }
            tell(CatchEvent::Tick(&self.receiver));
            if !more {
                self.wait()?;
            }
        }
    }

    fn now(&self) -> Instant {
        self.runtime.clock.now()
    }

    /// Joins the groups where they are not joined: at the start, and whenever the network changes.
    fn join(&mut self, now: Instant, tell: &mut dyn FnMut(CatchEvent<'_>)) -> Result<(), Error> {
        if now < self.join_at {
            return Ok(());
        }
        self.join_at = now + JOIN_EVERY;
        match self.sockets.join() {
            Ok(true) => tell(CatchEvent::Listening(&self.sockets.joined())),
            Ok(false) => return Ok(()),
            Err(error) if error.may_pass() => {
                tell(CatchEvent::NoNetwork(&error));
                self.network = Some(error);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        self.network = None;
        Ok(())
    }

    fn receive(&mut self, buffers: &mut Buffers) -> Result<bool, Error> {
        let (receiver, dice, clock) = (&mut self.receiver, &mut self.dice, &self.runtime.clock);
        let loss = self.loss;
        let mut more = false;
        for socket in self.sockets.all() {
            for batch in 1..=BATCHES_MAX {
                let now = clock.now();
                let some = socket.receive(buffers, |from, datagram| {
                    if loss == 0.0 || !dice.random_bool(loss) {
                        receiver.handle_datagram(now, from, datagram);
                    }
                });
                let any = Ipv4Addr::UNSPECIFIED.into();
                match some.map_err(|e| net::Error::socket("cannot receive", any, e)) {
                    Ok(true) => {}
                    Err(error) if !error.may_pass() => return Err(error.into()),
                    Ok(false) | Err(_) => break,
                }
                more |= batch == BATCHES_MAX;
            }
        }
        Ok(more)
    }

    fn poll_stop(&mut self, now: Instant) {
        if let Some(signal) = self.runtime.stopped()
            && self.failure.is_none()
        {
            self.failure = Some(Error::Interrupted(signal));
            self.receiver.leave(now, LeaveReason::Interrupted);
        }
    }

    fn is_command(&mut self) -> bool {
        let consumer = self.consumer.as_mut();
        consumer.is_some_and(|consumer| consumer.command().is_some())
    }

    /// Hands blocks to the writer and takes its answers.
    fn deliver(&mut self, now: Instant) {
        while let Some(done) = self.writer.poll() {
            match done {
                Done::Written(buf) => self.receiver.recycle(buf),
                Done::Failed(_) if self.is_command() => {
                    if self.state == Consumption::Running {
                        self.state = Consumption::Closed(now);
                    }
                }
                Done::Failed(error) => self.fail_output(now, error),
                Done::Finished(Ok(())) if self.state == Consumption::Committing => {
                    self.receiver.consumed(now);
                    self.state = Consumption::Ended;
                }
                // What a command has to say comes from its exit status.
                Done::Finished(Ok(())) => {}
                Done::Finished(Err(error)) => {
                    self.fail(now, (error, LeaveReason::Local));
                    self.state = Consumption::Ended;
                }
            }
        }
        while self.writer.has_room()
            && self.state == Consumption::Running
            && self.failure.is_none()
            && let Some(delivery) = self.receiver.pull(now)
        {
            self.writer.write(delivery);
        }
        let written = self.complete && self.writer.is_idle() && self.failure.is_none();
        if written && self.state == Consumption::Running {
            self.state = match self.is_command() {
                true => Consumption::Exiting,
                false => Consumption::Committing,
            };
            self.writer.finish();
        }
    }

    /// Notices how a command ended; one that stopped reading ends soon, or is stopped.
    fn poll_consumer(&mut self, now: Instant) {
        if self.state == Consumption::Ended {
            return;
        }
        let Some(command) = self.consumer.as_mut().and_then(|c| c.command()) else {
            return;
        };
        if let Some(ended) = command.ended() {
            let state = std::mem::replace(&mut self.state, Consumption::Ended);
            match (state, outcome(ended)) {
                // Stopped by us: that is not why the session ended.
                (Consumption::Stopping(_), _) => {}
                (Consumption::Exiting, Ok(())) => self.receiver.consumed(now),
                (_, Ok(())) => self.fail(now, (Error::ConsumerEnded, LeaveReason::Consumer)),
                (_, Err(failure)) => self.fail(now, failure),
            }
        } else if let Consumption::Closed(since) = self.state
            && now.since(since) >= EXIT_MAX
        {
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

    fn fail(&mut self, now: Instant, (error, reason): ConsumerFailure) {
        self.failure.get_or_insert(error);
        self.receiver.leave(now, reason);
    }

    /// Whether the consumer is out of the way, now that the session is over. One that has the whole
    /// stream may take its time; any other must not take what it has for the whole.
    fn is_settled(&mut self, now: Instant) -> bool {
        let is_command = self.is_command();
        match self.state {
            Consumption::Ended => return true,
            Consumption::Committing => return false,
            Consumption::Exiting if self.failure.is_none() => return false,
            _ if !is_command => return true,
            Consumption::Stopping(since) => {
                if now.since(since) >= STOP_MAX {
                    self.signal(Signal::KILL);
                }
            }
            Consumption::Running | Consumption::Closed(_) | Consumption::Exiting => {
                self.signal(Signal::TERM);
                self.state = Consumption::Stopping(now);
            }
        }
        false
    }

    /// Sends a signal to a command that still runs.
    fn signal(&mut self, signal: Signal) {
        if let Some(command) = self.consumer.as_mut().and_then(|c| c.command()) {
            command.signal(signal);
        }
    }

    fn send(&mut self, now: Instant) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.receiver.poll_transmit(now, &mut buf) {
            let Target::Peer(to) = transmit.to else {
                continue;
            };
            // What finds no room is lost like any datagram, and said again. So is what cannot be
            // sent at all: an address that an attacker made up must not end us, and a sender that
            // cannot be reached is noticed by its silence.
            match self
                .sockets
                .send(to, &buf)
                .map_err(|e| send_error(to, buf.len(), e))
            {
                Ok(()) => self.network = None,
                Err(error @ net::Error::Firewall { .. }) => self.network = Some(error),
                Err(_) => {}
            }
        }
    }

    fn tell_events(&mut self, now: Instant, tell: &mut dyn FnMut(CatchEvent<'_>)) {
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
                    self.deliver(now);
                }
                ReceiverEvent::Ended(end) => self.end = Some(end.clone()),
                _ => {}
            }
            tell(CatchEvent::Event(&event));
        }
    }

    /// Whether what this sender sends can come to us.
    fn check_path(
        &mut self,
        from: SocketAddr,
        datagram: usize,
        tell: &mut dyn FnMut(CatchEvent<'_>),
    ) {
        let buffer = self.sockets.receive_buffer();
        if buffer < RECEIVE_BUFFER_SMALL {
            tell(CatchEvent::SmallBuffer(buffer));
        }
        let datagram = datagram + ip_udp_len(from);
        if let Some(mtu) = mtu_to(from).filter(|&mtu| mtu < datagram) {
            tell(CatchEvent::Mtu { datagram, mtu });
        }
    }

    fn tell_waiting(&mut self, now: Instant, tell: &mut dyn FnMut(CatchEvent<'_>)) {
        let due = |at: Instant| now.since(at) >= WAITING_EVERY;
        if self.told_at.is_none_or(due)
            && let Some(awaits) = self.receiver.awaits()
        {
            self.told_at = Some(now);
            tell(CatchEvent::Waiting(awaits));
        }
    }

    fn report(&mut self) -> Result<CatchReport, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let end = self.end.clone().unwrap_or(ReceiverEnd::NoSender);
        if end == ReceiverEnd::NoSender
            && let Some(error) = self.network.take()
        {
            return Err(error.into());
        }
        Ok(CatchReport {
            end,
            stats: self.receiver.stats(),
            resumed: self.resumed,
            elapsed: self
                .started
                .map_or(Duration::ZERO, |at| self.now().since(at)),
        })
    }

    /// Sleeps until something can be done.
    fn wait(&mut self) -> Result<(), Error> {
        let wake = self.runtime.wake();
        let now = self.now();
        let mut fds = vec![PollFd::new(wake, PollFlags::IN)];
        let watched = match self.state {
            Consumption::Committing | Consumption::Ended => None,
            _ => self.consumer.as_ref().map(|consumer| consumer.poll_fd()),
        };
        fds.extend(watched);
        let watched = fds.len() == 2;
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
        let gone = watched && fds[1].revents().intersects(lost) && !self.is_command();
        if gone && self.failure.is_none() && self.end.is_none() {
            self.fail_output(now, io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }
}
