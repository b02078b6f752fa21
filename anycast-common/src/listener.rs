//! The ABI of the `listener` check: maps and events of the programs that watch sockets.
//!
//! A *slot* stands for one set of sockets, any of which serves one endpoint of a service. Each watched
//! socket names the slots that it belongs to; the program counts a slot down as its sockets are
//! released and acts when none is left. The controller never changes a slot that sockets name: it
//! writes a fresh one and moves the sockets over, so that no count is ever written from two sides.
//!
//! Every type is `repr(C)` without implicit padding, and any bytes are a valid value.

use crate::abi::Service;

/// Name of the program at `cgroup/sock_release` (kernel 5.9).
pub const PROGRAM_RELEASE: &str = "listener_release";
/// Name of the program at `cgroup/post_bind4` (kernel 4.17).
pub const PROGRAM_BIND4: &str = "listener_bind4";
/// Name of the program at `cgroup/post_bind6` (kernel 4.17).
pub const PROGRAM_BIND6: &str = "listener_bind6";

/// Name of the program at the tracepoint `signal_generate`.
pub const PROGRAM_SIGNAL: &str = "listener_signal";
/// Name of the program at the tracepoint `sched_process_exit`.
pub const PROGRAM_EXIT: &str = "listener_exit";
/// Name of the constant that holds a [`KernelLayout`].
pub const KERNEL_LAYOUT: &str = "KERNEL_LAYOUT";

/// Names of the maps.
pub mod map {
    /// Watched sockets, and the slots that each belongs to.
    pub const SOCKETS: &str = "SOCKETS";
    /// Slots.
    pub const SLOTS: &str = "SLOTS";
    /// Watched ports, and how often each was bound. The program counts.
    pub const BINDS: &str = "BINDS";
    /// The same, as far as the controller has taken it in. The controller writes.
    pub const BINDS_SEEN: &str = "BINDS_SEEN";
    /// Ring buffer of [`super::Event`].
    pub const EVENTS: &str = "EVENTS";
    /// How many events found the ring buffer full.
    pub const EVENTS_LOST: &str = "EVENTS_LOST";
    /// The data plane's services; shared with it where there is one.
    pub const SERVICES: &str = crate::abi::map::SERVICES;
}

/// Room for the slots in one [`SocketPage`].
pub const SLOTS_PER_PAGE: usize = 16;
/// How many pages a socket can have: with more, the verifier would have too many branches to follow.
pub const PAGES: u32 = 16;
/// Room for slots; number 0 is none.
pub const MAX_SLOTS: u32 = 65_536;

/// Key of `SOCKETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// The socket's cookie (`SO_COOKIE`): never used twice while the host is up.
    pub cookie: u64,
    /// Page, from 0 on without gaps.
    pub page: u32,
    /// Zero.
    pub reserved: u32,
}

/// Value of `SOCKETS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketPage {
    /// Numbers of slots; 0 ends the list.
    pub slots: [u32; SLOTS_PER_PAGE],
}

/// A transport port, as key of `BINDS` and `BINDS_SEEN`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortKey {
    /// IP protocol number.
    pub protocol: u16,
    /// Port.
    pub port: u16,
}

/// Value of `SLOTS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Sockets that are left.
    pub sockets: u64,
    /// Index in `SERVICES` of the service to take down when none is left, or
    /// [`NO_SERVICE`](crate::abi::NO_SERVICE).
    pub service: u32,
    /// The port of the sockets.
    pub port: PortKey,
    /// When the last socket was released; 0 before. All times are of `CLOCK_MONOTONIC`, in
    /// nanoseconds.
    pub emptied_at: u64,
    /// When the service was taken down for it; 0 if it was not.
    pub down_at: u64,
}

/// How many references of one process to watched sockets are counted.
pub const MOST_DOOMED: usize = 16;

/// Value of `DOOMED`, whose keys are processes that are bound to die: their references to watched sockets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// How many there are.
    pub count: u64,
    /// The sockets' cookies; 0 ends the list. A socket is in it as often as the process has it open.
    pub cookies: [u64; MOST_DOOMED],
    /// The address of each one's file.
    pub files: [u64; MOST_DOOMED],
}

impl Doomed {
    /// No reference.
    pub const NONE: Self = Self {
        count: 0,
        cookies: [0; MOST_DOOMED],
        files: [0; MOST_DOOMED],
    };
}

