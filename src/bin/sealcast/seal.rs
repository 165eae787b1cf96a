//! `sealcast seal`: arguments to configuration, one library call, report.

use crate::cli::SealArgs;
use crate::exit::{ExitStatus, Failure};
use crate::report::Voice;

pub(crate) fn run(_args: &SealArgs, _voice: &Voice) -> Result<(), Failure> {
    Err(Failure::new(ExitStatus::Local, "not written yet"))
}
