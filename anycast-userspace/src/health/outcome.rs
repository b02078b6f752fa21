//! What one run of a check found.

use std::borrow::Cow;
use std::fmt;

use crate::one_line::one_line;

/// How much is kept of what a check says, in characters.
const DETAIL_LIMIT: usize = 500;

/// The result of one run of a check. What it said is one line, however the service or a command worded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was as expected; what it said.
    Pass(Cow<'static, str>),
    /// It was not.
    Fail {
        /// What went wrong, coarsely: a label for metrics.
        kind: FailureKind,
        /// What went wrong, for a person.
        detail: Cow<'static, str>,
    },
}

impl Outcome {
    /// A pass that says what it saw.
    pub fn pass(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Pass(one_line(detail.into(), DETAIL_LIMIT))
    }

    /// A failure that says what it saw.
    pub fn fail(kind: FailureKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::Fail {
            kind,
            detail: one_line(detail.into(), DETAIL_LIMIT),
        }
    }

    /// Whether it passed.
    pub fn passed(&self) -> bool {
        match self {
            Self::Pass(_) => true,
            Self::Fail { .. } => false,
        }
    }

    /// What it said.
    pub fn detail(&self) -> &str {
        match self {
            Self::Pass(detail) | Self::Fail { detail, .. } => detail,
        }
    }
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureKind {
    /// No complete result within the timeout.
    Timeout,
    /// The connection or datagram was refused.
    Refused,
    /// No way to the target, or its address is not on this host.
    Unreachable,
    /// The other side closed or reset before the result was complete.
    Closed,
    /// The TLS handshake or the certificate.
    Tls,
    /// The answer breaks its protocol.
    Protocol,
    /// The answer is well-formed, and not the one that was expected.
    Mismatch,
    /// A command ended with a code that fails, or by a signal.
    Exit,
    /// This host could not run the check: descriptors, processes, permissions, files.
    Resource,
}

impl FailureKind {
    /// Every kind, in the order of their discriminants.
    pub const ALL: [Self; 9] = [
        Self::Timeout,
        Self::Refused,
        Self::Unreachable,
        Self::Closed,
        Self::Tls,
        Self::Protocol,
        Self::Mismatch,
        Self::Exit,
        Self::Resource,
    ];

    /// The kind as a metrics label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Mismatch => "mismatch",
            Self::Exit => "exit",
            Self::Resource => "resource",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
