//! Runs the operators' commands after transitions. It follows the events and decides nothing.
//!
//! ```text
//!   events (broadcast) ──▶ one task: a lane per service ──▶ commands
//! ```
//!
//! - The commands of one service run one after the other, in the order of its transitions; those of
//!   different services run side by side.
//! - A lane holds at most [`LANE_DEPTH`] transitions. When it is full the oldest is dropped and logged:
//!   the latest state always gets its commands.
//! - A command that fails or is killed at its timeout is logged, and the next one runs.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::command::{self, Ended, Invocation, Slot};
use crate::config::Hook;
use crate::events::{Event, EventKind};
use crate::one_line::one_line;
use crate::state::ServiceState;

/// Transitions of one service that may wait for a slow command.
pub const LANE_DEPTH: usize = 16;
/// How much of a reason, an operator's for one, a command gets to see, in characters.
const REASON_LIMIT: usize = 4096;

/// The task that runs hooks; dropping it kills the commands under way.
#[derive(Debug)]
pub struct RunningHooks {
    task: JoinHandle<()>,
}

impl RunningHooks {
    /// Waits, once the events have ended, until every command that is due has run, but no longer than
    /// `patience`.
    pub async fn finish(mut self, patience: Duration) {
        if timeout(patience, &mut self.task).await.is_err() {
            warn!(?patience, "hooks that were still running are killed");
        }
    }
}

impl Drop for RunningHooks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts running the hooks of each service, given by its name. Must be called within a tokio runtime.
pub fn spawn(
    node: &str,
    hooks: impl IntoIterator<Item = (String, Vec<Hook>)>,
    events: broadcast::Receiver<Event>,
) -> RunningHooks {
    let lanes = hooks
        .into_iter()
        .filter(|(_, hooks)| !hooks.is_empty())
        .map(|(service, hooks)| {
            let lane = Lane {
                hooks: hooks.into_iter().map(Placed::new).collect(),
                pending: VecDeque::new(),
                busy: false,
            };
            (service, lane)
        })
        .collect();
    let runner = Runner {
        node: node.into(),
        lanes,
        running: JoinSet::new(),
    };
    RunningHooks {
        task: tokio::spawn(runner.run(events)),
    }
}

