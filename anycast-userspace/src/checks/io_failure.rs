//! What an I/O error says about the service.

use std::io;

use super::probe::Failure;
use crate::health::FailureKind;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(kind(&error), error.to_string())
    }
}

/// The kind of failure that an error amounts to.
pub(super) fn kind(error: &io::Error) -> FailureKind {
    if let Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) =
        error.raw_os_error()
    {
        return FailureKind::Resource;
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::Refused,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => FailureKind::Closed,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::NetworkDown => FailureKind::Unreachable,
        io::ErrorKind::TimedOut => FailureKind::Timeout,
        io::ErrorKind::InvalidData => FailureKind::Protocol,
        _ => FailureKind::Resource,
    }
}
