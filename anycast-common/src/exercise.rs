//! What holds for every frame, whatever its bytes: for fuzzers and property tests.

use std::net::IpAddr;
use std::vec::Vec;

use crate::abi::{
    self, EVERY_SERVICE, EXEMPT, Limit, NO_SERVICE, PortRange, Service, feature, policy,
};
use crate::answer::{answer, answer_common};
use crate::classify::{general, quick};
use crate::host::{HostTables, IpNetwork};
use crate::packet::SliceFrame;
use crate::verdict::{Action, Answer, Place, Reason, Verdict};

const V4: [u8; 4] = [192, 0, 2, 1];
const V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// Sources that are in every list.
const LISTED_V4: [u8; 4] = [10, 1, 1, 0];
const LISTED_V6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Packets a second of every limit.
const RATE: u32 = 1000;
/// Nanoseconds by which time passes; a limit wants two of them between packets.
const TICK: u64 = 500_000;

/// Judges and answers the frames that `data` holds, and checks what must be true of each.
///
/// The first four bytes choose the service's state, its policies, its limits, and the lists; then come frames,
/// each behind a byte that says how it is made plausible, one that says how much room is behind it, and one that
/// says its length. What the limits remember is kept from frame to frame, and time passes between them.
///
/// # Panics
/// Where something is not true.
pub fn frames(data: &[u8]) {
    let Some((&[state, policies, limits, lists], mut rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let mut tables = tables(state, policies);
    limit(&mut tables, limits);
    list(&mut tables, lists);
    while let Some((&[how, room, length], after)) = rest.split_first_chunk::<3>() {
        let (frame, after) = after.split_at(after.len().min(usize::from(length)));
        rest = after;
        tables.now += u64::from(length % 4) * TICK;
        let mut before = frame.to_vec();
        aim(how, &mut before);
        agree(&tables, &before);
        let mut frame = before.clone();
        let verdict = tables.run_with_tail_room(&mut frame, usize::from(room % 129));
        judge(&verdict, &before, &frame);
    }
}

/// The short way of common packets leads to the verdict of the general one, and takes a packet into account
/// only where it decides.
fn agree(tables: &HostTables, frame: &[u8]) {
    let mut bytes = frame.to_vec();
    let slice = SliceFrame::new(&mut bytes, frame.len());
    let (short, long) = (tables.clone(), tables.clone());
    let after = if let Some(verdict) = quick(&slice, &short) {
        assert_eq!(verdict, general(&slice, &long), "{frame:02x?}");
        answered_alike(tables, frame, verdict);
        &long
    } else {
        tables
    };
    assert_eq!(short.buckets, after.buckets, "{frame:02x?}");
    assert_eq!(short.sources, after.sources, "{frame:02x?}");
}

/// What the short way writes is what the general one writes.
fn answered_alike(tables: &HostTables, frame: &[u8], verdict: Verdict) {
    let (mut short, mut long) = (frame.to_vec(), frame.to_vec());
    let one = answer_common(&mut SliceFrame::new(&mut short, frame.len()), verdict);
    let other = answer(
        &mut SliceFrame::new(&mut long, frame.len()),
        tables,
        verdict,
    );
    assert_eq!((one, short), (other, long), "{frame:02x?}");
}

/// Limits by two bits each: echo, packets, rejections, sources; 0 is none, else the burst.
fn limit(tables: &mut HostTables, limits: u8) {
    let Some(entry) = tables.services.get_mut(&1) else {
        return;
    };
    let limit = |shift: u8| match limits >> shift & 3 {
        0 => Limit::NONE,
        burst => Limit::new(RATE, burst.into()),
    };
    entry.echo_limit = limit(0);
    entry.packet_limit = limit(2);
    entry.reject_limit = limit(4);
    entry.source_limit = limit(6);
    entry.source_prefix_v4 = 24;
    entry.source_prefix_v6 = 64;
}

/// Lists by a bit each: deny and allow for all services, deny and allow for the one, exempt. What is allowed and
/// exempt is a part of what is denied.
fn list(tables: &mut HostTables, lists: u8) {
    let has = |bit: u8| lists >> bit & 1 != 0;
    let network = |address: IpAddr, length| IpNetwork { address, length };
    let wide = [network(LISTED_V4.into(), 8), network(LISTED_V6.into(), 32)];
    let narrow = [network(LISTED_V4.into(), 24), network(LISTED_V6.into(), 64)];
    let mut add = |bit, scope, networks: &[IpNetwork], allow| {
        if has(bit) {
            let entries = networks.iter().map(|network| (scope, *network, allow));
            tables.lists.extend(entries);
        }
    };
    add(0, EVERY_SERVICE, &wide, false);
    add(1, EVERY_SERVICE, &narrow, true);
    add(2, 1, &wide, false);
    add(3, 1, &narrow, true);
    add(4, EXEMPT, &narrow, true);
    if let Some(entry) = tables.services.get_mut(&1) {
        entry.lists = (has(2) || has(3)).into();
    }
}

fn tables(state: u8, policies: u8) -> HostTables {
    let mut tables = HostTables {
        features: feature::ALL,
        mac: Some([2, 0, 0, 0, 0, 1]),
        identity: Some(identity()),
        now: 1,
        ..HostTables::default()
    };
    let policy = |shift: u8| match (policies >> shift) % 3 {
        0 => policy::DROP,
        1 => policy::PASS,
        _ => policy::REJECT,
    };
    let mut entry = Service {
        state: u32::from(state % 9),
        on_down: policy(0),
        unlisted: policy(2),
        fragments: policy(4),
        neighbor: u32::from(policies >> 6 & 1),
        identity: u32::from(policies >> 7),
        ..Service::default()
    };
    entry.ports[0] = PortRange {
        protocol: 17,
        first: 53,
        last: 53,
    };
    entry.protocols[0] = 47;
    tables.services.insert(1, entry);
    tables.own(IpAddr::from(V4), 1);
    tables.own(IpAddr::from(V6), 1);
    // An address whose service is gone.
    tables.own(IpAddr::from([192, 0, 2, 2]), 2);
    tables
}

/// The records of a node that is called `x`.
fn identity() -> abi::Identity {
    let bytes = b"\xc0\x0c\0\x10\0\x03\0\0\0\0\0\x02\x01x\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let txt = bytes.len() - 11;
    let odd = |bytes: &[u8]| sum(&[&[0], bytes].concat());
    let mut identity = abi::Identity {
        txt: 14,
        both: 25,
        txt_sum: odd(&bytes[..txt]),
        both_sum: odd(bytes),
        record: [0; abi::RECORD],
    };
    identity.record[..bytes.len()].copy_from_slice(bytes);
    identity
}

/// Writes what random bytes seldom hit: the EtherType, our address, the lengths, a source that is listed or
/// denied, and what is carried.
fn aim(how: u8, frame: &mut [u8]) {
    let tags: &[u8] = match how % 4 {
        0 => b"",
        1 => b"\x81\0\0\x05",
        2 => b"\x88\xa8\0\x05\x81\0\0\x06",
        _ => return,
    };
    let network = 14 + tags.len();
    put(frame, 12, tags);
    match how / 4 % 4 {
        0 => {
            put(frame, network - 2, &[0x08, 0x00]);
            put(frame, network + 16, &V4);
        }
        1 => {
            put(frame, network - 2, &[0x86, 0xdd]);
            put(frame, network + 24, &V6);
        }
        2 => put(frame, network - 2, &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]),
        _ => put(frame, network - 2, &[0x86, 0xdd]),
    }
    if how & 0x10 == 0 {
        let after = |header: usize| {
            let bytes = frame.len().saturating_sub(network + header);
            u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes()
        };
        let (v4, v6) = (after(0), after(40));
        match how / 4 % 4 {
            0 => {
                put(frame, network, &[0x45]);
                put(frame, network + 2, &v4);
                put(frame, network + 6, &[0, 0]);
            }
            2 => put(frame, network + 24, &V4),
            _ => {
                put(frame, network, &[0x60]);
                put(frame, network + 4, &v6);
            }
        }
        match how / 4 % 4 {
            0 => carry(how >> 5, frame, network, true),
            1 => carry(how >> 5, frame, network, false),
            _ => {}
        }
    }
}

/// As [`aim`], behind an IP header without options: protocol, source and transport header, by three bits.
fn carry(how: u8, frame: &mut [u8], network: usize, v4: bool) {
    let transport = network + if v4 { 20 } else { 40 };
    let length = u16::try_from(frame.len().saturating_sub(transport)).unwrap_or(u16::MAX);
    // The last byte of the source stays as it is. Within what is allowed, or denied and no more.
    let denied = how & 4;
    if v4 {
        put(frame, network + 12, &[10, 1, 1 + denied]);
    } else {
        put(frame, network + 8, &LISTED_V6[..7]);
        put(frame, network + 15, &[denied]);
    }
    let protocol = network + if v4 { 9 } else { 6 };
    match how & 3 {
        0 => {}
        1 => {
            put(frame, protocol, &[17]);
            // 53 is served, 52 is not.
            put(frame, transport + 2, &[0]);
            if let Some(port) = frame.get_mut(transport + 3) {
                *port = 52 + (*port & 1);
            }
            put(frame, transport + 4, &length.to_be_bytes());
        }
        2 => {
            put(frame, protocol, &[if v4 { 1 } else { 58 }]);
            put(frame, transport, &[if v4 { 8 } else { 128 }, 0]);
        }
        _ => {
            put(frame, protocol, &[6]);
            put(frame, transport + 12, &[0x50]);
        }
    }
}

/// Writes `bytes` at `at`, where the frame is long enough.
fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(target) = frame.get_mut(at..at + bytes.len()) {
        target.copy_from_slice(bytes);
    }
}

