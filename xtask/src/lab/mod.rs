//! `build-and-run`: the lab, live on a terminal, as a scenario elsewhere.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use anycast_tests::interrupt;
use anycast_tests::lab::scenario;

/// How to run the lab.
#[derive(Clone, Debug)]
pub(crate) struct LabArgs {
    /// Run the scenario once, also on a terminal.
    pub(crate) once: bool,
    /// The built `anycast` binary.
    pub(crate) anycast: PathBuf,
}

/// Runs the lab: the live view on a terminal, the scenario elsewhere or when asked for it.
///
/// # Errors
/// When the lab cannot be started, or a step of the scenario does not hold.
pub(crate) fn run(args: &LabArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let stdout = io::stdout();
    if args.once || !stdout.is_terminal() {
        return scenario::run(&args.anycast, &mut io::stdout());
    }
    anyhow::bail!("the live view is not here yet")
}
