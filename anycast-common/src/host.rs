//! The tables on the host: what tests, fuzzers and the differential runs give to the verdict function.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::abi::{Owner, Service};
use crate::packet::{Packet, SliceFrame};
use crate::tables::Tables;
use crate::verdict::Verdict;

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

    /// Judges a frame and answers it, as the program does; `frame` becomes what leaves it.
    pub fn run(&self, frame: &mut std::vec::Vec<u8>) -> Verdict {
        const ROOM: usize = 128;
        let length = frame.len();
        frame.resize(length + ROOM, 0);
        let mut slice = SliceFrame::new(frame, length);
        let verdict = crate::classify(&slice, self);
        let verdict = crate::answer(&mut slice, verdict);
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
}
