//! `sealcast cast`: arguments to configuration, one library call, report.

use sealcast::filters::{self, Runtime};
use sealcast::sys::signals;
use sealcast::sys::start_signal::StartSignal;

use crate::cli::CastArgs;
use crate::exit::Failure;
use crate::plan::cast::CastPlan;
use crate::present::Console;
use crate::present::cast::CastPresenter;

pub(crate) fn run(args: &CastArgs, console: &Console) -> Result<(), Failure> {
    let mut plan = CastPlan::new(args, console)?;
    let mut presenter = CastPresenter::new(args, console, plan.names.clone(), plan.open)?;
    plan.config.start = StartSignal::new()?;
    let runtime = Runtime::new()?;
    let stopper = runtime.stopper();
    let watch = signals::watch(move |signal| stopper.stop(signal))?;
    let mut source = plan.source(args, &watch)?;
    let mut tell = |event: filters::CastEvent<'_>| presenter.tell(&event);
    let result = filters::cast(&plan.config, &mut *source, &runtime, &mut tell);
    presenter.conclude(result)
}
