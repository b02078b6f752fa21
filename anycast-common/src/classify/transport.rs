//! What follows the IP header, for both versions: state, fragments, ports.

use super::{icmp, identity, reject, source};
use crate::abi::{Bucket, LINGERING, Reason, Service, feature, policy};
use crate::iana::protocol;
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Place, Verdict};

/// TCP header without options (RFC 9293 §3.1).
pub(super) const TCP: usize = 20;
/// UDP header (RFC 768).
pub(super) const UDP: usize = 8;
/// SCTP common header (RFC 9260 §3.1).
const SCTP: usize = 12;

/// Which part of a datagram a packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment {
    /// All of it.
    None,
    /// Its start, with the transport header.
    First,
    /// Some later part.
    Later,
}

/// A packet to a Service Address, as its IP header describes it.
pub(super) struct Datagram {
    /// Offset of the IP header.
    pub(super) network: usize,
    /// Offset of what follows the IP header and its extensions.
    pub(super) transport: usize,
    /// Bytes from there to the packet's end.
    pub(super) length: usize,
    /// Protocol of what follows.
    pub(super) protocol: u8,
    /// The number that ICMP has in this IP version.
    pub(super) icmp: u8,
    /// Which part this is.
    pub(super) fragment: Fragment,
}

impl Datagram {
    /// Whether it came over IPv4.
    #[inline(always)]
    pub(super) fn is_v4(&self) -> bool {
        self.icmp == protocol::ICMP
    }

    /// Where its headers are.
    #[inline(always)]
    pub(super) fn place(&self) -> Place {
        Place {
            network: self.network,
            transport: self.transport,
        }
    }
}

#[inline(always)]
pub(super) fn classify<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
) -> Verdict {
    let port = match destination_port(packet, datagram) {
        Ok(port) => port,
        Err(reason) => return Verdict::drop(id, reason),
    };
    if !service.serving() && service.state != LINGERING {
        return refuse(
            packet,
            tables,
            id,
            service,
            datagram,
            Refusal::down(service),
        );
    }
    if let Some(reason) = source::refused(packet, tables, id, service, datagram) {
        return Verdict::drop(id, reason);
    }
    if over_limit(tables, id, service) {
        return Verdict::drop(id, Reason::ServiceLimited);
    }
    if datagram.fragment == Fragment::Later {
        return fragment(id, service);
    }
    if let Some(port) = port {
        return to_port(packet, tables, id, service, datagram, port);
    }
    if datagram.protocol == datagram.icmp {
        return icmp::classify(packet, tables, id, service, datagram);
    }
    if !service.serving() {
        down(id, service)
    } else if service.lists_protocol(datagram.protocol) {
        Verdict::pass(id, Reason::ProtocolListed)
    } else {
        Verdict::drop(id, Reason::ProtocolUnlisted)
    }
}

/// Whether a packet is over the service's limit; if it is not, that takes it into account.
#[inline(always)]
pub(super) fn over_limit<T: Tables>(tables: &T, id: u32, service: &Service) -> bool {
    tables.has(feature::SERVICE_LIMITS)
        && service.packet_limit.is_set()
        && !tables.admit(id, Bucket::Packets, &service.packet_limit)
}

/// To a port of a service that is up, or lingers: then it is not to answer, and what is not to a served port is judged
/// as if the service were down.
#[inline(always)]
fn to_port<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
    port: u16,
) -> Verdict {
    let lingers = !service.serving();
    if tables.has(feature::IDENTITY)
        && service.identity != 0
        && !lingers
        && port == identity::PORT
        && let Some(answer) = identity::asked(packet, tables, datagram)
        && !reject::over_limit(tables, id, service)
    {
        return Verdict::answer(id, Reason::Identity, answer);
    }
    if service.serves(datagram.protocol, port) {
        let reason = if lingers {
            Reason::Lingering
        } else {
            Reason::Served
        };
        return Verdict::pass(id, reason);
    }
    let refusal = if lingers {
        Refusal::down(service)
    } else {
        Refusal::unlisted(service)
    };
    refuse(packet, tables, id, service, datagram, refusal)
}

/// What becomes of a packet that the service does not want, and the reasons to count it under.
#[derive(Clone, Copy)]
struct Refusal {
    policy: u32,
    passed: Reason,
    outcome: reject::Outcome,
}

impl Refusal {
    #[inline(always)]
    fn down(service: &Service) -> Self {
        Self {
            policy: service.on_down,
            passed: Reason::DownPassed,
            outcome: reject::Outcome {
                rejected: Reason::DownRejected,
                dropped: Reason::Down,
            },
        }
    }

    #[inline(always)]
    fn unlisted(service: &Service) -> Self {
        Self {
            policy: service.unlisted,
            passed: Reason::UnlistedPassed,
            outcome: reject::Outcome {
                rejected: Reason::UnlistedRejected,
                dropped: Reason::Unlisted,
            },
        }
    }
}

#[inline(always)]
fn refuse<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
    refusal: Refusal,
) -> Verdict {
    let Refusal {
        policy,
        passed,
        outcome,
    } = refusal;
    match policy {
        policy::PASS => Verdict::pass(id, passed),
        policy::REJECT if tables.has(feature::REJECT) => {
            reject::reject(packet, tables, id, service, datagram, outcome)
        }
        _ => Verdict::drop(id, outcome.dropped),
    }
}

/// For what has no port to a service that is not up: nothing is rejected.
#[inline(always)]
pub(super) fn down(id: u32, service: &Service) -> Verdict {
    match service.on_down {
        policy::PASS => Verdict::pass(id, Reason::DownPassed),
        _ => Verdict::drop(id, Reason::Down),
    }
}

/// The destination port of a protocol that has ports, after the checks of its header.
#[inline(always)]
fn destination_port<P: Packet>(packet: &P, datagram: &Datagram) -> Result<Option<u16>, Reason> {
    if datagram.fragment == Fragment::Later {
        return Ok(None);
    }
    match datagram.protocol {
        protocol::TCP => {
            let header = header::<P, TCP>(packet, datagram)?;
            let [offset] = *field::<12, 1, _>(header);
            let length = usize::from(offset >> 4) << 2;
            if length < TCP || length > datagram.length {
                return Err(Reason::Malformed);
            }
            Ok(Some(be16::<2, _>(header)))
        }
        protocol::UDP => {
            let header = header::<P, UDP>(packet, datagram)?;
            let length = usize::from(be16::<4, _>(header));
            // A first fragment carries the length of the whole datagram.
            let beyond = length > datagram.length && datagram.fragment == Fragment::None;
            if length < UDP || beyond {
                return Err(Reason::Malformed);
            }
            Ok(Some(be16::<2, _>(header)))
        }
        protocol::SCTP => Ok(Some(be16::<2, _>(header::<P, SCTP>(packet, datagram)?))),
        _ if datagram.protocol == datagram.icmp => {
            header::<P, { icmp::HEADER }>(packet, datagram)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

#[inline(always)]
fn header<'a, P: Packet, const N: usize>(
    packet: &'a P,
    datagram: &Datagram,
) -> Result<&'a [u8; N], Reason> {
    if datagram.length < N {
        return Err(Reason::Malformed);
    }
    packet.load(datagram.transport).ok_or(Reason::Malformed)
}

/// A fragment that cannot be judged by itself.
#[inline(always)]
pub(super) fn fragment(id: u32, service: &Service) -> Verdict {
    match service.fragments {
        policy::PASS => Verdict::pass(id, Reason::Fragment),
        _ => Verdict::drop(id, Reason::FragmentDropped),
    }
}
