//! Options of `sealcast cast`, and those of the network that it shares with `catch`.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Args;

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
    /// Sign with the secret key in KEYFILE.
    ///
    /// KEYFILE is made by `sealcast keygen --sign`; an OpenSSH private key of type ed25519 serves
    /// as well. Receivers name the public half to `sealcast catch --from`; then nobody else can
    /// pass for the sender, and no receiver can change what another one writes.
    #[arg(short, long, value_name = "KEYFILE", help_heading = "Keys")]
    pub(crate) sign: Option<PathBuf>,
    /// Take in only receivers that hold a key of the recipients in FILE. Can be given many times.
    ///
    /// FILE is what `sealcast seal -R` takes; receivers give the secret half to `sealcast catch -i`.
    #[arg(short = 'R', long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) recipients_file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: SharedKeyArgs,
    /// Append a report to FILE when the session ends: one JSON object in a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Run COMMAND and send what it writes, instead of standard input.
    ///
    /// When it fails, all receivers are told that the stream is not complete.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// A secret that all sides have in common.
#[derive(Args, Debug)]
#[command(next_help_heading = "Keys")]
pub(crate) struct SharedKeyArgs {
    /// Take part only with those who have the same secret in FILE.
    ///
    /// All of FILE counts but blank space at its end: a random key or a passphrase. Without it
    /// nothing of the session can be read, and nobody can pass for its sender.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Ask for the common secret on the terminal.
    #[arg(short, long, conflicts_with = "key")]
    pub(crate) passphrase: bool,
    /// Take passphrases from the first line of FILE, not from the terminal.
    ///
    /// This one is used for -p, and for key files that have one.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
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
