//! Options of `sealcast cast`, and those of the network that it shares with `catch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::PassphraseArgs;
use super::value::{self, Group, Require};

/// Send standard input to every receiver at once, by reliable UDP multicast.
///
/// Announces a session, waits for receivers, and sends the stream once to all of them. Parity
/// repairs what each of them lost. Ends with status 0 only if every receiver confirmed that it has
/// the whole stream and that its consumer took it.
#[derive(Args, Debug)]
pub(crate) struct CastArgs {
    #[command(flatten)]
    pub(crate) net: NetArgs,
    /// Start as soon as N receivers have joined.
    ///
    /// Without it and --expect the session starts when receivers have joined and no further one
    /// came for the time of --settle. With --to the default is 1. Enter on the terminal or the
    /// signal USR1 starts the session at once if at least one receiver has joined.
    #[arg(short = 'n', long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    pub(crate) receivers: Option<u32>,
    /// Start as soon as the receivers with these names have joined; @FILE has one a line.
    ///
    /// The name of a receiver is that of `sealcast catch --as`, or else its host name. With -R it
    /// is the name of the listed key. Other receivers may join as well. In FILE, blank lines and
    /// lines that begin with `#` are ignored.
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
    /// Start at the latest this long after the first receiver joined.
    #[arg(long, value_name = "TIME", value_parser = value::milliseconds)]
    pub(crate) max_wait: Option<u64>,
    /// Give up when the session has not started after this time; 0 means no limit.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = value::milliseconds)]
    pub(crate) start_timeout: u64,
    /// End with status 0 if this many receivers have everything: all, a number, or a share.
    ///
    /// `all` and a share such as 95% are of the awaited receivers: those that --expect names, and
    /// those that had joined at the start. A number counts every receiver.
    #[arg(long, value_name = "HOW-MANY", default_value = "all", value_parser = value::require)]
    pub(crate) require: Require,
    /// Drop a receiver that was silent for this time.
    ///
    /// Give more where switches keep a link mute after it came up, as spanning tree does for 30 s.
    /// Receivers need the same for `catch`.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = value::silence,
          conflicts_with = "one_way")]
    pub(crate) silence_timeout: u64,
    /// Drop a receiver that makes all others wait for this time; 0 means no limit.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = value::milliseconds)]
    pub(crate) stall_timeout: u64,
    /// Drop a receiver that has everything, but whose consumer has not ended after this time.
    ///
    /// 0 means no limit.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = value::milliseconds)]
    pub(crate) finish_timeout: u64,
    /// What to do about receivers that are too slow.
    ///
    /// A receiver is too slow if it keeps the stream below --min-rate for the time of --slow-grace.
    /// Its consumer or its silence makes the sender wait, or its loss makes the sender slow down. A
    /// receiver is not too slow if most others are no faster. No receiver is too slow while only
    /// repair at the end remains to be sent.
    ///
    /// A receiver that is evicted counts as failed, and its `catch` ends with status 7. With
    /// `later` it keeps what it has written, and gets the rest in the next pass. Like `--late
    /// next`, this needs an input that can be read again.
    ///
    /// Without this option and --min-rate the sender waits for a bounded time. A receiver may keep
    /// the stream below 1 Mbit/s for 20 s, or for twice the time of --silence-timeout if that is
    /// longer. For each four seconds in which it does not, it may do so for one more, up to the
    /// time of --stall-timeout. Then it is evicted. With --min-rate the default is `evict`.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) slow: Option<Slow>,
    /// Evict receivers that keep the stream below BITS a second; units are k, M and G.
    ///
    /// With `--slow later` they get the rest in the next pass. The default is 10M with --slow evict
    /// or --slow later. Bytes of the stream count, not repair and headers.
    #[arg(long, value_name = "BITS", value_parser = value::bits_per_s)]
    pub(crate) min_rate: Option<u64>,
    /// How long a receiver may keep the stream below --min-rate [default: 3s].
    #[arg(long, value_name = "TIME", value_parser = value::milliseconds)]
    pub(crate) slow_grace: Option<u64>,
    /// What to do about receivers that come too late.
    ///
    /// With `next`, they wait until all others have the stream. Then the stream is sent once more,
    /// from the position at which standard input was. Passes follow as long as receivers wait.
    ///
    /// The default is `next` when standard input is a file or a block device, and for COMMAND with
    /// --repeat. Else `refuse` is the only choice.
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) late: Option<Late>,
    /// When all have the stream, wait for receivers again, until a signal comes.
    ///
    /// For a machine that serves the same file, or the output of COMMAND, again and again. There is
    /// no time limit for the start. COMMAND is run anew each time, when the session starts. SIGINT
    /// and SIGTERM end the cast. The status is then 0 if nothing was being sent and all rounds were
    /// successful.
    #[arg(long, conflicts_with = "start_timeout")]
    pub(crate) repeat: bool,
    /// Send at most BITS a second, headers included; units are k, M and G.
    ///
    /// Without it the sender finds the rate itself: the rate rises until a queue grows on the way
    /// to a receiver, or a receiver loses more than usual.
    #[arg(short, long, value_name = "BITS", value_parser = value::bits_per_s)]
    pub(crate) rate: Option<u64>,
    /// Send at --rate to receivers that do not answer.
    ///
    /// For networks on which receivers must not or cannot send: satellites, data diodes. Parity for
    /// losses is sent in advance, as --redundancy says. Receivers run `catch --one-way`. Status 0
    /// then means that everything was sent, not that a receiver has it.
    #[arg(long, requires = "rate", conflicts_with_all = ["receivers", "expect", "settle",
          "max_wait", "start_timeout", "require", "stall_timeout", "finish_timeout", "slow",
          "min_rate", "slow_grace", "late", "recipients_file"])]
    pub(crate) one_way: bool,
    /// With --one-way, send this share of parity, in per cent of the data, at most 1000.
    #[arg(long, value_name = "PERCENT", value_parser = value::redundancy, default_value = "10",
          requires = "one_way")]
    pub(crate) redundancy: u32,
    /// Keep up to BYTES of the stream for repairs; units are K, M and G.
    #[arg(long, value_name = "BYTES", default_value = "64M", value_parser = value::bytes)]
    pub(crate) memory: u64,
    /// Call the session NAME, at most 64 bytes, so that receivers can choose it.
    #[arg(long, value_name = "NAME", default_value = "", value_parser = value::session_name)]
    pub(crate) name: String,
    /// Send to one receiver, HOST or HOST:PORT, instead of a multicast group.
    ///
    /// For networks without multicast, and across routers.
    #[arg(long, value_name = "HOST", conflicts_with_all = ["group", "broadcast"])]
    pub(crate) to: Option<String>,
    /// Send to all hosts on the interface's IPv4 network, instead of a multicast group.
    ///
    /// For networks whose switches lose multicast.
    #[arg(long, conflicts_with_all = ["group", "ipv6"])]
    pub(crate) broadcast: bool,
    /// Hear answers of receivers on this UDP port; 0 is any [default: the one after --port].
    ///
    /// A firewall on this machine must let it in. If the default port is in use, another one is
    /// taken, and -v says which.
    #[arg(long, value_name = "PORT", conflicts_with = "one_way")]
    pub(crate) answer_port: Option<u16>,
    /// Fill datagrams of BYTES, the MTU of the path to all receivers.
    ///
    /// The default is the MTU of the interface, at most 9000; a greater one is refused.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(576..=9000))]
    pub(crate) mtu: Option<u16>,
    /// Let datagrams pass HOPS - 1 routers [default: 1, with --to 64].
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) ttl: Option<u8>,
    /// Sign with the secret key in KEYFILE.
    ///
    /// KEYFILE is made by `sealcast keygen --sign`; an OpenSSH private key of type ed25519 serves
    /// as well. Receivers give the public half to `sealcast catch --from`. Then no other machine
    /// can claim to be the sender, and no receiver can change what another one writes.
    #[arg(short, long, value_name = "KEYFILE", help_heading = "Keys")]
    pub(crate) sign: Option<PathBuf>,
    /// Admit only receivers that hold a key of the recipients in FILE. Can be given many times.
    ///
    /// FILE is what `sealcast seal -R` takes; receivers give their secret half to `sealcast catch
    /// -i`.
    #[arg(short = 'R', long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) recipients_file: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: SharedKeyArgs,
    /// Append a report to FILE: one JSON object a line for each event. FILE cannot be `-`.
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
    /// Take part only with machines that have the same secret in FILE.
    ///
    /// The secret is a random key or a passphrase: all of FILE, without blank space at its end. A
    /// machine without it can neither read the session nor claim to be its sender.
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub(crate) key: Option<PathBuf>,
    /// Ask for the common secret on the terminal.
    #[arg(short, long, conflicts_with = "key", help_heading = "Keys")]
    pub(crate) passphrase: bool,
    #[command(flatten, next_help_heading = "Keys")]
    pub(crate) passphrases: PassphraseArgs,
}

