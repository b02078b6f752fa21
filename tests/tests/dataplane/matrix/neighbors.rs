//! ARP requests and neighbour solicitations × tags × cuts at every byte.

use anycast_common::Reason;
use anycast_common::abi::Disposition;
use anycast_tests::packet::{Frame, NODE_MAC, PEER_MAC};

use super::{check, rows};
use crate::replies::{advertisement, arp, solicitation};
use crate::support::Seen;

const TAGS: [&[u8]; 3] = [b"", b"\x81\0\0\x05", b"\x88\xa8\0\x05\x81\0\0\x06"];

fn tagged(frame: &[u8], tags: &[u8]) -> Vec<u8> {
    [&frame[..12], tags, &frame[12..]].concat()
}

fn seen(disposition: Disposition, reason: Reason, service: Option<&str>, frame: Vec<u8>) -> Seen {
    Seen {
        disposition,
        reason,
        service: service.map(str::to_owned),
        frame,
    }
}

#[test]
fn arp_requests_have_their_verdict_in_every_tag_where_they_are_cut_at_any_byte() {
    let mut bed = rows::bed();
    let asker = (PEER_MAC, [192, 168, 250, 200]);
    for tags in TAGS {
        for (service, number, disposition, reason) in [
            (Some("up"), 1, Disposition::Answer, Reason::Neighbor),
            (Some("down"), 4, Disposition::Drop, Reason::NeighborDown),
            (Some("open"), 3, Disposition::Pass, Reason::NeighborPassed),
            (None, 99, Disposition::Pass, Reason::NotOurs),
        ] {
            let address = [192, 168, 250, number];
            let request = arp(1, asker, ([0; 6], address), ([0xff; 6], PEER_MAC));
            let request = tagged(&request, tags);
            let reply = arp(2, (NODE_MAC, address), asker, (PEER_MAC, NODE_MAC));
            for end in 0..=request.len() {
                let cut = &request[..end];
                let want = if end < request.len() {
                    seen(Disposition::Pass, Reason::NotIp, None, cut.to_vec())
                } else if disposition == Disposition::Answer {
                    seen(disposition, reason, service, tagged(&reply, tags))
                } else {
                    seen(disposition, reason, service, cut.to_vec())
                };
                check(
                    &mut bed,
                    &format!("ARP for {number}, {end} bytes"),
                    cut,
                    &want,
                );
            }
        }
    }
}

#[test]
fn solicitations_have_their_verdict_in_every_tag_where_they_are_cut_at_any_byte() {
    let mut bed = rows::bed();
    let asker = "fd00:250::200";
    let tag = |frame: Frame, count| match count {
        0 => frame,
        1 => frame.vlan(5),
        _ => frame.qinq(5, 6),
    };
    for tags in 0..3 {
        for (service, number, disposition, reason) in [
            (Some("up"), 1, Disposition::Answer, Reason::Neighbor),
            (Some("down"), 4, Disposition::Drop, Reason::NeighborDown),
            (Some("open"), 3, Disposition::Pass, Reason::NeighborPassed),
            (None, 0x99, Disposition::Pass, Reason::NotOurs),
        ] {
            let to = format!("ff02::1:ff00:{number:x}");
            let request = tag(solicitation(asker, &to, number, true), tags);
            let reply = tag(advertisement(asker, number, 0x40, PEER_MAC), tags).bytes();
            let (layers, request) = (request.layers(), request.bytes());
            for end in 0..=request.len() {
                let cut = &request[..end];
                let want = if end < layers.fixed {
                    seen(Disposition::Pass, Reason::NotIp, None, cut.to_vec())
                } else if end < layers.transport + 24 {
                    // To a multicast group, which is nobody's Service Address.
                    seen(Disposition::Pass, Reason::NotOurs, None, cut.to_vec())
                } else if disposition == Disposition::Answer {
                    seen(disposition, reason, service, reply.clone())
                } else {
                    seen(disposition, reason, service, cut.to_vec())
                };
                check(
                    &mut bed,
                    &format!("solicitation for {number}, {end} bytes"),
                    cut,
                    &want,
                );
            }
        }
    }
}
