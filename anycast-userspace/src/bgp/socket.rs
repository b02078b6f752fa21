//! Sockets of the speaker: dialling, listening, and the options that a peer's settings ask for.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::sync::{Arc, Once};

use ipnet::IpNet;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::listener::Device;
use super::settings::{Entry, PeerSettings, Signature, scope_of};
use super::territory;
use crate::config::bgp::AoAlgorithm;
use crate::rib::NextHop;
use crate::sockopt;

/// Network control traffic (class selector 6, RFC 4594 §3.1).
const DSCP_CS6: u32 = 0xC0;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 64;

fn domain(address: IpAddr) -> Domain {
    match address {
        IpAddr::V4(_) => Domain::IPV4,
        IpAddr::V6(_) => Domain::IPV6,
    }
}

/// An address and port to connect to; a link-local one gets the scope of the configured interface.
fn endpoint(address: IpAddr, port: u16, interface: Option<&str>) -> io::Result<SocketAddr> {
    match (address, interface) {
        (IpAddr::V6(v6), Some(name)) if v6.is_unicast_link_local() => {
            let scope = nix::net::if_::if_nametoindex(name)
                .map_err(|error| io::Error::other(format!("interface {name}: {error}")))?;
            Ok(SocketAddrV6::new(v6, port, 0, scope).into())
        }
        (IpAddr::V4(_) | IpAddr::V6(_), Some(_) | None) => Ok(SocketAddr::new(address, port)),
    }
}

/// TTL to send with, and the lowest to accept: GTSM (RFC 5082) or the distance of an external peer.
fn ttl(settings: &PeerSettings) -> (Option<u8>, Option<u8>) {
    let hops = settings.config.multihop;
    if settings.config.ttl_security {
        return (Some(255), Some(255 - (hops.unwrap_or(1) - 1)));
    }
    if settings.is_external() {
        return (Some(hops.unwrap_or(1)), None);
    }
    (hops, None)
}

fn set_ttl(socket: &SockRef<'_>, ipv4: bool, ttl: u8) -> io::Result<()> {
    if ipv4 {
        socket.set_ttl_v4(u32::from(ttl))
    } else {
        socket.set_unicast_hops_v6(u32::from(ttl))
    }
}

/// Options that hold for a connection whoever opened it.
fn prepare(socket: &SockRef<'_>, settings: &PeerSettings) -> io::Result<()> {
    let ipv4 = settings.is_over_ipv4();
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    if ipv4 {
        socket.set_tos_v4(DSCP_CS6)?;
    } else {
        socket.set_tclass_v6(DSCP_CS6)?;
    }
    let (send, accept) = ttl(settings);
    if let Some(send) = send {
        set_ttl(socket, ipv4, send)?;
    }
    if let Some(accept) = accept {
        sockopt::set_min_ttl(socket.as_fd(), ipv4, accept)?;
    }
    Ok(())
}

