//! Questions for the node's identity: `CH TXT` of `id.server` or `hostname.bind` (RFC 4892).
//!
//! Anything unusual is left to the server behind: other names, several questions, other opcodes, IP
//! options, further records than one OPT, an OPT with options that are not whole or are many, a UDP length that is
//! not the datagram's.

use super::transport::{Datagram, Fragment, UDP};
use super::{ipv4, ipv6};
use crate::iana::protocol;
use crate::packet::{Packet, be16, field};
use crate::tables::Tables;
use crate::verdict::{Answer, Question};

/// Where DNS is served.
pub(super) const PORT: u16 = 53;
/// DNS header (RFC 1035 §4.1.1).
pub(crate) const HEADER: usize = 12;
/// `id.server` and `hostname.bind` in wire form.
const SHORT: &[u8; 11] = b"\x02id\x06server\0";
const LONG: &[u8; 15] = b"\x08hostname\x04bind\0";
/// Type and class behind the name.
const TXT_CH: [u8; 4] = [0, 16, 0, 3];
/// An OPT record without options (RFC 6891 §6.1.2).
const OPT: usize = 11;
/// The flag in an OPT record's seventh byte by which a resolver asks for DNSSEC (RFC 3225 §3).
const DO: u8 = 0x80;
/// Code and length of an option.
const OPTION: usize = 4;
/// Options that are followed: a cookie and NSID. The verifier follows each with all that comes behind it.
const MAX_OPTIONS: usize = 2;
/// Where the last of them can start, behind the others.
const LONGEST: usize = 255;
/// QR, opcode and TC; all must be 0.
const UNUSUAL: u16 = 0xfa00;

#[inline(always)]
pub(super) fn asked<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    datagram: &Datagram,
) -> Option<Answer> {
    let ip = if datagram.is_v4() {
        ipv4::HEADER
    } else {
        ipv6::HEADER
    };
    let plain = datagram.protocol == protocol::UDP
        && datagram.fragment == Fragment::None
        && datagram.transport == datagram.network + ip
        && tables.identity().is_some_and(|identity| identity.txt != 0);
    if !plain || datagram.length < UDP + HEADER {
        return None;
    }
    let headers = packet.load::<{ UDP + HEADER }>(datagram.transport)?;
    let header: &[u8; HEADER] = field::<UDP, _, _>(headers);
    let additional = be16::<10, _>(header);
    if usize::from(be16::<4, _>(headers)) != datagram.length
        || be16::<2, _>(header) & UNUSUAL != 0
        || be16::<4, _>(header) != 1
        || *field::<6, 4, _>(header) != [0; 4]
        || additional > 1
    {
        return None;
    }
    let rest = datagram.length - UDP - HEADER;
    let question = datagram.transport + UDP + HEADER;
    let (long, length) = if is::<P, 11, 15>(packet, question, SHORT) {
        (false, SHORT.len() + TXT_CH.len())
    } else if is::<P, 15, 19>(packet, question, LONG) {
        (true, LONG.len() + TXT_CH.len())
    } else {
        return None;
    };
    let edns = additional == 1;
    let (whole, flags) = if edns {
        let opt = packet.load::<OPT>(question + length)?;
        let options = usize::from(be16::<9, _>(opt));
        let [flags, reserved] = *field::<7, 2, _>(opt);
        // Neither extended code nor version, and no flag but DO.
        let usual = *field::<0, 3, _>(opt) == [0, 0, 41]
            && *field::<5, 2, _>(opt) == [0, 0]
            && flags & !DO == 0
            && reserved == 0;
        let whole =
            rest == length + OPT + options && are_whole(packet, question + length + OPT, options);
        (usual && whole, flags & DO)
    } else {
        (rest == length, 0)
    };
    if !whole || !super::source::answerable(packet, datagram) {
        return None;
    }
    let question = Question { long, edns, flags };
    Some(if datagram.is_v4() {
        Answer::IdentityV4(datagram.place(), question)
    } else {
        Answer::IdentityV6(datagram.place(), question)
    })
}

/// Whether `length` bytes at `at` are options, the last of which ends where they do (RFC 6891 §6.1.2).
#[inline(always)]
fn are_whole<P: Packet>(packet: &P, at: usize, length: usize) -> bool {
    let mut used = 0;
    for _ in 0..MAX_OPTIONS {
        if used >= length {
            break;
        }
        let Some(option) =
            P::within(used, LONGEST).and_then(|used| packet.load::<OPTION>(at + used))
        else {
            return false;
        };
        used += OPTION + usize::from(be16::<2, _>(option));
    }
    used == length
}

/// Whether the question at `at` asks for `name`, in any case of letters, with TXT and CH.
#[inline(always)]
fn is<P: Packet, const NAME: usize, const QUESTION: usize>(
    packet: &P,
    at: usize,
    name: &[u8; NAME],
) -> bool {
    let Some(question) = packet.load::<QUESTION>(at) else {
        return false;
    };
    let mut differs = 0;
    for place in 0..NAME {
        // Bit 5 is the case of a letter; lengths of labels have to match as they are.
        let letter = name[place].is_ascii_lowercase();
        let found = question[place] | if letter { 0x20 } else { 0 };
        differs |= found ^ name[place];
    }
    for place in 0..TXT_CH.len() {
        differs |= question[NAME + place] ^ TXT_CH[place];
    }
    differs == 0
}
