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
    /// The directory where the words of `anycast drain` and `anycast disable` are kept across restarts, for
    /// this daemon alone. Default: systemd's `$STATE_DIRECTORY`, else `"/var/lib/anycast"`.
    #[garde(inner(custom(super::paths::absolute)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_directory: Option<PathBuf>,
}

impl Node {
    /// Where the operators' words are kept. `from_systemd` is the value of `$STATE_DIRECTORY`: paths with
    /// colons between them.
    pub fn state_directory(&self, from_systemd: Option<&str>) -> PathBuf {
        let first = || Some(from_systemd?.split(':').next()?).filter(|path| !path.is_empty());
        match &self.state_directory {
            Some(directory) => directory.clone(),
            None => PathBuf::from(first().unwrap_or(DEFAULT_STATE_DIRECTORY)),
        }
    }
}

/// Where the operators' words are kept when nothing else is said.
const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/anycast";

/// `[control]`: where `anycast status` and the others reach the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, default)]
pub struct Control {
    /// The Unix socket's path. It is created with mode 0600.
    #[garde(custom(super::paths::socket))]
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
