//! One run against several targets at once: every one of them must pass.

use std::borrow::{Borrow, Cow};
use std::net::SocketAddr;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::probe::Failure;
use crate::health::{FailureKind, Outcome};

/// Runs `one` against each target. The first failure ends the run and is its outcome; it names its target.
pub(super) async fn every<'a, T, F>(targets: &'a [T], one: impl Fn(&'a T) -> F + 'a) -> Outcome
where
    T: Borrow<SocketAddr>,
    F: Future<Output = Result<Cow<'static, str>, Failure>>,
{
    match targets {
        [] => Outcome::fail(
            FailureKind::Unreachable,
            "the service has no address to check",
        ),
        [target] => outcome(target, one(target).await),
        many => {
            let one = &one;
            let runs = many
                .iter()
                .map(|target| async move { outcome(target, one(target).await) });
            first_failure(runs.collect()).await
        }
    }
}

/// The first failure in time, else the first pass.
async fn first_failure(mut runs: FuturesUnordered<impl Future<Output = Outcome>>) -> Outcome {
    let mut passed = None;
    while let Some(outcome) = runs.next().await {
        if !outcome.passed() {
            return outcome;
        }
        passed.get_or_insert(outcome);
    }
    passed.unwrap_or_else(|| Outcome::pass(""))
}

fn outcome(
    target: &impl Borrow<SocketAddr>,
    result: Result<Cow<'static, str>, Failure>,
) -> Outcome {
    match result {
        Ok(detail) => Outcome::pass(detail),
        Err(failure) => Outcome::fail(
            failure.kind,
            format!("{}: {}", target.borrow(), failure.detail),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_failure_ends_the_run_whatever_the_others_do() {
        let [silent, refusing]: [SocketAddr; 2] =
            ["192.0.2.1:80", "[2001:db8::1]:80"].map(|text| text.parse().expect("an address"));
        let one = |target: &SocketAddr| {
            let is_silent = *target == silent;
            async move {
                if is_silent {
                    std::future::pending::<()>().await;
                }
                Err(Failure::new(FailureKind::Refused, "refused"))
            }
        };
        for targets in [[silent, refusing], [refusing, silent]] {
            let outcome = every(&targets, one).await;
            assert_eq!(outcome.detail(), "[2001:db8::1]:80: refused");
        }
    }
}
