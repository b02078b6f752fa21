//! The `exec` check: a command whose exit code is the verdict.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Subject;
use super::probe::{Run, timed_out};
use crate::command::{self, Ended, Invocation, Slot};
use crate::config::check::ExecCheck;
use crate::health::{FailureKind, Outcome};

/// How many bytes of addresses a command is given. The kernel starts none with a variable of 128 KiB.
const ADDRESSES_LIMIT: usize = 64 * 1024;

pub(super) struct ExecProbe {
    check: ExecCheck,
    slot: Slot,
    /// Besides the configured ones: on whose behalf the command runs.
    variables: [(&'static str, String); 4],
}

impl ExecProbe {
    pub(super) fn new(check: &ExecCheck, subject: &Subject<'_>) -> Self {
        Self {
            check: check.clone(),
            slot: Slot::default(),
            variables: [
                ("ANYCAST_SERVICE", subject.name.to_owned()),
                ("ANYCAST_CHECK", check.name.clone()),
                ("ANYCAST_ADDRESSES", first_addresses(subject.addresses)),
                ("ANYCAST_ADDRESS_COUNT", subject.addresses.len().to_string()),
            ],
        }
    }

    pub(super) async fn run(&self, deadline: Instant, limit: Duration) -> Run {
        let configured = self
            .check
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let environment: Vec<_> = configured
            .chain(
                self.variables
                    .iter()
                    .map(|(name, value)| (*name, value.as_str())),
            )
            .collect();
        let invocation = Invocation {
            command: &self.check.command,
            environment: &environment,
            directory: &self.check.directory,
            user: self.check.user.as_deref(),
        };
        let finished = command::run(&self.slot, &invocation, deadline).await;
        let outcome = match &finished.ended {
            Ended::TimedOut => timed_out(limit),
            Ended::NotStarted => Outcome::fail(
                FailureKind::Timeout,
                format!(
                    "no result within {limit:?}: `{}` has not been started yet",
                    self.check.command[0]
                ),
            ),
            Ended::SlotTaken => Outcome::fail(FailureKind::Timeout, finished.describe()),
            Ended::Failed(why) => Outcome::fail(FailureKind::Resource, why.clone()),
            Ended::Exited(status) => {
                let passes = |code: i32| {
                    self.check
                        .pass_codes
                        .iter()
                        .any(|pass| i32::from(*pass) == code)
                };
                if status.code().is_some_and(passes) {
                    Outcome::pass(finished.describe())
                } else {
                    Outcome::fail(FailureKind::Exit, finished.describe())
                }
            }
        };
        Run {
            outcome,
            output: finished.output,
        }
    }
}

/// As many addresses, separated by spaces, as a command can be given.
fn first_addresses(addresses: &[IpAddr]) -> String {
    let mut list = String::new();
    for address in addresses {
        let address = address.to_string();
        if list.len() + 1 + address.len() > ADDRESSES_LIMIT {
            break;
        }
        if !list.is_empty() {
            list.push(' ');
        }
        list.push_str(&address);
    }
    list
}
