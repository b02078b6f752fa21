//! Receiving BFD packets: one socket for all sessions of a family and port, and the way to each session.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::packet::Packet;
use crate::sockopt;

/// Packets waiting for a session task; when full, a packet is dropped: the next one says the same.
pub(super) const INBOX_DEPTH: usize = 16;
/// Longer than any packet that is taken; what does not fit is cut off and then refused.
const DATAGRAM: usize = 128;
/// What every sender sets (RFC 5881 §5, RFC 5883 §3).
const FULL_TTL: u8 = 255;

/// Where packets of one session go, and which are its own.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) remote: IpAddr,
    /// Lower than this, a packet has travelled too far (GTSM, RFC 5082).
    pub(super) min_ttl: u8,
    pub(super) inbox: mpsc::Sender<Packet>,
}

/// Sessions by our discriminator.
pub(super) type Routes = Arc<HashMap<u32, Route>>;

/// The lowest TTL that is taken from a peer at most `hops` away.
pub(super) fn min_ttl(hops: u8) -> u8 {
    FULL_TTL - (hops.max(1) - 1)
}

/// Opens the socket of a family and port.
pub(super) fn open(ipv4: bool, port: u16) -> io::Result<UdpSocket> {
    let (domain, address) = if ipv4 {
        (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED))
    } else {
        (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED))
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if !ipv4 {
        socket.set_only_v6(true)?;
    }
    sockopt::report_ttl(socket.as_fd(), ipv4)?;
    socket.bind(&SocketAddr::new(address, port).into())?;
    UdpSocket::from_std(socket.into())
}

/// Gives each packet to its session until the task is aborted.
pub(super) async fn run(socket: UdpSocket, routes: Routes) {
    loop {
        let received = socket
            .async_io(Interest::READABLE, || receive(&socket))
            .await;
        match received {
            Ok(datagram) => deliver(&datagram, &routes),
            Err(error) => {
                // An error belongs to one datagram; a socket that is gone for good must not spin.
                tracing::debug!(%error, "a BFD packet could not be received");
                tokio::task::yield_now().await;
            }
        }
    }
}

struct Datagram {
    octets: [u8; DATAGRAM],
    length: usize,
    source: Option<IpAddr>,
    ttl: u8,
}

fn receive(socket: &UdpSocket) -> io::Result<Datagram> {
    let mut octets = [0; DATAGRAM];
    let mut control = cmsg_space!(libc::c_int);
    let mut parts = [IoSliceMut::new(&mut octets)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let ttl = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => Some(ttl),
        _ => None,
    });
    let source = message.address.and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    let length = message.bytes;
    Ok(Datagram {
        octets,
        length,
        source,
        ttl: ttl.and_then(|ttl| u8::try_from(ttl).ok()).unwrap_or(0),
    })
}

/// RFC 5880 §6.8.6: by Your Discriminator, or by the source while the peer does not know ours.
fn deliver(datagram: &Datagram, routes: &Routes) {
    let packet = match Packet::decode(&datagram.octets[..datagram.length]) {
        Ok(packet) => packet,
        Err(error) => {
            tracing::debug!(source = ?datagram.source, %error, "a BFD packet was discarded");
            return;
        }
    };
    let route = match packet.your_discriminator {
        0 => routes
            .values()
            .find(|route| Some(route.remote) == datagram.source),
        known => routes.get(&known),
    };
    let Some(route) = route.filter(|route| Some(route.remote) == datagram.source) else {
        tracing::debug!(source = ?datagram.source, "a BFD packet of no session was discarded");
        return;
    };
    if datagram.ttl < route.min_ttl {
        tracing::debug!(source = ?datagram.source, ttl = datagram.ttl, "a BFD packet from too far was discarded");
        return;
    }
    // Full: the session task has the same news waiting already.
    let _ = route.inbox.try_send(packet);
}
