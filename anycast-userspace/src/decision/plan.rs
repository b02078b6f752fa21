//! What a decision consists of: the data plane's mode and the routes' attributes.

/// What the data plane does for a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DataPlaneMode {
    /// Not yet judged: `on_down` applies.
    #[default]
    Init,
    /// Answers, and passes served ports.
    Up,
    /// As `Up`; shown as degraded.
    Degraded,
    /// As `Up`; shown as draining.
    Draining,
    /// Passes served ports, answers nothing.
    Lingering,
    /// `on_down` applies.
    Down,
    /// `on_down` applies; shown as disabled.
    Disabled,
}

/// Which set of attributes a service's routes carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteState {
    /// The attributes of a healthy service.
    Up,
    /// The attributes of a degraded one.
    Degraded,
    /// The worst metric.
    Draining,
}

/// What both planes shall do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The map entry's mode.
    pub data_plane: DataPlaneMode,
    /// The routes' attributes; `None`: not announced.
    pub route: Option<RouteState>,
}
