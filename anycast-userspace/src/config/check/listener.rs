//! The `listener` check: which sockets the kernel is asked to tell of. It has no interval and no rise
//! or fall: there is a report when something changes, and each is a fact.

use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Common, default_weight};
use crate::config::dataplane::Transport;
use crate::config::{Port, Span};

/// The most ports that one check can watch.
const MOST_PORTS: usize = 1024;
/// How often everything is read again, besides the kernel's events.
const RESYNC: Span = Span::from_secs(1);

/// Sockets that must be there: one at least for each port on each Service Address, bound to the
/// address or to a wildcard. The kernel tells the moment when the last one is released, so this fails
/// within microseconds of a crash; it does not see a service that hangs. Needs Linux 5.9 and cgroup v2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ListenerCheck {
    /// Name of the check, unique within its service; it appears in `status`, in events and in
    /// metrics.
    #[garde(length(chars, min = 1, max = 64))]
    pub name: String,
    /// TCP and UDP ports to watch, such as `["udp/53", "tcp/53"]` (default: the service's ports).
    #[garde(inner(inner(custom(can_be_watched))))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<Port>>,
    /// The cgroup v2 directory, with all below it, whose sockets' releases are seen at once (default: the
    /// root of the hierarchy); others are found missing within a second. A kill is heard of any group.
    #[garde(inner(custom(crate::config::paths::absolute)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<PathBuf>,
    /// What the check counts for where the service requires a weight (default 1).
    #[garde(range(min = 1, max = 1_000_000))]
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// The check looks at something that every node depends on: its failure makes the service
    /// degraded, not down, so that no node withdraws the last resort (default false).
    #[garde(skip)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
}

impl ListenerCheck {
    pub(super) fn common(&self) -> Common<'_> {
        Common {
            name: &self.name,
            interval: RESYNC.0,
            timeout: None,
            rise: 1,
            fall: 1,
            fast_interval: None,
            jitter: Span::default().0,
            splay: None,
            weight: self.weight,
            shared: self.shared,
        }
    }

    /// The ports to watch, one by one, for a service that serves `service`.
    ///
    /// # Errors
    ///
    /// In words, when there are none, too many, or one that cannot be watched.
    pub fn watched(&self, service: &[Port]) -> Result<Vec<Port>, String> {
        let ranges = self.ports.as_deref().unwrap_or(service);
        if ranges.is_empty() {
            return Err(format!(
                "check {}: there is no port to watch: neither the check nor the service has `ports`",
                self.name
            ));
        }
        if let Some(error) = ranges
            .iter()
            .find_map(|port| can_be_watched(port, &()).err())
        {
            return Err(format!("check {}: {error}", self.name));
        }
        let ports: Vec<Port> = ranges
            .iter()
            .flat_map(|range| {
                (range.first..=range.last).map(|port| Port {
                    first: port,
                    last: port,
                    ..*range
                })
            })
            .collect();
        if ports.len() > MOST_PORTS {
            return Err(format!(
                "check {}: {} ports are too many to watch: the most is {MOST_PORTS}; list fewer in \
                 its `ports`",
                self.name,
                ports.len()
            ));
        }
        Ok(ports)
    }
}

fn can_be_watched<C>(port: &Port, _: &C) -> garde::Result {
    match port.transport {
        Transport::Tcp | Transport::Udp => Ok(()),
        Transport::Sctp => Err(garde::Error::new(format!(
            "{port} cannot be watched: TCP and UDP sockets can"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(toml: &str) -> ListenerCheck {
        toml::from_str(&format!("name = \"sockets\"\n{toml}")).unwrap()
    }

    fn ports(texts: &[&str]) -> Vec<Port> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn without_ports_of_its_own_it_watches_those_of_the_service() {
        let service = ports(&["udp/53", "tcp/80-82"]);
        for (toml, want) in [
            ("", ["udp/53", "tcp/80", "tcp/81", "tcp/82"].as_slice()),
            ("ports = [\"tcp/53\"]", &["tcp/53"]),
        ] {
            assert_eq!(check(toml).watched(&service).unwrap(), ports(want));
        }
    }

    #[test]
    fn ports_that_cannot_be_watched_are_refused_with_the_reason() {
        for (toml, service, why) in [
            ("", vec![], "no port to watch"),
            ("", ports(&["sctp/53"]), "sctp/53 cannot be watched"),
            (
                "ports = [\"udp/1-2000\"]",
                vec![],
                "2000 ports are too many",
            ),
        ] {
            let error = check(toml).watched(&service).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let report = check("ports = [\"sctp/53\"]").validate().unwrap_err();
        assert!(
            report.to_string().starts_with("ports[0]: sctp/53"),
            "{report}"
        );
    }

    #[test]
    fn each_report_is_a_verdict() {
        let check = check("");
        let common = check.common();
        assert_eq!((common.rise, common.fall), (1, 1));
    }
}