/// Opens a connection to the peer at `address`. Waits as long as the kernel does: the caller sets the bound.
pub(super) async fn dial(settings: Arc<PeerSettings>, address: IpAddr) -> io::Result<TcpStream> {
    let config = &settings.config;
    let socket = Socket::new(domain(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    prepare(&SockRef::from(&socket), &settings)?;
    if let Some(device) = &config.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    sign(&socket, &settings, Signed::Host(address), true)?;
    if let Some(source) = config.source {
        let from = endpoint(source, 0, config.interface.as_deref())?;
        socket.bind(&from.into())?;
    }
    let to = endpoint(address, config.port, config.interface.as_deref())?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// Prepares a connection that the peer opened.
pub(super) fn adopt(stream: &TcpStream, settings: &PeerSettings) -> io::Result<()> {
    prepare(&SockRef::from(stream), settings)
}

/// Listens on an address, with the keys of the peers that have one. Listeners by device may join it there.
pub(super) fn listen(address: SocketAddr, entries: &[Entry]) -> io::Result<TcpListener> {
    let socket = open_listener(address, entries, None)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Only now: a socket that shares its port when it begins to listen is in a group, and over IPv6 the kernel
    // gives connections to the oldest group, even those that come by the device of another.
    if entries
        .iter()
        .any(|entry| entry.settings().config.device.is_some())
    {
        socket.set_reuse_port(true)?;
    }
    TcpListener::from_std(socket.into())
}

/// The same, for connections that come by a device. Says what the device is, and its index.
pub(super) fn listen_on(
    address: SocketAddr,
    name: &Arc<str>,
    entries: &[Entry],
) -> io::Result<(TcpListener, Device, u32)> {
    let index = index_of(name).ok_or_else(|| io::Error::from(Errno::ENODEV))?;
    let device = Device {
        name: Arc::clone(name),
        is_vrf: is_vrf(name)?,
    };
    let socket = open_listener(address, entries, Some(&device))?;
    socket.set_reuse_port(true)?;
    socket.bind_device(Some(name.as_bytes()))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok((TcpListener::from_std(socket.into())?, device, index))
}

/// The index of an interface that is there.
pub(super) fn index_of(name: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(name).ok()
}

/// Whether a device is a VRF. The kernel gives these two flags to no other kind: a bond speaks ARP.
fn is_vrf(name: &str) -> io::Result<bool> {
    let vrf = InterfaceFlags::IFF_MASTER | InterfaceFlags::IFF_NOARP;
    Ok(getifaddrs()?.any(|found| found.interface_name == name && found.flags.contains(vrf)))
}

/// Frees a connection from the device of its listener: its peer has none. One between link-local addresses
/// stays: they mean nothing without their link.
pub(super) fn unbind(stream: &TcpStream, remote: SocketAddr) {
    static TOLD: Once = Once::new();
    if scope_of(remote).is_some() {
        return;
    }
    if let Err(error) = SockRef::from(stream).bind_device(None) {
        TOLD.call_once(|| {
            tracing::warn!(
                %remote, %error,
                "BGP connections stay with the device that they came by, though their peers have none; this \
                 kernel may want CAP_NET_RAW for it"
            );
        });
    }
}

/// A socket that is ready to be bound, with the keys of those whose connections come to it.
fn open_listener(
    address: SocketAddr,
    entries: &[Entry],
    by: Option<&Device>,
) -> io::Result<Socket> {
    let socket = Socket::new(domain(address.ip()), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The answer to a SYN must pass a peer's GTSM before the peer is known.
    set_ttl(&SockRef::from(&socket), address.is_ipv4(), 255)?;
    let heard: Vec<&Entry> = heard(entries, by)
        .into_iter()
        .filter(|entry| entry.is_over_ipv4() == address.is_ipv4())
        .collect();
    for (entry, parts) in signed_parts(&heard) {
        let settings = entry.settings();
        for part in &parts {
            let signed = match entry {
                Entry::Peer(_) if part.prefix_len() == part.max_prefix_len() => {
                    Signed::Host(part.addr())
                }
                Entry::Peer(_) | Entry::Group(_) => Signed::Prefix(*part),
            };
            sign(&socket, settings, signed, false).map_err(|error| {
                let (name, count) = (&settings.name, parts.len());
                io::Error::other(format!("the keys of {name}, for {count} prefixes: {error}"))
            })?;
        }
    }
    Ok(socket)
}

/// The entries whose connections may come to a listener: of two at one place, the one that has its device.
fn heard<'a>(entries: &'a [Entry], by: Option<&Device>) -> Vec<&'a Entry> {
    let bound = |entry: &Entry| entry.settings().is_heard_by(by);
    let same_place = |one: &Entry, other: &Entry| {
        let interface = |entry: &Entry| entry.settings().config.interface.clone();
        one.addresses() == other.addresses() && interface(one) == interface(other)
    };
    let replaced = |entry: &Entry| {
        bound(entry) == Some(false)
            && entries
                .iter()
                .any(|other| bound(other) == Some(true) && same_place(entry, other))
    };
    entries
        .iter()
        .filter(|entry| bound(entry).is_some() && !replaced(entry))
        .collect()
}

/// The entries that have keys, and the addresses that need them: the kernel would demand the keys of a prefix
/// of those other peers inside it as well that have none, or another kind. Of MD5 keys it takes the one for
/// the longest prefix.
fn signed_parts<'a>(entries: &[&'a Entry]) -> Vec<(&'a Entry, Vec<IpNet>)> {
    let mut found: Vec<(&Entry, Vec<IpNet>)> = Vec::new();
    for &entry in entries {
        let (own, prefix) = (entry.settings().signature(), entry.addresses());
        let strangers: Vec<IpNet> = entries
            .iter()
            .filter(|other| [own, other.settings().signature()] != [Signature::Md5; 2])
            .map(|other| other.addresses())
            .filter(|other| prefix.contains(other) && *other != prefix)
            .collect();
        // Peers by interface share their keys, and the kernel takes no key twice.
        let known = found.iter().any(|(other, _)| other.addresses() == prefix);
        match own {
            Signature::Md5 | Signature::Ao if !known => {
                found.push((entry, territory::without(prefix, &strangers)));
            }
            Signature::None | Signature::Md5 | Signature::Ao => {}
        }
    }
    found
}

