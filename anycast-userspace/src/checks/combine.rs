//! One run against several targets at once: every one of them must pass.

use std::borrow::Cow;
use std::net::SocketAddr;

use futures_util::future::join_all;

use super::probe::Failure;
use crate::health::{FailureKind, Outcome};

/// Runs `one` against each target; the first failure is the outcome, and names its target.
pub(super) async fn every<'a, F>(
    targets: &'a [SocketAddr],
    one: impl Fn(SocketAddr) -> F + 'a,
) -> Outcome
where
    F: Future<Output = Result<Cow<'static, str>, Failure>>,
{
    let results = match targets {
        [] => {
            return Outcome::fail(
                FailureKind::Unreachable,
                "the service has no address to check",
            );
        }
        [target] => return outcome(*target, one(*target).await),
        many => join_all(many.iter().map(|target| one(*target))).await,
    };
    let mut passed = None;
    for (target, result) in targets.iter().zip(results) {
        let outcome = outcome(*target, result);
        if !outcome.passed() {
            return outcome;
        }
        passed.get_or_insert(outcome);
    }
    passed.unwrap_or_else(|| Outcome::pass(""))
}

fn outcome(target: SocketAddr, result: Result<Cow<'static, str>, Failure>) -> Outcome {
    match result {
        Ok(detail) => Outcome::pass(detail),
        Err(failure) => Outcome::fail(failure.kind, format!("{target}: {}", failure.detail)),
    }
}
