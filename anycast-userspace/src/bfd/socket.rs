//! UDP sockets for BFD: their options, and what the kernel tells about an arrived packet.
//!
//! It decides nothing about packets; the TTL and the interface of their arrival go to the caller.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsRawFd as _, RawFd};
use std::task::{Context, Poll};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Protocol, SockRef, Socket, Type};
use tokio::io::Interest;

use super::iana::{PORT_MULTIHOP, PORT_SINGLE_HOP, SOURCE_PORTS, TRAFFIC_CLASS_CS6, TTL};

/// Longer than any BFD packet can be (its length is one octet).
const BUFFER: usize = 512;
/// No packet takes less than this of a socket's queue: the kernel counts its own structures as well.
const LEAST_IN_QUEUE: usize = 512;
/// `SO_PRIORITY` of network control: ahead of the rest in the host's own queues.
const PRIORITY_CONTROL: u32 = 7;

/// Whether the peer is on the same link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Hops {
    /// RFC 5881.
    Single,
    /// RFC 5883.
    Multi,
}

impl Hops {
    /// The port that packets are sent to.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Single => PORT_SINGLE_HOP,
            Self::Multi => PORT_MULTIHOP,
        }
    }
}

/// What one receiving socket serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Domain {
    pub(super) hops: Hops,
    pub(super) ipv6: bool,
    /// The VRF device, or interface, that it is bound to.
    pub(super) vrf: Option<String>,
}

impl Domain {
    /// Whether the kernel lets sockets of both share a port only if both agree.
    fn overlaps(&self, other: &Self) -> bool {
        (self.hops, self.ipv6) == (other.hops, other.ipv6)
            && (self.vrf.is_none() || other.vrf.is_none())
    }

    /// Index of its device, if that is there.
    pub(super) fn index(&self) -> Option<u32> {
        nix::net::if_::if_nametoindex(self.vrf.as_deref()?).ok()
    }

    /// The one that is bound to no device.
    pub(super) fn unbound(&self) -> Self {
        Self {
            vrf: None,
            ..self.clone()
        }
    }
}

/// One packet, and how it arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: Option<IpAddr>,
    /// Index of the interface that it arrived on.
    pub(super) interface: Option<u32>,
    pub(super) ttl: Option<u8>,
    /// The socket is bound to this very interface: the packet would have come to one that is bound to none,
    /// were this one not there. What comes through a VRF would not.
    pub(super) intercepted: bool,
    pub(super) payload: &'a [u8],
}

/// A socket on a well-known port.
pub(super) struct Receiver {
    socket: tokio::net::UdpSocket,
    control: Vec<u8>,
    /// Index of the device that it is bound to.
    pub(super) device: Option<u32>,
    /// More packets than this cannot wait at one time.
    pub(super) capacity: usize,
    /// Packets that the kernel dropped since the socket was opened, because its queue was full.
    pub(super) overflowed: u32,
}

