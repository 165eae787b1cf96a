//! The sender's driver: input, sockets and clock around [`Sender`].

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::mpsc::{Receiver, Sender as Channel, TryRecvError, channel, sync_channel};
use std::thread;

use rustix::event::{PollFd, PollFlags};

mod passes;
mod report;
mod source;

use passes::{Next, Pass, Series};
pub use report::{News, Report};
use source::{Chunk, Tap};
pub use source::{Feed, Make};

use super::{Control, Error};
use crate::crypt::kdf;
use crate::net::{self, Buffers, Destination, Link, NetConfig, ip_udp_len, send_error};
use crate::proto::config::{k_for, symbol_len};
use crate::proto::limits::K_DEFAULT;
use crate::proto::{Sender, SenderConfig, SenderEnd, SenderEvent, Target};
use crate::sys::clock::Clock;
use crate::sys::signals::SignalWatch;
use crate::sys::start_signal::StartSignal;
use crate::sys::wait;
use crate::sys::wake::Wake;
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

/// What is waited for is told this often.
const WAITING_EVERY: Duration = Duration::from_secs(1);

/// Where the stream comes from, and who may say that it is time to send it.
pub struct Source<'a> {
    /// The data.
    pub feed: Feed<'a>,
    /// Who starts the session before its conditions hold.
    pub starter: StartSignal,
    /// Wait for receivers again when all have the stream, until a signal comes.
    pub repeat: bool,
}

/// Sends `source` to all receivers that join, and returns when each has confirmed or is given up;
/// if `config` says that the series goes on, sends it again as long as receivers wait for that. The
/// sizes of blocks, symbols and headers in `config` are set as the way asks for.
///
/// A source that is to be repeated ends by a signal: without a report when nothing was under way,
/// as [`News::RoundOver`] has told all there is.
///
/// # Errors
/// Any [`Error`]; receivers were told to give up first, if there are any and it can still be said.
pub fn cast(
    mut config: SenderConfig,
    net: &NetConfig,
    way: &Destination,
    source: Source<'_>,
    control: Control<'_>,
    tell: &mut dyn FnMut(News<'_>),
) -> Result<Option<Report>, Error> {
    let Source {
        feed,
        starter,
        repeat,
    } = source;
    let mut tap = Tap::new(feed, repeat, control)?;
    let link = net.sender(way).inspect_err(|_| tap.close())?;
    config.ip_udp_len = ip_udp_len(link.target);
    config.symbol_len = symbol_len(link.mtu, config.ip_udp_len);
    // Of many symbols the unlucky are a smaller share, and there is no second chance.
    config.k = match config.one_way {
        Some(_) => K_DEFAULT,
        None => k_for(config.symbol_len),
    };
    let clock = Clock::new();
    // A burst lasts half a millisecond on a gigabit link: the system must not wake us later than it
    // can. Where it will not have that, the rate is kept with later bursts.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(TIMER_SLACK_NS));
    let mut series = Series::new(&config, tap.can_rewind(), repeat);
    let setting = Setting {
        link: &link,
        starter: &starter,
        clock: &clock,
        control,
        repeat,
    };
    loop {
        match setting.cast(config, &mut tap, tell) {
            Ok(pass) => match series.take(pass, tell) {
                Next::Pass(next) => config = *next,
                Next::End(report) => return Ok(report),
            },
            Err(Error::Changed) if repeat => config = series.changed(tell),
            Err(error) => {
                series.broken(tell);
                return Err(error);
            }
        }
        tap.rewind().inspect_err(|_| series.broken(tell))?;
    }
}

/// What all sessions of a series share.
struct Setting<'a> {
    link: &'a Link,
    starter: &'a StartSignal,
    clock: &'a Clock,
    control: Control<'a>,
    repeat: bool,
}

