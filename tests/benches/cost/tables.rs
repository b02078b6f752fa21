//! What the maps hold while a case is measured.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anycast_common::abi::{
    self, AddressV4, AddressV6, DOWN, EVERY_SERVICE, Interface, Limit, ListV4, Listed, Owner,
    PortRange, SCOPE_BITS, Service, UP, map, policy,
};
use anycast_tests::packet::NODE_MAC;
use anycast_userspace::dataplane::index::{Index, rows};
use anycast_userspace::dataplane::records;
use anyhow::Context as _;
use aya::maps::lpm_trie::Key;
use aya::maps::{Array, HashMap, LpmTrie, MapData};
use aya::{Ebpf, EbpfLoader};

use crate::frames::{self, Number};

/// The services, whose numbers are their ids.
pub(crate) mod service {
    use super::Number;

    /// Up, with nothing but ports.
    pub(crate) const UP: Number = 1;
    /// Down.
    pub(crate) const DOWN: Number = 2;
    /// Rejects what it does not serve.
    pub(crate) const REJECTS: Number = 3;
    /// Answers ARP and neighbour discovery.
    pub(crate) const NEIGHBOR: Number = 4;
    /// Answers for the node's identity.
    pub(crate) const IDENTITY: Number = 5;
    /// Has a limit of echo replies that is not reached.
    pub(crate) const ECHO_LIMIT: Number = 6;
    /// Has a limit of packets that is not reached.
    pub(crate) const PACKET_LIMIT: Number = 7;
    /// Has a limit per source that is not reached.
    pub(crate) const SOURCE_LIMIT: Number = 8;
    /// Has all of these.
    pub(crate) const EVERYTHING: Number = 9;
    /// Has a limit of packets that is exceeded.
    pub(crate) const EXCEEDED: Number = 10;
}

const LAST_SERVICE: Number = service::EXCEEDED;
/// `dataplane.max_addresses` unless set.
const DEFAULT_ADDRESSES: u32 = 65_536;
/// Addresses that no case but the spread ones is about, from here on.
pub(crate) const FURTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 0);
/// The interface that BPF_PROG_TEST_RUN takes frames to come in by: the loopback.
const TEST_INTERFACE: u32 = 1;
/// No limit that a measurement reaches: a packet a nanosecond.
const GENEROUS: Limit = Limit::new(1_000_000_000, u32::MAX);

const BPF_F_NO_PREALLOC: u32 = 1;
/// Hash functions of every load are the same: the same entries collide.
const BPF_F_ZERO_SEED: u32 = 1 << 6;

/// How much the maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tables {
    /// Addresses beyond those of the services.
    pub(crate) further: u32,
    /// Denied prefixes.
    pub(crate) denied: u32,
}

impl Tables {
    /// Ten further addresses, one denied prefix.
    pub(crate) const SMALL: Self = Self {
        further: 10,
        denied: 1,
    };

    const fn addresses(self) -> u32 {
        self.further + LAST_SERVICE as u32 + 1
    }

    /// Rows of the index: as the daemon has them by default, and more where that many addresses ask for it.
    pub(crate) const fn rows(self) -> u32 {
        let addresses = self.addresses();
        rows(if addresses > DEFAULT_ADDRESSES {
            addresses
        } else {
            DEFAULT_ADDRESSES
        })
    }
}

/// Pinned maps with content. Removed when dropped.
pub(crate) struct Filled {
    directory: PathBuf,
}

