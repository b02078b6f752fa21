//! One runnable check: built from its configuration, run any number of times.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
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
    run: Pin<Box<impl Future<Output = Outcome>>>,
) -> Run {
    tokio::time::timeout_at(deadline.into(), run)
        .await
        .unwrap_or_else(|_| timed_out(timeout))
        .into()
}

/// The outcome of a run that reached its timeout.
pub(super) fn timed_out(timeout: Duration) -> Outcome {
    Outcome::fail(
        FailureKind::Timeout,
        format!("no result within {timeout:?}"),
    )
}

/// Where a check goes: its own target, or the service's first address of each family.
pub(super) fn targets(own: Option<IpAddr>, subject: &Subject<'_>, port: u16) -> Vec<SocketAddr> {
    if let Some(address) = own {
        return vec![SocketAddr::new(address, port)];
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
