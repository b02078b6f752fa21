//! Why sockets cannot be watched here.

use std::io;
use std::path::PathBuf;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;

/// Why the `listener` check cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// There is no cgroup v2 hierarchy.
    #[error(
        "the listener check needs a cgroup v2 hierarchy, and none is mounted: \
         mount one with `mount -t cgroup2 none /sys/fs/cgroup`"
    )]
    NoCgroup2,
    /// The cgroup cannot be opened.
    #[error("cannot open the cgroup {}: {error}", path.display())]
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The directory is none of a cgroup v2 hierarchy.
    #[error("{} is not a directory of a cgroup v2 hierarchy", path.display())]
    NotCgroup2 {
        /// The directory.
        path: PathBuf,
    },
    /// The data plane's map is not there.
    #[error("the data plane's map is not pinned at {}", path.display())]
    NoServicesMap {
        /// Where it should be.
        path: PathBuf,
    },
    /// The process may not.
    #[error("not permitted to {what}: the listener check needs root, or CAP_BPF and CAP_NET_ADMIN")]
    NotPermitted {
        /// What it may not do.
        what: &'static str,
    },
    /// The kernel is too old for a program.
    #[error(
        "this kernel cannot run {program} at {hook}: the listener check needs Linux 5.9 with \
         CONFIG_CGROUP_BPF ({error})"
    )]
    Unsupported {
        /// The program.
        program: &'static str,
        /// Where it belongs.
        hook: &'static str,
        /// What the kernel said.
        error: Box<ProgramError>,
    },
    /// The programs are attached but report nothing.
    #[error(
        "a socket of this process was released and the kernel did not report it: sockets here are \
         not in the cgroup {}",
        cgroup.display()
    )]
    Silent {
        /// The cgroup that the programs are attached to.
        cgroup: PathBuf,
    },
    /// The object could not be loaded.
    #[error("loading the listener programs: {0}")]
    Load(#[from] Box<EbpfError>),
    /// A map or program that the object must hold is missing.
    #[error("the listener object holds no `{0}`")]
    Missing(&'static str),
    /// A map could not be read or written.
    #[error("map {map}: {error}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        error: MapError,
    },
    /// The socket of the proof could not be made, or the ring buffer not be waited for.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// Sockets cannot be read.
    #[error(transparent)]
    SockDiag(#[from] SockDiagError),
}

/// Why sockets could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SockDiagError {
    /// The netlink socket failed.
    #[error("sock_diag: {0}")]
    Netlink(#[from] io::Error),
    /// The kernel refused.
    #[error(
        "sock_diag refused to list {transport} sockets: {error}; the kernel needs CONFIG_INET_DIAG \
         and CONFIG_INET_UDP_DIAG"
    )]
    Refused {
        /// `tcp` or `udp`.
        transport: super::Transport,
        /// What it said.
        error: io::Error,
    },
    /// An answer could not be read.
    #[error("sock_diag sent what cannot be read: {0}")]
    Malformed(String),
}