impl Receiver {
    /// Binds the port on every address: which peers may speak is the demultiplexer's to say. `others`: those
    /// that are there already. It shares the port with them, and with nobody else's sockets.
    pub(super) fn bind<'a>(
        domain: &Domain,
        others: impl IntoIterator<Item = (&'a Domain, &'a Self)>,
    ) -> io::Result<Self> {
        let address = SocketAddr::new(unspecified(domain.ipv6), domain.hops.port());
        let beside: Vec<&Self> = others
            .into_iter()
            .filter(|(other, _)| domain.overlaps(other))
            .map(|(_, receiver)| receiver)
            .collect();
        let share = |sharing: bool| {
            beside
                .iter()
                .try_for_each(|other| SockRef::from(&other.socket).set_reuse_port(sharing))
        };
        share(true)?;
        let bound = Self::bind_to(domain, address, !beside.is_empty());
        share(false)?;
        bound
    }

    fn bind_to(domain: &Domain, address: SocketAddr, sharing: bool) -> io::Result<Self> {
        let socket = open(domain.ipv6)?;
        let mut device = None;
        if let Some(vrf) = &domain.vrf {
            socket.bind_device(Some(vrf.as_bytes()))?;
            device = Some(nix::net::if_::if_nametoindex(vrf.as_str())?);
        }
        if domain.ipv6 {
            setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        // Only while it binds: another process must find the port taken.
        socket.set_reuse_port(sharing)?;
        socket.bind(&address.into())?;
        socket.set_reuse_port(false)?;
        Ok(Self {
            device,
            capacity: capacity(&SockRef::from(&socket))?,
            socket: tokio::net::UdpSocket::from_std(socket.into())?,
            control: nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, i32, u32),
            overflowed: 0,
        })
    }

    /// Ready when packets wait, or the socket has failed.
    pub(super) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_recv_ready(context).map(|_| ())
    }

    /// Hands every packet that waits to `take`, `limit` at most. Says whether none waits any more.
    pub(super) fn drain(&mut self, limit: usize, mut take: impl FnMut(Arrival<'_>)) -> bool {
        let mut failed = false;
        for _ in 0..limit {
            let mut buffer = [0; BUFFER];
            match receive(
                self.socket.as_raw_fd(),
                &mut buffer,
                &mut self.control,
                &mut self.overflowed,
            ) {
                Ok(Some(arrival)) => take(Arrival {
                    intercepted: self.device.is_some() && self.device == arrival.interface,
                    ..arrival
                }),
                Ok(None) | Err(Errno::EINTR) => {}
                // A socket reports an error once, as when an interface goes away; packets may wait behind it.
                Err(error) if error != Errno::EAGAIN && !failed => failed = true,
                Err(_) => {
                    self.forget_readiness();
                    return true;
                }
            }
        }
        false
    }

    /// The queue is empty: wait for the kernel's next word. What has arrived since is not missed, for the
    /// runtime, which has one thread, learns of it only when this task waits.
    fn forget_readiness(&self) {
        let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _ = self.socket.try_io(Interest::READABLE, empty);
    }
}

/// The most packets that can wait in a socket's queue at one time.
fn capacity(socket: &SockRef<'_>) -> io::Result<usize> {
    Ok(socket.recv_buffer_size()? / LEAST_IN_QUEUE + 1)
}

/// One packet, or `None` for one whose sender is not an IP address.
fn receive<'a>(
    socket: RawFd,
    buffer: &'a mut [u8; BUFFER],
    control: &mut [u8],
    overflowed: &mut u32,
) -> Result<Option<Arrival<'a>>, Errno> {
    let (mut destination, mut interface, mut ttl) = (None, None, None);
    let (length, source) = {
        let mut slices = [IoSliceMut::new(buffer)];
        let message =
            recvmsg::<SockaddrStorage>(socket, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
        for item in message.cmsgs()? {
            match item {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let octets = info.ipi_addr.s_addr.to_ne_bytes();
                    destination = Some(IpAddr::from(octets));
                    interface = u32::try_from(info.ipi_ifindex).ok();
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
                    interface = Some(info.ipi6_ifindex);
                }
                ControlMessageOwned::Ipv4Ttl(value) | ControlMessageOwned::Ipv6HopLimit(value) => {
                    ttl = u8::try_from(value).ok();
                }
                ControlMessageOwned::RxqOvfl(count) => *overflowed = count,
                // Nothing else was asked for.
                _ => {}
            }
        }
        (message.bytes, message.address)
    };
    let source = source.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    Ok(source.map(|source| Arrival {
        source,
        destination,
        interface,
        ttl,
        intercepted: false,
        payload: &buffer[..length.min(BUFFER)],
    }))
}

/// Where one session's packets go, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: IpAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) interface: Option<String>,
    pub(super) vrf: Option<String>,
    pub(super) hops: Hops,
}

