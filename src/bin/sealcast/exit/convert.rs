//! How each error of the library becomes a failure: its status, and what to do about it. Every
//! match is without a wildcard, so that no new error is forgotten.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use sealcast::{archive, filters, image, net, seal, sys, tree};

use super::{ExitStatus, Failure};

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        let message = error.to_string();
        match error {
            sys::Error::TerminalInput => Self::new(ExitStatus::Usage, message)
                .hint("this is a filter: pipe the data in, or redirect a file with `<`"),
            sys::Error::TerminalOutput => Self::new(ExitStatus::Usage, message)
                .hint("pipe it into the next filter, or redirect it into a file with `>`"),
            sys::Error::StdinTwice(_) => Self::new(ExitStatus::Usage, message)
                .hint("put the keys into a file, or use `<(command)` of your shell"),
            sys::Error::SameFile(_) => {
                Self::new(ExitStatus::Usage, message).hint("give the output another name")
            }
            sys::Error::Open { .. }
            | sys::Error::Create { .. }
            | sys::Error::Write { .. }
            | sys::Error::System { .. } => Self::new(ExitStatus::Local, message),
            sys::Error::Changeable { changeable, .. } => {
                let object = changeable.object.display();
                Self::new(ExitStatus::Usage, message).hint(if changeable.foreign {
                    format!(
                        "look at what it holds, then let it be yours or root's: `chown` {object}"
                    )
                } else {
                    format!("look at what it holds, then `chmod go-w {object}`")
                })
            }
            sys::Error::KeyFileExists(_) => Self::new(ExitStatus::Local, message)
                .hint("give another name, or see with -y what its public half is"),
            sys::Error::KeyFileTooLong(_)
            | sys::Error::KeyFileNotText(_)
            | sys::Error::PassphraseNotText(_) => Self::new(ExitStatus::Usage, message),
            sys::Error::NoTerminal(_) => Self::new(ExitStatus::Local, message)
                .hint("--passphrase-file takes it from a file or, as /dev/fd/3, a descriptor"),
            sys::Error::PassphraseTooLong => Self::new(ExitStatus::Usage, message),
            sys::Error::Commit { .. } => Self::new(ExitStatus::Local, message)
                .hint("the file that was there before, if any, is untouched"),
        }
    }
}

impl From<net::Error> for Failure {
    fn from(error: net::Error) -> Self {
        let message = error.to_string();
        match error {
            net::Error::Group(_) => Self::new(ExitStatus::Usage, message)
                .hint("groups are 224.0.0.0 to 239.255.255.255, and those that begin with ff"),
            net::Error::Scope(_) => Self::new(ExitStatus::Usage, message)
                .hint("choose the link with --interface; `ip link` lists them"),
            net::Error::Interface { .. } => {
                Self::new(ExitStatus::Usage, message).hint("`ip link` lists the interfaces")
            }
            net::Error::NoRoute { to, .. } => {
                let failure = Self::new(ExitStatus::Local, message)
                    .hint("choose an interface with --interface; `ip link` lists them");
                match to {
                    IpAddr::V4(ip) if ip.is_multicast() => {
                        failure.hint("without IPv4, -6 uses IPv6")
                    }
                    _ => failure,
                }
            }
            net::Error::Firewall { .. } => Self::new(ExitStatus::Local, message)
                .hint("a firewall of this machine forbids it: see FIREWALLS in the manual"),
            net::Error::PortInUse { .. } => Self::new(ExitStatus::Local, message)
                .hint("choose another --port on all sides, or --answer-port; or stop that program"),
            net::Error::PathMtu { mtu, .. } => Self::new(ExitStatus::Usage, message).hint(format!(
                "--mtu {mtu} fits; without the option it is found out"
            )),
            net::Error::Mtu { .. } => {
                Self::new(ExitStatus::Usage, message).hint("choose a smaller --mtu on the sender")
            }
            net::Error::Socket { source, .. } => {
                Self::new(ExitStatus::Local, message).or_closed_pipe(&source)
            }
        }
    }
}

