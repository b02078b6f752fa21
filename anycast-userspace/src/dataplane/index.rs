//! The index of the Service Addresses, as the controller writes it: a short cut before the maps of the addresses.
//!
//! It holds no address that its map does not hold, with the owner that it has there: an address enters it after
//! the map, and leaves it before. Where there is no place in an address's row, the program finds it in the map alone.

mod memory;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use anycast_common::abi::index::{
    MOST_ROWS, PLACES, PlaceV4, PlaceV6, RowV4, RowV6, row_v4, row_v6, shift,
};
use anycast_common::abi::{NO_SERVICE, Owner};
use aya::maps::Map;

use super::error::DataPlaneError;
use memory::Memory;

const WORD: usize = size_of::<u64>();
/// Words of a place.
const WORDS_V4: usize = size_of::<PlaceV4>() / WORD;
const WORDS_V6: usize = size_of::<PlaceV6>() / WORD;
/// The word of an IPv6 place that holds the service.
const SERVICE_WORD: usize = 2;

/// How many rows an index has where the maps hold `max_addresses`: with all of them in use, a row is asked for
/// one address on average, and has room for two.
#[must_use]
pub const fn rows(max_addresses: u32) -> u32 {
    if max_addresses < 2 {
        2
    } else if max_addresses > MOST_ROWS {
        MOST_ROWS
    } else {
        max_addresses.next_power_of_two()
    }
}

/// Both maps of the index, in this process's memory.
pub struct Index {
    v4: Memory,
    v6: Memory,
    shift: u32,
}

impl Index {
    /// The index over its two maps, both with `rows` rows.
    ///
    /// # Errors
    /// [`DataPlaneError::Index`] where a map is not what the ABI says, or the kernel gives no access to its memory.
    pub fn over(v4: &Map, v6: &Map, rows: u32) -> Result<Self, DataPlaneError> {
        let words = |row: usize| row / WORD * rows as usize;
        Ok(Self {
            v4: Memory::of(v4, words(size_of::<RowV4>()))?,
            v6: Memory::of(v6, words(size_of::<RowV6>()))?,
            shift: shift(rows),
        })
    }

    /// Notes whose an address is, if there is a place for it. To be called after the address's map was written.
    pub fn set(&self, address: IpAddr, service: u32) {
        match address {
            IpAddr::V4(ip) => self.set_v4(ip, service),
            IpAddr::V6(ip) => self.set_v6(ip, service),
        }
    }

    /// Forgets an address. To be called before it goes from its map.
    pub fn clear(&self, address: IpAddr) {
        match address {
            IpAddr::V4(ip) => {
                for place in self.row_v4(ip) {
                    if read_v4(place).0 == ip {
                        place.store(0, Release);
                    }
                }
            }
            IpAddr::V6(ip) => {
                for place in places_v6(self.row_v6(ip)) {
                    if read_v6(place).0 == ip {
                        place[SERVICE_WORD].store(NO_SERVICE.into(), Release);
                    }
                }
            }
        }
    }

    /// Takes away what somebody else has written, and enters what finds a place by now. Says how many places were
    /// wrong.
    pub(super) fn repair(&self, owners: &BTreeMap<IpAddr, Owner>) -> u64 {
        let is_right = |address: &IpAddr, service| {
            service == NO_SERVICE
                || owners
                    .get(address)
                    .is_some_and(|owner| owner.service == service)
        };
        let mut wrong = 0;
        for place in self.v4.words() {
            let (address, service) = read_v4(place);
            if !is_right(&address.into(), service) {
                place.store(0, Release);
                wrong += 1;
            }
        }
        for place in places_v6(self.v6.words()) {
            let (address, service) = read_v6(place);
            if !is_right(&address.into(), service) {
                place[SERVICE_WORD].store(NO_SERVICE.into(), Release);
                wrong += 1;
            }
        }
        for (address, owner) in owners {
            self.set(*address, owner.service);
        }
        wrong
    }

    fn row_v4(&self, ip: Ipv4Addr) -> &[AtomicU64] {
        let row = row_v4(word_of(ip), self.shift) as usize;
        &self.v4.words()[row * PLACES * WORDS_V4..][..PLACES * WORDS_V4]
    }

    fn row_v6(&self, ip: Ipv6Addr) -> &[AtomicU64] {
        let row = row_v6(words_of(ip), self.shift) as usize;
        &self.v6.words()[row * PLACES * WORDS_V6..][..PLACES * WORDS_V6]
    }

    fn set_v4(&self, ip: Ipv4Addr, service: u32) {
        let row = self.row_v4(ip);
        let own = row.iter().find(|place| read_v4(place).0 == ip);
        let free = || row.iter().find(|place| place.load(Relaxed) == 0);
        if let Some(place) = own.or_else(free) {
            let word = u64::from(service) | u64::from(word_of(ip)) << u32::BITS;
            place.store(word, Release);
        }
    }

    /// Takes a place that no other address ever had: a program that reads it meanwhile would find the address of the
    /// one and the service of the other.
    fn set_v6(&self, ip: Ipv6Addr, service: u32) {
        let row = self.row_v6(ip);
        let of = |ip| places_v6(row).find(|place| read_v6(place).0 == ip);
        // The address of places that were never taken, which therefore has none.
        let never_taken = Ipv6Addr::UNSPECIFIED;
        if ip == never_taken {
            return;
        }
        if let Some(place) = of(ip).or_else(|| of(never_taken)) {
            for (word, half) in place.iter().zip(words_of(ip)) {
                word.store(half, Release);
            }
            place[SERVICE_WORD].store(service.into(), Release);
        }
    }
}

fn places_v6(words: &[AtomicU64]) -> impl Iterator<Item = &[AtomicU64]> {
    words.chunks_exact(WORDS_V6)
}

/// A place's address and service.
fn read_v4(place: &AtomicU64) -> (Ipv4Addr, u32) {
    let (service, address) = halves(place.load(Relaxed));
    (address.to_ne_bytes().into(), service)
}

fn read_v6(place: &[AtomicU64]) -> (Ipv6Addr, u32) {
    let [first, second] = [0, 1].map(|word| place[word].load(Relaxed));
    let (service, _padding) = halves(place[SERVICE_WORD].load(Relaxed));
    let bits = u128::from(first) | u128::from(second) << u64::BITS;
    (bits.to_ne_bytes().into(), service)
}

fn word_of(ip: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(ip.octets())
}

#[expect(clippy::cast_possible_truncation, reason = "its halves")]
fn words_of(ip: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from_ne_bytes(ip.octets());
    [bits as u64, (bits >> u64::BITS) as u64]
}

#[expect(clippy::cast_possible_truncation, reason = "its halves")]
const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> u32::BITS) as u32)
}

// The program is built for processors of this order of bytes, which the halves of words follow.
const _: () = assert!(cfg!(target_endian = "little"));
