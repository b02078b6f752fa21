//! The phases of a service's life, and what each of them means to the planes and to a reader.

use std::time::Instant;

use super::plan::{DataPlaneMode, Plan, RouteState};
use crate::state::ServiceState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Init,
    Installing {
        shown: ServiceState,
    },
    InstallFailed {
        retry_at: Instant,
    },
    Serving,
    Depreferenced {
        until: Instant,
    },
    Withdrawn(Withdrawn),
    Drained,
    Failed {
        lingers_until: Option<Instant>,
    },
    Disabled,
    /// The end has begun: announced with the worst metric, so that the clients move away.
    Leaving {
        until: Instant,
    },
    /// Withdrawn for the end, and still served.
    Stopping,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Withdrawn {
    pub(super) gives_up_at: Instant,
    pub(super) written: bool,
    pub(super) quiet: Option<Quiet>,
}

/// The packets counted so far, and since when that number has stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    pub(super) packets: u64,
    pub(super) since: Instant,
}

/// What a service that is served counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServesAs {
    Up,
    Degraded,
}

impl Phase {
    pub(super) fn plan(self, serves_as: ServesAs) -> Plan {
        let (mode, announced) = match serves_as {
            ServesAs::Up => (DataPlaneMode::Up, RouteState::Up),
            ServesAs::Degraded => (DataPlaneMode::Degraded, RouteState::Degraded),
        };
        let (data_plane, route) = match self {
            Self::Init => (DataPlaneMode::Init, None),
            Self::Installing { .. } => (mode, None),
            Self::Serving => (mode, Some(announced)),
            Self::Depreferenced { .. } | Self::Leaving { .. } => {
                (DataPlaneMode::Draining, Some(RouteState::Draining))
            }
            Self::Withdrawn(_) | Self::Stopping => (DataPlaneMode::Draining, None),
            Self::Failed {
                lingers_until: Some(_),
            } => (DataPlaneMode::Lingering, None),
            Self::Failed {
                lingers_until: None,
            }
            | Self::Drained
            | Self::InstallFailed { .. } => (DataPlaneMode::Down, None),
            Self::Disabled => (DataPlaneMode::Disabled, None),
        };
        Plan { data_plane, route }
    }

    /// The state that an operator sees.
    pub(super) fn shown(self, serves_as: ServesAs) -> ServiceState {
        match self {
            Self::Init => ServiceState::Init,
            Self::Installing { shown } => shown,
            Self::Serving => match serves_as {
                ServesAs::Up => ServiceState::Up,
                ServesAs::Degraded => ServiceState::Degraded,
            },
            Self::Depreferenced { .. }
            | Self::Withdrawn(_)
            | Self::Leaving { .. }
            | Self::Stopping => ServiceState::Draining,
            Self::Failed { .. } | Self::InstallFailed { .. } | Self::Drained => ServiceState::Down,
            Self::Disabled => ServiceState::Disabled,
        }
    }

    /// When time alone leads on.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::InstallFailed { retry_at } => Some(retry_at),
            Self::Depreferenced { until } | Self::Leaving { until } => Some(until),
            Self::Withdrawn(withdrawn) => Some(withdrawn.gives_up_at),
            Self::Failed { lingers_until } => lingers_until,
            Self::Init
            | Self::Installing { .. }
            | Self::Serving
            | Self::Drained
            | Self::Disabled
            | Self::Stopping => None,
        }
    }
}