/// One transition, as commands get to see it.
#[derive(Debug, Clone)]
struct Change {
    from: ServiceState,
    to: ServiceState,
    reason: String,
    time: String,
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

struct Lane {
    hooks: Arc<[Placed]>,
    pending: VecDeque<Change>,
    busy: bool,
}

struct Runner {
    node: Arc<str>,
    lanes: BTreeMap<String, Lane>,
    /// Each gives back the service whose commands have ended.
    running: JoinSet<String>,
}

impl Runner {
    async fn run(mut self, mut events: broadcast::Receiver<Event>) {
        let mut following = true;
        while following || !self.running.is_empty() {
            tokio::select! {
                event = events.recv(), if following => match event {
                    Ok(event) => self.on_event(event),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        warn!(missed, "events came faster than hooks could follow");
                    }
                    Err(broadcast::error::RecvError::Closed) => following = false,
                },
                Some(ended) = self.running.join_next() => {
                    if let Ok(service) = ended {
                        self.on_ended(&service);
                    }
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        let EventKind::Transition {
            service,
            from,
            to,
            reason,
            ..
        } = event.kind
        else {
            return;
        };
        let Some(lane) = self.lanes.get_mut(&service) else {
            return;
        };
        if !lane.hooks.iter().any(|placed| placed.hook.on.contains(&to)) {
            return;
        }
        if lane.pending.len() == LANE_DEPTH
            && let Some(dropped) = lane.pending.pop_front()
        {
            warn!(service, state = %dropped.to, "hooks are too slow: a transition goes without them");
        }
        lane.pending.push_back(Change {
            from,
            to,
            reason: one_line(reason.into(), REASON_LIMIT).into_owned(),
            time: event.at.to_string(),
        });
        if !lane.busy {
            self.start(&service);
        }
    }

    fn on_ended(&mut self, service: &str) {
        if let Some(lane) = self.lanes.get_mut(service) {
            lane.busy = false;
        }
        self.start(service);
    }

    fn start(&mut self, service: &str) {
        let Some(lane) = self.lanes.get_mut(service) else {
            return;
        };
        if let Some(change) = lane.pending.pop_front() {
            lane.busy = true;
            let (hooks, node, service) = (
                Arc::clone(&lane.hooks),
                Arc::clone(&self.node),
                service.to_owned(),
            );
            self.running.spawn(async move {
                run_all(&hooks, &node, &service, &change).await;
                service
            });
        }
    }
}

async fn run_all(hooks: &[Placed], node: &str, service: &str, change: &Change) {
    let environment = [
        ("ANYCAST_NODE", node),
        ("ANYCAST_SERVICE", service),
        ("ANYCAST_STATE", change.to.as_str()),
        ("ANYCAST_PREVIOUS_STATE", change.from.as_str()),
        ("ANYCAST_REASON", &change.reason),
        ("ANYCAST_TIME", &change.time),
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
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::sync::broadcast;

    use super::{LANE_DEPTH, RunningHooks, spawn};
    use crate::config::Hook;
    use crate::events::{Event, EventKind};
    use crate::health::{FailureKind, Outcome, Reason};
    use crate::state::ServiceState;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Rig {
        events: broadcast::Sender<Event>,
        hooks: RunningHooks,
        directory: TempDir,
    }

    impl Rig {
        /// The service `dns` with hooks: shell scripts that may use `$LOG`, with further settings.
        fn new(hooks: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let log = directory.path().join("log");
            let hooks = hooks
                .iter()
                .map(|(script, settings)| {
                    let script = toml::Value::from(format!("LOG={}; {script}", log.display()));
                    let toml = format!("command = [\"/bin/sh\", \"-c\", {script}]\n{settings}");
                    toml::from_str::<Hook>(&toml).expect("the hook parses")
                })
                .collect();
            let (events, receiver) = broadcast::channel(1024);
            let hooks = spawn("city-a", [("dns".to_owned(), hooks)], receiver);
            Self {
                events,
                hooks,
                directory,
            }
        }

        fn log(&self) -> PathBuf {
            self.directory.path().join("log")
        }

        fn transition(&self, service: &str, from: ServiceState, to: ServiceState, reason: &str) {
            let kind = EventKind::Transition {
                service: service.to_owned(),
                from,
                to,
                reason: reason.to_owned(),
                transition: 1,
                generation: 1,
                check: None,
                output: None,
            };
            self.events
                .send(Event::now(kind))
                .expect("the hooks follow");
        }

        /// Ends the events, waits for the hooks, and reads what they wrote.
        async fn written(self) -> String {
            let log = self.log();
            drop(self.events);
            self.hooks.finish(PATIENCE).await;
            std::fs::read_to_string(log).unwrap_or_default()
        }
    }

    async fn wait_for(path: &Path) {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    use ServiceState::{Down, Init, Up};

    #[tokio::test]
    async fn a_command_sees_node_service_states_and_reason() {
        let rig = Rig::new(&[(
            "echo $ANYCAST_NODE $ANYCAST_SERVICE $ANYCAST_PREVIOUS_STATE $ANYCAST_STATE $ANYCAST_REASON >> $LOG; \
             test -n \"$ANYCAST_TIME\" || echo no time >> $LOG",
            "",
        )]);
        rig.transition("dns", Init, Up, "check dns-udp passed; all of it $(true)");
        rig.transition("web", Init, Up, "not ours");
        assert_eq!(
            rig.written().await,
            "city-a dns init up check dns-udp passed; all of it $(true)\n"
        );
    }

    #[tokio::test]
    async fn whatever_a_check_or_an_operator_says_a_command_gets_to_see_it() {
        let check = Reason::Check {
            check: 0,
            name: "probe".into(),
            in_a_row: 2,
            outcome: Outcome::fail(FailureKind::Exit, "exit code 1: \0no\tdisk\u{1b}[31m"),
        };
        let rig = Rig::new(&[("printf '%s\n' \"$ANYCAST_REASON\" >> $LOG", "")]);
        rig.transition("dns", Up, Down, &check.to_string());
        rig.transition("dns", Down, Up, "operator: \0well\nagain");
        rig.transition("dns", Up, Down, &"x".repeat(1_000_000));
        let written = rig.written().await;
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "check probe failed 2 times in a row: exit code 1: \u{fffd}no disk\u{fffd}[31m",
                "operator: \u{fffd}well again",
            ]
        );
        assert!(lines[2].starts_with("xxx") && lines[2].ends_with('…'));
    }

    #[tokio::test]
    async fn commands_run_for_their_states_in_order_and_go_on_after_a_failure() {
        let rig = Rig::new(&[
            ("exit 1", ""),
            ("sleep 0.05; echo first $ANYCAST_STATE >> $LOG", ""),
            ("echo second $ANYCAST_STATE >> $LOG", "on = [\"down\"]"),
        ]);
        rig.transition("dns", Init, Up, "");
        rig.transition("dns", Up, Down, "");
        assert_eq!(rig.written().await, "first up\nfirst down\nsecond down\n");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_and_the_next_one_runs() {
        let rig = Rig::new(&[
            ("trap '' TERM; sleep 300", "timeout = \"100ms\""),
            ("echo next >> $LOG", ""),
        ]);
        rig.transition("dns", Init, Up, "");
        assert_eq!(rig.written().await, "next\n");
    }

    #[tokio::test]
    async fn at_its_timeout_all_of_a_command_s_process_group_is_killed() {
        let rig = Rig::new(&[(
            "sleep 300 & echo $! >> $LOG; echo $$ >> $LOG; wait",
            "timeout = \"200ms\"",
        )]);
        rig.transition("dns", Init, Up, "");
        let written = rig.written().await;
        assert_eq!(written.lines().count(), 2, "{written}");
        for pid in written.lines() {
            let process = Path::new("/proc").join(pid);
            let gone = async {
                while process.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let gone = tokio::time::timeout(PATIENCE, gone).await;
            assert!(gone.is_ok(), "{pid} is still there");
        }
    }

    #[tokio::test]
    async fn when_a_lane_is_full_the_oldest_transitions_go_and_the_latest_stays() {
        let rig = Rig::new(&[(
            "echo $ANYCAST_REASON >> $LOG; while ! test -e $LOG.go; do sleep 0.01; done",
            "",
        )]);
        rig.transition("dns", Init, Up, "0");
        wait_for(&rig.log()).await;
        let last = LANE_DEPTH + 4;
        for number in 1..=last {
            rig.transition("dns", Up, Down, &number.to_string());
        }
        // The runner has taken them all when the channel is empty.
        while !rig.events.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::fs::write(rig.directory.path().join("log.go"), "").expect("written");
        let written = rig.written().await;
        let numbers: Vec<usize> = written
            .lines()
            .map(|line| line.parse().expect("a number"))
            .collect();
        let want: Vec<usize> = std::iter::once(0)
            .chain(last - LANE_DEPTH + 1..=last)
            .collect();
        assert_eq!(numbers, want);
    }
}
