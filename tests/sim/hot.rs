//! The work of the hot paths, for `tests/bench/instructions.sh` to count.

use std::net::SocketAddr;

use sealcast::proto::{
    Receiver, ReceiverConfig, ReceiverEvent, Sender, SenderConfig, SenderEvent, Target,
};
use sealcast::units::{Duration, Instant};

/// Bytes of the stream.
const BYTES: usize = 16 << 20;
/// Of so many datagrams one is lost.
const LOST: u64 = 100;

/// One sender and one receiver pass a stream, and lose every hundredth datagram. Prints what was
/// done, so that counts can be divided by it.
#[test]
#[ignore = "for tests/bench/instructions.sh"]
fn hot() {
    let mut now = Instant::from_us(1);
    let config = SenderConfig {
        receivers: 1,
        ..SenderConfig::default()
    };
    let mut sender = Sender::new(config, [1; 32], now);
    let mut receiver = Receiver::new(ReceiverConfig::default(), [2; 32], now);
    let (data, peer) = (vec![7; 1 << 16], SocketAddr::from(([10, 0, 0, 1], 1)));
    let (mut pushed, mut sent, mut buf, mut ended) = (0, 0, Vec::new(), false);
    while !ended {
        now = now + Duration::from_us(200);
        if pushed < BYTES {
            pushed += sender.push(&data[..data.len().min(BYTES - pushed)]);
        } else {
            sender.finish();
        }
        sender.handle_timeout(now);
        receiver.handle_timeout(now);
        while let Some(transmit) = sender.poll_transmit(now, &mut buf) {
            for datagram in buf.chunks_mut(transmit.segment) {
                sent += u64::from(transmit.to == Target::Group);
                if !sent.is_multiple_of(LOST) {
                    receiver.handle_datagram(now, peer, datagram);
                }
            }
        }
        while let Some(delivery) = receiver.pull(now) {
            receiver.recycle(delivery.buf);
        }
        while let Some(event) = receiver.poll_event() {
            if matches!(event, ReceiverEvent::Complete { .. }) {
                receiver.consumed(now);
            }
        }
        while receiver.poll_transmit(now, &mut buf).is_some() {
            sender.handle_datagram(now, peer, &mut buf);
        }
        while let Some(event) = sender.poll_event() {
            ended |= matches!(event, SenderEvent::Ended(_));
        }
    }
    let (s, r) = (sender.stats(), receiver.stats());
    assert_eq!((s.bytes, r.bytes, s.done), (BYTES as u64, BYTES as u64, 1));
    println!(
        "sent {} received {} feedbacks {}",
        s.datagrams, r.datagrams, s.feedbacks
    );
}