impl From<filters::Error> for Failure {
    fn from(error: filters::Error) -> Self {
        let message = error.to_string();
        match error {
            filters::Error::Net(error) => error.into(),
            filters::Error::Input(source) | filters::Error::Output(source) => {
                Self::new(ExitStatus::Local, message).or_closed_pipe(&source)
            }
            filters::Error::Changed => Self::new(ExitStatus::Transfer, message)
                .hint("all receivers of this pass were told that the stream is not complete")
                .hint("--late refuse sends it once"),
            filters::Error::Producer(_) => Self::new(ExitStatus::Transfer, message)
                .hint("all receivers were told that the stream is not complete"),
            filters::Error::Consumer(_) => Self::new(ExitStatus::Transfer, message)
                .hint("what the command said is above, if it said anything")
                .hint("the sender was told, if there was one"),
            filters::Error::ConsumerEnded | filters::Error::ConsumerClosed => {
                Self::new(ExitStatus::Transfer, message)
                    .hint("a command must read its input to the end, and then end with status 0")
            }
            filters::Error::System(error) => error.into(),
            filters::Error::Interrupted(signal) => {
                sys::signals::die_of(signal);
                Self::new(ExitStatus::Local, message)
            }
        }
    }
}

impl Failure {
    /// A key on the command line that cannot be used; the text itself may be a secret, so that only
    /// its beginning is shown.
    pub(crate) fn key_text(text: &str, error: &seal::Error) -> Self {
        let mut start: String = text.chars().take(12).collect();
        if start.len() < text.len() {
            start.push('…');
        }
        Self::new(ExitStatus::Usage, format!("`{start}`: {error}"))
    }

