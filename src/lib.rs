//! sealcast packs, seals and multicasts one tree to many machines. Each of the six filters of the
//! program is a call of this library: [`pack`], [`seal`](fn@seal), [`cast`], [`catch`], [`open`],
//! [`unpack`]. They read from `Read`, write to `Write`, and run as many threads as they need until
//! they return.
//!
//! # A tree into a sealed stream, and back
//!
//! ```
//! use sealcast::crypt::sign::SigningKey;
//! use sealcast::filters::{Compression, Monitor, OpenConfig, SealConfig, SealTo};
//! use sealcast::seal::opener::{Policy, Trust};
//! use sealcast::seal::{Identity, SenderKey, Signer};
//! use sealcast::tree::{TreePackConfig, TreeUnpackConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let (source, target) = (dir.path().join("source"), dir.path().join("target"));
//! # std::fs::create_dir(&source)?;
//! # std::fs::write(source.join("hello"), "world")?;
//! // The node's key opens, the administrator's signs. Seeds come from a good random generator.
//! let node = Identity::from_seed([1; 32]);
//! let admin = SigningKey::from_seed([2; 32]);
//! let trusted = SenderKey::new(admin.public());
//!
//! let mut archive = Vec::new();
//! let config = TreePackConfig { paths: vec![source], ..TreePackConfig::default() };
//! sealcast::pack(&config, Compression::default(), &mut archive, &|note| eprintln!("{note}"))?;
//!
//! let mut sealed = Vec::new();
//! let mut config = SealConfig::new(SealTo::Recipients(vec![node.recipient()]));
//! config.signer = Some(Signer { key: admin, time_s: 0, serial: 1, label: "example".into() });
//! sealcast::seal(config, &archive[..], &mut sealed, Monitor::default())?;
//!
//! let mut opened = Vec::new();
//! let config = OpenConfig::new(vec![node], Trust::Senders(vec![trusted], Policy::default()));
//! let report = sealcast::open(&config, &sealed[..], &mut opened, Monitor::default())?;
//! assert_eq!(report.preamble.unwrap().label, "example");
//!
//! let config = TreeUnpackConfig::new(&target);
//! sealcast::unpack(&config, &opened[..], || {}, &|note| eprintln!("{note}"))?;
//! assert_eq!(std::fs::read(target.join("hello"))?, b"world");
//! # Ok(())
//! # }
//! ```
//!
//! # A stream to two receivers
//!
//! A session runs on the thread that calls, until its end or until its [`filters::Runtime`] is
//! stopped. Several can run in one process.
//!
//! ```
//! use std::thread;
//!
//! use sealcast::filters::{CastConfig, CatchConfig, ReadSource, Runtime, WriteSink};
//! use sealcast::proto::{ReceiverEnd, SenderEnd};
//!
//! # fn main() {
//! // The same network on both sides: here the loopback interface.
//! let (mut sender, mut receiver) = (CastConfig::default(), CatchConfig::default());
//! for net in [&mut sender.net, &mut receiver.net] {
//!     net.interface = Some("lo".into());
//!     net.port = 20_837;
//! #   net.port = 32_000 + (std::process::id() % 700) as u16;
//! }
//! sender.sender.receivers = 2;
//! let stream = vec![7; 100_000];
//!
//! thread::scope(|scope| {
//!     for _ in 0..2 {
//!         scope.spawn(|| {
//!             let mut caught = Vec::new();
//!             let sink = Box::new(WriteSink(&mut caught));
//!             let runtime = Runtime::new().unwrap();
//!             let report = sealcast::catch(&receiver, sink, &runtime, &mut |_| {}).unwrap();
//!             assert_eq!(report.end, ReceiverEnd::Complete);
//!             assert!(caught == stream);
//!         });
//!     }
//!     let runtime = Runtime::new().unwrap();
//!     let mut source = ReadSource(&stream[..]);
//!     let report = sealcast::cast(&sender, &mut source, &runtime, &mut |_| {}).unwrap();
//!     assert_eq!(report.unwrap().end, SenderEnd::Complete);
//! });
//! # }
//! ```
//!
//! # What may change
//!
//! Enums and configurations of the modules below are `#[non_exhaustive]` without the feature
//! `cli`: later versions add to them. The program of this package has that feature, so that the
//! compiler shows it what was added. Modules that are not shown here are no interface.
#![doc = include_str!("ARCHITECTURE.md")]
#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        reason = "tests may be terse"
    )
)]

pub mod archive;
pub mod crypt;
#[doc(hidden)]
pub mod fec;
pub mod filters;
pub mod image;
pub mod net;
#[doc(hidden)]
pub mod parallel;
pub mod proto;
pub mod seal;
pub mod sys;
pub mod tree;
pub mod units;
#[doc(hidden)]
pub mod wire;

pub use filters::{cast, catch, open, pack, seal, unpack};
