//! The sender's driver: input, sockets and clock around [`Sender`].

use std::io;
use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, Sender as Channel, TryRecvError, channel, sync_channel};
use std::thread;

use rustix::event::{PollFd, PollFlags};

mod event;
mod passes;
mod source;

pub use event::{CastEvent, CastReport};
use passes::{AfterPass, PassOutcome, PassSequence};
pub use source::{BlockSource, CommandSource, InputSource, ReadSource};
use source::{Chunk, ReadThread};

use super::{Error, Runtime};
use crate::crypt::kdf;
use crate::net::{self, Buffers, Destination, Link, NetConfig, ip_udp_len, send_error};
use crate::proto::config::{k_for, symbol_len};
use crate::proto::limits::K_DEFAULT;
use crate::proto::{Sender, SenderConfig, SenderEnd, SenderEvent, Target, Transmit};
use crate::sys::start_signal::StartSignal;
use crate::sys::wait;
use crate::units::{Duration, Instant};
use crate::wire::AbortReason;

/// The system may wake us so much later than asked.
const TIMER_SLACK_NS: u64 = 1_000;
/// While it does so, we do not sleep for so short a time.
const SPIN_MAX: Duration = Duration::from_us(500);
/// Reads that may wait for the sender.
const READS_MAX: usize = 8;
/// Batches sent before the socket is looked at again.
const SENDS_MAX: usize = 4;

/// What is waited for is reported this often.
const WAITING_EVERY: Duration = Duration::from_secs(1);
/// The way out is looked for, or looked at, this often.
const LINK_CHECK_EVERY: Duration = Duration::from_secs(1);
/// That nothing gets out is told after this time: now and then a datagram may not.
const UNSENT_TOLD_AFTER: Duration = Duration::from_ms(500);

/// A cast: to which receivers, how, and when it starts.
#[derive(Debug)]
#[cfg_attr(not(feature = "exhaustive"), non_exhaustive)]
pub struct CastConfig {
    /// The session. The sizes of its blocks, symbols and headers are set as the network asks for.
    pub sender: SenderConfig,
    /// Where on the network the session is.
    pub net: NetConfig,
    /// How datagrams get to the receivers.
    pub destination: Destination,
    /// Starts the session before its conditions hold.
    pub start: StartSignal,
    /// Wait for receivers again when all have the stream, until the runtime is stopped.
    pub repeat: bool,
}

impl Default for CastConfig {
    /// One session to the default group, which starts when the conditions of `sender` hold.
    fn default() -> Self {
        Self {
            sender: SenderConfig::default(),
            net: NetConfig::default(),
            destination: Destination::default(),
            start: StartSignal::manual(),
            repeat: false,
        }
    }
}