/// The sending socket of one session. It is opened when first needed and again after a failure, so that an
/// address or interface that comes later is used when it comes; the port stays the same (RFC 5881 §4).
pub(super) struct Transmitter {
    target: Target,
    port: u16,
    open: Option<(UdpSocket, SocketAddr)>,
    /// Index of the target's interface, as of the last opening.
    pub(super) interface: Option<u32>,
}

impl Transmitter {
    /// `random` picks where the search for a free port begins.
    pub(super) fn new(target: Target, random: u32) -> Self {
        let count = u32::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
        let offset = u16::try_from(random % count).expect("an offset within 16 bits");
        Self {
            target,
            port: SOURCE_PORTS.start() + offset,
            open: None,
            interface: None,
        }
    }

    /// Opens the socket if it is not, so that the interface's index is known.
    pub(super) fn prepare(&mut self) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(self.open()?);
        }
        Ok(())
    }

    pub(super) fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.prepare()?;
        let Some((socket, to)) = &self.open else {
            return Ok(());
        };
        let sent = socket.send_to(payload, to);
        match sent {
            Ok(_) => Ok(()),
            // A full device queue says nothing against the socket.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                self.open = None;
                Err(error)
            }
        }
    }

    fn open(&mut self) -> io::Result<(UdpSocket, SocketAddr)> {
        let target = &self.target;
        let ipv6 = target.address.is_ipv6();
        self.interface = match &target.interface {
            Some(name) => Some(nix::net::if_::if_nametoindex(name.as_str())?),
            None => None,
        };
        let socket = open(ipv6)?;
        if ipv6 {
            socket.set_unicast_hops_v6(u32::from(TTL))?;
            socket.set_tclass_v6(u32::from(TRAFFIC_CLASS_CS6))?;
        } else {
            socket.set_ttl_v4(u32::from(TTL))?;
            socket.set_tos_v4(u32::from(TRAFFIC_CLASS_CS6))?;
        }
        // After the traffic class, which sets a priority of its own.
        socket.set_priority(PRIORITY_CONTROL)?;
        // Nothing is ever read from this socket.
        socket.set_recv_buffer_size(0)?;
        if let Some(device) = target.interface.as_ref().or(target.vrf.as_ref()) {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        let scoped = |address, port| match address {
            IpAddr::V4(_) => SocketAddr::new(address, port),
            IpAddr::V6(v6) => {
                let scope = if v6.is_unicast_link_local() {
                    self.interface
                } else {
                    None
                };
                SocketAddrV6::new(v6, port, 0, scope.unwrap_or(0)).into()
            }
        };
        let source = target.source.unwrap_or(unspecified(ipv6));
        let mut port = self.port;
        for _ in SOURCE_PORTS {
            match socket.bind(&scoped(source, port).into()) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    port = port.checked_add(1).unwrap_or(*SOURCE_PORTS.start());
                }
                Err(error) => return Err(error),
            }
        }
        let to = scoped(target.address, target.hops.port());
        self.port = port;
        Ok((socket.into(), to))
    }
}

fn open(ipv6: bool) -> io::Result<Socket> {
    let domain = if ipv6 {
        socket2::Domain::IPV6
    } else {
        socket2::Domain::IPV4
    };
    let socket = Socket::new(
        domain,
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    if ipv6 {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn unspecified(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

#[cfg(test)]
impl Receiver {
    /// One at any port of the loopback interface, with a queue of its own length, and where it is.
    pub(super) fn on_loopback(domain: &Domain) -> io::Result<(Self, SocketAddr)> {
        let mut receiver =
            Self::bind_to(domain, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false)?;
        let socket = SockRef::from(&receiver.socket);
        // As much as every system allows; the kernel doubles it.
        socket.set_recv_buffer_size(212_992)?;
        receiver.capacity = capacity(&socket)?;
        let address = receiver.socket.local_addr()?;
        Ok((receiver, address))
    }
}