impl Setting<'_> {
    /// One session, from the first ANNOUNCE to its end.
    fn cast(
        &self,
        config: SenderConfig,
        tap: &mut Tap<'_>,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Result<Pass, Error> {
        let (control, number) = (self.control, config.series.number);
        let stop = tap.stop();
        let (go, may_go) = channel();
        let (chunks_in, chunks) = sync_channel(READS_MAX);
        let (spare, spare_out) = channel();
        let info = [b"sealcast pass".as_slice(), &number.to_be_bytes()].concat();
        let seed = *kdf::derive(&control.seed, &[], &info).expose();
        thread::scope(|scope| {
            thread::Builder::new()
                .name("sc-read".into())
                .spawn_scoped(scope, move || {
                    let pipes = (&chunks_in, &spare_out);
                    tap.run(&may_go, pipes, control);
                })
                .map_err(Error::system("cannot start a thread"))?;
            let mut driver = Driver {
                sender: Sender::new(config, seed, self.clock.now()),
                link: self.link,
                starter: self.starter,
                told_at: None,
                finishing_since: None,
                clock: self.clock,
                pending: None,
                buf: Vec::new(),
                chunk: None,
                finished: false,
                failure: None,
                end: None,
                started: None,
                go,
                repeat: self.repeat,
                stopped: false,
            };
            if number > 0 {
                // What was asked for before was not meant for this session.
                self.starter.requested();
            }
            tell(News::Announced {
                session: driver.sender.session(),
                to: self.link.target,
                mtu: self.link.mtu,
                pass: number + 1,
            });
            let result = driver.run(&chunks, &spare, control, tell);
            drop(chunks);
            stop.wake();
            Ok(Pass {
                report: result?,
                series: driver.sender.series(),
                end: driver.sender.stream_end(),
                waiting: driver.sender.waiting_for_next(self.clock.now()),
            })
        })
    }
}

fn is_firewall(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

struct Driver<'a> {
    sender: Sender,
    link: &'a Link,
    starter: &'a StartSignal,
    /// When it was told what is waited for.
    told_at: Option<Instant>,
    /// Since when only consumers have something to do.
    finishing_since: Option<Instant>,
    clock: &'a Clock,
    /// Datagrams that the socket had no room for: where they go, their length, bytes that left.
    pending: Option<(SocketAddr, usize, usize)>,
    /// The newest datagrams.
    buf: Vec<u8>,
    /// Data that the sender had no room for, from this place on.
    chunk: Option<(Vec<u8>, usize)>,
    finished: bool,
    failure: Option<Error>,
    end: Option<SenderEnd>,
    started: Option<Instant>,
    /// Tells the reading thread that the session has started.
    go: Channel<()>,
    repeat: bool,
    /// A signal came while nothing was under way.
    stopped: bool,
}

