//! Whether an unwanted packet is answered with a rejection, and with which.

use super::source;
use super::transport::{Datagram, Fragment, TCP};
use crate::abi::{Bucket, Reason, Service};
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

/// RFC 1122 §3.2.2 and RFC 4443 §2.4 say what is never answered: fragments but the first, link-layer
/// multicast, sources that are no host. ICMP and protocols without ports are not answered either, nor is the first
/// fragment of a segment: a reset acknowledges all of it, and how long that is the fragment does not tell.
#[inline(always)]
pub(super) fn reject<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    id: u32,
    service: &Service,
    datagram: &Datagram,
    outcome: Outcome,
) -> Verdict {
    if datagram.fragment == Fragment::Later || !source::answerable(packet, datagram) {
        return Verdict::drop(id, outcome.dropped);
    }
    let Some(answer) = rejection(packet, datagram) else {
        return Verdict::drop(id, outcome.dropped);
    };
    if over_limit(tables, id, service) {
        return Verdict::drop(id, Reason::RejectLimited);
    }
    Verdict::answer(id, outcome.rejected, answer)
}

/// Whether an answer that is not an echo reply is over the service's limit; if it is not, that takes it into
/// account. Every service has this limit, so that no feature but those that answer is asked for.
#[inline(always)]
pub(super) fn over_limit<T: Tables>(tables: &T, id: u32, service: &Service) -> bool {
    service.reject_limit.is_set() && !tables.admit(id, Bucket::Reject, &service.reject_limit)
}

#[inline(always)]
fn rejection<P: Packet>(packet: &P, datagram: &Datagram) -> Option<Answer> {
    let place = datagram.place();
    match datagram.protocol {
        protocol::TCP if datagram.fragment == Fragment::None => {
            let header = packet.load::<TCP>(datagram.transport)?;
            let [offset, flags] = *field::<12, 2, _>(header);
            if flags & RST != 0 {
                return None;
            }
            let header_length = usize::from(offset >> 4) << 2;
            #[expect(clippy::cast_possible_truncation, reason = "shorter than 64 KiB")]
            let data = (datagram.length - header_length) as u32;
            let length = data + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
            Some(if datagram.is_v4() {
                Answer::ResetV4(place, length)
            } else {
                Answer::ResetV6(place, length)
            })
        }
        protocol::UDP | protocol::SCTP => {
            if datagram.transport - datagram.network > QUOTABLE {
                return None;
            }
            Some(if datagram.is_v4() {
                Answer::UnreachableV4(place)
            } else {
                Answer::UnreachableV6(place)
            })
        }
        _ => None,
    }
}
