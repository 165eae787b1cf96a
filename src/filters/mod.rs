//! The six filters as library calls: each joins one kind of work with streams, threads and sockets.

mod cast;
mod catch;
mod error;
mod frame;
mod monitor;
mod open;
mod pack;
mod runtime;
mod seal;
mod unpack;

pub use cast::{
    BlockSource, CastConfig, CastEvent, CastReport, CommandSource, InputSource, ReadSource, cast,
};
pub use catch::{
    BlockSink, CatchConfig, CatchEvent, CatchReport, CommandSink, Consumer, OutputSink, WriteSink,
    catch,
};
pub use error::Error;
pub use monitor::Monitor;
pub use open::{OpenConfig, OpenReport, SealedInput, open};
pub use pack::{Compression, Effort, pack, pack_image};
pub use runtime::{Runtime, Stopper};
pub use seal::{SealConfig, SealReport, SealTo, seal, seal_with, workers, wrap};
pub use unpack::{unpack, unpack_image, unpack_sandbox};
