//! A stay in another network namespace, with a way back.

use std::fs::File;

use anyhow::Context as _;
use nix::sched::{CloneFlags, setns};

use super::Inside;

/// The namespace that the calling thread came from; it goes back there when this is dropped. Declare it
/// after the namespaces that it visits, so that it has left them before they are removed.
#[derive(Debug)]
pub struct Home {
    namespace: File,
}

impl Home {
    /// Remembers where the calling thread is.
    ///
    /// # Errors
    /// Without /proc.
    pub fn here() -> anyhow::Result<Self> {
        let namespace = File::open("/proc/thread-self/ns/net")
            .context("opening the namespace of this thread")?;
        Ok(Self { namespace })
    }

    /// Moves the calling thread to `namespace`, until it goes elsewhere or home.
    ///
    /// # Errors
    /// When the namespace is gone, or without root.
    pub fn visit(&self, namespace: &Inside) -> anyhow::Result<()> {
        setns(namespace.open()?, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("entering the namespace {}", namespace.name()))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = setns(&self.namespace, CloneFlags::CLONE_NEWNET) {
            eprintln!("going back to the namespace of before: {error}");
        }
    }
}
