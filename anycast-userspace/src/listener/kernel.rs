//! The loaded programs and their maps. It writes what it is told and judges nothing.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use anycast_common::listener::{
    Event, KERNEL_LAYOUT, KernelLayout, PROGRAM_BIND4, PROGRAM_BIND6, PROGRAM_EXIT,
    PROGRAM_RELEASE, PROGRAM_SIGNAL, PortKey, Slot, SocketKey, SocketPage, kind, map,
};
use aya::maps::{Array, HashMap, Map, MapData, MapError, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSock, ProgramError, RawTracePoint};
use aya::{Ebpf, EbpfError, EbpfLoader};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup::Cgroup;
use super::error::ListenerError;
use super::layout::{self, LayoutError};
use super::ledger::{Presence, Tables};
use super::plan::Port;

/// The object, built from `anycast-ebpf` by the build script.
pub static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/anycast-listener"));

/// Each program, and where it is attached.
const PROGRAMS: [(&str, &str); 3] = [
    (PROGRAM_RELEASE, "cgroup/sock_release"),
    (PROGRAM_BIND4, "cgroup/post_bind4"),
    (PROGRAM_BIND6, "cgroup/post_bind6"),
];

/// The programs that see processes die, and their tracepoints.
const DEATHS: [(&str, &str); 2] = [
    (PROGRAM_SIGNAL, "signal_generate"),
    (PROGRAM_EXIT, "sched_process_exit"),
];

// Flags of bpf_map_update_elem, from linux/bpf.h.
const BPF_ANY: u64 = 0;
const BPF_NOEXIST: u64 = 1;
const BPF_EXIST: u64 = 2;

/// The attached programs; dropping it detaches them.
pub(super) struct Kernel {
    cgroup: Cgroup,
    sockets: HashMap<MapData, SocketKey, SocketPage>,
    slots: Array<MapData, Slot>,
    binds: HashMap<MapData, PortKey, u64>,
    binds_seen: HashMap<MapData, PortKey, u64>,
    events: RingBuf<MapData>,
    lost: Array<MapData, u64>,
    netns: Option<u64>,
    /// Holds the programs and their links.
    _object: Ebpf,
}

impl Kernel {
    /// Loads and attaches the programs, and sees them report the release of a socket.
    pub(super) fn attach(
        cgroup: Option<&Path>,
        services_pin: Option<&Path>,
    ) -> Result<Self, ListenerError> {
        let cgroup = Cgroup::open(cgroup)?;
        let layout = layout::read();
        let mut object = load(services_pin, layout.as_ref().ok())?;
        for (program, hook) in PROGRAMS {
            attach(&mut object, &cgroup, program, hook)?;
        }
        if let Err(error) = watch_deaths(&mut object, layout) {
            tracing::warn!(
                %error,
                "listener check: a killed process is noticed only as it releases its sockets, \
                 milliseconds later"
            );
        }
        let mut kernel = Self {
            cgroup,
            sockets: take(&mut object, map::SOCKETS)?,
            slots: take(&mut object, map::SLOTS)?,
            binds: take(&mut object, map::BINDS)?,
            binds_seen: take(&mut object, map::BINDS_SEEN)?,
            events: take(&mut object, map::EVENTS)?,
            lost: take(&mut object, map::EVENTS_LOST)?,
            netns: None,
            _object: object,
        };
        kernel.prove()?;
        Ok(kernel)
    }

