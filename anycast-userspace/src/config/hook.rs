//! `[[services.hooks]]`: commands run when a service changes its state.

use std::collections::BTreeSet;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
use super::rules::{has_no_nul, names_a_program, names_a_user, not_zero};
use crate::state::ServiceState;

/// A command run after a transition of its service, in a process group of its own and without a shell.
/// It sees `ANYCAST_NODE`, `ANYCAST_SERVICE`, `ANYCAST_STATE`, `ANYCAST_PREVIOUS_STATE`,
/// `ANYCAST_REASON` and `ANYCAST_TIME` (RFC 3339). No decision ever waits for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The program, then its arguments.
    #[garde(length(min = 1), custom(names_a_program), inner(custom(has_no_nul)))]
    pub command: Vec<String>,
    /// The states to run it for, when the service enters them (default: all).
    #[garde(length(min = 1))]
    #[serde(default = "every_state")]
    #[schemars(with = "Vec<String>")]
    pub on: BTreeSet<ServiceState>,
    /// The command is killed, with its whole process group, when it takes longer (default `"10s"`).
    #[garde(custom(not_zero))]
    #[serde(default = "ten_seconds")]
    pub timeout: Span,
    /// User to run as, with that user's group alone (default: the daemon's).
    #[garde(inner(length(min = 1), custom(names_a_user)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

fn every_state() -> BTreeSet<ServiceState> {
    ServiceState::ALL.into_iter().collect()
}

fn ten_seconds() -> Span {
    Span::from_secs(10)
}