    /// The same failure, which the file at `path` is to blame for.
    pub(crate) fn of_file(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    /// A stream that was not sealed or not opened; the output has the name `output`.
    pub(crate) fn stream(output: &str, error: seal::Error) -> Self {
        match error {
            seal::Error::Write(e) => Self::io(&format!("cannot write {output}"), &e),
            other => other.into(),
        }
    }

    /// A key file that cannot be used.
    pub(crate) fn key_file(path: &Path, error: &seal::Error) -> Self {
        let status = match error {
            seal::Error::WrongPassphrase => ExitStatus::NoIdentity,
            _ => ExitStatus::Usage,
        };
        let failure = Self::new(status, format!("{}: {error}", path.display()));
        match error {
            seal::Error::WorkFactor { found, .. } => failure.hint(allow_work(*found)),
            _ => failure,
        }
    }
}

fn allow_work(work_factor: u8) -> String {
    format!("if you know who made it, --max-work-factor {work_factor} allows it")
}

impl From<seal::Error> for Failure {
    fn from(error: seal::Error) -> Self {
        use seal::Error as E;
        let message = error.to_string();
        let data = |message| Self::new(ExitStatus::Data, message);
        match error {
            E::Read(e) => Self::io("cannot read standard input", &e),
            E::Write(e) => Self::io("cannot write the output", &e),
            E::System(e) => Self::io("cannot go on working", &e),
            E::Empty => data(message).hint("the filter before this one may have failed"),
            E::NotAge => data(message).hint("is this what `sealcast seal` wrote?"),
            E::Armor(_) => data(message).hint("armor must be passed on exactly as it was made"),
            E::HeaderTooLong { .. } => {
                data(message).hint("if it is meant to have that many recipients, use --max-header")
            }
            E::Truncated { .. } => {
                data(message).hint("the transfer or the sender was cut off; get the stream again")
            }
            E::Header { .. }
            | E::HeaderForged
            | E::Chunk { .. }
            | E::EmptyChunk { .. }
            | E::Trailing { .. }
            | E::Preamble { .. }
            | E::Segment { .. } => data(message),
            E::WorkFactor { found, .. } => {
                Self::new(ExitStatus::Data, message).hint(allow_work(found))
            }
            E::NoIdentity { .. } => Self::new(ExitStatus::NoIdentity, message)
                .hint("`sealcast keygen -y` shows which recipients your identities are"),
            E::Passphrase => Self::new(ExitStatus::NoIdentity, message)
                .hint("give -p in place of -i, and you are asked for it"),
            E::WrongPassphrase => Self::new(ExitStatus::NoIdentity, message),
            E::Unsigned => Self::new(ExitStatus::Sender, message)
                .hint("if you do not mind who made it, use --unsigned in place of --from"),
            E::Signed => Self::new(ExitStatus::Sender, message)
                .hint("name its sender with --from, so that the signature is checked"),
            E::UnknownSender { .. } => Self::new(ExitStatus::Sender, message)
                .hint("if you trust that key, add its public half to --from"),
            E::Label { .. } | E::Stale { .. } | E::Serial { .. } => {
                Self::new(ExitStatus::Sender, message)
            }
            E::Future { .. } => {
                Self::new(ExitStatus::Sender, message).hint("check the clocks of both machines")
            }
            E::Ambiguous => data(message).hint("sign it with -s"),
            E::Mixed { .. } => Self::new(ExitStatus::Usage, message).hint(
                "an attacker who breaks one of the latter reads all; seal one stream for each kind",
            ),
            E::LabelTooLong { .. } | E::Locked | E::Key(_) | E::NotKey(_) | E::KeyLine { .. } => {
                Self::new(ExitStatus::Usage, message)
            }
        }
    }
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        let message = error.to_string();
        match error {
            archive::Error::Read(_) => Self::new(ExitStatus::Local, message),
            archive::Error::NotArchive(archive::ForeignFormat::Sealed) => {
                Self::new(ExitStatus::Data, message).hint("put `sealcast open` before this filter")
            }
            archive::Error::NotArchive(archive::ForeignFormat::Compressed(_)) => {
                Self::new(ExitStatus::Data, message).hint("decompress it before this filter")
            }
            archive::Error::Empty
            | archive::Error::Truncated { .. }
            | archive::Error::Totals(_) => Self::new(ExitStatus::Data, message)
                .hint("the filter before this one may have failed; the target is as it was"),
            archive::Error::Window { .. } => Self::new(ExitStatus::Data, message)
                .hint("compress it with --long=27 at most, or put `zstd -d --long=31` before this"),
            archive::Error::Version(_) => {
                Self::new(ExitStatus::Data, message).hint("update this program")
            }
            archive::Error::NotArchive(archive::ForeignFormat::Unknown)
            | archive::Error::Trailing { .. }
            | archive::Error::Compression { .. }
            | archive::Error::Header { .. }
            | archive::Error::UnknownType { .. }
            | archive::Error::Name { .. } => Self::new(ExitStatus::Data, message),
        }
    }
}

