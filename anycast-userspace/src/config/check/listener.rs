//! The `listener` check.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Common;
use crate::config::dataplane::{Port, Transport};
use crate::listener;

/// The most ports that one range may hold: each is followed by itself.
const WIDEST: u16 = 64;

/// Passes while a socket of this host serves each port on each Service Address. It is not run at an
/// interval: the kernel tells the moment in which the last such socket is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct ListenerCheck {
    /// Name of the check, unique within its service.
    #[garde(length(chars, min = 1, max = 64))]
    pub name: String,
    /// TCP and UDP ports that must be served (default: the service's own).
    #[garde(inner(length(min = 1), custom(watchable)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<Port>>,
    /// What the check counts for where the service requires a weight (default 1).
    #[garde(range(min = 1, max = 1_000_000))]
    #[serde(default = "super::default_weight")]
    pub weight: u32,
}

impl ListenerCheck {
    pub(super) fn common(&self) -> Common<'_> {
        let interval = super::default_interval().0;
        Common {
            name: &self.name,
            interval,
            timeout: None,
            rise: 1,
            fall: 1,
            fast_interval: None,
            jitter: std::time::Duration::ZERO,
            splay: None,
            weight: self.weight,
            shared: false,
        }
    }

    /// The ports to follow, where `served` are the service's own.
    pub fn watched(&self, served: &[Port]) -> Vec<listener::Port> {
        self.ports
            .as_deref()
            .unwrap_or(served)
            .iter()
            .flat_map(|port| {
                let transport = match port.transport {
                    Transport::Tcp => Some(listener::Transport::Tcp),
                    Transport::Udp => Some(listener::Transport::Udp),
                    Transport::Sctp => None,
                };
                transport.into_iter().flat_map(move |transport| {
                    (port.first..=port.last).map(move |number| listener::Port { transport, number })
                })
            })
            .collect()
    }

    /// Whether the ports can be followed, where `served` are the service's own.
    pub fn can_watch(&self, served: &[Port]) -> Result<(), String> {
        let ports = self.ports.as_deref().unwrap_or(served);
        if ports.is_empty() {
            return Err("has no port to watch: the service lists none".to_owned());
        }
        watchable(ports, &()).map_err(|error| error.to_string())
    }
}

fn watchable(ports: &[Port], _: &()) -> garde::Result {
    for port in ports {
        if port.transport == Transport::Sctp {
            return Err(garde::Error::new(format!(
                "{port}: only TCP and UDP sockets can be watched"
            )));
        }
        if port.last - port.first >= WIDEST {
            return Err(garde::Error::new(format!(
                "{port}: a watched range holds at most {WIDEST} ports"
            )));
        }
    }
    Ok(())
}
