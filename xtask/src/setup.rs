//! `cargo xtask setup`: whatever the other commands need, installed if it is missing.

use crate::command::say;
use crate::{packages, toolchain, vm};

pub(crate) fn run() -> anyhow::Result<()> {
    toolchain::ensure()?;
    packages::ensure_tools(packages::TOOLS)?;
    packages::ensure_tools(vm::TOOLS)?;
    say("everything is there");
    Ok(())
}