impl From<tree::Error> for Failure {
    fn from(error: tree::Error) -> Self {
        let message = error.to_string();
        match error {
            tree::Error::Archive(e) => e.into(),
            tree::Error::Output(e) => Self::io("cannot write the archive", &e),
            tree::Error::System { source, .. } => {
                let failure = Self::new(ExitStatus::Local, message);
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        failure.hint("make room there; the target is as it was")
                    }
                    io::ErrorKind::FileTooLarge => {
                        failure.hint("`ulimit -f` or the file system limits the size of a file")
                    }
                    _ => failure,
                }
            }
            tree::Error::Entry { .. } => Self::new(ExitStatus::Data, message),
            tree::Error::Owner { .. } => Self::new(ExitStatus::Data, message)
                .hint("give --map-owner for all owners in the archive"),
            tree::Error::Limit { .. } => Self::new(ExitStatus::Data, message)
                .hint("--max-entries and --max-bytes set the limits"),
            tree::Error::Memory(_) => {
                Self::new(ExitStatus::Data, message).hint("--max-memory sets the limit")
            }
            tree::Error::SetOwner { .. } => Self::new(ExitStatus::Local, message)
                .hint("--no-same-owner makes everything belong to this user")
                .hint("--map-owner changes the numbers of owners"),
            tree::Error::NoProc { .. } => Self::new(ExitStatus::Local, message)
                .hint("mount it with `mount -t proc proc /proc`; the target is as it was"),
            tree::Error::Swapped(_) => Self::new(ExitStatus::Local, message)
                .hint("let nobody else change the target while it is restored"),
            tree::Error::Attribute { .. } => Self::new(ExitStatus::Local, message)
                .hint("--xattrs-exclude leaves some attributes out, --no-xattrs all of them"),
            tree::Error::Device { .. } => {
                Self::new(ExitStatus::Local, message).hint("--no-devices leaves device nodes out")
            }
            tree::Error::NotEmpty(_) => Self::new(ExitStatus::Usage, message)
                .hint("--replace removes what is there, --merge adds to it"),
            tree::Error::NotDirectory(_) | tree::Error::Argument { .. } => {
                Self::new(ExitStatus::Usage, message)
            }
            tree::Error::Mount(_) => Self::new(ExitStatus::Local, message)
                .hint("unmount it first; the target is as it was"),
            tree::Error::Halfway { .. } | tree::Error::Unfinished { .. } => {
                Self::new(ExitStatus::Local, message).hint(
                    "move the rest yourself, or remove that staging directory and unpack again",
                )
            }
            tree::Error::Busy(_) | tree::Error::Conflict { .. } | tree::Error::Strict(_) => {
                Self::new(ExitStatus::Local, message)
            }
        }
    }
}

impl From<image::Error> for Failure {
    fn from(error: image::Error) -> Self {
        let message = error.to_string();
        match error {
            image::Error::Archive(e) => e.into(),
            image::Error::Edge(e) => e.into(),
            image::Error::Output(e) => Self::io("cannot write the archive", &e),
            image::Error::System { source, .. } => {
                let failure = Self::new(ExitStatus::Local, message);
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        failure.hint("make room there; the target is as it was")
                    }
                    io::ErrorKind::FileTooLarge => {
                        failure.hint("`ulimit -f` or the file system limits the size of a file")
                    }
                    _ => failure,
                }
            }
            image::Error::Read { .. } => Self::new(ExitStatus::Local, message)
                .hint("there is no archive without it; ddrescue(8) saves what can be read"),
            image::Error::Changed(_) => Self::new(ExitStatus::Local, message)
                .hint("pack a snapshot, or stop what writes to it"),
            image::Error::SameFile(_) => {
                Self::new(ExitStatus::Usage, message).hint("give the output another name")
            }
            image::Error::NotImage(_) | image::Error::NotTarget(_) => {
                Self::new(ExitStatus::Usage, message)
            }
            image::Error::Exists(_) => Self::new(ExitStatus::Usage, message)
                .hint("--replace replaces it when the new image is complete"),
            image::Error::Busy(_) => Self::new(ExitStatus::Local, message)
                .hint("`lsblk` shows what uses it; nothing was written to it"),
            image::Error::ReadOnly(_) => Self::new(ExitStatus::Local, message)
                .hint("nothing was written to it; `blockdev --setrw` allows it for most devices"),
            image::Error::TooSmall { .. } => {
                Self::new(ExitStatus::Local, message).hint("nothing was written to it")
            }
            image::Error::NotOneFile { .. } => {
                Self::new(ExitStatus::Data, message).hint("if it holds a tree, restore it with -C")
            }
            image::Error::NoEntry => Self::new(ExitStatus::Data, message),
            image::Error::Limit(_) => {
                Self::new(ExitStatus::Data, message).hint("--max-bytes sets the limit")
            }
            // What the cause would have us say holds only for a target that is as it was.
            image::Error::Incomplete { source, .. } => {
                Self::new(Self::from(*source).status, message)
                    .hint("its first MiB was zeroed, so that it does not boot; run again")
            }
        }
    }
}
