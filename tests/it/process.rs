//! Several sessions in one process, by the library's calls.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use sealcast::filters::{
    BlockSink, BlockSource, CastConfig, CastEvent, CatchConfig, CatchEvent, Error, ReadSource,
    Runtime, WriteSink, cast, catch,
};
use sealcast::proto::{ReceiverEnd, ReceiverEvent, SenderEnd, SenderEvent};
use sealcast::sys::wake::Wake;

use crate::support::ports;

const SIGTERM: i32 = 15;

/// Both sides of a session on loopback that so many receivers are to join, on the port with this
/// number of ours.
fn session(number: usize, receivers: u32) -> (CastConfig, CatchConfig) {
    let (mut sender, mut receiver) = (CastConfig::default(), CatchConfig::default());
    for net in [&mut sender.net, &mut receiver.net] {
        net.interface = Some("lo".into());
        net.port = (ports() + number) as u16;
    }
    sender.sender.receivers = receivers;
    (sender, receiver)
}

fn data(seed: u32, len: u32) -> Vec<u8> {
    (0..len)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13 ^ seed) as u8)
        .collect()
}

fn send(config: &CastConfig, stream: &[u8]) {
    let runtime = Runtime::new().unwrap();
    let report = cast(config, &mut ReadSource(stream), &runtime, &mut |_| {});
    assert_eq!(report.unwrap().unwrap().end, SenderEnd::Complete);
}

fn receive(config: &CatchConfig, stream: &[u8]) {
    let (runtime, mut caught) = (Runtime::new().unwrap(), Vec::new());
    let sink = Box::new(WriteSink(&mut caught));
    let report = catch(config, sink, &runtime, &mut |_| {}).unwrap();
    assert_eq!(report.end, ReceiverEnd::Complete);
    assert!(caught == stream);
}

#[test]
fn two_casts_and_three_catches_share_a_process() {
    let (one, other) = (data(1, 3_000_000), data(2, 2_000_000));
    let (first, first_receiver) = session(1, 2);
    let (second, second_receiver) = session(2, 1);
    thread::scope(|scope| {
        scope.spawn(|| receive(&first_receiver, &one));
        scope.spawn(|| receive(&first_receiver, &one));
        scope.spawn(|| receive(&second_receiver, &other));
        scope.spawn(|| send(&first, &one));
        scope.spawn(|| send(&second, &other));
    });
}

/// Panics at the first block.
struct Panics;

impl BlockSink for Panics {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        panic!("at the first block");
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        Ok(())
    }
}

#[test]
fn a_sink_that_panics_ends_its_session() {
    let stream = data(4, 2_000_000);
    let (sender, receiver) = session(6, 1);
    thread::scope(|scope| {
        let receiving = scope.spawn(|| {
            let runtime = Runtime::new().unwrap();
            catch(&receiver, Box::new(Panics), &runtime, &mut |_| {})
        });
        let runtime = Runtime::new().unwrap();
        let report = cast(&sender, &mut ReadSource(&stream[..]), &runtime, &mut |_| {});
        assert_eq!(report.unwrap().unwrap().end, SenderEnd::AllLost);
        assert!(receiving.join().is_err());
    });
}

impl BlockSource for Panics {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Error> {
        panic!("at the first block");
    }
}

#[test]
fn a_source_that_panics_ends_its_session() {
    let (sender, receiver) = session(7, 1);
    thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let runtime = Runtime::new().unwrap();
            cast(&sender, &mut Panics, &runtime, &mut |_| {})
        });
        let runtime = Runtime::new().unwrap();
        let sink = Box::new(WriteSink(std::io::sink()));
        let report = catch(&receiver, sink, &runtime, &mut |_| {}).unwrap();
        assert!(matches!(report.end, ReceiverEnd::Aborted(..)));
        assert!(sending.join().is_err());
    });
}

/// Gives data without end, and waits with it once there is enough.
struct Endless {
    given: usize,
    stop: Wake,
}

impl BlockSource for Endless {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if self.given < 1 << 20 {
            self.given += buf.len();
            return Ok(buf.len());
        }
        let mut fds = [rustix::event::PollFd::new(
            &self.stop,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut fds, None).unwrap();
        Err(Error::Input(std::io::ErrorKind::ConnectionAborted.into()))
    }

    fn stopper(&self) -> Option<Wake> {
        Some(self.stop.clone())
    }
}

#[test]
fn one_session_is_stopped_and_the_other_goes_on() {
    let stream = data(3, 2_000_000);
    let (doomed, doomed_receiver) = session(3, 1);
    let (sound, sound_receiver) = session(4, 1);
    let runtime = Runtime::new().unwrap();
    let stopper = runtime.stopper();
    let began = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut source = Endless {
                given: 0,
                stop: Wake::new().unwrap(),
            };
            let mut tell = |event: CastEvent<'_>| {
                if matches!(event, CastEvent::Event(SenderEvent::Started { .. })) {
                    began.store(true, Ordering::SeqCst);
                    stopper.stop(SIGTERM);
                }
            };
            let result = cast(&doomed, &mut source, &runtime, &mut tell);
            assert!(matches!(result, Err(Error::Interrupted(SIGTERM))));
        });
        scope.spawn(|| {
            let runtime = Runtime::new().unwrap();
            let sink = Box::new(WriteSink(std::io::sink()));
            let report = catch(&doomed_receiver, sink, &runtime, &mut |_| {}).unwrap();
            assert!(matches!(report.end, ReceiverEnd::Aborted(..)));
        });
        scope.spawn(|| receive(&sound_receiver, &stream));
        scope.spawn(|| send(&sound, &stream));
    });
    assert!(began.load(Ordering::SeqCst));
}

#[test]
fn a_receiver_that_is_stopped_leaves() {
    let (sender, receiver) = session(5, 1);
    let runtime = Runtime::new().unwrap();
    let stopper = runtime.stopper();
    thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = Runtime::new().unwrap();
            let mut source = ReadSource(std::io::repeat(7));
            let report = cast(&sender, &mut source, &runtime, &mut |_| {});
            assert_eq!(report.unwrap().unwrap().end, SenderEnd::AllLost);
        });
        scope.spawn(|| {
            let mut tell = |event: CatchEvent<'_>| {
                if matches!(event, CatchEvent::Event(ReceiverEvent::Started)) {
                    stopper.stop(SIGTERM);
                }
            };
            let sink = Box::new(WriteSink(std::io::sink()));
            let result = catch(&receiver, sink, &runtime, &mut tell);
            assert!(matches!(result, Err(Error::Interrupted(SIGTERM))));
        });
    });
}