/// What to do about slow receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Slow {
    /// The slowest receiver sets the pace of all, and only --stall-timeout limits that.
    Wait,
    /// The sender drops receivers that are too slow.
    Evict,
    /// Receivers that are too slow get the rest in the next pass.
    Later,
}

/// What to do about late receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Late {
    /// They are served in another pass over the input.
    Next,
    /// They are refused.
    Refuse,
}

/// Where on the network a session is: the same on all sides.
#[derive(Args, Debug)]
pub(crate) struct NetArgs {
    /// Use this network interface; without it the routes of the system decide.
    #[arg(
        short = 'I',
        long,
        value_name = "NAME",
        help_heading = "Network options"
    )]
    pub(crate) interface: Option<String>,
    /// Use this multicast group of IPv4 or IPv6 [default: 239.255.83.67, with -6 ff15::5343].
    ///
    /// A port can follow, as in 239.1.2.3:4567 or [ff15::1]:4567. Without the option, `catch`
    /// listens to both default groups.
    #[arg(long, value_name = "ADDRESS", value_parser = value::group,
          help_heading = "Network options")]
    pub(crate) group: Option<Group>,
    /// Use IPv6.
    #[arg(
        short = '6',
        long,
        conflicts_with = "group",
        help_heading = "Network options"
    )]
    pub(crate) ipv6: bool,
    /// Send to, or hear on, this UDP port [default: 8367].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..),
          help_heading = "Network options")]
    pub(crate) port: Option<u16>,
}
