//! Why a peer cannot be watched.

use std::io;
use std::net::IpAddr;

use thiserror::Error;

/// Why a peer cannot be watched.
#[derive(Debug, Error)]
pub enum AddError {
    /// The port is taken, or a privilege is missing.
    #[error("cannot listen for BFD packets on UDP port {port}{}: {source}{}",
        vrf.as_ref().map(|vrf| format!(" in {vrf}")).unwrap_or_default(),
        in_use_hint(source))]
    Listen {
        /// The port.
        port: u16,
        /// The VRF.
        vrf: Option<String>,
        /// What the kernel says.
        source: io::Error,
    },
    /// Packets of the two could not be told apart.
    #[error("a BFD session with {0} is already there")]
    Duplicate(IpAddr),
    /// The same address is on every link.
    #[error("{0} is a link-local address: an interface is needed")]
    NoInterface(IpAddr),
    /// An IPv4 address for an IPv6 peer, or the reverse.
    #[error("{local} cannot send to {address}: they are of different families")]
    Families {
        /// The peer's address.
        address: IpAddr,
        /// Ours.
        local: IpAddr,
    },
    /// BFD was shut down.
    #[error("BFD has been shut down")]
    Stopped,
}

fn in_use_hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        " (another BFD daemon, such as bird or bfdd, runs on this host)"
    } else {
        ""
    }
}
