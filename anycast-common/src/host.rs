//! The tables on the host: what tests, fuzzers and the differential runs give to the verdict function.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::vec::Vec;

use crate::abi::{Bucket, Identity, Limit, Owner, Service};
use crate::limit::admit;
use crate::packet::{Packet, SliceFrame};
use crate::tables::Tables;
use crate::verdict::Verdict;

/// More than any answer adds to a frame.
const ROOM: usize = 128;

/// Tables in memory.
#[derive(Clone, Debug, Default)]
pub struct HostTables {
    /// Owners of IPv4 Service Addresses.
    pub v4: HashMap<[u8; 4], Owner>,
    /// Owners of IPv6 Service Addresses.
    pub v6: HashMap<[u8; 16], Owner>,
    /// Services by id.
    pub services: HashMap<u32, Service>,
    /// Feature bits.
    pub features: u64,
    /// Lists: scope, prefix, and whether it allows.
    pub lists: Vec<(u32, IpNetwork, bool)>,
    /// The MAC address of the interface.
    pub mac: Option<[u8; 6]>,
    /// What the node calls itself.
    pub identity: Option<Identity>,
    /// The time, in nanoseconds.
    pub now: u64,
    /// State of the services' limits.
    pub buckets: RefCell<HashMap<(u32, Bucket), u64>>,
    /// State of the source limits.
    pub sources: RefCell<HashMap<(u32, IpAddr), u64>>,
}

/// A prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNetwork {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits count.
    pub length: u32,
}

impl IpNetwork {
    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= self.length.min(32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.leading_zeros() >= self.length.min(128)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl HostTables {
    /// Gives an address to a service.
    pub fn own(&mut self, address: IpAddr, service: u32) {
        let owner = Owner { service, slot: 0 };
        match address {
            IpAddr::V4(ip) => self.v4.insert(ip.octets(), owner),
            IpAddr::V6(ip) => self.v6.insert(ip.octets(), owner),
        };
    }

    /// What is allowed wins, at any length of prefix.
    fn listed(&self, scope: u32, source: IpAddr) -> Option<bool> {
        self.lists
            .iter()
            .filter(|(of, prefix, _)| *of == scope && prefix.contains(source))
            .map(|(_, _, allow)| *allow)
            .max()
    }

    fn admit_source(&self, service: u32, prefix: IpAddr, limit: &Limit) -> bool {
        let mut sources = self.sources.borrow_mut();
        admit(
            sources.entry((service, prefix)).or_default(),
            self.now,
            limit,
        )
    }

    /// Judges a frame and answers it, as the program does; `frame` becomes what leaves it.
    pub fn run(&self, frame: &mut Vec<u8>) -> Verdict {
        self.run_with_tail_room(frame, ROOM)
    }

    /// As [`HostTables::run`], with only so much room behind the frame: one that comes from the same host may
    /// have none.
    pub fn run_with_tail_room(&self, frame: &mut Vec<u8>, room: usize) -> Verdict {
        let length = frame.len();
        frame.resize(length + room + ROOM, 0);
        let mut slice = SliceFrame::with_tail_room(frame, length, room);
        let verdict = crate::classify(&slice, self);
        let verdict = crate::answer(&mut slice, self, verdict);
        let length = slice.length();
        frame.truncate(length);
        verdict
    }
}

impl Tables for HostTables {
    fn owner_v4(&self, address: &[u8; 4]) -> Option<Owner> {
        self.v4.get(address).copied()
    }

    fn owner_v6(&self, address: &[u8; 16]) -> Option<Owner> {
        self.v6.get(address).copied()
    }

    fn service(&self, id: u32) -> Option<&Service> {
        self.services.get(&id)
    }

    fn features(&self) -> u64 {
        self.features
    }

    fn listed_v4(&self, scope: u32, source: &[u8; 4]) -> Option<bool> {
        self.listed(scope, (*source).into())
    }

    fn listed_v6(&self, scope: u32, source: &[u8; 16]) -> Option<bool> {
        self.listed(scope, (*source).into())
    }

    fn admit(&self, service: u32, bucket: Bucket, limit: &Limit) -> bool {
        let mut buckets = self.buckets.borrow_mut();
        admit(
            buckets.entry((service, bucket)).or_default(),
            self.now,
            limit,
        )
    }

    fn admit_source_v4(&self, service: u32, prefix: [u8; 4], limit: &Limit) -> bool {
        self.admit_source(service, prefix.into(), limit)
    }

    fn admit_source_v6(&self, service: u32, prefix: [u8; 16], limit: &Limit) -> bool {
        self.admit_source(service, prefix.into(), limit)
    }

    fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }
}
