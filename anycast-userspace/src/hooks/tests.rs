use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;

use super::{AT_ONCE, LANE_DEPTH, RunningHooks, Transitions, spawn};
use crate::command::end_of;
use crate::config::Hook;
use crate::health::{FailureKind, Outcome, Reason};
use crate::state::ServiceState::{self, Down, Init, Up};

const PATIENCE: Duration = Duration::from_secs(60);

struct Rig {
    transitions: Transitions,
    hooks: RunningHooks,
    directory: TempDir,
}

impl Rig {
    /// The service `dns` with hooks: shell scripts that may use `$LOG`, with further settings. The
    /// service `web` has none.
    fn new(hooks: &[(&str, &str)]) -> Self {
        Self::with(1, hooks)
    }

    /// That many services with the same hooks before `web`.
    fn with(services: usize, hooks: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let hooks: Vec<Hook> = hooks
            .iter()
            .map(|(script, settings)| {
                let script = toml::Value::from(format!("LOG={}; {script}", log.display()));
                let toml = format!("command = [\"/bin/sh\", \"-c\", {script}]\n{settings}");
                toml::from_str::<Hook>(&toml).expect("the hook parses")
            })
            .collect();
        let hooked = std::iter::repeat_n(("dns".to_owned(), hooks), services);
        let all = hooked.chain([("web".to_owned(), Vec::new())]);
        let (transitions, hooks) = spawn("city-a", all);
        Self {
            transitions,
            hooks,
            directory,
        }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn transition(&self, service: usize, from: ServiceState, to: ServiceState, reason: &str) {
        let at = Timestamp::now();
        self.transitions
            .tell(service, (from, to), reason.to_owned(), at);
    }

    /// Ends the transitions, waits for the hooks, and reads what they wrote.
    async fn written(self) -> String {
        let log = self.log();
        drop(self.transitions);
        self.hooks.finish(PATIENCE).await;
        std::fs::read_to_string(log).unwrap_or_default()
    }
}

async fn wait_for(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_command_sees_node_service_states_and_reason() {
    let rig = Rig::new(&[(
        "echo $ANYCAST_NODE $ANYCAST_SERVICE $ANYCAST_PREVIOUS_STATE $ANYCAST_STATE $ANYCAST_REASON >> $LOG; \
         test -n \"$ANYCAST_TIME\" || echo no time >> $LOG",
        "",
    )]);
    rig.transition(0, Init, Up, "check dns-udp passed; all of it $(true)");
    rig.transition(1, Init, Up, "not ours");
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
    rig.transition(0, Up, Down, &check.to_string());
    rig.transition(0, Down, Up, "operator: \0well\nagain");
    rig.transition(0, Up, Down, &"x".repeat(1_000_000));
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
    rig.transition(0, Init, Up, "");
    rig.transition(0, Up, Down, "");
    assert_eq!(rig.written().await, "first up\nfirst down\nsecond down\n");
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_and_the_next_one_runs() {
    let rig = Rig::new(&[
        ("trap '' TERM; sleep 300", "timeout = \"100ms\""),
        ("echo next >> $LOG", ""),
    ]);
    rig.transition(0, Init, Up, "");
    assert_eq!(rig.written().await, "next\n");
}

#[tokio::test]
async fn at_its_timeout_all_of_a_command_s_process_group_is_killed() {
    let rig = Rig::new(&[(
        "sleep 300 & echo $! >> $LOG; echo $$ >> $LOG; wait",
        "timeout = \"3s\"",
    )]);
    rig.transition(0, Init, Up, "");
    let written = rig.written().await;
    assert_eq!(written.lines().count(), 2, "{written}");
    for pid in written.lines() {
        end_of(pid.parse().expect("a pid")).await;
    }
}

#[tokio::test]
async fn when_a_lane_is_full_the_oldest_transitions_go_and_the_latest_stays() {
    let rig = Rig::new(&[(
        "echo $ANYCAST_REASON >> $LOG; while ! test -e $LOG.go; do sleep 0.01; done",
        "",
    )]);
    rig.transition(0, Init, Up, "0");
    wait_for(&rig.log()).await;
    let last = LANE_DEPTH + 4;
    for number in 1..=last {
        rig.transition(0, Up, Down, &number.to_string());
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

#[tokio::test]
async fn no_more_commands_run_at_once_than_there_are_places_and_all_get_their_turn() {
    let count = AT_ONCE + 4;
    let rig = Rig::with(
        count,
        &[(
            "echo $ANYCAST_REASON >> $LOG; while ! test -e $LOG.go; do sleep 0.01; done",
            "",
        )],
    );
    for service in 0..count {
        rig.transition(service, Init, Up, &service.to_string());
    }
    let begun = || std::fs::read_to_string(rig.log()).map_or(0, |log| log.lines().count());
    while begun() < AT_ONCE {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // All that have begun have written; what is left has not begun.
    assert_eq!((begun(), rig.hooks.due.waiting()), (AT_ONCE, 4));
    std::fs::write(rig.directory.path().join("log.go"), "").expect("written");
    assert_eq!(rig.written().await.lines().count(), count);
}
