//! Errors of the data plane, in words for the operator.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::pin::PinError;
use aya::programs::{ProgramError, XdpError};
use nix::errno::Errno;

/// Why the data plane could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DataPlaneError {
    /// The process lacks privileges.
    #[error(
        "the data plane needs privileges that this process lacks: run it as root, or with CAP_BPF, \
         CAP_NET_ADMIN and CAP_PERFMON, and a pin directory that it may write to"
    )]
    Privileges,
    /// Another process uses the pin directory.
    #[error("{pin} is in use by another process: another anycast runs with the same `dataplane.pin`", pin = pin.display())]
    InUse {
        /// The pin directory.
        pin: PathBuf,
    },
    /// The pin directory is not on a bpf file system.
    #[error(
        "{pin} is not on a bpf file system, where `dataplane.pin` must be: mount one, or choose a \
         directory under /sys/fs/bpf",
        pin = pin.display()
    )]
    NotBpffs {
        /// The pin directory.
        pin: PathBuf,
    },
    /// Something about the pin directory failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Pin {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused the program.
    #[error("the kernel refused to load the XDP program: {0}")]
    Load(String),
    /// The index of the addresses is not what this version expects, or its memory cannot be shared.
    #[error("cannot share the memory of the index of addresses (maps INDEX_V4 and INDEX_V6): {0}")]
    Index(io::Error),
    /// An interface is not there.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// Another XDP program is attached.
    #[error(
        "another XDP program is attached to {interface}: see `ip link show {interface}`, and remove \
         it with `ip link set {interface} xdp off` if it is not needed"
    )]
    Occupied {
        /// The interface.
        interface: String,
    },
    /// Attaching failed.
    #[error("cannot attach to {interface} in {mode} mode: {source}{hint}")]
    Attach {
        /// The interface.
        interface: String,
        /// The mode that was tried.
        mode: &'static str,
        /// Why not.
        source: io::Error,
        /// What may help.
        hint: &'static str,
    },
    /// More entries than a map has room for; nothing was written.
    #[error(
        "map {map} has room for {room} entries and {needed} are configured: raise `{setting}` to at \
         least {needed} and restart"
    )]
    Full {
        /// The map.
        map: &'static str,
        /// Its size.
        room: usize,
        /// The size that it needed.
        needed: usize,
        /// The setting that says its size.
        setting: &'static str,
    },
    /// The kernel found a map to be full: others have written to it.
    #[error("map {map} is full at {room} entries: raise `{setting}` and restart")]
    NoRoom {
        /// The map.
        map: &'static str,
        /// Its size.
        room: usize,
        /// The setting that says its size.
        setting: &'static str,
    },
    /// An address of two services.
    #[error("{address} belongs to both `{first}` and `{second}`: an address has one service")]
    TwoOwners {
        /// The address.
        address: IpAddr,
        /// One of the services.
        first: String,
        /// The other.
        second: String,
    },
    /// Two services of one name.
    #[error("two services are named `{0}`")]
    SameName(String),
    /// A service has more port ranges or protocols than its entry holds.
    #[error("service `{service}`: {count} {what}, where an entry has room for {room}")]
    TooMany {
        /// The service.
        service: String,
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many there may be.
        room: usize,
    },
    /// A name that does not fit a TXT record of the program.
    #[error("the node's name `{0}` cannot be its identity in DNS: it must have 1 to 63 bytes")]
    Identity(String),
    /// A service that is not installed.
    #[error("there is no service number {0} in the data plane")]
    NoService(usize),
    /// A map operation failed.
    #[error("map {map}: {source}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        source: MapError,
    },
    /// A test run failed.
    #[error("cannot run the loaded program: {0}")]
    Run(#[source] ProgramError),
    /// A test run came out wrong.
    #[error("the loaded program does not serve {address}: {found}")]
    NotProved {
        /// The address.
        address: IpAddr,
        /// What it did instead.
        found: String,
    },
}

impl DataPlaneError {
    pub(super) fn map(map: &'static str) -> impl FnOnce(MapError) -> Self {
        move |source| {
            if denied(&source) {
                return Self::Privileges;
            }
            Self::Map { map, source }
        }
    }

    /// As [`Self::map`], for an insertion into a map of `room` entries.
    pub(super) fn insertion(
        map: &'static str,
        room: usize,
        setting: &'static str,
    ) -> impl FnOnce(MapError) -> Self {
        move |source| match is_full(&source) {
            true => Self::NoRoom { map, room, setting },
            false => Self::map(map)(source),
        }
    }

    /// The setting of the configuration file that the error is about.
    pub(super) const fn setting(&self) -> &'static str {
        match self {
            Self::Full { setting, .. } | Self::NoRoom { setting, .. } => setting,
            Self::Identity(_) => "node.name",
            Self::TwoOwners { .. }
            | Self::SameName(_)
            | Self::TooMany { .. }
            | Self::NoService(_) => "services",
            Self::Privileges
            | Self::InUse { .. }
            | Self::NotBpffs { .. }
            | Self::Pin { .. }
            | Self::Load(_)
            | Self::Index(_)
            | Self::NoInterface(_)
            | Self::Occupied { .. }
            | Self::Attach { .. }
            | Self::Map { .. }
            | Self::Run(_)
            | Self::NotProved { .. } => "dataplane",
        }
    }

    pub(super) fn pin(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match is_denial(&source) {
            true => Self::Privileges,
            false => Self::Pin {
                action,
                path,
                source,
            },
        }
    }
}

/// What hash tables and longest-prefix tries say when an entry too many is inserted.
fn is_full(error: &MapError) -> bool {
    let errno = io_cause(error).and_then(io::Error::raw_os_error);
    matches!(
        errno.map(Errno::from_raw),
        Some(Errno::E2BIG | Errno::ENOSPC)
    )
}

impl From<EbpfError> for DataPlaneError {
    fn from(error: EbpfError) -> Self {
        if denied(&error) {
            Self::Privileges
        } else {
            Self::Load(chain(&error))
        }
    }
}

impl From<ProgramError> for DataPlaneError {
    fn from(error: ProgramError) -> Self {
        if denied(&error) {
            Self::Privileges
        } else {
            Self::Load(chain(&error))
        }
    }
}

impl From<PinError> for DataPlaneError {
    fn from(error: PinError) -> Self {
        if denied(&error) {
            Self::Privileges
        } else {
            Self::Load(chain(&error))
        }
    }
}

/// The operating system's error behind an error of attaching.
pub(super) fn attach_cause(error: &ProgramError) -> Option<&io::Error> {
    match error {
        ProgramError::XdpError(XdpError::NetlinkError(error)) => io_cause(error),
        error => io_cause(error),
    }
}

fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io);
        }
        next = error.source();
    }
    None
}

fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    io_cause(error).is_some_and(is_denial)
}

fn is_denial(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        next = error.source();
    }
    text
}
