//! The typed maps, and every write to them. A write is one system call, and is counted.

use std::net::IpAddr;

use anycast_common::abi::{
    self, AddressV4, AddressV6, Counters, Explanation, Identity, Interface, ListV4, ListV6, Listed,
    NO_SERVICE, Owner, SCOPE_BITS, map,
};
use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::util::nr_cpus;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::address_counters::AddressCountReader;
use super::counters::sum;
use super::error::DataPlaneError;
use super::identity::NO_IDENTITY;
use super::index::Index;
use super::loader::Loaded;
use super::reconcile::{Contents, Write};
use super::room::Room;

pub(super) struct Maps {
    addresses_v4: HashMap<MapData, AddressV4, Owner>,
    addresses_v6: HashMap<MapData, AddressV6, Owner>,
    index: Index,
    services: Array<MapData, abi::Service>,
    counters: PerCpuArray<MapData, Counters>,
    address_counters: AddressCountReader,
    explanation: Array<MapData, Explanation>,
    list_v4: LpmTrie<MapData, ListV4, Listed>,
    list_v6: LpmTrie<MapData, ListV6, Listed>,
    interfaces: HashMap<MapData, u32, Interface>,
    identity: Array<MapData, Identity>,
    room: Room,
    writes: u64,
}

impl Maps {
    pub(super) fn take(
        loaded: &mut Loaded,
        room: Room,
        index_rows: u32,
    ) -> Result<Self, DataPlaneError> {
        Ok(Self {
            addresses_v4: HashMap::try_from(loaded.take(map::ADDRESSES_V4)?)
                .map_err(DataPlaneError::map(map::ADDRESSES_V4))?,
            addresses_v6: HashMap::try_from(loaded.take(map::ADDRESSES_V6)?)
                .map_err(DataPlaneError::map(map::ADDRESSES_V6))?,
            index: Index::over(
                &loaded.take(map::INDEX_V4)?,
                &loaded.take(map::INDEX_V6)?,
                index_rows,
            )?,
            services: Array::try_from(loaded.take(map::SERVICES)?)
                .map_err(DataPlaneError::map(map::SERVICES))?,
            counters: PerCpuArray::try_from(loaded.take(map::COUNTERS)?)
                .map_err(DataPlaneError::map(map::COUNTERS))?,
            address_counters: AddressCountReader::new(
                PerCpuArray::try_from(loaded.take(map::ADDRESS_COUNTERS)?)
                    .map_err(DataPlaneError::map(map::ADDRESS_COUNTERS))?,
            ),
            explanation: Array::try_from(loaded.take(map::EXPLANATION)?)
                .map_err(DataPlaneError::map(map::EXPLANATION))?,
            list_v4: LpmTrie::try_from(loaded.take(map::LIST_V4)?)
                .map_err(DataPlaneError::map(map::LIST_V4))?,
            list_v6: LpmTrie::try_from(loaded.take(map::LIST_V6)?)
                .map_err(DataPlaneError::map(map::LIST_V6))?,
            interfaces: HashMap::try_from(loaded.take(map::INTERFACES)?)
                .map_err(DataPlaneError::map(map::INTERFACES))?,
            identity: Array::try_from(loaded.take(map::IDENTITY)?)
                .map_err(DataPlaneError::map(map::IDENTITY))?,
            room,
            writes: 0,
        })
    }

    /// Writes so far.
    pub(super) const fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn write(&mut self, write: &Write) -> Result<(), DataPlaneError> {
        match *write {
            Write::RemoveAddress(address) => self.remove_address(address),
            Write::SetAddress(address, owner) => self.set_address(address, owner),
            Write::ClearAddressCounters(slot) => self.clear_address_counters(slot),
            Write::SetService(id, entry) => self.set_service(id, entry),
            Write::ClearCounters(id) => self.clear_counters(id),
            Write::SetPrefix(scope, prefix, allow) => self.set_prefix(scope, prefix, allow),
            Write::RemovePrefix(scope, prefix) => self.remove_prefix(scope, prefix),
            Write::SetIdentity(identity) => self.set_identity(identity),
        }
    }

