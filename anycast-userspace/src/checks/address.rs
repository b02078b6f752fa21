//! The `address` check: is each Service Address local in the kernel's routing?

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteType;

use super::Subject;
use super::io_failure;
use crate::health::{FailureKind, Outcome};

/// Lookups in one `send()`. Their answers fit a receive buffer as it comes.
const BATCH: usize = 32;

pub(super) struct AddressProbe {
    addresses: Vec<IpAddr>,
}

impl AddressProbe {
    pub(super) fn new(subject: &Subject<'_>) -> Self {
        Self {
            addresses: subject.addresses.to_vec(),
        }
    }

    pub(super) async fn run(&self) -> Outcome {
        match self.first_missing().await {
            Ok(None) => Outcome::pass("on this host"),
            Ok(Some(address)) => Outcome::fail(
                FailureKind::Unreachable,
                format!("{address} is not on this host"),
            ),
            Err(error) => Outcome::fail(io_failure::kind(&error), format!("netlink: {error}")),
        }
    }

    async fn first_missing(&self) -> io::Result<Option<IpAddr>> {
        let mut lookups = Lookups::open()?;
        for addresses in self.addresses.chunks(BATCH) {
            let local = lookups.are_local(addresses).await?;
            let mut answers = addresses.iter().zip(local);
            if let Some((address, _)) = answers.find(|(_, local)| !local) {
                return Ok(Some(*address));
            }
        }
        Ok(None)
    }
}

/// Route lookups, many in one `send()`: the kernel answers them within the call, each by itself.
struct Lookups {
    netlink: TokioSocket,
    sequence: u32,
}

impl Lookups {
    fn open() -> io::Result<Self> {
        let mut netlink = TokioSocket::new(NETLINK_ROUTE)?;
        netlink.socket_mut().bind_auto()?;
        netlink.socket_ref().connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            netlink,
            sequence: 0,
        })
    }

    async fn are_local(&mut self, addresses: &[IpAddr]) -> io::Result<Vec<bool>> {
        let first = self.sequence;
        let mut request = Vec::new();
        for address in addresses {
            let message = lookup(*address, self.sequence)?;
            let start = request.len();
            request.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut request[start..]);
            self.sequence = self.sequence.wrapping_add(1);
        }
        if self.netlink.send(&request).await? != request.len() {
            return Err(io::Error::other("the lookups were sent in part"));
        }
        let mut local = vec![None; addresses.len()];
        while local.contains(&None) {
            let (datagram, _kernel) = self.netlink.recv_from_full().await?;
            for (sequence, answer) in answers(&datagram)? {
                let index = sequence.wrapping_sub(first) as usize;
                if let Some(place) = local.get_mut(index) {
                    *place = Some(answer);
                }
            }
        }
        Ok(local.into_iter().flatten().collect())
    }
}

fn lookup(address: IpAddr, sequence: u32) -> io::Result<NetlinkMessage<RouteNetlinkMessage>> {
    let prefix = if address.is_ipv4() { 32 } else { 128 };
    let route = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(address, prefix)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let mut message = NetlinkMessage::from(RouteNetlinkMessage::GetRoute(route.build()));
    message.header.flags = NLM_F_REQUEST;
    message.header.sequence_number = sequence;
    message.finalize();
    Ok(message)
}

/// By their numbers, whether the answers in a datagram are local routes. No route at all is an error of its lookup, and
/// means the same as another route.
fn answers(datagram: &[u8]) -> io::Result<Vec<(u32, bool)>> {
    let mut rest = datagram;
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let local = match &message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => {
                route.header.kind == RouteType::Local
            }
            _other => false,
        };
        answers.push((message.header.sequence_number, local));
    }
    Ok(answers)
}
