//! The configuration file: its shape, its rules, and errors that name file, line and field.
//!
//! It only describes: it opens no socket, reads no clock, and knows no running state.

pub mod bfd;
pub mod bgp;
pub mod check;
pub mod dataplane;
mod duration;
mod error;
mod hook;
mod load;
mod locate;
mod manage;
mod metrics;
mod needs;
mod node;
mod own_addresses;
mod paths;
mod require;
mod rules;
mod service;
mod shape;

#[cfg(test)]
mod tests;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::rib::{Attributes, NextHop};
pub use bgp::Bgp;
pub use check::Check;
pub use dataplane::{DataPlane, OnDown, Port, Unlisted};
pub use duration::Span;
pub use error::{ConfigError, Problem};
pub use hook::Hook;
pub use locate::Place;
pub use manage::ManageAddresses;
pub use metrics::{Listen, Metrics};
pub use node::{Control, DEFAULT_SOCKET, Node};
pub use require::{Damping, Require};
pub use service::{Announcer, AttributesByState, OnDisabled, OnMaintenance, Service};

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who this node is.
    #[garde(dive)]
    pub node: Node,
    /// Where the XDP program runs.
    #[garde(dive)]
    pub dataplane: DataPlane,
    /// Where the daemon is reached.
    #[garde(dive)]
    #[serde(default)]
    pub control: Control,
    /// Where metrics are served.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// The embedded BGP speaker.
    #[garde(dive)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bgp: Option<Bgp>,
    /// The services.
    #[garde(dive, length(min = 1))]
    pub services: Vec<Service>,
}
