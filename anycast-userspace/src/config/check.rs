//! A service's checks, as the file describes them.
//!
//! Every check type shares the settings that `check_type!` writes once; the rest is its own. This
//! module only describes and validates: running is `crate::checks`, deciding is `crate::health`.

mod dns;
mod grpc;
mod http;
mod kind;
mod listener;
mod local;
mod network;
mod values;

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;
pub use dns::{DnsCheck, DnsTransport, SerialReference};
pub use grpc::GrpcCheck;
pub use http::{HttpCheck, Tls};
pub(super) use kind::fault;
pub use listener::ListenerCheck;
pub use local::{ExecCheck, FileCheck, FilePresence};
pub use network::{AddressCheck, IcmpCheck, NtpCheck};
pub use values::{Pattern, StatusRange};

/// The shortest interval between two runs of a check.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// What bounds the window in which a check first runs after a start.
const LONGEST_DEFAULT_SPLAY: Duration = Duration::from_millis(500);
const LONGEST_DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);
/// `fast_interval` defaults to this fraction of `interval`.
const DEFAULT_FAST_DIVISOR: u32 = 5;

/// Declares a check type: the settings that all share, then its own.
macro_rules! check_type {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
            garde::Validate,
        )]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Name of the check, unique within its service; it appears in `status`, in events and in
            /// metrics.
            #[garde(length(chars, min = 1, max = 64))]
            pub name: String,
            /// Time between the starts of two runs (default `"1s"`, at least `"10ms"`).
            #[garde(custom($crate::config::check::long_enough))]
            #[serde(default = "crate::config::check::default_interval")]
            pub interval: $crate::config::Span,
            /// A run that takes longer is cancelled and counts as failed (default: the interval, at
            /// most `"1s"`).
            #[garde(inner(custom($crate::config::rules::not_zero)))]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub timeout: Option<$crate::config::Span>,
            /// Passes in a row that make the check pass (default 2).
            #[garde(range(min = 1, max = 1000))]
            #[serde(default = "crate::config::check::default_rise")]
            pub rise: u32,
            /// Failures in a row that make the check fail (default 2).
            #[garde(range(min = 1, max = 1000))]
            #[serde(default = "crate::config::check::default_fall")]
            pub fall: u32,
            /// Time between two runs while the latest results do not yet make a verdict (default: a
            /// fifth of the interval, at least `"10ms"`).
            #[garde(inner(custom($crate::config::check::long_enough)))]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub fast_interval: Option<$crate::config::Span>,
            /// Each run is delayed by up to this much, by an amount that follows from the names of
            /// node, service and check and the number of the run (default `"0s"`).
            #[garde(custom(|jitter, _| $crate::config::check::at_most(jitter, self.interval)))]
            #[serde(default)]
            pub jitter: $crate::config::Span,
            /// The first run is delayed by up to this much, in the same manner (default: the interval,
            /// at most `"500ms"`).
            #[garde(skip)]
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub splay: Option<$crate::config::Span>,
            /// What the check counts for where the service requires a weight (default 1).
            #[garde(range(min = 1, max = 1_000_000))]
            #[serde(default = "crate::config::check::default_weight")]
            pub weight: u32,
            /// The check looks at something that every node depends on: its failure makes the service
            /// degraded, not down, so that no node withdraws the last resort (default false).
            #[garde(skip)]
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub shared: bool,
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl $name {
            /// The settings that all types share.
            pub fn common(&self) -> $crate::config::check::Common<'_> {
                $crate::config::check::Common {
                    name: &self.name,
                    interval: self.interval.0,
                    timeout: self.timeout.map(|span| span.0),
                    rise: self.rise,
                    fall: self.fall,
                    fast_interval: self.fast_interval.map(|span| span.0),
                    jitter: self.jitter.0,
                    splay: self.splay.map(|span| span.0),
                    weight: self.weight,
                    shared: self.shared,
                }
            }
        }
    };
}
use check_type;

