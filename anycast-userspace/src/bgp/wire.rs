//! From routes to UPDATE messages for one session: next hops, path attributes, packing. Pure.

use std::net::{IpAddr, Ipv6Addr};

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use rustbgpd_wire::attribute::encode_path_attributes;
use rustbgpd_wire::{
    Afi, AsPath, AsPathSegment, EncodeError, ExtendedCommunity, Ipv4Prefix, Ipv6Prefix,
    LargeCommunity, MpReachNlri, MpUnreachNlri, NlriEntry, Origin, PathAttribute, Prefix, Safi,
    UpdateMessage,
};

use crate::config::bgp::Family;
use crate::rib::{Attributes, Community, Delta, NextHop};

/// The longest message (RFC 4271 §4.1); extended messages are not offered.
pub(super) const MAX_MESSAGE: usize = 4096;
/// Header, length of withdrawn routes, length of path attributes.
const UPDATE_FRAME: usize = 19 + 2 + 2;
/// Flags, type and two octets of length of MP_(UN)REACH_NLRI, then AFI and SAFI.
const MP_FRAME: usize = 4 + 3;
/// Length of the next hop, two IPv6 addresses, and the reserved octet of MP_REACH_NLRI.
const MP_NEXT_HOP: usize = 1 + 32 + 1;
/// Octets of an IPv6 host: its length, and all of its address.
const LONGEST_PREFIX: usize = 1 + 16;
/// LOCAL_PREF when the operator sets none: what every implementation takes as the default.
const DEFAULT_LOCAL_PREFERENCE: u32 = 100;

/// What encoding needs to know of a session.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    pub(super) local_as: u32,
    pub(super) external: bool,
    /// The peer reads AS numbers of four octets (RFC 6793).
    pub(super) four_octet_as: bool,
    pub(super) families: Vec<Family>,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub(super) extended_next_hop: bool,
    /// The next hops of the operator for this peer.
    pub(super) configured: NextHop,
    /// Our address of the session.
    pub(super) local_address: IpAddr,
    /// Other addresses of the session's interface.
    pub(super) interface: NextHop,
    /// Link-local address that goes with a global next hop on a shared link (RFC 2545 §3).
    pub(super) link_local: Option<Ipv6Addr>,
    /// Communities that every route towards this peer gets.
    pub(super) communities: Vec<Community>,
    /// Routes are only for the peer and its customers (RFC 9234 §5).
    pub(super) only_to_customer: bool,
}

/// The family of a prefix.
pub(super) fn family_of(prefix: &IpNet) -> Family {
    Family::of(prefix.addr())
}

fn wire_family(family: Family) -> Afi {
    match family {
        Family::Ipv4 => Afi::Ipv4,
        Family::Ipv6 => Afi::Ipv6,
    }
}

fn entry(prefix: &IpNet) -> NlriEntry {
    let prefix = match prefix {
        IpNet::V4(v4) => Prefix::V4(Ipv4Prefix::new(v4.addr(), v4.prefix_len())),
        IpNet::V6(v6) => Prefix::V6(Ipv6Prefix::new(v6.addr(), v6.prefix_len())),
    };
    NlriEntry { path_id: 0, prefix }
}

/// Octets of a prefix on the wire (RFC 4271 §4.3).
fn encoded_len(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len().div_ceil(8))
}

/// The room that is left for prefixes in an UPDATE; an error if not even the longest one fits, for then
/// those that are left out would be taken for sent.
fn room_beside(taken: usize) -> Result<usize, EncodeError> {
    MAX_MESSAGE
        .checked_sub(taken)
        .filter(|room| *room >= LONGEST_PREFIX)
        .ok_or(EncodeError::MessageTooLong {
            size: taken + LONGEST_PREFIX,
        })
}

/// `prefixes` in runs that take at most `room` octets each.
fn chunks(prefixes: &[IpNet], room: usize) -> impl Iterator<Item = &[IpNet]> {
    let mut rest = prefixes;
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = rest
            .iter()
            .take_while(|prefix| {
                used += encoded_len(prefix);
                used <= room
            })
            .count();
        let (chunk, tail) = rest.split_at(fitting);
        rest = tail;
        (!chunk.is_empty()).then_some(chunk)
    })
}