    fn set_address(&mut self, address: IpAddr, owner: Owner) -> Result<(), DataPlaneError> {
        self.writes += 1;
        let written = match address {
            IpAddr::V4(ip) => self
                .addresses_v4
                .insert(
                    AddressV4 {
                        address: ip.octets(),
                    },
                    owner,
                    0,
                )
                .map_err(self.room.refused(map::ADDRESSES_V4)),
            IpAddr::V6(ip) => self
                .addresses_v6
                .insert(
                    AddressV6 {
                        address: ip.octets(),
                    },
                    owner,
                    0,
                )
                .map_err(self.room.refused(map::ADDRESSES_V6)),
        };
        if written.is_ok() {
            self.index.set(address, owner.service);
        }
        written
    }

    fn remove_address(&mut self, address: IpAddr) -> Result<(), DataPlaneError> {
        self.writes += 1;
        self.index.clear(address);
        let (removed, name) = match address {
            IpAddr::V4(ip) => (
                self.addresses_v4.remove(&AddressV4 {
                    address: ip.octets(),
                }),
                map::ADDRESSES_V4,
            ),
            IpAddr::V6(ip) => (
                self.addresses_v6.remove(&AddressV6 {
                    address: ip.octets(),
                }),
                map::ADDRESSES_V6,
            ),
        };
        match removed {
            // Gone is what was wanted.
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(DataPlaneError::map(name)(error)),
        }
    }

    pub(super) fn set_service(
        &mut self,
        id: u32,
        entry: abi::Service,
    ) -> Result<(), DataPlaneError> {
        self.writes += 1;
        self.services
            .set(id, entry, 0)
            .map_err(DataPlaneError::map(map::SERVICES))
    }

    fn set_prefix(&mut self, scope: u32, net: IpNet, allow: bool) -> Result<(), DataPlaneError> {
        self.writes += 1;
        let listed = Listed {
            allow: allow.into(),
        };
        match net {
            IpNet::V4(net) => self
                .list_v4
                .insert(&key_v4(scope, net), listed, 0)
                .map_err(self.room.refused(map::LIST_V4)),
            IpNet::V6(net) => self
                .list_v6
                .insert(&key_v6(scope, net), listed, 0)
                .map_err(self.room.refused(map::LIST_V6)),
        }
    }

    fn remove_prefix(&mut self, scope: u32, net: IpNet) -> Result<(), DataPlaneError> {
        self.writes += 1;
        let (removed, name) = match net {
            IpNet::V4(net) => (self.list_v4.remove(&key_v4(scope, net)), map::LIST_V4),
            IpNet::V6(net) => (self.list_v6.remove(&key_v6(scope, net)), map::LIST_V6),
        };
        match removed {
            Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(DataPlaneError::map(name)(error)),
        }
    }

    fn set_identity(&mut self, identity: Identity) -> Result<(), DataPlaneError> {
        self.writes += 1;
        self.identity
            .set(0, identity, 0)
            .map_err(DataPlaneError::map(map::IDENTITY))
    }

    /// Teaches the program the MAC address of an interface.
    pub(super) fn set_mac(&mut self, index: u32, mac: [u8; 6]) -> Result<(), DataPlaneError> {
        self.writes += 1;
        let interface = Interface {
            mac,
            _padding: [0; 2],
        };
        self.interfaces
            .insert(index, interface, 0)
            .map_err(self.room.refused(map::INTERFACES))
    }

    /// Nothing is lost if the entry stays: its interface is not asked for.
    pub(super) fn forget_mac(&mut self, index: u32) {
        self.writes += 1;
        if let Err(error) = self.interfaces.remove(&index) {
            tracing::debug!(%error, index, "the MAC address of an interface stays");
        }
    }

    fn clear_counters(&mut self, id: u32) -> Result<(), DataPlaneError> {
        self.writes += 1;
        zeros()
            .and_then(|zeros| self.counters.set(id, zeros, 0))
            .map_err(DataPlaneError::map(map::COUNTERS))
    }

    fn clear_address_counters(&mut self, slot: u32) -> Result<(), DataPlaneError> {
        self.writes += 1;
        self.address_counters.clear(slot)
    }

