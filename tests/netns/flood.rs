//! A flood of forged and repeated datagrams of every kind during a cast.
//!
//! `SEALCAST_FLOOD=1000000 cargo test --release --test netns flood -- --nocapture` sends as many,
//! at 10,000 a second, and prints what they cost.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use sealcast::net::{GROUP_DEFAULT, PORT_DEFAULT};
use sealcast::wire::{DatagramKind, VERSION, peek};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cast_files::{noise, same};
use crate::lab;
use crate::topology::Lab;

/// Datagrams a second.
const RATE: u64 = 10_000;
/// Datagrams kept of each kind.
const KEPT: usize = 32;

/// Datagrams of one kind that were seen, and where they went.
type Seen = Vec<(SocketAddr, Vec<u8>)>;

/// Sees all that a node sends and receives.
struct Tap(Socket);

impl Tap {
    fn new() -> Self {
        // The family of sockets that see whole links, and the type of IPv4.
        const LINK: i32 = 17;
        const IP: u16 = 0x0800;
        let protocol = Protocol::from(i32::from(IP.to_be()));
        let socket = Socket::new(Domain::from(LINK), Type::DGRAM, Some(protocol)).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// Sorts what was seen by kind, but for what came from our own port.
    fn read(&mut self, own: u16, seen: &mut [Seen], tag: &mut [u8; 4]) {
        let mut buf = [0; 2_048];
        for _ in 0..200 {
            let Ok(n) = self.0.read(&mut buf) else { return };
            let ip = &buf[..n];
            let head = usize::from(ip[0] & 15) * 4;
            if n < head + 8 || ip[9] != 17 {
                continue;
            }
            let port = |at: usize| u16::from_be_bytes([ip[at], ip[at + 1]]);
            let to = Ipv4Addr::new(ip[16], ip[17], ip[18], ip[19]);
            let to = SocketAddr::from((to, port(head + 2)));
            let datagram = &ip[head + 8..];
            if port(head) == own {
                continue;
            }
            let Ok((kind, _)) = peek(datagram) else {
                continue;
            };
            if kind == DatagramKind::Announce {
                tag.copy_from_slice(&datagram[4..8]);
            }
            let kept = &mut seen[kind as usize];
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push((to, datagram.to_vec()));
        }
    }
}

/// Not a test of its own: the attacker, a process on a node.
#[test]
#[ignore = "run by the test below, on a node"]
fn attacker() {
    let mut dice = 88_172_645_463_325_252_u64;
    let mut roll = move |below: usize| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice % below as u64) as usize
    };
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket.local_addr().unwrap().port();
    let group = SocketAddr::from((GROUP_DEFAULT, PORT_DEFAULT));
    let (mut tap, mut tag) = (Tap::new(), [0; 4]);
    let mut seen = vec![Seen::new(); 16];
    let (began, mut sent) = (Instant::now(), 0);
    loop {
        tap.read(own, &mut seen, &mut tag);
        let due = began.elapsed().as_millis() as u64 * RATE / 1_000;
        while sent < due {
            let kind = 1 + roll(DatagramKind::ALL.len());
            let (to, mut datagram) = match seen[kind].len() {
                0 => (group, vec![VERSION << 4 | kind as u8; 60 + roll(1_400)]),
                n => seen[kind][roll(n)].clone(),
            };
            datagram[4..8].copy_from_slice(&tag);
            let at = roll(datagram.len());
            match roll(4) {
                0 => {}
                1 => datagram[at] ^= 1 << roll(8),
                2 => datagram.truncate(at),
                _ => datagram[8.min(at)..]
                    .iter_mut()
                    .for_each(|b| *b = roll(256) as u8),
            }
            // Nobody may be there any more.
            let _ = socket.send_to(&datagram, to);
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Casts to two receivers; says how long it took, and what the sender said.
fn cast(lab: &Lab, rate: &str) -> (Duration, String) {
    let began = Instant::now();
    let receivers = [1, 2].map(|i| {
        let options = "--from admin.pub -q";
        lab.start(
            &format!("r{i}"),
            &format!("sealcast catch {options} > out{i}"),
        )
    });
    let sender = lab.start(
        "s",
        &format!("sealcast cast -s admin.key -v -n 2 -r {rate} < in"),
    );
    sender.says("datagrams refused", 200);
    let said = sender.said();
    sender.ends_with(0, 10);
    for receiver in receivers {
        receiver.ends_with(0, 10);
    }
    (began.elapsed(), said)
}

#[test]
fn a_flood_changes_nothing() {
    let Some(lab) = lab(2) else { return };
    let count = std::env::var("SEALCAST_FLOOD").map_or(60_000, |n| n.parse().unwrap());
    let keys = "sealcast keygen --sign -o admin.key > admin.pub";
    lab.start("s", keys).ends_with(0, 5);
    let program = std::env::current_exe().unwrap();
    let start = || {
        let program = program.display();
        lab.start(
            "s",
            &format!("exec {program} flood::attacker --exact --ignored"),
        )
    };
    // A session before, so that the attacker has datagrams of every kind.
    let input = lab.dir.path().join("in");
    noise(&input, 2_000_000);
    let attacker = start();
    cast(&lab, "50M");

    // As many bytes as it takes to send so many datagrams meanwhile.
    noise(&input, (count / RATE) as usize * 12_000_000);
    let (flooded, said) = cast(&lab, "100M");
    same(&lab, 2);
    lab.signal("s", "KILL", "flood::attacker");
    attacker.end(5);
    let (calm, _) = cast(&lab, "100M");
    let refused = said.split(" datagrams refused").next().unwrap();
    let refused: u64 = refused.rsplit(' ').next().unwrap().parse().unwrap();
    let ratio = flooded.as_secs_f64() / calm.as_secs_f64();
    println!("{count} datagrams: {ratio:.3} of the time; the sender alone refused {refused}");
    assert!(refused > count / 20, "{refused} reached the sender");
    assert!(ratio < 1.05, "{ratio} of the time");
}