impl Encoder {
    /// The next hop that a prefix gets in this session, or `None`: it cannot be announced here.
    ///
    /// In this order: the operator's for the route, the operator's for the peer, our address of the
    /// session, an IPv6 address where RFC 8950 was agreed on, an address of the session's interface.
    pub(super) fn next_hop(&self, prefix: &IpNet, attributes: &Attributes) -> Option<IpAddr> {
        let configured = attributes.next_hop.or(self.configured);
        let session = match self.local_address {
            IpAddr::V4(v4) => NextHop {
                ipv4: Some(v4),
                ipv6: None,
            },
            IpAddr::V6(v6) => NextHop {
                ipv4: None,
                ipv6: Some(v6),
            },
        };
        match family_of(prefix) {
            Family::Ipv6 => configured
                .or(session)
                .or(self.interface)
                .ipv6
                .map(IpAddr::V6),
            Family::Ipv4 => {
                let over_ipv6 = session.ipv6.filter(|_| self.extended_next_hop);
                configured
                    .or(session)
                    .ipv4
                    .map(IpAddr::V4)
                    .or(over_ipv6.map(IpAddr::V6))
                    .or(self.interface.ipv4.map(IpAddr::V4))
            }
        }
    }

    /// Whether the session carries the family of a prefix.
    pub(super) fn carries(&self, prefix: &IpNet) -> bool {
        self.families.contains(&family_of(prefix))
    }

    /// Appends the UPDATEs for a delta, withdrawals first. Returns how many there are. After an error, only
    /// a part of the delta is in `out`.
    pub(super) fn encode(&self, delta: &Delta, out: &mut BytesMut) -> Result<u64, EncodeError> {
        let mut count = 0;
        let (ipv4, ipv6) = by_family(&delta.withdraw);
        for chunk in chunks(&ipv4, MAX_MESSAGE - UPDATE_FRAME) {
            self.emit(ipv4_nlri(chunk), &[], &[], out)?;
            count += 1;
        }
        for chunk in chunks(&ipv6, MAX_MESSAGE - UPDATE_FRAME - MP_FRAME) {
            self.emit(Vec::new(), &[unreach(Family::Ipv6, chunk)], &[], out)?;
            count += 1;
        }
        for (attributes, prefixes) in &delta.announce {
            let (ipv4, ipv6) = by_family(prefixes);
            for group in [ipv4, ipv6] {
                count += self.announce(attributes, &group, out)?;
            }
        }
        Ok(count)
    }

    /// The UPDATE that says that all routes of a family have been sent (RFC 4724 §2).
    pub(super) fn end_of_rib(&self, family: Family, out: &mut BytesMut) -> Result<(), EncodeError> {
        match family {
            Family::Ipv4 => self.emit(Vec::new(), &[], &[], out),
            Family::Ipv6 => self.emit(Vec::new(), &[unreach(Family::Ipv6, &[])], &[], out),
        }
    }

    /// Announces prefixes of one family under the same attributes.
    fn announce(
        &self,
        attributes: &Attributes,
        prefixes: &[IpNet],
        out: &mut BytesMut,
    ) -> Result<u64, EncodeError> {
        let Some(first) = prefixes.first() else {
            return Ok(0);
        };
        let Some(next_hop) = self.next_hop(first, attributes) else {
            return Ok(0);
        };
        let common = self.path_attributes(attributes);
        let common_len = {
            let mut buffer = Vec::new();
            encode_path_attributes(&common, &mut buffer, self.four_octet_as, false)?;
            buffer.len()
        };
        let mut count = 0;
        if let (Family::Ipv4, IpAddr::V4(v4)) = (family_of(first), next_hop) {
            let mut list = common;
            list.insert(2, PathAttribute::NextHop(v4));
            let room = room_beside(UPDATE_FRAME + common_len + 7)?;
            for chunk in chunks(prefixes, room) {
                self.emit(Vec::new(), &list, &ipv4_nlri(chunk), out)?;
                count += 1;
            }
            return Ok(count);
        }
        let room = room_beside(UPDATE_FRAME + common_len + MP_FRAME + MP_NEXT_HOP)?;
        for chunk in chunks(prefixes, room) {
            // RFC 7606 §5.1: MP_REACH_NLRI comes first.
            let mut list = vec![self.reach(family_of(first), next_hop, chunk)];
            list.extend_from_slice(&common);
            self.emit(Vec::new(), &list, &[], out)?;
            count += 1;
        }
        Ok(count)
    }