    /// Releases a socket and looks for the report: the program runs within close(). It also tells the
    /// namespace's cookie.
    fn prove(&mut self) -> Result<(), ListenerError> {
        let made = |error| ListenerError::Io {
            what: "making a socket to prove the listener programs with",
            error,
        };
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(made)?;
        let cookie = socket2::SockRef::from(&socket).cookie().map_err(made)?;
        let key = SocketKey {
            cookie,
            page: 0,
            reserved: 0,
        };
        self.put_page(key, SocketPage::default(), Presence::Absent)?;
        drop(socket);
        let mut report = None;
        while let Some(event) = self.next_event() {
            if event.kind == kind::RELEASED && event.cookie == cookie {
                report = Some(event);
            }
        }
        match report {
            Some(event) => self.netns = Some(event.netns),
            None if self.cgroup.is_whole() => {
                return Err(ListenerError::Silent {
                    cgroup: self.cgroup.path().to_owned(),
                });
            }
            // This process may well be outside of the services' cgroup.
            None => {
                self.remove_page(key)?;
            }
        }
        Ok(())
    }

    /// The cookie of this network namespace, where it is known.
    pub(super) fn netns(&self) -> Option<u64> {
        self.netns
    }

    /// Whether the programs see sockets of a cgroup.
    pub(super) fn covers(&mut self, cgroup: u64) -> bool {
        self.cgroup.covers(cgroup)
    }

    /// Where the programs are attached.
    pub(super) fn cgroup(&self) -> &Path {
        self.cgroup.path()
    }

    /// What becomes readable when there are events. Must be called within a tokio runtime.
    #[expect(
        deprecated,
        reason = "the successor is unsafe; what this one warns of cannot happen to an OwnedFd"
    )]
    pub(super) fn wakeup(&self) -> Result<AsyncFd<OwnedFd>, ListenerError> {
        self.events
            .as_fd()
            .try_clone_to_owned()
            .and_then(|fd| AsyncFd::with_interest(fd, Interest::READABLE))
            .map_err(|error| ListenerError::Io {
                what: "waiting for listener events",
                error,
            })
    }

    /// The next event, if there is one.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        // A record of another length is none that the program writes.
        self.events.next().and_then(|record| Event::read(&record))
    }

    /// How many events found the ring buffer full since the programs were loaded.
    pub(super) fn events_lost(&self) -> Result<u64, ListenerError> {
        self.lost.get(&0, 0).map_err(failed(map::EVENTS_LOST))
    }

    /// Has binds to a port reported.
    pub(super) fn watch(&mut self, port: Port) -> Result<(), ListenerError> {
        self.binds_seen
            .insert(port.key(), 0, BPF_ANY)
            .map_err(failed(map::BINDS_SEEN))?;
        self.binds
            .insert(port.key(), 0, BPF_ANY)
            .map_err(failed(map::BINDS))
    }

    /// How often a watched port was bound.
    pub(super) fn binds(&self, port: Port) -> Result<u64, ListenerError> {
        self.binds.get(&port.key(), 0).map_err(failed(map::BINDS))
    }

    /// Lets the program act on the port again: that many binds have been taken in.
    pub(super) fn saw_binds(&mut self, port: Port, binds: u64) -> Result<(), ListenerError> {
        self.binds_seen
            .insert(port.key(), binds, BPF_ANY)
            .map_err(failed(map::BINDS_SEEN))
    }
}

impl Tables for Kernel {
    fn put_slot(&mut self, number: u32, slot: Slot) -> Result<(), ListenerError> {
        self.slots
            .set(number, slot, BPF_ANY)
            .map_err(failed(map::SLOTS))
    }

    fn slot(&self, number: u32) -> Result<Slot, ListenerError> {
        self.slots.get(&number, 0).map_err(failed(map::SLOTS))
    }

    fn put_page(
        &mut self,
        key: SocketKey,
        page: SocketPage,
        presence: Presence,
    ) -> Result<bool, ListenerError> {
        let (flags, unmet) = match presence {
            Presence::Present => (BPF_EXIST, libc::ENOENT),
            Presence::Absent => (BPF_NOEXIST, libc::EEXIST),
        };
        match self.sockets.insert(key, page, flags) {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(unmet) => Ok(false),
            Err(error) => Err(failed(map::SOCKETS)(error)),
        }
    }