fn judge(verdict: &Verdict, before: &[u8], after: &[u8]) {
    let ours = verdict.service != NO_SERVICE;
    let nobodys = matches!(
        verdict.reason,
        Reason::NotIp | Reason::NotOurs | Reason::NoService
    );
    assert_eq!(ours, !nobodys, "{verdict:?}: {before:02x?}");
    match verdict.action {
        Action::Pass | Action::Drop => assert_eq!(before, after, "{verdict:?}"),
        Action::Answer(answer) => {
            assert!(ours, "{verdict:?}");
            check(answer, before, after);
        }
    }
}

/// Link layer, lengths, addresses and checksums of an answer.
fn check(answer: Answer, before: &[u8], after: &[u8]) {
    let (place, v4) = match answer {
        Answer::Arp(place) => {
            assert_eq!(after[place.network + 6..][..2], [0, 2], "a reply");
            assert_eq!(after[..6], before[place.network + 8..][..6], "to who asked");
            return;
        }
        Answer::EchoV4(place)
        | Answer::ResetV4(place, _)
        | Answer::UnreachableV4(place)
        | Answer::IdentityV4(place, _) => (place, true),
        Answer::EchoV6(place)
        | Answer::Advertisement(place)
        | Answer::ResetV6(place, _)
        | Answer::UnreachableV6(place)
        | Answer::IdentityV6(place, _) => (place, false),
    };
    let Place { network, transport } = place;
    assert_eq!(
        before[12..network],
        after[12..network],
        "tags stay: {answer:?}"
    );
    let end = end_of(after, network, v4);
    assert!(
        end <= after.len(),
        "longer than its frame: {answer:?}: {after:02x?}"
    );
    let advertised = matches!(answer, Answer::Advertisement(_));
    let hops = after[network + if v4 { 8 } else { 7 }];
    assert_eq!(hops, if advertised { 255 } else { 64 });
    if !advertised {
        assert_eq!(after[..6], before[6..12], "to its sender: {answer:?}");
        let addresses = |frame: &[u8]| -> [Vec<u8>; 2] {
            let (at, size) = if v4 { (12, 4) } else { (8, 16) };
            let bytes = &frame[network + at..][..2 * size];
            [bytes[..size].to_vec(), bytes[size..].to_vec()]
        };
        let [from, to] = addresses(before);
        assert_eq!(addresses(after), [to, from], "{answer:?}");
    }
    if v4 {
        let header =
            |frame: &[u8]| verifies(&frame[network..][..usize::from(frame[network] & 15) * 4]);
        let fresh = matches!(answer, Answer::UnreachableV4(_));
        assert!(
            header(after) || !fresh && !header(before),
            "IPv4 header: {answer:?}: {after:02x?}"
        );
    }
    let (protocol, start) = match answer {
        Answer::UnreachableV4(_) => (1, network + 20),
        Answer::UnreachableV6(_) => (58, network + 40),
        Answer::EchoV4(_) => (1, transport),
        Answer::EchoV6(_) | Answer::Advertisement(_) => (58, transport),
        Answer::ResetV4(..) | Answer::ResetV6(..) => (6, transport),
        Answer::IdentityV4(..) | Answer::IdentityV6(..) | Answer::Arp(_) => (17, transport),
    };
    let transport_of = |frame: &[u8]| {
        let end = end_of(frame, network, v4);
        let mut covered = Vec::new();
        if protocol != 1 {
            let (at, size) = if v4 { (12, 8) } else { (8, 32) };
            covered.extend(&frame[network + at..][..size]);
            covered.extend(u32::try_from(end - start).unwrap_or(0).to_be_bytes());
            covered.extend([0, 0, 0, protocol]);
        }
        covered.extend(&frame[start..end]);
        verifies(&covered)
    };
    let echo = matches!(answer, Answer::EchoV4(_) | Answer::EchoV6(_));
    assert!(
        transport_of(after) || echo && !transport_of(before),
        "protocol {protocol}: {answer:?}: {before:02x?}: {after:02x?}"
    );
}

/// Where the IP packet ends, by its own length.
fn end_of(frame: &[u8], network: usize, v4: bool) -> usize {
    let length = |at: usize| {
        usize::from(u16::from_be_bytes([
            frame[network + at],
            frame[network + at + 1],
        ]))
    };
    network + if v4 { length(2) } else { 40 + length(4) }
}

fn verifies(covered: &[u8]) -> bool {
    let mut sum = sum(covered);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum == 0xffff
}

fn sum(bytes: &[u8]) -> u32 {
    bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum()
}