    /// The attributes other than next hop and NLRI, in ascending order of their type codes.
    fn path_attributes(&self, attributes: &Attributes) -> Vec<PathAttribute> {
        let mut list = vec![
            PathAttribute::Origin(Origin::Igp),
            PathAttribute::AsPath(self.as_path(attributes)),
        ];
        list.extend(attributes.med.map(PathAttribute::Med));
        if !self.external {
            let preference = attributes.local_preference;
            list.push(PathAttribute::LocalPref(
                preference.unwrap_or(DEFAULT_LOCAL_PREFERENCE),
            ));
        }
        let mut communities: Vec<u32> = Vec::new();
        for community in attributes.communities.iter().chain(&self.communities) {
            if !communities.contains(&community.0) {
                communities.push(community.0);
            }
        }
        if !communities.is_empty() {
            list.push(PathAttribute::Communities(communities));
        }
        if !attributes.extended_communities.is_empty() {
            let extended = attributes.extended_communities.iter();
            list.push(PathAttribute::ExtendedCommunities(
                extended
                    .map(|community| ExtendedCommunity::new(community.0))
                    .collect(),
            ));
        }
        if !attributes.large_communities.is_empty() {
            let large = attributes.large_communities.iter().map(|community| {
                LargeCommunity::new(
                    community.global_administrator,
                    community.local_data_1,
                    community.local_data_2,
                )
            });
            list.push(PathAttribute::LargeCommunities(large.collect()));
        }
        if self.only_to_customer {
            list.push(PathAttribute::OnlyToCustomer(self.local_as));
        }
        list
    }

    /// RFC 4271 §5.1.2: our AS towards external peers, nothing towards internal ones.
    fn as_path(&self, attributes: &Attributes) -> AsPath {
        if !self.external {
            return AsPath {
                segments: Vec::new(),
            };
        }
        let path = vec![self.local_as; 1 + usize::from(attributes.prepend)];
        AsPath {
            segments: vec![AsPathSegment::AsSequence(path)],
        }
    }

    fn reach(&self, family: Family, next_hop: IpAddr, prefixes: &[IpNet]) -> PathAttribute {
        let link_local = match next_hop {
            IpAddr::V6(v6) if !v6.is_unicast_link_local() => self.link_local,
            IpAddr::V6(_) | IpAddr::V4(_) => None,
        };
        PathAttribute::MpReachNlri(Box::new(MpReachNlri {
            afi: wire_family(family),
            safi: Safi::Unicast,
            next_hop,
            link_local_next_hop: link_local,
            announced: prefixes.iter().map(entry).collect(),
            flowspec_announced: Vec::new(),
            evpn_announced: Vec::new(),
            bgpls_announced: Vec::new(),
            vpn_announced: Vec::new(),
            labeled_announced: Vec::new(),
            rtc_announced: Vec::new(),
        }))
    }

    fn emit(
        &self,
        withdrawn: Vec<u8>,
        attributes: &[PathAttribute],
        nlri: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), EncodeError> {
        let mut encoded = Vec::new();
        encode_path_attributes(attributes, &mut encoded, self.four_octet_as, false)?;
        UpdateMessage {
            withdrawn_routes: withdrawn.into(),
            path_attributes: encoded.into(),
            nlri: Bytes::copy_from_slice(nlri),
        }
        .encode(out)
    }
}

fn by_family(prefixes: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    prefixes
        .iter()
        .partition(|prefix| family_of(prefix) == Family::Ipv4)
}

fn ipv4_nlri(prefixes: &[IpNet]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(prefixes.len() * 5);
    for prefix in prefixes {
        if let IpNet::V4(v4) = prefix {
            octets.push(v4.prefix_len());
            let length = usize::from(v4.prefix_len().div_ceil(8));
            octets.extend_from_slice(&v4.network().octets()[..length]);
        }
    }
    octets
}

fn unreach(family: Family, prefixes: &[IpNet]) -> PathAttribute {
    PathAttribute::MpUnreachNlri(Box::new(MpUnreachNlri {
        afi: wire_family(family),
        safi: Safi::Unicast,
        withdrawn: prefixes.iter().map(entry).collect(),
        flowspec_withdrawn: Vec::new(),
        evpn_withdrawn: Vec::new(),
        bgpls_withdrawn: Vec::new(),
        vpn_withdrawn: Vec::new(),
        labeled_withdrawn: Vec::new(),
        rtc_withdrawn: Vec::new(),
    }))
}

#[cfg(test)]
mod tests;
