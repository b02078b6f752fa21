//! What the hooks have still to be told: the last transitions of each service that has hooks. The
//! controller fills it and never waits; it must not start anything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::warn;

use crate::state::ServiceState;

/// Transitions of one service that may wait for a slow command.
pub const LANE_DEPTH: usize = 16;

/// One transition, as commands get to see it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) from: ServiceState,
    pub(super) to: ServiceState,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

#[derive(Debug)]
struct Lane {
    service: Arc<str>,
    /// The states that any of its hooks is for.
    on: BTreeSet<ServiceState>,
    pending: VecDeque<Change>,
    /// In `due`, or taken from there and not yet given back.
    busy: bool,
}

#[derive(Debug, Default)]
struct Lanes {
    /// By the service's index; none for a service without hooks.
    all: BTreeMap<usize, Lane>,
    /// The services whose next command may start, the one that has waited longest first.
    due: VecDeque<usize>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    lanes: Mutex<Lanes>,
    changed: Notify,
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // Nothing that could panic runs under the lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The controller's end; dropping it says that no more transitions come.
#[derive(Debug)]
pub struct Transitions {
    shared: Arc<Shared>,
}

/// The end of those who run the commands.
#[derive(Debug)]
pub(super) struct Due {
    shared: Arc<Shared>,
}

/// A queue for the services that have hooks, each given with its index, its name and the states that any
/// of its hooks is for.
pub(super) fn queue(
    services: impl IntoIterator<Item = (usize, Arc<str>, BTreeSet<ServiceState>)>,
) -> (Transitions, Due) {
    let lane = |(index, service, on)| {
        let lane = Lane {
            service,
            on,
            pending: VecDeque::new(),
            busy: false,
        };
        (index, lane)
    };
    let lanes = Lanes {
        all: services.into_iter().map(lane).collect(),
        ..Lanes::default()
    };
    let shared = Arc::new(Shared {
        lanes: Mutex::new(lanes),
        changed: Notify::new(),
    });
    let due = Due {
        shared: Arc::clone(&shared),
    };
    (Transitions { shared }, due)
}

impl Transitions {
    /// An end for a controller whose services have no hooks.
    pub fn without_hooks() -> Self {
        queue([]).0
    }

    /// Whether a hook is for a service's change to a state.
    pub(crate) fn wanted(&self, service: usize, to: ServiceState) -> bool {
        let lanes = self.shared.lanes();
        let lane = lanes.all.get(&service);
        lane.is_some_and(|lane| lane.on.contains(&to))
    }

    /// Tells the hooks of a service, if one is for the state, of a change. When its lane is full the
    /// oldest change goes.
    pub fn tell(
        &self,
        service: usize,
        (from, to): (ServiceState, ServiceState),
        reason: String,
        at: Timestamp,
    ) {
        let mut lanes = self.shared.lanes();
        let Lanes { all, due, .. } = &mut *lanes;
        let Some(lane) = all.get_mut(&service).filter(|lane| lane.on.contains(&to)) else {
            return;
        };
        if lane.pending.len() == LANE_DEPTH
            && let Some(dropped) = lane.pending.pop_front()
        {
            let service = &*lane.service;
            warn!(service, state = %dropped.to, "hooks are too slow: a transition goes without them");
        }
        lane.pending.push_back(Change {
            from,
            to,
            reason,
            at,
        });
        if !lane.busy {
            lane.busy = true;
            due.push_back(service);
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Transitions {
    fn drop(&mut self) {
        self.shared.lanes().closed = true;
        self.shared.changed.notify_one();
    }
}

impl Due {
    /// The next change and its service, which is not given again until it is [`Due::done`]. `None`: no
    /// more come, but for those of services that are not done.
    pub(super) async fn next(&self) -> Option<(usize, Change)> {
        loop {
            {
                let mut lanes = self.shared.lanes();
                if let Some(service) = lanes.due.pop_front() {
                    let lane = lanes.all.get_mut(&service);
                    if let Some(change) = lane.and_then(|lane| lane.pending.pop_front()) {
                        return Some((service, change));
                    }
                    continue;
                }
                if lanes.closed {
                    return None;
                }
            }
            self.shared.changed.notified().await;
        }
    }

    /// The commands for the change of a service have ended.
    pub(super) fn done(&self, service: usize) {
        let mut lanes = self.shared.lanes();
        let Lanes { all, due, .. } = &mut *lanes;
        let Some(lane) = all.get_mut(&service) else {
            return;
        };
        lane.busy = !lane.pending.is_empty();
        if lane.busy {
            due.push_back(service);
        }
    }

    /// How many changes wait.
    pub(super) fn waiting(&self) -> usize {
        let lanes = self.shared.lanes();
        lanes.all.values().map(|lane| lane.pending.len()).sum()
    }
}
