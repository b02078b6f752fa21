//! Watches a router's kernel table: when did which Service Address last point where?

use std::time::Duration;

use crate::clock::Monotonic;
use crate::feed::{Feed, Mark};
use crate::netns::Namespace;
use crate::process::Process;

/// A change of one route in the kernel's table, as the kernel announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteChange {
    /// When the notice was read.
    pub at: Monotonic,
    /// The destination, without a host route's length.
    pub destination: String,
    /// The interface that it leads to now; none when the route was deleted.
    pub interface: Option<String>,
}

/// A running `ip monitor route`.
#[derive(Debug)]
pub struct RouteWatch {
    router: String,
    changes: Feed<RouteChange>,
    _monitor: Process,
}

impl RouteWatch {
    /// Starts watching.
    ///
    /// # Errors
    /// When ip(8) cannot be started.
    pub fn start(router: &str, namespace: &Namespace) -> anyhow::Result<Self> {
        let changes = Feed::default();
        let mut command = namespace.command("ip")?;
        command.args(["-o", "monitor", "route"]);
        let feed = changes.clone();
        let monitor = Process::follow(&format!("ip monitor in {router}"), command, move |line| {
            if let Some(change) = parse(line, Monotonic::now()) {
                feed.push(change);
            }
        })?;
        Ok(Self {
            router: router.into(),
            changes,
            _monitor: monitor,
        })
    }

    /// The present end of the history.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.changes.mark()
    }

    /// The interface that `destination` leads to now, as far as the history says.
    #[must_use]
    pub fn leads_to(&self, destination: &str) -> Option<String> {
        let history = self.changes.after(Mark::START);
        let last = history
            .into_iter()
            .rev()
            .find(|change| change.destination == destination);
        last.and_then(|change| change.interface)
    }

    /// Waits until a change after `mark` makes `destination` lead to `interface`.
    ///
    /// # Errors
    /// When that has not happened within `timeout`.
    pub fn led_to(
        &self,
        mark: Mark,
        destination: &str,
        interface: &str,
        timeout: Duration,
    ) -> anyhow::Result<Monotonic> {
        let what = format!("{} to send {destination} to {interface}", self.router);
        let change = self.changes.wait(mark, &what, timeout, |change| {
            change.destination == destination && change.interface.as_deref() == Some(interface)
        })?;
        Ok(change.at)
    }

    /// Waits until a change after `mark` makes `destination` no longer lead to `interface`: the route is
    /// deleted, or replaced by one to elsewhere.
    ///
    /// # Errors
    /// When that has not happened within `timeout`.
    pub fn left(
        &self,
        mark: Mark,
        destination: &str,
        interface: &str,
        timeout: Duration,
    ) -> anyhow::Result<Monotonic> {
        let what = format!(
            "{} to stop sending {destination} to {interface}",
            self.router
        );
        let change = self.changes.wait(mark, &what, timeout, |change| {
            change.destination == destination && change.interface.as_deref() != Some(interface)
        })?;
        Ok(change.at)
    }
}

fn parse(line: &str, at: Monotonic) -> Option<RouteChange> {
    let mut words = line.split_whitespace().peekable();
    let deleted = words.next_if_eq(&"Deleted").is_some();
    let destination = words.next()?.to_owned();
    let interface = words.skip_while(|word| *word != "dev").nth(1)?.to_owned();
    Some(RouteChange {
        at,
        destination,
        interface: (!deleted).then_some(interface),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_notice_is_understood() {
        let at = Monotonic::from_nanos(1);
        for (line, destination, interface) in [
            (
                "192.168.250.1 via 10.0.1.2 dev node proto bird metric 32",
                "192.168.250.1",
                Some("node"),
            ),
            (
                "Deleted 192.168.250.1 via 10.0.1.2 dev node proto bird metric 32",
                "192.168.250.1",
                None,
            ),
            (
                "fd00:250::1 via fe80::1 dev router-b proto bird metric 32 pref medium",
                "fd00:250::1",
                Some("router-b"),
            ),
        ] {
            let change = parse(line, at).expect(line);
            assert_eq!(change.destination, destination, "{line}");
            assert_eq!(change.interface.as_deref(), interface, "{line}");
        }
    }

    #[test]
    fn a_line_without_an_interface_is_no_route() {
        assert_eq!(parse("unreachable default", Monotonic::from_nanos(1)), None);
    }
}