    pub(super) fn show_addresses(&self, shown: Vec<(usize, IpAddr, u32)>) {
        self.address_counters.show(shown);
    }

    pub(super) fn address_counters(&self) -> AddressCountReader {
        self.address_counters.clone()
    }

    /// The counters of a service, summed over CPUs.
    pub(super) fn counters(&self, id: u32) -> Result<Counters, DataPlaneError> {
        self.counters
            .get(&id, 0)
            .map(|values| sum(values.iter().copied()))
            .map_err(DataPlaneError::map(map::COUNTERS))
    }

    pub(super) fn explanation(&self) -> Result<Explanation, DataPlaneError> {
        self.explanation
            .get(&0, 0)
            .map_err(DataPlaneError::map(map::EXPLANATION))
    }

    /// Brings the index in step with `contents`, should others have written to it. Says how many of its places
    /// were wrong.
    pub(super) fn repair_index(&mut self, contents: &Contents) -> u64 {
        let wrong = self.index.repair(&contents.addresses);
        self.writes += wrong;
        wrong
    }

    /// What the kernel holds, read back; but for the index, which follows from it.
    pub(super) fn read(&self) -> Result<Contents, DataPlaneError> {
        let mut contents = Contents::default();
        for entry in &self.addresses_v4 {
            let (key, owner) = entry.map_err(DataPlaneError::map(map::ADDRESSES_V4))?;
            contents.addresses.insert(key.address.into(), owner);
        }
        for entry in &self.addresses_v6 {
            let (key, owner) = entry.map_err(DataPlaneError::map(map::ADDRESSES_V6))?;
            contents.addresses.insert(key.address.into(), owner);
        }
        for (id, entry) in (0..).zip(self.services.iter()) {
            let entry = entry.map_err(DataPlaneError::map(map::SERVICES))?;
            if id != NO_SERVICE && entry != abi::Service::default() {
                contents.services.insert(id, entry);
            }
        }
        for entry in &self.list_v4 {
            let (key, listed) = entry.map_err(DataPlaneError::map(map::LIST_V4))?;
            let ListV4 { scope, address } = key.data();
            insert_prefix(
                &mut contents,
                scope,
                address.into(),
                key.prefix_len(),
                listed,
            );
        }
        for entry in &self.list_v6 {
            let (key, listed) = entry.map_err(DataPlaneError::map(map::LIST_V6))?;
            let ListV6 { scope, address } = key.data();
            insert_prefix(
                &mut contents,
                scope,
                address.into(),
                key.prefix_len(),
                listed,
            );
        }
        contents.identity = Some(
            self.identity
                .get(&0, 0)
                .map_err(DataPlaneError::map(map::IDENTITY))?,
        )
        .filter(|identity| *identity != NO_IDENTITY);
        Ok(contents)
    }
}

/// Zeros for every CPU.
pub(super) fn zeros<T: Pod + Default>() -> Result<PerCpuValues<T>, MapError> {
    let cpus = nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
    PerCpuValues::try_from(vec![T::default(); cpus]).map_err(MapError::IoError)
}

fn insert_prefix(
    contents: &mut Contents,
    scope: [u8; 4],
    address: IpAddr,
    length: u32,
    listed: Listed,
) {
    let length = u8::try_from(length.saturating_sub(SCOPE_BITS)).unwrap_or(u8::MAX);
    if let Ok(net) = IpNet::new(address, length) {
        contents
            .lists
            .insert((u32::from_be_bytes(scope), net), listed.allow != 0);
    }
}

fn key_v4(scope: u32, net: Ipv4Net) -> Key<ListV4> {
    Key::new(
        SCOPE_BITS + u32::from(net.prefix_len()),
        ListV4 {
            scope: scope.to_be_bytes(),
            address: net.addr().octets(),
        },
    )
}

fn key_v6(scope: u32, net: Ipv6Net) -> Key<ListV6> {
    Key::new(
        SCOPE_BITS + u32::from(net.prefix_len()),
        ListV6 {
            scope: scope.to_be_bytes(),
            address: net.addr().octets(),
        },
    )
}
