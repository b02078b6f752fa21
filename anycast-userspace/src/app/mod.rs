//! The composition root: builds the parts from the configuration, joins them, and takes them down in
//! order. It makes no decisions of its own.

mod announcements;
mod interfaces;
mod maps;
mod node;
mod peers;
mod plane;
mod signals;
mod sockets;
mod verdicts;
mod words;

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::config::Config;
use crate::control::server::Server;
use crate::metrics::server::Listener;
use crate::{descriptors, logging, privileges, slice};
pub(crate) use maps::load;
use node::Node;
use signals::Signals;

/// The most time that reads and writes of files get once everything is down.
const LAST_FILES: Duration = Duration::from_secs(1);

/// What the command line says beside the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Log one of this many verdicts on each CPU.
    pub trace_verdicts: Option<NonZeroU32>,
}

/// Runs the daemon until a signal.
pub fn run(path: &Path, options: Options) -> anyhow::Result<()> {
    let config = load(path)?;
    privileges::check()?;
    logging::init();
    slice::shorten_if_possible();
    // One thread: no task computes for long, and a thousand checks cost a third less than on two.
    // BFD, which must not wait for anybody, has a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let ran = runtime.block_on(daemon(&config, options));
    // A file system that hangs must not keep the process: all that matters is taken down by now.
    runtime.shutdown_timeout(LAST_FILES);
    ran
}

/// Whatever fails on the way up, what is already there is taken down again.
async fn daemon(config: &Config, options: Options) -> anyhow::Result<()> {
    descriptors::raise_limit();
    let signals = Signals::new()?;
    let socket = Server::bind(&config.control.socket).context("control.socket")?;
    let metrics = match &config.metrics {
        Some(metrics) => Some(Listener::bind(&metrics.listen).await?),
        None => None,
    };
    let mut node = Node::default();
    let ran = node.run(config, options, socket, metrics, signals).await;
    let down = node.take_down().await;
    ran.and(down)
}
