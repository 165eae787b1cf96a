//! `sealcast catch`: its arguments as a configuration that makes sense.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use sealcast::filters::{BlockSink, CatchConfig, CommandSink, OutputSink};
use sealcast::proto::ReceiverConfig;
use sealcast::seal::{NamedKey, SenderKey};
use sealcast::sys::signals::SignalWatch;
use sealcast::sys::stdio::Output;
use sealcast::units::Duration;

use super::cast::{limit, net_config};
use super::keys;
use crate::cli::CatchArgs;
use crate::exit::Failure;
use crate::present::Console;

/// A catch that makes sense.
pub(crate) struct CatchPlan {
    pub(crate) config: CatchConfig,
    /// The senders that it believes.
    pub(crate) senders: Vec<NamedKey<SenderKey>>,
}

impl CatchPlan {
    /// Reads the keys and checks the arguments.
    pub(crate) fn new(args: &CatchArgs, console: &Console) -> Result<Self, Failure> {
        let (keys, senders) = keys::of_receiver(args, console)?;
        Ok(Self {
            config: CatchConfig {
                receiver: ReceiverConfig {
                    keys,
                    ..config(args)
                },
                net: net_config(&args.net)?,
                test_loss: args.test_loss / 100.0,
            },
            senders,
        })
    }
}

/// Where the stream goes: standard output, a file, or a command, which is started now.
pub(crate) fn sink(args: &CatchArgs, watch: &SignalWatch) -> Result<Box<dyn BlockSink>, Failure> {
    if args.command.is_empty() {
        let output = Output::open_watched(args.output.as_deref())?;
        return Ok(Box::new(OutputSink::new(output)?));
    }
    let command = consumer(&args.command)?;
    Ok(Box::new(CommandSink::new(command, Some(watch))?))
}

fn config(args: &CatchArgs) -> ReceiverConfig {
    ReceiverConfig {
        session_name: args.name.clone(),
        name: args.own_name.clone().unwrap_or_else(host_name),
        memory: usize::try_from(args.memory).unwrap_or(usize::MAX),
        start_timeout: limit(args.start_timeout),
        silent_max: Duration::from_ms(args.silence_timeout),
        one_way: args.one_way,
        ..ReceiverConfig::default()
    }
}

/// Starts the command that takes the stream, at the head of a process group: all that it starts can
/// then be stopped with it.
fn consumer(command: &[OsString]) -> Result<Child, Failure> {
    let name = command[0].to_string_lossy();
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| Failure::io(&format!("cannot run {name}"), &e))
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
