//! Counters by Service Address: which slot of the map an address has, and reading them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anycast_common::abi::{AddressCounters, Owner, map};
use aya::maps::{MapData, PerCpuArray};

use super::error::DataPlaneError;
use super::maps::zeros;

/// What became of the packets to one Service Address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressCount {
    /// The service's place in the desired state.
    pub service: usize,
    /// The address.
    pub address: IpAddr,
    /// Its packets and bytes.
    pub counters: AddressCounters,
}

/// The addresses whose counters are kept: service by place, address, slot.
type Shown = Arc<Mutex<Vec<(usize, IpAddr, u32)>>>;

/// Reads the counters, from whatever thread: there may be many.
#[derive(Clone)]
pub struct AddressCountReader {
    map: Arc<Mutex<PerCpuArray<MapData, AddressCounters>>>,
    shown: Shown,
}

impl AddressCountReader {
    pub(super) fn new(map: PerCpuArray<MapData, AddressCounters>) -> Self {
        Self {
            map: Arc::new(Mutex::new(map)),
            shown: Shown::default(),
        }
    }

    pub(super) fn show(&self, addresses: Vec<(usize, IpAddr, u32)>) {
        *held(&self.shown) = addresses;
    }

    pub(super) fn clear(&self, slot: u32) -> Result<(), DataPlaneError> {
        zeros()
            .and_then(|zeros| held(&self.map).set(slot, zeros, 0))
            .map_err(DataPlaneError::map(map::ADDRESS_COUNTERS))
    }

    /// The counters of every address, in the order of the desired state. One system call for each.
    ///
    /// # Errors
    /// [`DataPlaneError::Map`].
    pub fn read(&self) -> Result<Vec<AddressCount>, DataPlaneError> {
        let shown = held(&self.shown).clone();
        shown
            .into_iter()
            .map(|(service, address, slot)| {
                // Held for one read at a time: a write of the data plane never waits for all of them.
                let values = held(&self.map)
                    .get(&slot, 0)
                    .map_err(DataPlaneError::map(map::ADDRESS_COUNTERS))?;
                Ok(AddressCount {
                    service,
                    address,
                    counters: sum(&values),
                })
            })
            .collect()
    }
}

/// What a panicking reader left is as good as before.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sum(cpus: &[AddressCounters]) -> AddressCounters {
    let mut sum = AddressCounters::default();
    for cpu in cpus {
        for (into, count) in [
            (&mut sum.passed, cpu.passed),
            (&mut sum.dropped, cpu.dropped),
            (&mut sum.answered, cpu.answered),
        ] {
            into.packets += count.packets;
            into.bytes += count.bytes;
        }
    }
    sum
}

/// Gives every address of `wanted` a slot of its own: the one that it has in `installed`, if it still
/// belongs to the same service, else the lowest that is free. Slot 0 is nobody's.
pub(super) fn number(installed: &BTreeMap<IpAddr, Owner>, wanted: &mut BTreeMap<IpAddr, Owner>) {
    let mut taken = BTreeSet::new();
    for (address, owner) in wanted.iter_mut() {
        if let Some(known) = installed.get(address)
            && known.service == owner.service
            && known.slot != 0
        {
            owner.slot = known.slot;
            taken.insert(known.slot);
        }
    }
    let mut free = (1..).filter(|slot| !taken.contains(slot));
    for owner in wanted.values_mut().filter(|owner| owner.slot == 0) {
        owner.slot = free.next().unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(entries: &[(&str, u32)]) -> BTreeMap<IpAddr, Owner> {
        entries
            .iter()
            .map(|(address, service)| {
                let owner = Owner {
                    service: *service,
                    slot: 0,
                };
                (address.parse().unwrap(), owner)
            })
            .collect()
    }

    fn slots(owners: &BTreeMap<IpAddr, Owner>) -> Vec<u32> {
        owners.values().map(|owner| owner.slot).collect()
    }

    #[test]
    fn an_address_keeps_its_slot_while_others_come_and_go() {
        let mut first = owners(&[("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.3", 2)]);
        number(&BTreeMap::new(), &mut first);
        assert_eq!(slots(&first), [1, 2, 3]);
        let mut second = owners(&[("192.0.2.0", 1), ("192.0.2.2", 1), ("2001:db8::1", 2)]);
        number(&first, &mut second);
        assert_eq!(slots(&second), [1, 2, 3]);
    }

    #[test]
    fn an_address_that_moves_to_another_service_is_numbered_as_a_new_one() {
        let mut first = owners(&[("192.0.2.1", 1), ("192.0.2.2", 1)]);
        number(&BTreeMap::new(), &mut first);
        let mut moved = owners(&[("192.0.2.1", 2), ("192.0.2.2", 1)]);
        number(&first, &mut moved);
        let mut seen = slots(&moved);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2, "no slot is shared: {moved:?}");
    }
}