/// Where the running kernel keeps what leads from a process to its sockets: offsets in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelLayout {
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `task_struct.files`.
    pub task_files: u32,
    /// `signal_struct.live`: threads that have not begun to exit.
    pub signal_live: u32,
    /// `files_struct.count`: tasks that use the table.
    pub files_count: u32,
    /// `files_struct.fdt`.
    pub files_table: u32,
    /// `fdtable.max_fds`.
    pub table_size: u32,
    /// `fdtable.fd`.
    pub table_files: u32,
    /// `file.f_inode`.
    pub file_inode: u32,
    /// `file.private_data`.
    pub file_private: u32,
    /// `file.f_ref` (Linux 6.13), or `file.f_count`.
    pub file_references: u32,
    /// What to add to the counter: 1 for `f_ref`, which is 0 for one reference.
    pub references_bias: u32,
    /// `inode.i_mode`.
    pub inode_mode: u32,
    /// `socket.sk`.
    pub socket_sock: u32,
    /// `sock.__sk_common.skc_cookie`.
    pub sock_cookie: u32,
}

impl KernelLayout {
    /// All zeros.
    pub const UNKNOWN: Self = Self {
        task_tgid: 0,
        task_comm: 0,
        task_signal: 0,
        task_files: 0,
        signal_live: 0,
        files_count: 0,
        files_table: 0,
        table_size: 0,
        table_files: 0,
        file_inode: 0,
        file_private: 0,
        file_references: 0,
        references_bias: 0,
        inode_mode: 0,
        socket_sock: 0,
        sock_cookie: 0,
    };
}

/// What an [`Event`] tells.
pub mod kind {
    /// A watched socket was released, or will be as soon as the processes that hold it have ended, which
    /// cannot be stopped any more.
    pub const RELEASED: u32 = 1;
    /// A socket was bound to a watched port. A TCP socket does not listen yet.
    pub const BOUND: u32 = 2;
}

/// Record of the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// Cookie of the socket's network namespace (`SO_NETNS_COOKIE`), or 0.
    pub netns: u64,
    /// One of [`kind`].
    pub kind: u32,
    /// The port of a bind; zero for a release.
    pub port: PortKey,
    /// Process that did it.
    pub process: u32,
    /// Zero.
    pub reserved: u32,
    /// The name of the process, filled up with zeros.
    pub command: [u8; 16],
}

impl Event {
    /// Reads a record of the ring buffer; `None` if it is too short to be one.
    #[must_use]
    pub fn read(mut record: &[u8]) -> Option<Self> {
        Some(Self {
            at: u64::from_ne_bytes(take(&mut record)?),
            cookie: u64::from_ne_bytes(take(&mut record)?),
            netns: u64::from_ne_bytes(take(&mut record)?),
            kind: u32::from_ne_bytes(take(&mut record)?),
            port: PortKey {
                protocol: u16::from_ne_bytes(take(&mut record)?),
                port: u16::from_ne_bytes(take(&mut record)?),
            },
            process: u32::from_ne_bytes(take(&mut record)?),
            reserved: u32::from_ne_bytes(take(&mut record)?),
            command: take(&mut record)?,
        })
    }
}

fn take<const N: usize>(record: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = record.split_first_chunk()?;
    *record = rest;
    Some(*field)
}

/// The part of the data plane's [`Service`] that is written here.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// One of the states of [`crate::abi`].
    pub state: u32,
}

const _: () = {
    assert!(size_of::<SocketKey>() == 16);
    assert!(size_of::<SocketPage>() == 64);
    assert!(size_of::<PortKey>() == 4);
    assert!(size_of::<Slot>() == 32);
    assert!(size_of::<Doomed>() == 264);
    assert!(size_of::<KernelLayout>() == 64);
    assert!(size_of::<Event>() == 56);
    assert!(core::mem::offset_of!(Event, kind) == 24);
    assert!(core::mem::offset_of!(Event, command) == 40);
    assert!(size_of::<ServiceState>() == 4);
    assert!(core::mem::offset_of!(Service, state) == 0);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Doomed, Event, KernelLayout, PortKey, ServiceState, Slot, SocketKey, SocketPage};

    /// Marks types of which any bytes are a valid value.
    macro_rules! pod {
        ($($type:ty),+ $(,)?) => {$(
            // SAFETY: repr(C), integers and arrays of them alone, no implicit padding.
            unsafe impl aya::Pod for $type {}
        )+};
    }

    pod!(
        SocketKey,
        SocketPage,
        PortKey,
        Slot,
        Doomed,
        KernelLayout,
        Event,
        ServiceState
    );
}