impl Driver<'_> {
    fn run(
        &mut self,
        chunks: &Receiver<Chunk>,
        spare: &Channel<Vec<u8>>,
        control: Control<'_>,
        tell: &mut dyn FnMut(News<'_>),
    ) -> Result<Report, Error> {
        let mut buffers = Buffers::default();
        loop {
            let now = self.clock.now();
            self.notice_signal(control.watch, now);
            self.take_input(chunks, spare, now, tell);
            let sender = &mut self.sender;
            self.link
                .port
                .receive(&mut buffers, |from, datagram| {
                    sender.handle_datagram(now, from, datagram);
                })
                .map_err(|e| net::Error::socket("cannot receive", self.link.target.ip(), e))?;
            if self.sender.poll_timeout().is_some_and(|at| at <= now) {
                self.sender.handle_timeout(now);
            }
            self.see_to_start(now, tell);
            self.see_to_end(now, tell);
            let more = match self.send() {
                Ok(more) => more,
                Err(error) => self.give_up(now, error)?,
            };
            self.tell_events(now, tell);
            if self.sender.is_done() && self.pending.is_none() {
                return self.report();
            }
            tell(News::Tick(&self.sender));
            if more {
                continue;
            }
            self.sleep(control.wake)?;
        }
    }

    fn notice_signal(&mut self, watch: &SignalWatch, now: Instant) {
        if let Some(signal) = watch.caught()
            && !matches!(self.failure, Some(Error::Interrupted(_)))
            && self.end.is_none()
        {
            // With nothing under way, it is how a source ends that is repeated.
            let idle = self.repeat && (self.sender.is_waiting() || self.stopped);
            self.stopped = idle;
            if !idle {
                self.failure = Some(Error::Interrupted(signal));
            }
            self.sender.abort(now, AbortReason::Interrupted, "");
        }
    }

    /// Before the start: does what people ask for, and tells them what is waited for.
    fn see_to_start(&mut self, now: Instant, tell: &mut dyn FnMut(News<'_>)) {
        let due = |at: Instant| now.since(at) >= WAITING_EVERY;
        let asked = self.sender.is_waiting() && self.starter.requested();
        if asked && !self.sender.start_now(now) {
            tell(News::NobodyToStart);
        }
        if self.told_at.is_none_or(due)
            && let Some(waiting) = self.sender.waiting()
        {
            self.told_at = Some(now);
            tell(News::Waiting {
                waiting: &waiting,
                starts_in: waiting.starts_at.map(|at| at.since(now)),
                enter: self.starter.terminal().is_some(),
            });
        }
    }

    /// Near the end: says so when nothing is left to do but for consumers.
    fn see_to_end(&mut self, now: Instant, tell: &mut dyn FnMut(News<'_>)) {
        let Some(receivers) = self.sender.committing() else {
            self.finishing_since = None;
            return;
        };
        let since = *self.finishing_since.get_or_insert(now);
        if now.since(since) >= WAITING_EVERY {
            tell(News::Finishing(receivers));
        }
    }

    fn take_input(
        &mut self,
        chunks: &Receiver<Chunk>,
        spare: &Channel<Vec<u8>>,
        now: Instant,
        tell: &mut dyn FnMut(News<'_>),
    ) {
        while !self.finished {
            if let Some((chunk, from)) = &mut self.chunk {
                *from += self.sender.push(&chunk[*from..]);
                if *from < chunk.len() {
                    return;
                }
                if let Some((chunk, _)) = self.chunk.take() {
                    // The reader may have ended already.
                    let _ = spare.send(chunk);
                }
            }
            match chunks.try_recv() {
                Ok(Chunk::Data(chunk)) => self.chunk = Some((chunk, 0)),
                Ok(Chunk::End) => {
                    self.finished = true;
                    self.sender.finish();
                }
                Ok(Chunk::Failed(error)) => {
                    self.finished = true;
                    let (reason, why) = match &error {
                        Error::Producer(status) => (AbortReason::Producer, status.clone()),
                        Error::Input(e) => (AbortReason::Input, e.to_string()),
                        other => (AbortReason::Input, other.to_string()),
                    };
                    self.sender.abort_at_start(now, reason, &why);
                    tell(News::Failed(&error));
                    self.failure.get_or_insert(error);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    /// Sends what there is to send; `true` when there may be more at once.
    fn send(&mut self) -> Result<bool, Error> {
        for _ in 0..SENDS_MAX {
            if self.pending.is_none() {
                let now = self.clock.now();
                let Some(transmit) = self.sender.poll_transmit(now, &mut self.buf) else {
                    return Ok(false);
                };
                let to = match transmit.to {
                    Target::Group => self.link.target,
                    Target::Peer(peer) => peer,
                };
                self.pending = Some((to, transmit.segment, 0));
            }
            let Some((to, segment, sent)) = &mut self.pending else {
                return Ok(false);
            };
            *sent += match self.link.port.send(*to, &self.buf[*sent..], *segment) {
                Ok(n) => n,
                // Whoever asked from an address that cannot be answered does not stop the others.
                Err(_) if *to != self.link.target => self.buf.len() - *sent,
                // A firewall of ours that drops now and then, as with a full table of connections,
                // is a loss like any; one that lets nothing out shows itself before the start.
                Err(e) if self.started.is_some() && is_firewall(&e) => self.buf.len() - *sent,
                Err(e) => return Err(send_error(*to, *segment, e).into()),
            };
            if *sent < self.buf.len() {
                return Ok(false);
            }
            if *to == self.link.target {
                self.sender.on_transmitted(self.clock.now());
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

    fn tell_events(&mut self, now: Instant, tell: &mut dyn FnMut(News<'_>)) {
        while let Some(event) = self.sender.poll_event() {
            match event {
                SenderEvent::Started { .. } => {
                    self.started = Some(now);
                    // Who reads already does not listen.
                    let _ = self.go.send(());
                }
                SenderEvent::Ended(end) => self.end = Some(end),
                _ => {}
            }
            tell(News::Event(&event));
        }
    }

    fn report(&mut self) -> Result<Report, Error> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        let end = self.end.unwrap_or(SenderEnd::AllLost);
        if end == SenderEnd::Aborted(AbortReason::Changed) {
            return Err(Error::Changed);
        }
        Ok(Report {
            passes: 1,
            end,
            members: self.sender.members(),
            missing: self.sender.missing(),
            stats: self.sender.stats(),
            elapsed: self
                .started
                .map_or(Duration::ZERO, |at| self.clock.now().since(at)),
        })
    }

    fn sleep(&self, wake: &Wake) -> Result<(), Error> {
        let wanted = if self.pending.is_some() {
            PollFlags::IN | PollFlags::OUT
        } else {
            PollFlags::IN
        };
        let mut fds = vec![
            PollFd::new(&self.link.port, wanted),
            PollFd::new(wake, PollFlags::IN),
        ];
        if self.sender.is_waiting()
            && let Some(terminal) = self.starter.terminal()
        {
            fds.push(PollFd::from_borrowed_fd(terminal, PollFlags::IN));
        }
        let now = self.clock.now();
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
