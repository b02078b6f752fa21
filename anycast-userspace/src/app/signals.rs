//! The signals that end the daemon. They are heard from the first moment, so that one during the start
//! also leads through the orderly way down.

use anyhow::Context as _;
use futures_util::{Stream, stream};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal has gone: nothing is read again, so this ends the daemon as well.
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot hear SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot hear SIGTERM")?,
            hang_up: signal(SignalKind::hangup()).context("cannot hear SIGHUP")?,
        })
    }

    /// The names of the signals as they come.
    pub(super) fn names(self) -> impl Stream<Item = String> {
        stream::unfold(self, async |mut signals| {
            Some((signals.next().await, signals))
        })
    }

    async fn next(&mut self) -> String {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT".to_owned(),
            _ = self.terminate.recv() => "SIGTERM".to_owned(),
            _ = self.hang_up.recv() => "SIGHUP".to_owned(),
        }
    }
}
