//! Options of `sealcast cast`, and those of the network that it shares with `catch`.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::value::{self, Require};

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
    /// Without it and --expect the session starts when receivers have joined and no further one
    /// came for the time of --settle. Whatever it waits for, Enter on the terminal or the signal
    /// USR1 starts it at once if one receiver is there.
    #[arg(short = 'n', long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) receivers: Option<u32>,
    /// Start as soon as the receivers with these names have joined; @FILE has one a line.
    ///
    /// Names are what `sealcast catch --as` gives, or else a host's own name; with -R they are the
    /// names of the listed keys, whatever a receiver calls itself. Others may join as well. In
    /// FILE, blank lines and lines that begin with `#` are passed over.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) expect: Vec<String>,
    /// Without --receivers and --expect, start this long after the last receiver joined.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = value::milliseconds,
          conflicts_with_all = ["receivers", "expect"])]
    pub(crate) settle: u64,
    /// Do not start before this time has passed since the first receiver joined [default: 0].
    ///
    /// With --one-way, start when it has passed since the first ANNOUNCE [default: 2s].
    #[arg(long, value_name = "TIME", value_parser = value::milliseconds)]
    pub(crate) min_wait: Option<u64>,
    /// Start this long after the first receiver joined, whoever is there.
    #[arg(long, value_name = "TIME", value_parser = value::milliseconds)]
    pub(crate) max_wait: Option<u64>,
    /// Give up when the session has not started after this time; 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = value::milliseconds)]
    pub(crate) start_timeout: u64,
    /// End with status 0 if this many receivers have everything: all, a number, or a share.
    ///
    /// `all` and a share such as 95% are of those that were awaited: those that --expect names, and
    /// those that were there at the start. A number counts every receiver.
    #[arg(long, value_name = "HOW-MANY", default_value = "all", value_parser = value::require)]
    pub(crate) require: Require,
    /// Let a receiver go that keeps all others waiting for this time; 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = value::milliseconds)]
    pub(crate) stall_timeout: u64,
    /// Let a receiver go that has everything, but whose consumer has not ended after this time.
    ///
    /// 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = value::milliseconds)]
    pub(crate) finish_timeout: u64,
    /// What to do about receivers that hold the others up: wait, evict those below a floor, or
    /// leave them for later.
    ///
    /// With `wait`, the default, the slowest receiver sets the pace of all. With `evict`, one that
    /// keeps the stream below --min-rate for the time of --slow-grace is let go: its `catch` ends
    /// with status 7, and `cast` counts it as failed. That is a receiver whose consumer or whose
    /// silence keeps the sender waiting, or whose loss makes it slow down; not one that most others
    /// are no better than, and not while all that is left to send is repair at the end.
    ///
    /// With `later` the same receivers are let go, but only for now: they keep what they have
    /// written, wait for the next pass over the input, and go on there with the rest. That takes an
    /// input that can be read again, as `--late next` does.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) slow: Option<Slow>,
    /// Evict receivers that keep the stream below BITS a second; k, M and G are understood.
    ///
    /// With `--slow later` they are left for later. 10M when --slow evict or --slow later stands
    /// alone. Bytes of the stream count, not repair and headers.
    #[arg(long, value_name = "BITS", value_parser = value::bits_per_s)]
    pub(crate) min_rate: Option<u64>,
    /// How long a receiver may do so, with --slow evict, --slow later or --min-rate [default: 3s].
    #[arg(long, value_name = "TIME", value_parser = value::milliseconds)]
    pub(crate) slow_grace: Option<u64>,
    /// What to do about receivers that come too late: serve them in another pass, or refuse them.
    ///
    /// With `next`, the default when standard input is a file or a block device, they are told to
    /// wait, and the stream is sent once more when all others have it, from where standard input
    /// stood; and again, as long as somebody waits. With `refuse`, the only choice for a pipe and,
    /// without --repeat, for COMMAND, they are turned away.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) late: Option<Late>,
    /// When all have the stream, wait for receivers again, until a signal comes.
    ///
    /// For a machine that serves the same file, or what COMMAND writes, to whoever asks. Waits
    /// without a time limit. SIGINT and SIGTERM end it: while nothing is being sent with status 0,
    /// if everything before went well. COMMAND is run anew each time, when the session starts.
    #[arg(long, conflicts_with = "start_timeout")]
    pub(crate) repeat: bool,
    /// Send at most BITS a second, headers included; k, M and G are understood.
    ///
    /// Without it the sender finds the rate itself: it becomes faster until a receiver loses more
    /// than it used to.
    #[arg(short, long, value_name = "BITS", value_parser = value::bits_per_s)]
    pub(crate) rate: Option<u64>,
    /// Send to receivers that cannot answer, at --rate, and never hear of them.
    ///
    /// For networks on which receivers must not or cannot send: satellites, data diodes. Parity for
    /// losses is sent in advance, as --redundancy says. Receivers run `catch --one-way`. Status 0
    /// then means that everything was sent, not that anybody has it.
    #[arg(long, requires = "rate", conflicts_with_all = ["receivers", "expect", "settle",
          "max_wait", "start_timeout", "require", "stall_timeout", "finish_timeout", "slow",
          "min_rate", "slow_grace", "late", "recipients_file"])]
    pub(crate) one_way: bool,
    /// With --one-way, send this share of parity, in per cent of the data, at most 1000.
    #[arg(long, value_name = "PERCENT", value_parser = value::redundancy, default_value = "10",
          requires = "one_way")]
    pub(crate) redundancy: u32,
    /// Keep up to BYTES of the stream for repairs; K, M and G are understood.
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = value::bytes)]
    pub(crate) memory: u64,
    /// Call the session NAME, at most 64 bytes, so that receivers can choose it.
    #[arg(long, value_name = "NAME", default_value = "", value_parser = value::session_name)]
    pub(crate) name: String,
    /// Send to one receiver, HOST or HOST:PORT, instead of a multicast group.
    ///
    /// For networks that pass no multicast on, and across routers.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["group", "broadcast"])]
    pub(crate) to: Option<String>,
    /// Send to everybody on the interface's IPv4 network, instead of a multicast group.
    ///
    /// For networks whose switches lose multicast.
    #[arg(long, conflicts_with_all = ["group", "ipv6"])]
    pub(crate) broadcast: bool,
    /// Fill datagrams of BYTES, the MTU of the path; all receivers must be reached with it.
    ///
    /// Without it, that of the interface is taken, at most 9000; more than that is refused.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..=9000))]
    pub(crate) mtu: Option<u16>,
    /// Let datagrams pass HOPS - 1 routers [default: 1, with --to 64].
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: Option<u8>,
    /// Sign with the secret key in KEYFILE.
    ///
    /// KEYFILE is made by `sealcast keygen --sign`; an OpenSSH private key of type ed25519 serves
    /// as well. Receivers name the public half to `sealcast catch --from`; then nobody else can
    /// pass for the sender, and no receiver can change what another one writes.
    #[arg(short, long, value_name = "KEYFILE", help_heading = "Keys")]
    pub(crate) sign: Option<PathBuf>,
    /// Take in only receivers that hold a key of the recipients in FILE. Can be given many times.
    ///
    /// FILE is what `sealcast seal -R` takes; receivers give their secret half to `sealcast catch
    /// -i`.
    #[arg(short = 'R', long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) recipients_file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: SharedKeyArgs,
    /// Append a report to FILE, not to `-`: what happens, each as a JSON object in a line.
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
pub(crate) struct SharedKeyArgs {
    /// Take part only with those who have the same secret in FILE.
    ///
    /// All of FILE counts but blank space at its end: a random key or a passphrase. Without it
    /// nothing of the session can be read, and nobody can pass for its sender.
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) key: Option<PathBuf>,
    /// Ask for the common secret on the terminal.
    #[arg(short, long, conflicts_with = "key", help_heading = "Keys")]
    pub(crate) passphrase: bool,
    /// Take passphrases from the first line of FILE, not from the terminal.
    ///
    /// This one is used for -p, and for key files that have one.
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// What to do about slow receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Slow {
    /// The slowest sets the pace.
    Wait,
    /// Who keeps the stream below the floor is let go.
    Evict,
    /// Who keeps the stream below the floor gets the rest in the next pass.
    Later,
}

/// What to do about late receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Late {
    /// They are served in another pass over the input.
    Next,
    /// They are turned away.
    Refuse,
}

/// Where on the network a session is: the same on all sides.
#[derive(Args, Debug)]
pub(crate) struct NetArgs {
    /// Use this network interface; without it the system's multicast route decides.
    #[arg(
        short = 'I',
        long,
        value_name = "NAME",
        help_heading = "Network options"
    )]
    pub(crate) interface: Option<String>,
    /// Use this multicast group of IPv4 or IPv6 [default: 239.255.83.67, with -6 ff15::5343].
    ///
    /// Without it, `catch` listens to both of these.
    #[arg(long, value_name = "ADDRESS", help_heading = "Network options")]
    pub(crate) group: Option<IpAddr>,
    /// Use IPv6.
    #[arg(
        short = '6',
        long,
        conflicts_with = "group",
        help_heading = "Network options"
    )]
    pub(crate) ipv6: bool,
    /// Use this UDP port.
    #[arg(long, value_name = "PORT", default_value_t = sealcast::net::PORT_DEFAULT,
          value_parser = clap::value_parser!(u16).range(1..), help_heading = "Network options")]
    pub(crate) port: u16,
}