    fn has_page(&self, key: SocketKey) -> Result<bool, ListenerError> {
        match self.sockets.get(&key, 0) {
            Ok(_) => Ok(true),
            Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(failed(map::SOCKETS)(error)),
        }
    }

    fn remove_page(&mut self, key: SocketKey) -> Result<bool, ListenerError> {
        match self.sockets.remove(&key) {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(failed(map::SOCKETS)(error)),
        }
    }
}

fn load(services_pin: Option<&Path>, layout: Option<&KernelLayout>) -> Result<Ebpf, ListenerError> {
    let mut loader = EbpfLoader::new();
    if let Some(layout) = layout {
        loader.override_global(KERNEL_LAYOUT, layout, true);
    }
    if let Some(pin) = services_pin {
        // The loader would make and pin a map of its own where there is none.
        if !pin.exists() {
            return Err(ListenerError::NoServicesMap {
                path: pin.to_owned(),
            });
        }
        loader.map_pin_path(map::SERVICES, pin.to_owned());
    }
    loader.load(OBJECT).map_err(|error| match &error {
        EbpfError::MapError(map) if is_refusal(errno(map)) => ListenerError::NotPermitted {
            what: "create BPF maps",
        },
        _ => ListenerError::Load(Box::new(error)),
    })
}

fn attach(
    object: &mut Ebpf,
    cgroup: &Cgroup,
    program: &'static str,
    hook: &'static str,
) -> Result<(), ListenerError> {
    let loaded: &mut CgroupSock = object
        .program_mut(program)
        .and_then(|program| program.try_into().ok())
        .ok_or(ListenerError::Missing(program))?;
    // A cgroup's links always run beside others, whatever the mode; links take no other.
    loaded
        .load()
        .and_then(|()| {
            loaded
                .attach(cgroup.directory(), CgroupAttachMode::Single)
                .map(drop)
        })
        .map_err(|error| {
            if is_refusal(program_errno(&error)) {
                return ListenerError::NotPermitted {
                    what: "load BPF programs and attach them to a cgroup",
                };
            }
            ListenerError::Unsupported {
                program,
                hook,
                error: Box::new(error),
            }
        })
}

/// Why the programs that see processes die do not run.
#[derive(Debug, thiserror::Error)]
enum DeathError {
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error("the object has no program {0}")]
    Missing(&'static str),
    #[error("{program}: {source}")]
    Program {
        program: &'static str,
        source: ProgramError,
    },
}

fn watch_deaths(
    object: &mut Ebpf,
    layout: Result<KernelLayout, LayoutError>,
) -> Result<(), DeathError> {
    layout?;
    for (program, tracepoint) in DEATHS {
        let loaded: &mut RawTracePoint = object
            .program_mut(program)
            .and_then(|program| program.try_into().ok())
            .ok_or(DeathError::Missing(program))?;
        loaded
            .load()
            .and_then(|()| loaded.attach(tracepoint).map(drop))
            .map_err(|source| DeathError::Program { program, source })?;
    }
    Ok(())
}

fn take<T: TryFrom<Map, Error = MapError>>(
    object: &mut Ebpf,
    name: &'static str,
) -> Result<T, ListenerError> {
    object
        .take_map(name)
        .ok_or(ListenerError::Missing(name))?
        .try_into()
        .map_err(failed(name))
}

fn failed(map: &'static str) -> impl Fn(MapError) -> ListenerError {
    move |error| ListenerError::Map { map, error }
}

fn is_refusal(errno: Option<i32>) -> bool {
    errno.is_some_and(|errno| errno == libc::EPERM || errno == libc::EACCES)
}

fn program_errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::LoadError { io_error, .. } => io_error.raw_os_error(),
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

fn errno(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        MapError::CreateError { io_error, .. } => io_error.raw_os_error(),
        MapError::KeyNotFound | MapError::ElementNotFound => Some(libc::ENOENT),
        _ => None,
    }
}