/// Sends `source` to all receivers that join, and returns when each has confirmed or is given up;
/// if `config` says that the series goes on, sends it again as long as receivers wait for that.
/// `tell` hears what happens meanwhile.
///
/// A source that is to be repeated ends when the runtime is stopped: without a report when nothing
/// was under way, as [`CastEvent::RoundOver`] has told all there is.
///
/// # Errors
/// Any [`Error`]; receivers were told to give up first, if there are any and it can still be said.
pub fn cast(
    config: &CastConfig,
    source: &mut dyn BlockSource,
    runtime: &Runtime,
    tell: &mut dyn FnMut(CastEvent<'_>),
) -> Result<Option<CastReport>, Error> {
    let mut sender = config.sender.clone();
    let begun = runtime.clock.now();
    let link = match find_link(config, runtime, tell) {
        Ok(link) => link,
        Err(error) => {
            source.close();
            return match error {
                // It is how a source ends that is repeated.
                Error::Interrupted(_) if config.repeat => Ok(None),
                error => Err(error),
            };
        }
    };
    let waited = runtime.clock.now().since(begun);
    let left = |limit: Duration| limit.as_us().saturating_sub(waited.as_us());
    sender.start_timeout = sender
        .start_timeout
        .map(|limit| Duration::from_us(left(limit)));
    sender.ip_udp_len = ip_udp_len(link.target());
    sender.symbol_len = symbol_len(link.mtu, sender.ip_udp_len);
    // Of many symbols the unlucky are a smaller share, and there is no second chance.
    sender.k = match sender.one_way {
        Some(_) => K_DEFAULT,
        None => k_for(sender.symbol_len),
    };
    // A burst lasts half a millisecond on a gigabit link: the system must not wake us later than it
    // can. Where it will not have that, the rate is kept with later bursts.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS));
    let mut passes = PassSequence::new(&sender, source.can_rewind(), config.repeat);
    let session = SessionContext {
        link: &link,
        start: &config.start,
        runtime,
        repeat: config.repeat,
    };
    loop {
        match session.run(sender, source, tell) {
            Ok(pass) => match passes.finish_pass(pass, tell) {
                AfterPass::Pass(next) => sender = *next,
                AfterPass::End(report) => return Ok(report),
            },
            Err(Error::Changed) if config.repeat => sender = passes.changed(tell),
            Err(error) => {
                passes.broken(tell);
                return Err(error);
            }
        }
        source.rewind().inspect_err(|_| passes.broken(tell))?;
    }
}

/// Finds the way out, which may not be there yet: the time that it takes is of the start timeout.
fn find_link(
    config: &CastConfig,
    runtime: &Runtime,
    tell: &mut dyn FnMut(CastEvent<'_>),
) -> Result<Link, Error> {
    let now = runtime.clock.now();
    let until = config.sender.start_timeout.map(|limit| now + limit);
    loop {
        let error = match config.net.sender(&config.destination) {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        let now = runtime.clock.now();
        if !error.may_pass() || until.is_some_and(|until| now >= until) {
            return Err(error.into());
        }
        tell(CastEvent::NoNetwork(&error));
        let next = now + LINK_CHECK_EVERY;
        let next = until.map_or(next, |until| next.min(until));
        while runtime.clock.now() < next {
            if let Some(signal) = runtime.stopped() {
                return Err(Error::Interrupted(signal));
            }
            let mut fds = [PollFd::new(runtime.wake(), PollFlags::IN)];
            wait::wait(&mut fds, runtime.clock.now(), Some(next))
                .map_err(Error::system("cannot wait"))?;
        }
    }
}

/// What all sessions of a series share.
struct SessionContext<'a> {
    link: &'a Link,
    start: &'a StartSignal,
    runtime: &'a Runtime,
    repeat: bool,
}

impl SessionContext<'_> {
    /// One session, from the first ANNOUNCE to its end.
    fn run(
        &self,
        config: SenderConfig,
        source: &mut dyn BlockSource,
        tell: &mut dyn FnMut(CastEvent<'_>),
    ) -> Result<PassOutcome, Error> {
        let number = config.series.number;
        let stop = source.stopper();
        let waits = self.repeat || source.waits_for_start();
        let (go, started) = channel();
        let (chunks_in, chunks) = sync_channel(READS_MAX);
        let (free, free_out) = channel();
        let thread = ReadThread {
            chunks: chunks_in,
            free: free_out,
            started,
            wake: self.runtime.wake().clone(),
        };
        let info = [b"sealcast pass".as_slice(), &number.to_be_bytes()].concat();
        let seed = *kdf::derive(&self.runtime.seed, &[], &info).expose();
        thread::scope(|scope| {
            thread::Builder::new()
                .name("sc-read".into())
                .spawn_scoped(scope, move || thread.run(source, waits))
                .map_err(Error::system("cannot start a thread"))?;
            if number > 0 {
                // What was asked for before was not meant for this session.
                self.start.requested();
            }
            let sender = Sender::new(config, seed, self.runtime.clock.now());
            tell(CastEvent::Announced {
                session: sender.session(),
                to: self.link.target(),
                mtu: self.link.mtu,
                answer_port: self.link.answer_port(),
                pass: number + 1,
            });
            let mut driver = Driver {
                sender,
                context: self,
                chunks,
                free,
                go,
                told_at: None,
                committing_since: None,
                pending: None,
                buf: Vec::new(),
                chunk: None,
                finished: false,
                failure: None,
                unsent: None,
                unsent_told: false,
                link_check_at: Instant::ZERO,
                end: None,
                started: None,
                stopped_idle: false,
            };
            let result = driver.run(tell);
            let Driver { sender, .. } = driver;
            if let Some(stop) = stop {
                stop.wake();
            }
            Ok(PassOutcome {
                report: result?,
                series: sender.series(),
                end: sender.stream_end(),
                waiting: sender.waiting_for_next(self.runtime.clock.now()),
            })
        })
    }
}

struct Driver<'a> {
    sender: Sender,
    context: &'a SessionContext<'a>,
    /// What the reading thread has read.
    chunks: Receiver<Chunk>,
    /// Buffers for it.
    free: Channel<Vec<u8>>,
    /// Tells it that the session has started.
    go: Channel<()>,
    /// When it was told what is waited for.
    told_at: Option<Instant>,
    /// Since when only consumers have something to do.
    committing_since: Option<Instant>,
    /// Datagrams that the socket had no room for, and how many bytes of them have left.
    pending: Option<(Transmit, usize)>,
    /// The newest datagrams.
    buf: Vec<u8>,
    /// Data that the sender had no room for, from this place on.
    chunk: Option<(Vec<u8>, usize)>,
    /// The reading thread has told how the stream ended.
    finished: bool,
    failure: Option<Error>,
    /// Why nothing to all gets out, and since when, if the newest datagram did not.
    unsent: Option<(net::Error, Instant)>,
    /// That nothing gets out was told.
    unsent_told: bool,
    /// When the way out is looked at again.
    link_check_at: Instant,
    end: Option<SenderEnd>,
    started: Option<Instant>,
    /// It was stopped while nothing was under way.
    stopped_idle: bool,
}

impl Driver<'_> {
    fn run(&mut self, tell: &mut dyn FnMut(CastEvent<'_>)) -> Result<CastReport, Error> {
        let mut buffers = Buffers::default();
        let link = self.context.link;
        loop {
            let now = self.now();
            self.poll_stop(now);
            self.take_input(now, tell);
            self.check_link(now, tell);
            let sender = &mut self.sender;
            let received = link.socket.receive(&mut buffers, |from, datagram| {
                sender.handle_datagram(now, from, datagram);
            });
            if let Err(e) = received {
                let error = net::Error::socket("cannot receive", link.target().ip(), e);
                if !error.may_pass() {
                    return Err(error.into());
                }
            }
            if self.sender.poll_timeout().is_some_and(|at| at <= now) {
                self.sender.handle_timeout(now);
            }
            self.check_start(now, tell);
            self.check_end(now, tell);
            let more = match self.send() {
                Ok(more) => more,
                Err(error) => self.give_up(now, error)?,
            };
            self.tell_events(now, tell);
            if self.sender.is_done() && self.pending.is_none() {
                return self.report();
            }
            tell(CastEvent::Tick(&self.sender));
            if more {
                continue;
            }
            self.wait()?;
        }
    }

    fn now(&self) -> Instant {
        self.context.runtime.clock.now()
    }

    fn poll_stop(&mut self, now: Instant) {
        if let Some(signal) = self.context.runtime.stopped()
            && !matches!(self.failure, Some(Error::Interrupted(_)))
            && self.end.is_none()
        {
            // With nothing under way, it is how a source ends that is repeated.
            let idle = self.context.repeat && (self.sender.is_waiting() || self.stopped_idle);
            self.stopped_idle = idle;
            if !idle {
                self.failure = Some(Error::Interrupted(signal));
            }
            self.sender.abort(now, AbortReason::Interrupted, "");
        }
    }

    /// Before the start: starts when a person asks for it, and tells what is waited for.
    fn check_start(&mut self, now: Instant, tell: &mut dyn FnMut(CastEvent<'_>)) {
        let due = |at: Instant| now.since(at) >= WAITING_EVERY;
        let asked = self.sender.is_waiting() && self.context.start.requested();
        if asked && !self.sender.start_now(now) {
            tell(CastEvent::NobodyToStart);
        }
        if self.told_at.is_none_or(due)
            && let Some(waiting) = self.sender.waiting()
        {
            self.told_at = Some(now);
            tell(CastEvent::Waiting {
                waiting: &waiting,
                starts_in: waiting.starts_at.map(|at| at.since(now)),
                enter: self.context.start.terminal().is_some(),
            });
        }
    }

    /// Near the end: says so when nothing is left to do but for consumers.
    fn check_end(&mut self, now: Instant, tell: &mut dyn FnMut(CastEvent<'_>)) {
        let Some(receivers) = self.sender.committing() else {
            self.committing_since = None;
            return;
        };
        let since = *self.committing_since.get_or_insert(now);
        if now.since(since) >= WAITING_EVERY {
            tell(CastEvent::Finishing(receivers));
        }
    }

    fn take_input(&mut self, now: Instant, tell: &mut dyn FnMut(CastEvent<'_>)) {
        while !self.finished {
            if let Some((chunk, from)) = &mut self.chunk {
                *from += self.sender.push(&chunk[*from..]);
                if *from < chunk.len() {
                    return;
                }
                if let Some((chunk, _)) = self.chunk.take() {
                    // The reader may have ended already.
                    let _ = self.free.send(chunk);
                }
            }
            match self.chunks.try_recv() {
                Ok(Chunk::Data(chunk)) => self.chunk = Some((chunk, 0)),
                Ok(Chunk::End) => {
                    self.finished = true;
                    self.sender.finish();
                }
                Ok(Chunk::Failed(error)) => self.fail_input(now, error, tell),
                // The reading thread panicked, which the scope passes on once the session has
                // ended.
                Err(TryRecvError::Disconnected) => {
                    let error = Error::Input(io::Error::other("the source panicked"));
                    self.fail_input(now, error, tell);
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// The stream is broken: tells the receivers as soon as they are there.
    fn fail_input(&mut self, now: Instant, error: Error, tell: &mut dyn FnMut(CastEvent<'_>)) {
        self.finished = true;
        let (reason, why) = match &error {
            Error::Producer(status) => (AbortReason::Producer, status.clone()),
            Error::Input(e) => (AbortReason::Input, e.to_string()),
            other => (AbortReason::Input, other.to_string()),
        };
        self.sender.abort_at_start(now, reason, &why);
        tell(CastEvent::Failed(&error));
        self.failure.get_or_insert(error);
    }

    /// Looks whether the way out is another, and tells whether there is one.
    fn check_link(&mut self, now: Instant, tell: &mut dyn FnMut(CastEvent<'_>)) {
        if now >= self.link_check_at {
            self.link_check_at = now + LINK_CHECK_EVERY;
            self.context.link.refresh();
        }
        match &self.unsent {
            Some((error, since)) if !self.unsent_told && now.since(*since) >= UNSENT_TOLD_AFTER => {
                tell(CastEvent::Unsent(error));
            }
            None if self.unsent_told => tell(CastEvent::SentAgain),
            Some(_) | None => return,
        }
        self.unsent_told = self.unsent.is_some();
    }

    /// What was to go to all did not get out. An interface or a route may come back: until then it
    /// is lost like any datagram. So is what a firewall of ours drops now and then, as with a full
    /// table of connections; one that lets nothing out shows itself before the start.
    fn on_unsent(&mut self, error: net::Error) -> Result<(), Error> {
        let firewall = matches!(error, net::Error::Firewall { .. });
        let passes = error.may_pass() || firewall && self.started.is_some();
        if !passes {
            return Err(error.into());
        }
        let since = self.unsent.take().map(|(_, since)| since);
        self.unsent = Some((error, since.unwrap_or_else(|| self.now())));
        Ok(())
    }

    /// Sends what there is to send; `true` when there may be more at once.
    fn send(&mut self) -> Result<bool, Error> {
        let link = self.context.link;
        for _ in 0..SENDS_MAX {
            if self.pending.is_none() {
                let now = self.now();
                let Some(transmit) = self.sender.poll_transmit(now, &mut self.buf) else {
                    return Ok(false);
                };
                self.pending = Some((transmit, 0));
            }
            let Some((transmit, sent)) = self.pending else {
                return Ok(false);
            };
            let (to, to_all) = match transmit.to {
                Target::Group => (link.target(), true),
                Target::Peer(peer) => (peer, false),
            };
            let sent = match link.socket.send(to, &self.buf[sent..], transmit.segment) {
                Ok(n) => {
                    self.unsent = self.unsent.take().filter(|_| n == 0 || !to_all);
                    sent + n
                }
                Err(e) => {
                    // A peer whose address cannot be answered does not stop the others.
                    if to_all {
                        self.on_unsent(send_error(to, transmit.segment, e))?;
                    }
                    self.buf.len()
                }
            };
            self.pending = Some((transmit, sent));
            if sent < self.buf.len() {
                return Ok(false);
            }
            if to_all {
                self.sender.on_transmitted(self.now());
            }
            self.pending = None;
        }
        Ok(true)
    }

    /// Tells the receivers of a failure of ours, if they were not told of one already; `true` as
    /// there is something to send.
    fn give_up(&mut self, now: Instant, error: Error) -> Result<bool, Error> {
        if let Some(first) = self.failure.take() {
            return Err(first);
        }
        self.pending = None;
        self.sender
            .abort(now, AbortReason::Local, &error.to_string());
        self.failure = Some(error);
        Ok(true)
    }

    fn tell_events(&mut self, now: Instant, tell: &mut dyn FnMut(CastEvent<'_>)) {
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Started { .. } => {
                    self.started = Some(now);
                    // The reading thread may have begun already, and not listen.
                    let _ = self.go.send(());
                }
                SenderEvent::Ended(end) => self.end = Some(end),
                _ => {}
            }
            tell(CastEvent::Event(&event));
        }
    }

    fn report(&mut self) -> Result<CastReport, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let end = self.end.unwrap_or(SenderEnd::AllLost);
        if matches!(end, SenderEnd::AllLost | SenderEnd::NoReceivers)
            && let Some((error, _)) = self.unsent.take().filter(|_| self.unsent_told)
        {
            return Err(error.into());
        }
        if end == SenderEnd::Aborted(AbortReason::Changed) {
            return Err(Error::Changed);
        }
        Ok(CastReport {
            passes: 1,
            end,
            members: self.sender.members(),
            missing: self.sender.missing(),
            stats: self.sender.stats(),
            elapsed: self
                .started
                .map_or(Duration::ZERO, |at| self.now().since(at)),
        })
    }

    /// Sleeps until something can be done.
    fn wait(&self) -> Result<(), Error> {
        let wake = self.context.runtime.wake();
        let wanted = if self.pending.is_some() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let mut fds = vec![
            PollFd::new(&self.context.link.socket, wanted),
            PollFd::new(wake, PollFlags::IN),
        ];
        if self.sender.is_waiting()
            && let Some(terminal) = self.context.start.terminal()
        {
            fds.push(PollFd::from_borrowed_fd(terminal, PollFlags::IN));
        }
        let now = self.now();
        let mut until = self.sender.poll_timeout();
        if self.sender.is_late() && until.is_some_and(|at| at.since(now) < SPIN_MAX) {
            // The system gave us back too late the last time.
            until = Some(now);
        }
        wait::wait(&mut fds, now, until).map_err(Error::system("cannot wait"))?;
        if !fds[1].revents().is_empty() {
            wake.clear();
        }
        Ok(())
    }
}
