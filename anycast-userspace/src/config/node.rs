//! The sections about the node itself.

use std::path::PathBuf;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[node]`: who this is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// The node's name, shown in `status`, events and DNS identity answers (RFC 4892). At most 63
    /// letters, digits, dots, hyphens and underscores.
    #[garde(length(min = 1, max = 63), pattern(r"^[A-Za-z0-9._-]+$"))]
    pub name: String,
}

/// `[control]`: where `anycast status` and the others reach the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// The Unix socket's path. It is created with mode 0600.
    #[garde(skip)]
    pub socket: PathBuf,
}

/// The socket that daemon and client use when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/anycast/anycast.sock";

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
        }
    }
}
