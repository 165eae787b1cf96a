//! `sealcast catch`: arguments to configuration, one library call, report.

use sealcast::filters::{self, Runtime};
use sealcast::sys::signals;

use crate::cli::CatchArgs;
use crate::exit::Failure;
use crate::plan::catch::{CatchPlan, sink};
use crate::present::Console;
use crate::present::catch::CatchPresenter;

pub(crate) fn run(args: &CatchArgs, console: &Console) -> Result<(), Failure> {
    let CatchPlan { config, senders } = CatchPlan::new(args, console)?;
    let mut presenter = CatchPresenter::new(args, console, &config.net, senders)?;
    let runtime = Runtime::new()?;
    let stopper = runtime.stopper();
    let watch = signals::watch(move |signal| stopper.stop(signal))?;
    let sink = sink(args, &watch)?;
    let mut tell = |event: filters::CatchEvent<'_>| presenter.tell(&event);
    let result = filters::catch(&config, sink, &runtime, &mut tell);
    presenter.conclude(result)
}