impl Filled {
    /// Creates the maps below `directory`, which is not there yet, and fills them.
    pub(crate) fn new(directory: PathBuf, object: &[u8], tables: Tables) -> anyhow::Result<Self> {
        fs::create_dir(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let filled = Self { directory };
        filled.addresses(tables)?;
        // The other maps are created with the object, once it is loaded over those that are there.
        let mut ebpf = filled.loader(tables).load(object)?;
        index(&ebpf, tables)?;
        services(&mut ebpf)?;
        lists(&mut ebpf, tables)?;
        Ok(filled)
    }

    /// Loads an object over these maps.
    pub(crate) fn loader(&self, tables: Tables) -> EbpfLoader<'static> {
        let mut loader = EbpfLoader::new();
        loader
            .btf(None)
            .map_max_entries(map::INDEX_V4, tables.rows())
            .map_max_entries(map::INDEX_V6, tables.rows())
            .map_max_entries(map::LIST_V4, tables.denied + 1);
        for name in MAPS {
            loader.map_pin_path(name, self.directory.join(name));
        }
        loader
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    fn addresses(&self, tables: Tables) -> anyhow::Result<()> {
        let room = tables.addresses();
        let flags = BPF_F_NO_PREALLOC | BPF_F_ZERO_SEED;
        let mut v4 = HashMap::<MapData, AddressV4, Owner>::create(room, flags)?;
        let mut v6 = HashMap::<MapData, AddressV6, Owner>::create(room, flags)?;
        let owner = |service: Number| Owner {
            service: service.into(),
            slot: 0,
        };
        for place in 0..tables.further {
            let address = Ipv4Addr::from(u32::from(FURTHER) + place).octets();
            v4.insert(AddressV4 { address }, owner(service::DOWN), 0)?;
        }
        // Last, which puts them first in their buckets: however many collide with them, it costs nothing.
        for number in 1..=LAST_SERVICE {
            let address = frames::v4(number).octets();
            v4.insert(AddressV4 { address }, owner(number), 0)?;
            let address = frames::v6(number).octets();
            v6.insert(AddressV6 { address }, owner(number), 0)?;
        }
        v4.pin(self.directory.join(map::ADDRESSES_V4))?;
        v6.pin(self.directory.join(map::ADDRESSES_V6))?;
        Ok(())
    }
}

/// The services' addresses first, so that they have places: what it costs where there was none left is in the cases
/// of addresses at random.
fn index(ebpf: &Ebpf, tables: Tables) -> anyhow::Result<()> {
    let map = |name| ebpf.map(name).with_context(|| format!("no map {name}"));
    let index = Index::over(map(map::INDEX_V4)?, map(map::INDEX_V6)?, tables.rows())?;
    for number in 1..=LAST_SERVICE {
        index.set(frames::v4(number).into(), number.into());
        index.set(frames::v6(number).into(), number.into());
    }
    for place in 0..tables.further {
        let address = Ipv4Addr::from(u32::from(FURTHER) + place);
        index.set(address.into(), service::DOWN.into());
    }
    Ok(())
}

fn services(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let mut services: Array<_, Service> = map_of(ebpf, map::SERVICES)?.try_into()?;
    for number in 1..=LAST_SERVICE {
        services.set(number.into(), entry(number), 0)?;
    }
    let mut interfaces: HashMap<_, u32, Interface> = map_of(ebpf, map::INTERFACES)?.try_into()?;
    let interface = Interface {
        mac: NODE_MAC,
        _padding: [0; 2],
    };
    interfaces.insert(TEST_INTERFACE, interface, 0)?;
    let mut identity: Array<_, abi::Identity> = map_of(ebpf, map::IDENTITY)?.try_into()?;
    identity.set(0, records("node-1.city-a.example")?, 0)?;
    Ok(())
}

fn lists(ebpf: &mut Ebpf, tables: Tables) -> anyhow::Result<()> {
    let mut list: LpmTrie<_, ListV4, Listed> = map_of(ebpf, map::LIST_V4)?.try_into()?;
    for prefix in denied().take(tables.denied as usize) {
        let key = ListV4 {
            scope: EVERY_SERVICE.to_be_bytes(),
            address: prefix.octets(),
        };
        list.insert(&Key::new(SCOPE_BITS + 24, key), Listed { allow: 0 }, 0)?;
    }
    Ok(())
}

fn map_of<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut aya::maps::Map> {
    ebpf.map_mut(name)
        .with_context(|| format!("the object has no map {name}"))
}

impl Drop for Filled {
    fn drop(&mut self) {
        // Only what was pinned here is in it.
        let _maps_end_with_the_kernel = fs::remove_dir_all(&self.directory);
    }
}

/// The maps that all programs over one set of tables share.
const MAPS: &[&str] = &[
    map::ADDRESSES_V4,
    map::ADDRESSES_V6,
    map::INDEX_V4,
    map::INDEX_V6,
    map::SERVICES,
    map::COUNTERS,
    map::BUCKETS,
    map::SOURCES_V4,
    map::SOURCES_V6,
    map::LIST_V4,
    map::LIST_V6,
    map::INTERFACES,
    map::IDENTITY,
    map::EXPLANATION,
];

fn entry(number: Number) -> Service {
    let mut entry = Service {
        state: if number == service::DOWN { DOWN } else { UP },
        on_down: policy::DROP,
        unlisted: policy::DROP,
        fragments: policy::PASS,
        source_prefix_v4: 32,
        source_prefix_v6: 64,
        ..Service::default()
    };
    for (place, (protocol, port)) in [(17, 53), (6, 53), (6, 80), (6, 443)]
        .into_iter()
        .enumerate()
    {
        entry.ports[place] = PortRange {
            protocol,
            first: port,
            last: port,
        };
    }
    let has = |which| number == which || number == service::EVERYTHING;
    if has(service::REJECTS) {
        entry.unlisted = policy::REJECT;
        entry.reject_limit = GENEROUS;
    }
    if has(service::NEIGHBOR) {
        entry.neighbor = 1;
    }
    if has(service::IDENTITY) {
        entry.identity = 1;
    }
    if has(service::ECHO_LIMIT) {
        entry.echo_limit = GENEROUS;
    }
    if has(service::PACKET_LIMIT) {
        entry.packet_limit = GENEROUS;
    }
    if has(service::SOURCE_LIMIT) {
        entry.source_limit = GENEROUS;
    }
    if number == service::EXCEEDED {
        entry.packet_limit = Limit::new(1, 1);
    }
    entry
}

/// The networks of the denied source, and of many others, all over the address space.
fn denied() -> impl Iterator<Item = Ipv4Addr> {
    let network = |address: Ipv4Addr| u32::from(address) & !0xff;
    let spare = network(frames::SOURCE_V4);
    let first = network(frames::DENIED);
    // Multiples of an odd number meet each of the 2^24 networks once.
    let others = (0..1 << 24).map(|place: u32| place.wrapping_mul(0x9e_3779b1) << 8);
    std::iter::once(first)
        .chain(others.filter(move |address| *address != spare && *address != first))
        .map(Ipv4Addr::from)
}
