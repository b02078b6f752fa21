//! One runnable check: built from its configuration, run any number of times.

use std::borrow::Cow;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Subject;
use super::address::AddressProbe;
use super::dns::DnsProbe;
use super::exec::ExecProbe;
use super::file::FileProbe;
use super::grpc::GrpcProbe;
use super::http::HttpProbe;
use super::icmp::IcmpProbe;
use super::ntp::NtpProbe;
use super::tcp::TcpProbe;
use crate::config::Check;
use crate::health::{FailureKind, Outcome};

/// In how many turns a server on this host has mostly answered: one asks, the next reads.
const PROMPT_TURNS: u32 = 3;

/// What one run gives.
pub(super) struct Run {
    pub(super) outcome: Outcome,
    /// What a command printed.
    pub(super) output: Option<Box<str>>,
}

impl From<Outcome> for Run {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            output: None,
        }
    }
}

/// A check of any type.
pub(super) enum Probe {
    Tcp(TcpProbe),
    Http(Box<HttpProbe>),
    Grpc(Box<GrpcProbe>),
    Dns(Box<DnsProbe>),
    Exec(Box<ExecProbe>),
    File(FileProbe),
    Address(AddressProbe),
    Icmp(IcmpProbe),
    Ntp(NtpProbe),
}

impl Probe {
    /// The check's probe; none for one that is told by the kernel instead of being run.
    pub(super) fn new(check: &Check, subject: &Subject<'_>) -> Option<Self> {
        Some(match check {
            Check::Tcp(check) => Self::Tcp(TcpProbe::new(check, subject)),
            Check::Http(check) => Self::Http(Box::new(HttpProbe::new(check, subject))),
            Check::Grpc(check) => Self::Grpc(Box::new(GrpcProbe::new(check, subject))),
            Check::Dns(check) => Self::Dns(Box::new(DnsProbe::new(check, subject))),
            Check::Exec(check) => Self::Exec(Box::new(ExecProbe::new(check, subject))),
            Check::File(check) => Self::File(FileProbe::new(check)),
            Check::Address(_) => Self::Address(AddressProbe::new(subject)),
            Check::Icmp(check) => Self::Icmp(IcmpProbe::new(check, subject)),
            Check::Ntp(check) => Self::Ntp(NtpProbe::new(check, subject)),
            Check::Listener(_) => return None,
        })
    }

    /// Runs once; at the deadline whatever is still under way is dropped.
    pub(super) async fn run(&self, deadline: Instant, timeout: Duration) -> Run {
        match self {
            Self::Tcp(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::Http(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::Grpc(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::Dns(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::File(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::Address(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::Icmp(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            Self::Ntp(probe) => within(deadline, timeout, Box::pin(probe.run())).await,
            // A command has to be killed and reaped, so it keeps its own deadline.
            Self::Exec(probe) => Box::pin(probe.run(deadline, timeout)).await,
        }
    }
}

/// A run is on the heap while it lasts, each kind in as much as it needs: between its runs a task holds no
/// connection's state.
async fn within(
    deadline: Instant,
    timeout: Duration,
    mut run: Pin<Box<impl Future<Output = Outcome>>>,
) -> Run {
    let outcome = match prompt(run.as_mut()).await {
        Some(outcome) => outcome,
        None => tokio::time::timeout_at(deadline.into(), run)
            .await
            .unwrap_or_else(|_| timed_out(timeout)),
    };
    outcome.into()
}

/// The outcome of a run that has it within its first turns, as most do that ask this host: no timer is set for them.
async fn prompt(mut run: Pin<&mut impl Future<Output = Outcome>>) -> Option<Outcome> {
    let mut turns_left = PROMPT_TURNS;
    poll_fn(|context| {
        turns_left -= 1;
        match run.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if turns_left > 0 => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Pending => Poll::Ready(None),
        }
    })
    .await
}

/// The outcome of a run that reached its timeout.
pub(super) fn timed_out(timeout: Duration) -> Outcome {
    Outcome::fail(
        FailureKind::Timeout,
        format!("no result within {timeout:?}"),
    )
}

/// Where a check goes: its own target, or the service's first address of each family. An IPv4-mapped one is an IPv4
/// address.
pub(super) fn targets(own: Option<IpAddr>, subject: &Subject<'_>, port: u16) -> Vec<SocketAddr> {
    if let Some(address) = own {
        return vec![SocketAddr::new(address.to_canonical(), port)];
    }
    let first = |wanted: fn(&IpAddr) -> bool| subject.addresses.iter().copied().find(wanted);
    [first(IpAddr::is_ipv4), first(IpAddr::is_ipv6)]
        .into_iter()
        .flatten()
        .map(|address| SocketAddr::new(address, port))
        .collect()
}

/// What went wrong with one target.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) detail: Cow<'static, str>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_goes_to_its_own_target_or_to_the_first_address_of_each_family() {
        let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"];
        let subject = Subject {
            node: "node",
            service: 0,
            name: "dns",
            addresses: &addresses.map(|text| text.parse().expect("an address")),
            started: Instant::now(),
        };
        for (own, wanted) in [
            (None, &["192.0.2.1:53", "[2001:db8::1]:53"][..]),
            (Some("127.0.0.1"), &["127.0.0.1:53"]),
            (Some("::1"), &["[::1]:53"]),
            (Some("::ffff:127.0.0.1"), &["127.0.0.1:53"]),
        ] {
            let parsed = own.map(|text| text.parse().expect("an address"));
            let targets = targets(parsed, &subject, 53);
            let shown: Vec<_> = targets.iter().map(ToString::to_string).collect();
            assert_eq!(shown, wanted, "{own:?}");
        }
    }

    #[tokio::test]
    async fn a_run_that_never_ends_is_dropped_at_its_deadline() {
        let timeout = Duration::from_millis(20);
        let never = Box::pin(std::future::pending());
        let run = within(Instant::now() + timeout, timeout, never).await;
        assert_eq!(run.outcome.detail(), "no result within 20ms");
    }

    #[tokio::test]
    async fn a_run_that_ends_after_its_first_turns_is_waited_for() {
        let timeout = Duration::from_secs(60);
        let later = Box::pin(async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Outcome::pass("later")
        });
        let run = within(Instant::now() + timeout, timeout, later).await;
        assert_eq!(run.outcome.detail(), "later");
    }
}