/// One check of a service.
///
/// A check that speaks to the network runs against `target` where it is set, and otherwise against
/// the service's first address of each family; it passes when every one of them answers as expected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Check {
    /// Connects, and closes.
    Tcp(#[garde(dive)] TcpCheck),
    /// Sends one HTTP/1.1 request.
    Http(#[garde(dive)] HttpCheck),
    /// Asks a gRPC server for its health.
    Grpc(#[garde(dive)] GrpcCheck),
    /// Asks one DNS question.
    Dns(#[garde(dive, custom(dns::serial_needs_soa))] DnsCheck),
    /// Runs a command.
    Exec(#[garde(dive)] ExecCheck),
    /// Looks whether a file is there.
    File(#[garde(dive)] FileCheck),
    /// Looks whether the Service Addresses are on this host.
    Address(#[garde(dive)] AddressCheck),
    /// Pings.
    Icmp(#[garde(dive)] IcmpCheck),
    /// Asks for the time.
    Ntp(#[garde(dive)] NtpCheck),
    /// Hears from the kernel when the last socket that serves a port is released.
    Listener(#[garde(dive)] ListenerCheck),
}

check_type! {
    /// A TCP connection that must be accepted.
    pub struct TcpCheck {
        /// Port to connect to.
        #[garde(range(min = 1))]
        pub port: u16,
        /// Address to connect to instead of the service's own.
        #[garde(skip)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub target: Option<IpAddr>,
        /// The connection must then complete a TLS handshake.
        #[garde(dive)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub tls: Option<Tls>,
    }
}

/// The settings that all check types share, with what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Common<'a> {
    /// Name, unique within the service.
    pub name: &'a str,
    /// Time between the starts of two runs.
    pub interval: Duration,
    timeout: Option<Duration>,
    /// Passes in a row that make the check pass.
    pub rise: u32,
    /// Failures in a row that make the check fail.
    pub fall: u32,
    fast_interval: Option<Duration>,
    /// Most by which a run is delayed.
    pub jitter: Duration,
    splay: Option<Duration>,
    /// What the check counts for under a required weight.
    pub weight: u32,
    /// Whether every node depends on what it looks at.
    pub shared: bool,
}

impl Common<'_> {
    /// How long a run may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
            .unwrap_or_else(|| self.interval.min(LONGEST_DEFAULT_TIMEOUT))
    }

    /// Time between two runs while the latest results do not yet make a verdict.
    pub fn fast_interval(&self) -> Duration {
        self.fast_interval
            .unwrap_or_else(|| (self.interval / DEFAULT_FAST_DIVISOR).max(SHORTEST_INTERVAL))
            .min(self.interval)
    }

    /// The window in which the first run falls.
    pub fn splay(&self) -> Duration {
        self.splay
            .unwrap_or_else(|| self.interval.min(LONGEST_DEFAULT_SPLAY))
    }
}

impl Check {
    /// The settings that all types share.
    pub fn common(&self) -> Common<'_> {
        match self {
            Self::Tcp(check) => check.common(),
            Self::Http(check) => check.common(),
            Self::Grpc(check) => check.common(),
            Self::Dns(check) => check.common(),
            Self::Exec(check) => check.common(),
            Self::File(check) => check.common(),
            Self::Address(check) => check.common(),
            Self::Icmp(check) => check.common(),
            Self::Ntp(check) => check.common(),
            Self::Listener(check) => check.common(),
        }
    }

    /// Name, unique within the service.
    pub fn name(&self) -> &str {
        self.common().name
    }

    /// The type's name, as the file writes it.
    pub fn kind(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Tcp(_) => "tcp",
            Self::Http(_) => "http",
            Self::Grpc(_) => "grpc",
            Self::Dns(_) => "dns",
            Self::Exec(_) => "exec",
            Self::File(_) => "file",
            Self::Address(_) => "address",
            Self::Icmp(_) => "icmp",
            Self::Ntp(_) => "ntp",
            Self::Listener(_) => "listener",
        })
    }
}

fn default_interval() -> Span {
    Span::from_secs(1)
}

fn default_rise() -> u32 {
    2
}

fn default_fall() -> u32 {
    2
}

fn default_weight() -> u32 {
    1
}

fn long_enough<C>(span: &Span, _: &C) -> garde::Result {
    if span.0 < SHORTEST_INTERVAL {
        return Err(garde::Error::new(format!(
            "{span} is too short: the least is 10ms"
        )));
    }
    Ok(())
}

fn at_most(span: &Span, most: Span) -> garde::Result {
    if span.0 > most.0 {
        return Err(garde::Error::new(format!(
            "{span} is longer than the interval, {most}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
