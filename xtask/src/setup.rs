//! `cargo xtask setup`: what building, the lab and the virtual machines need, installed if it is missing. What only
//! `test` or `ci` need they install themselves.

use crate::command::say;
use crate::host::{self, Purpose};
use crate::{packages, toolchain, vm};

pub(crate) fn run() -> anyhow::Result<()> {
    host::check(Purpose::Build, &[packages::TOOLS, vm::TOOLS])?;
    toolchain::ensure()?;
    packages::ensure_tools(packages::TOOLS)?;
    packages::ensure_tools(vm::TOOLS)?;
    say("what building, the lab and the virtual machines need is there");
    Ok(())
}
