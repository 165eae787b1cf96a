//! Options of `sealcast cast`, and those of the network that it shares with `catch`.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::value;

/// Send standard input to every receiver at once, by reliable UDP multicast.
///
/// Announces a session, waits for receivers, sends the stream once to all of them and repairs what
/// each of them lost with parity. Ends with status 0 only if every receiver confirmed that it has
/// the whole stream and that its consumer took it.
#[derive(Args, Debug)]
pub(crate) struct CastArgs {
    #[command(flatten)]
    pub(crate) net: NetArgs,
    /// Start as soon as N receivers have joined.
    ///
    /// Without it the session starts when receivers have joined and no further one came for the
    /// time of --settle.
    #[arg(short = 'n', long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) receivers: Option<u32>,
    /// Without --receivers, start this long after the last receiver joined.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::milliseconds,
          conflicts_with = "receivers")]
    pub(crate) settle: u64,
    /// Start this long after the first receiver joined, however many there are.
    #[arg(long, value_name = "TIME", value_parser = value::milliseconds)]
    pub(crate) max_wait: Option<u64>,
    /// Give up when the session has not started after this time; 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = value::milliseconds)]
    pub(crate) start_timeout: u64,
    /// Let a receiver go that keeps all others waiting for this time.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = value::milliseconds)]
    pub(crate) stall_timeout: u64,
    /// What to do about receivers that hold the others up: wait, or evict those below a floor.
    ///
    /// With `wait`, the default, the slowest receiver sets the pace of all. With `evict`, one that
    /// keeps the stream below --min-rate for the time of --slow-grace is let go: its `catch` ends
    /// with status 7, and `cast` counts it as failed. That is a receiver whose consumer or whose
    /// silence keeps the sender waiting, or whose loss makes it slow down; not one that most others
    /// are no better than, and not while all that is left to send is repair at the end.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) slow: Option<Slow>,
    /// Evict receivers that keep the stream below BITS a second; k, M and G are understood.
    ///
    /// 10M when `--slow evict` stands alone. Bytes of the stream count, not repair and headers.
    #[arg(long, value_name = "BITS", value_parser = value::bits_per_s)]
    pub(crate) min_rate: Option<u64>,
    /// How long a receiver may do so.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = value::milliseconds)]
    pub(crate) slow_grace: u64,
    /// Send at most BITS a second, headers included; k, M and G are understood.
    ///
    /// Without it the sender finds the rate itself: it becomes faster until a receiver loses more
    /// than it used to.
    #[arg(short, long, value_name = "BITS", value_parser = value::bits_per_s)]
    pub(crate) rate: Option<u64>,
    /// Keep up to BYTES of the stream for repairs; K, M and G are understood.
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = value::bytes)]
    pub(crate) memory: u64,
    /// Call the session NAME, so that receivers can choose it.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub(crate) name: String,
    /// Fill datagrams of BYTES, the MTU of the path; all receivers must be reached with it.
    #[arg(long, value_name = "BYTES", default_value_t = 1500,
          value_parser = clap::value_parser!(u16).range(576..=9000))]
    pub(crate) mtu: u16,
    /// Let datagrams pass HOPS - 1 routers.
    #[arg(long, value_name = "HOPS", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: u8,
    /// Append a report to FILE when the session ends: one JSON object in a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Run COMMAND and send what it writes, instead of standard input.
    ///
    /// When it fails, all receivers are told that the stream is not complete.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What to do about slow receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Slow {
    /// The slowest sets the pace.
    Wait,
    /// Who keeps the stream below the floor is let go.
    Evict,
}

/// Where on the network a session is: the same on all sides.
#[derive(Args, Debug)]
#[command(next_help_heading = "Network options")]
pub(crate) struct NetArgs {
    /// Use this network interface; without it the system's multicast route decides.
    #[arg(short = 'I', long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Use this multicast group.
    #[arg(long, value_name = "ADDRESS", default_value_t = sealcast::net::GROUP_DEFAULT)]
    pub(crate) group: Ipv4Addr,
    /// Use this UDP port.
    #[arg(long, value_name = "PORT", default_value_t = sealcast::net::PORT_DEFAULT,
          value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,
}
