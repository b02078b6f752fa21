//! The rules of one service's health, as configured.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Check, Damping, Require};

/// What `Health` needs to know of one check.
#[derive(Debug, Clone)]
pub(super) struct CheckSettings {
    pub(super) name: Arc<str>,
    pub(super) rise: u32,
    pub(super) fall: u32,
    pub(super) weight: u32,
    pub(super) shared: bool,
}

/// The rules of one service's health.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) checks: Vec<CheckSettings>,
    pub(super) needs: Vec<Arc<str>>,
    pub(super) unchecked: bool,
    pub(super) require: Require,
    pub(super) hold_down: Duration,
    pub(super) damping: Option<Damping>,
}

impl Settings {
    /// The rules as configured. Results are later given by index into `checks`.
    pub fn new(
        checks: &[Check],
        require: Require,
        hold_down: Duration,
        damping: Option<Damping>,
    ) -> Self {
        let checks = checks
            .iter()
            .map(|check| {
                let common = check.common();
                CheckSettings {
                    name: common.name.into(),
                    rise: common.rise,
                    fall: common.fall,
                    weight: common.weight,
                    shared: common.shared,
                }
            })
            .collect();
        Self {
            checks,
            needs: Vec::new(),
            unchecked: false,
            require,
            hold_down,
            damping,
        }
    }
}

impl Settings {
    /// The same; with `unchecked` nothing is asked of the service, and it is always up.
    #[must_use]
    pub fn unchecked_if(mut self, unchecked: bool) -> Self {
        if unchecked {
            self.unchecked = true;
            self.checks.clear();
            self.needs.clear();
            self.require = Require::All;
        }
        self
    }

    /// The same, with the names of the services that must be serving for this one to be.
    #[must_use]
    pub fn with_needs(mut self, names: &[String]) -> Self {
        self.needs = names.iter().map(|name| name.as_str().into()).collect();
        self
    }
}
