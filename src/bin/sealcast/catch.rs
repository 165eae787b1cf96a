//! `sealcast catch`: arguments to configuration, one library call, report.

use crate::cli::CatchArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::Voice;

pub(crate) fn run(_args: &CatchArgs, _voice: &Voice) -> Result<(), Failure> {
    Err(Failure::new(ExitStatus::Local, "not written yet"))
}
