//! Reads sockets with `NETLINK_SOCK_DIAG` (sock_diag(7)). It sees the network namespace in which it
//! was opened, and no other.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla as _};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};

use super::error::SockDiagError;
use super::plan::{Port, Socket, Transport};

/// Attribute `INET_DIAG_CGROUP_ID` of `linux/inet_diag.h`.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// With more ports than this, one listing of all sockets costs less than one for each port.
const MOST_FILTERED: usize = 4;

/// Where sockets are read.
pub trait SocketTable: Send + 'static {
    /// The serving sockets on `ports`: listening TCP sockets, and UDP sockets that are bound and not
    /// connected.
    ///
    /// # Errors
    ///
    /// When they cannot be read: what was known before still holds then.
    fn read(
        &mut self,
        ports: &BTreeSet<Port>,
    ) -> impl Future<Output = Result<Vec<Socket>, SockDiagError>> + Send;
}

/// The kernel's own table.
pub struct SockDiag {
    netlink: TokioSocket,
    sequence: u32,
}

impl SockDiag {
    /// Opens a netlink socket in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// When the kernel offers no `NETLINK_SOCK_DIAG`, or no descriptor is left.
    pub fn open() -> Result<Self, SockDiagError> {
        let mut netlink = TokioSocket::new(NETLINK_SOCK_DIAG)?;
        netlink.socket_mut().bind_auto()?;
        netlink.socket_ref().connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            netlink,
            sequence: 0,
        })
    }

    async fn list(
        &mut self,
        transport: Transport,
        port: Option<u16>,
        found: &mut Vec<Socket>,
    ) -> Result<(), SockDiagError> {
        for (family, id) in [
            (AF_INET, SocketId::new_v4()),
            (AF_INET6, SocketId::new_v6()),
        ] {
            self.sequence = self.sequence.wrapping_add(1);
            let request = request(transport, family, id, port, self.sequence);
            self.netlink.send(&request).await?;
            while !self.take_answer(transport, found).await? {}
        }
        Ok(())
    }

    /// Takes one datagram; true if it ends the listing.
    async fn take_answer(
        &mut self,
        transport: Transport,
        found: &mut Vec<Socket>,
    ) -> Result<bool, SockDiagError> {
        let (datagram, _kernel) = self.netlink.recv_from_full().await?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| SockDiagError::Malformed(error.to_string()))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            if message.header.sequence_number != self.sequence {
                continue;
            }
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => {
                    return Err(SockDiagError::Refused {
                        transport,
                        error: error.to_io(),
                    });
                }
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    found.extend(socket(transport, &response));
                }
                // Neither answers a request for inet sockets.
                NetlinkPayload::InnerMessage(_)
                | NetlinkPayload::Noop
                | NetlinkPayload::Overrun(_)
                | _ => {}
            }
        }
        Ok(false)
    }
}

impl SocketTable for SockDiag {
    async fn read(&mut self, ports: &BTreeSet<Port>) -> Result<Vec<Socket>, SockDiagError> {
        let mut found = Vec::new();
        for transport in [Transport::Tcp, Transport::Udp] {
            let numbers: Vec<u16> = ports
                .iter()
                .filter(|port| port.transport == transport)
                .map(|port| port.number)
                .collect();
            if numbers.len() > MOST_FILTERED {
                self.list(transport, None, &mut found).await?;
            } else {
                for number in numbers {
                    self.list(transport, Some(number), &mut found).await?;
                }
            }
        }
        found.retain(|socket| ports.contains(&socket.port));
        Ok(found)
    }
}

fn request(
    transport: Transport,
    family: u8,
    mut id: SocketId,
    port: Option<u16>,
    sequence: u32,
) -> Vec<u8> {
    id.source_port = port.unwrap_or(0);
    let states = match transport {
        Transport::Tcp => StateFlags::LISTEN,
        // What a UDP socket is in until it is connected.
        Transport::Udp => StateFlags::CLOSE,
    };
    let mut message = NetlinkMessage::from(SockDiagMessage::InetRequest(InetRequest {
        family,
        protocol: transport.number(),
        extensions: ExtensionFlags::empty(),
        states,
        socket_id: id,
    }));
    message.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    message.header.sequence_number = sequence;
    message.finalize();
    let mut buffer = vec![0; message.buffer_len()];
    message.serialize(&mut buffer);
    buffer
}

fn socket(transport: Transport, response: &InetResponse) -> Option<Socket> {
    let id = &response.header.socket_id;
    // One that is bound to a device takes only what arrives there.
    if id.source_port == 0 || id.destination_port != 0 || id.interface_id != 0 {
        return None;
    }
    let local = match id.source_address {
        IpAddr::V6(address) => address
            .to_ipv4_mapped()
            .map_or(IpAddr::V6(address), IpAddr::V4),
        IpAddr::V4(address) => IpAddr::V4(address),
    };
    let mut socket = Socket {
        cookie: u64::from_ne_bytes(id.cookie),
        port: Port {
            transport,
            number: id.source_port,
        },
        local,
        v6_only: false,
        cgroup: None,
    };
    for attribute in &response.nlas {
        match attribute {
            Nla::SkV6Only(only) => socket.v6_only = *only,
            other if other.kind() == INET_DIAG_CGROUP_ID => {
                let mut value = [0; 8];
                if other.value_len() == value.len() {
                    other.emit_value(&mut value);
                    socket.cgroup = Some(u64::from_ne_bytes(value));
                }
            }
            _ => {}
        }
    }
    Some(socket)
}

impl std::fmt::Debug for SockDiag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SockDiag")
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}
