//! The limit of open files. The daemon raises its own: every running check holds a few descriptors. Commands get
//! the limit that the daemon was started with: many programs close, or reserve room for, every descriptor they may have.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// The limit before it was raised.
static INHERITED: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of this process, often 1,024, to the hard one.
pub fn raise_limit() {
    let inherited = getrlimit(Resource::Nofile);
    let inherited = INHERITED.get_or_init(|| inherited);
    let raised = Rlimit {
        current: inherited.maximum,
        maximum: inherited.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Gives a process that has just been started the limit that this one was started with. Until then it has the
/// raised one.
pub(crate) fn restore_limit_of(process: u32) -> io::Result<()> {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let (Some(inherited), Some(process)) = (INHERITED.get(), process) {
        prlimit(Some(process), Resource::Nofile, *inherited)?;
    }
    Ok(())
}