/// The other end of signed connections.
#[derive(Clone, Copy)]
enum Signed {
    Host(IpAddr),
    Prefix(IpNet),
}

impl Signed {
    fn address(self) -> IpAddr {
        match self {
            Self::Host(address) => address,
            Self::Prefix(prefix) => prefix.addr(),
        }
    }
}

/// Gives the socket the peer's keys, if it has any. `connecting`: the first TCP-AO key signs the SYN.
fn sign(
    socket: &Socket,
    settings: &PeerSettings,
    signed: Signed,
    connecting: bool,
) -> io::Result<()> {
    let address = signed.address();
    let (md5_length, ao_length) = match signed {
        Signed::Host(_) => (None, if address.is_ipv4() { 32 } else { 128 }),
        Signed::Prefix(prefix) => (Some(prefix.prefix_len()), prefix.prefix_len()),
    };
    if let Some(password) = &settings.password {
        let key = password.reveal().as_bytes();
        sockopt::set_md5_key(socket.as_fd(), address, md5_length, key)?;
    }
    for (at, (key, secret)) in settings.ao_keys.iter().enumerate() {
        let key = sockopt::AoKey {
            send_id: key.send_id,
            receive_id: key.received_as(),
            algorithm: match key.algorithm {
                AoAlgorithm::HmacSha1 => sockopt::AoAlgorithm::HmacSha1,
                AoAlgorithm::Aes128Cmac => sockopt::AoAlgorithm::Aes128Cmac,
            },
            secret: secret.reveal().as_bytes(),
            preferred: connecting && at == 0,
        };
        sockopt::add_ao_key(socket.as_fd(), address, ao_length, &key)?;
    }
    Ok(())
}

/// Whether the kernel signs with TCP-AO.
pub(super) fn has_tcp_ao() -> io::Result<bool> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    sockopt::has_tcp_ao(socket.as_fd())
}

/// Addresses of the interface that owns `local` (of `on`, where that is known: link-local addresses may
/// be on many), for next hops of the family that the session does not use, and the link-local address
/// beside them. `skip` says which addresses must not be used.
pub(super) fn interface_addresses(
    local: IpAddr,
    on: Option<&str>,
    skip: impl Fn(IpAddr) -> bool,
) -> io::Result<(NextHop, Option<Ipv6Addr>)> {
    let all: Vec<(String, IpAddr)> = getifaddrs()?
        .filter_map(|found| Some((found.interface_name, address_of(&found.address?)?)))
        .collect();
    let owner =
        |(name, address): &&(String, IpAddr)| *address == local && on.is_none_or(|on| on == name);
    let Some((name, _)) = all.iter().find(owner) else {
        return Ok((NextHop::default(), None));
    };
    let mut next_hop = NextHop::default();
    let mut link_local = None;
    for (_, address) in all.iter().filter(|(owner, _)| owner == name) {
        match address {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                link_local.get_or_insert(*v6);
            }
            _ if skip(*address) || address.is_loopback() => {}
            IpAddr::V4(v4) => {
                next_hop.ipv4.get_or_insert(*v4);
            }
            IpAddr::V6(v6) => {
                next_hop.ipv6.get_or_insert(*v6);
            }
        }
    }
    Ok((next_hop, link_local))
}

fn address_of(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests;
