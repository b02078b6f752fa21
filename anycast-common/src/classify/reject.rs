//! Whether an unwanted packet is answered with a rejection, and with which.

use super::transport::{Datagram, Fragment, TCP};
use super::{ETHERNET, source};
use crate::abi::{Bucket, Reason, Service, feature};
use crate::answer::QUOTABLE;
use crate::iana::protocol;
use crate::packet::{Packet, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Verdict};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;

/// The reasons to count a rejection under.
#[derive(Clone, Copy)]
pub(super) struct Outcome {
    /// Where it is answered.
    pub(super) rejected: Reason,
    /// Where it is not.
    pub(super) dropped: Reason,
}

/// Not to be answered.
const DROPPED: u64 = 0;
/// Over the limit of rejections.
const LIMITED: u64 = 1;
/// To be answered; with TCP, to what the high half takes of sequence space.
const REJECTED: u64 = 2;

#[inline(always)]
pub(super) fn reject<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
    outcome: Outcome,
) -> Verdict {
    let decided = decide(packet, tables, id, service, datagram.pack());
    #[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
    let (what, length) = (decided & 0xff, (decided >> 32) as u32);
    if what == LIMITED {
        return Verdict::drop(id, Reason::RejectLimited);
    }
    if what == DROPPED {
        return Verdict::drop(id, outcome.dropped);
    }
    let place = datagram.place();
    let answer = match (datagram.protocol == protocol::TCP, datagram.is_v4()) {
        (true, true) => Answer::ResetV4(place, length),
        (true, false) => Answer::ResetV6(place, length),
        (false, true) => Answer::UnreachableV4(place),
        (false, false) => Answer::UnreachableV6(place),
    };
    Verdict::answer(id, outcome.rejected, answer)
}

/// RFC 1122 §3.2.2 and RFC 4443 §2.4 say what is never answered: fragments but the first, link-layer
/// multicast, sources that are no host. ICMP and protocols without ports are not answered either.
#[inline(never)]
fn decide<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: u64,
) -> u64 {
    let datagram = &Datagram::unpack(datagram);
    // A whole header: the verifier does not take the comparison that is left of a single byte's.
    let multicast = packet
        .front::<ETHERNET>()
        .is_none_or(|ethernet| ethernet[0] & 1 != 0);
    if datagram.fragment != Fragment::None || multicast || !source::answerable(packet, datagram) {
        return DROPPED;
    }
    let Some(length) = rejected_length(packet, datagram) else {
        return DROPPED;
    };
    if tables.has(feature::SERVICE_LIMITS)
        && service.reject_limit.is_set()
        && !tables.admit(id, Bucket::Reject, &service.reject_limit)
    {
        return LIMITED;
    }
    REJECTED | u64::from(length) << 32
}

/// What the packet takes of sequence space, 0 without TCP; nothing where it is not to be answered.
#[inline(always)]
fn rejected_length<P: Packet>(packet: &P, datagram: &Datagram) -> Option<u32> {
    match datagram.protocol {
        protocol::TCP => {
            let header = packet.load::<TCP>(datagram.transport)?;
            let [offset, flags] = *field::<12, 2, _>(header);
            if flags & RST != 0 {
                return None;
            }
            let header_length = usize::from(offset >> 4) << 2;
            #[expect(clippy::cast_possible_truncation, reason = "shorter than 64 KiB")]
            let data = (datagram.length - header_length) as u32;
            Some(data + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0))
        }
        protocol::UDP | protocol::SCTP => {
            (datagram.transport - datagram.network <= QUOTABLE).then_some(0)
        }
        _ => None,
    }
}
