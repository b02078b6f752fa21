//! The loaded data plane behind the writer's trait.

use std::net::IpAddr;
use std::sync::Arc;

use anycast_common::abi;
use tokio::sync::watch;

use super::interfaces::statuses;
use crate::control::protocol::{AddressStatus, Count, InterfaceStatus, Packets};
use crate::controller::ShowAddresses;
use crate::dataplane::{self, AddressCountReader, DataPlane};
use crate::decision::DataPlaneMode;
use crate::links::Link;
use crate::planes::Counters;
use crate::writer::Plane;

/// The maps and the program, with the addresses that proofs are run on.
pub(super) struct LoadedPlane {
    pub(super) maps: DataPlane,
    services: Vec<Proof>,
    shown: watch::Sender<Vec<InterfaceStatus>>,
}

struct Proof {
    addresses: Arc<[IpAddr]>,
    /// Whether every address has been proved once. The entries of the addresses do not change after
    /// that, so a flip needs only one proof of each family.
    complete: bool,
}

impl LoadedPlane {
    pub(super) fn new(
        maps: DataPlane,
        addresses: impl Iterator<Item = Arc<[IpAddr]>>,
        shown: watch::Sender<Vec<InterfaceStatus>>,
    ) -> Self {
        Self {
            maps,
            shown,
            services: addresses
                .map(|addresses| Proof {
                    addresses,
                    complete: false,
                })
                .collect(),
        }
    }
}

impl Plane for LoadedPlane {
    fn set_mode(&mut self, service: usize, mode: DataPlaneMode) -> Result<(), String> {
        self.maps
            .flip(service, mode)
            .map_err(|error| error.to_string())
    }

    fn prove(&mut self, service: usize) -> Result<(), String> {
        let Some(proof) = self.services.get_mut(service) else {
            return Err(format!("there is no service number {service}"));
        };
        let to_prove: Vec<IpAddr> = if proof.complete {
            one_of_each_family(&proof.addresses).collect()
        } else {
            proof.addresses.to_vec()
        };
        for address in to_prove {
            self.maps
                .prove(address)
                .map_err(|error| error.to_string())?;
        }
        proof.complete = true;
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, String> {
        let snapshot = self.maps.counters().map_err(|error| error.to_string())?;
        Ok(Counters {
            services: snapshot.services.iter().map(packets).collect(),
            unowned: packets(&snapshot.unowned),
        })
    }

    fn follow(&mut self, links: &[Link]) {
        if self.maps.follow(links) {
            self.shown.send_replace(statuses(&self.maps));
        }
    }
}

fn one_of_each_family(addresses: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let of = |v4| {
        addresses
            .iter()
            .find(move |address| address.is_ipv4() == v4)
    };
    of(true).into_iter().chain(of(false)).copied()
}

/// The counters of the Service Addresses, with the names of their services.
pub(super) struct CountedAddresses {
    reader: AddressCountReader,
    services: Arc<[String]>,
}

impl CountedAddresses {
    pub(super) fn new(reader: AddressCountReader, services: Vec<String>) -> Self {
        Self {
            reader,
            services: services.into(),
        }
    }
}

impl ShowAddresses for CountedAddresses {
    fn show(&self) -> Result<Vec<AddressStatus>, String> {
        let counts = self.reader.read().map_err(|error| error.to_string())?;
        Ok(counts
            .into_iter()
            .map(|count| AddressStatus {
                service: self
                    .services
                    .get(count.service)
                    .cloned()
                    .unwrap_or_default(),
                address: count.address,
                passed: counted(count.counters.passed),
                dropped: counted(count.counters.dropped),
                answered: counted(count.counters.answered),
            })
            .collect())
    }
}

const fn counted(count: abi::Count) -> Count {
    Count {
        packets: count.packets,
        bytes: count.bytes,
    }
}

fn packets(counters: &abi::Counters) -> Packets {
    dataplane::by_reason(counters)
        .filter(|(_, count)| count.packets > 0)
        .map(|(reason, count)| (reason.name().to_owned(), counted(count)))
        .collect()
}
