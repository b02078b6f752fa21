//! The composition root: builds the parts from the configuration, joins them, and takes them down in
//! order. It makes no decisions of its own.

mod node;
mod peers;
mod plane;
mod signals;
mod sockets;
mod words;

use std::path::Path;

use anyhow::Context as _;

use crate::config::Config;
use crate::control::server::Server;
use crate::{logging, privileges};
use node::Node;
use signals::Signals;

/// Runs the daemon until a signal.
pub fn run(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    privileges::check()?;
    logging::init();
    // One thread: no task computes for long, and a thousand checks cost a third less than on two.
    // BFD, which must not wait for anybody, has a thread of its own.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?
        .block_on(daemon(&config))
}

/// Whatever fails on the way up, what is already there is taken down again.
async fn daemon(config: &Config) -> anyhow::Result<()> {
    raise_descriptor_limit();
    let signals = Signals::new()?;
    let socket = Server::bind(&config.control.socket)?;
    let mut node = Node::default();
    let ran = node.run(config, socket, signals).await;
    let down = node.take_down().await;
    ran.and(down)
}

/// Every running check holds a few descriptors; the soft limit is often 1,024.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
