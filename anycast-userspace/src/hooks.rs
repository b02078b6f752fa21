//! Runs the operators' commands after transitions. It is told of each and decides nothing.
//!
//! ```text
//!   controller ──queue: a lane per service with hooks──▶ one task ──▶ commands
//! ```
//!
//! - The commands of one service run one after the other, in the order of its transitions; those of
//!   different services run side by side, [`AT_ONCE`] at most. The others wait for their turn, in the
//!   order of their transitions.
//! - A lane holds at most [`LANE_DEPTH`] transitions. When it is full the oldest is dropped and logged:
//!   the latest state always gets its commands, however many services change at once. The controller
//!   never waits for a lane.
//! - A service without hooks has no lane.
//! - A command that fails or is killed at its timeout is logged, and the next one runs.

mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::command::{self, Ended, Invocation, Slot};
use crate::config::Hook;
use crate::one_line::one_line;
use crate::state::ServiceState;
use queue::{Change, Due};

pub use queue::{LANE_DEPTH, Transitions};

/// Commands that run at the same time.
pub const AT_ONCE: usize = 16;
/// How much of a reason, an operator's for one, a command gets to see, in characters.
const REASON_LIMIT: usize = 4096;

/// The task that runs hooks; dropping it kills the commands under way.
#[derive(Debug)]
pub struct RunningHooks {
    task: JoinHandle<()>,
    due: Arc<Due>,
}

impl RunningHooks {
    /// Waits, once the controller's end of the queue is gone, until every command that is due has run,
    /// but no longer than `patience`.
    pub async fn finish(mut self, patience: Duration) {
        if timeout(patience, &mut self.task).await.is_err() {
            warn!(
                ?patience,
                not_begun = self.due.waiting(),
                "hooks that were still running are killed"
            );
        }
    }
}

impl Drop for RunningHooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts running the hooks of each service, given by its name in the order of the configuration; the
/// controller tells the queue of transitions. Must be called within a tokio runtime.
pub fn spawn(
    node: &str,
    hooks: impl IntoIterator<Item = (String, Vec<Hook>)>,
) -> (Transitions, RunningHooks) {
    let services: BTreeMap<usize, Hooked> = hooks
        .into_iter()
        .enumerate()
        .filter(|(_, (_, hooks))| !hooks.is_empty())
        .map(|(index, (name, hooks))| {
            let hooked = Hooked {
                name: name.into(),
                hooks: hooks.into_iter().map(Placed::new).collect(),
            };
            (index, hooked)
        })
        .collect();
    let lanes = services
        .iter()
        .map(|(index, service)| (*index, Arc::clone(&service.name), service.states()));
    let (transitions, due) = queue::queue(lanes);
    let due = Arc::new(due);
    let runner = Runner {
        node: node.into(),
        services,
        due: Arc::clone(&due),
        running: JoinSet::new(),
    };
    let task = tokio::spawn(runner.run());
    (transitions, RunningHooks { task, due })
}

/// A hook and where its runs take place: one that hangs in the kernel keeps no other from running.
struct Placed {
    hook: Hook,
    slot: Slot,
}

impl Placed {
    fn new(hook: Hook) -> Self {
        Self {
            hook,
            slot: Slot::default(),
        }
    }
}

struct Hooked {
    name: Arc<str>,
    hooks: Arc<[Placed]>,
}

impl Hooked {
    fn states(&self) -> BTreeSet<ServiceState> {
        let hooks = self.hooks.iter();
        hooks.flat_map(|placed| &placed.hook.on).copied().collect()
    }
}

struct Runner {
    node: Arc<str>,
    services: BTreeMap<usize, Hooked>,
    due: Arc<Due>,
    /// Each gives back the service whose commands have ended.
    running: JoinSet<usize>,
}

impl Runner {
    async fn run(mut self) {
        let mut following = true;
        while following || !self.running.is_empty() {
            tokio::select! {
                next = self.due.next(), if following && self.running.len() < AT_ONCE => match next {
                    Some((service, change)) => self.start(service, change),
                    None => following = false,
                },
                Some(ended) = self.running.join_next() => {
                    if let Ok(service) = ended {
                        self.due.done(service);
                        // It may have more, even where no more transitions come.
                        following = true;
                    }
                }
            }
        }
    }

    fn start(&mut self, index: usize, change: Change) {
        let Some(Hooked { name, hooks }) = self.services.get(&index) else {
            return;
        };
        let (node, name, hooks) = (Arc::clone(&self.node), Arc::clone(name), Arc::clone(hooks));
        self.running.spawn(async move {
            run_all(&hooks, &node, &name, &change).await;
            index
        });
    }
}

async fn run_all(hooks: &[Placed], node: &str, service: &str, change: &Change) {
    let time = change.at.to_string();
    let reason = one_line(change.reason.as_str().into(), REASON_LIMIT);
    let environment = [
        ("ANYCAST_NODE", node),
        ("ANYCAST_SERVICE", service),
        ("ANYCAST_STATE", change.to.as_str()),
        ("ANYCAST_PREVIOUS_STATE", change.from.as_str()),
        ("ANYCAST_REASON", &reason),
        ("ANYCAST_TIME", &time),
    ];
    for Placed { hook, slot } in hooks {
        if !hook.on.contains(&change.to) {
            continue;
        }
        let invocation = Invocation {
            command: &hook.command,
            environment: &environment,
            directory: Path::new("/"),
            user: hook.user.as_deref(),
        };
        let finished = command::run(
            slot,
            &invocation,
            (Instant::now() + hook.timeout.0).into_std(),
        )
        .await;
        let program = &hook.command[0];
        match finished.ended {
            Ended::Exited(status) if status.success() => {
                info!(service, state = %change.to, program, "hook ran");
            }
            Ended::Exited(_)
            | Ended::TimedOut
            | Ended::NotStarted
            | Ended::SlotTaken
            | Ended::Failed(_) => {
                warn!(service, state = %change.to, program, "hook failed: {}", finished.describe());
            }
        }
    }
}

#[cfg(test)]
mod tests;
