//! Logs: for people on a terminal, JSON elsewhere; `ANYCAST_LOG` sets the filter (`info` by default).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Installs the process's log subscriber, which writes to standard error.
pub(crate) fn init() {
    let filter = EnvFilter::try_from_env("ANYCAST_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let installed = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    if let Err(error) = installed {
        eprintln!("anycast: logs stay off: {error}");
    }
}
