//! The states of a service: the words that health, decision, both planes and the CLI share.
//!
//! It holds no rules: which state follows which is the decision's business.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a service is, as an operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Not yet judged: nothing is announced.
    Init,
    /// Served and announced.
    Up,
    /// Served and announced, with the attributes of the degraded state.
    Degraded,
    /// Being taken away by an operator: still served, announced with the worst metric or withdrawn.
    Draining,
    /// Not served, not announced.
    Down,
    /// Switched off by an operator, whatever the checks say.
    Disabled,
}

impl ServiceState {
    /// Every state, in the order of their discriminants.
    pub const ALL: [Self; 6] = [
        Self::Init,
        Self::Up,
        Self::Degraded,
        Self::Draining,
        Self::Down,
        Self::Disabled,
    ];

    /// The word used in logs, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Disabled => "disabled",
        }
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
