//! The maps, with BTF, so that bpftool prints their fields by name and libbpf can create them.
//!
//! Sizes here serve those who load the object with other tools; the controller sets its own.

use anycast_common::abi::index::{self, RowV4, RowV6};
use anycast_common::abi::{
    AddressCounters, AddressV4, AddressV6, Buckets, Counters, Explanation, Identity, Interface,
    ListV4, ListV6, Listed, Owner, Service, Source, SourceV4, SourceV6, feature,
};
use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;

const ADDRESSES: usize = 1024;
const ROWS: u32 = 1024;
const MAX_SERVICES: usize = 64;
const SOURCES: usize = 1024;
const PREFIXES: usize = 1024;
const INTERFACES_HELD: usize = 64;
/// Entries are allocated as they are written: room for a million costs nothing until it is used,
/// and a removed entry is not reused under a program that still reads it.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
/// The controller writes into its memory, a word at a time.
const SHARED: usize = BPF_F_MMAPABLE as usize;

#[btf_map]
pub(crate) static ADDRESSES_V4: HashMap<AddressV4, Owner, ADDRESSES, ON_DEMAND> = HashMap::new();

#[btf_map]
pub(crate) static ADDRESSES_V6: HashMap<AddressV6, Owner, ADDRESSES, ON_DEMAND> = HashMap::new();

#[btf_map]
pub(crate) static INDEX_V4: Array<RowV4, { ROWS as usize }, SHARED> = Array::new();

#[btf_map]
pub(crate) static INDEX_V6: Array<RowV6, { ROWS as usize }, SHARED> = Array::new();

#[btf_map]
pub(crate) static SERVICES: Array<Service, MAX_SERVICES> = Array::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<Counters, MAX_SERVICES> = PerCpuArray::new();

/// As large as the addresses are many where it is asked for, and otherwise not used.
#[btf_map]
pub(crate) static ADDRESS_COUNTERS: PerCpuArray<AddressCounters, 1> = PerCpuArray::new();

#[btf_map]
pub(crate) static BUCKETS: PerCpuArray<Buckets, MAX_SERVICES> = PerCpuArray::new();

#[btf_map]
pub(crate) static SOURCES_V4: LruHashMap<SourceV4, Source, SOURCES> = LruHashMap::new();

#[btf_map]
pub(crate) static SOURCES_V6: LruHashMap<SourceV6, Source, SOURCES> = LruHashMap::new();

#[btf_map]
pub(crate) static LIST_V4: LpmTrie<ListV4, Listed, PREFIXES> = LpmTrie::new();

#[btf_map]
pub(crate) static LIST_V6: LpmTrie<ListV6, Listed, PREFIXES> = LpmTrie::new();

#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, Interface, INTERFACES_HELD> = HashMap::new();

#[btf_map]
pub(crate) static IDENTITY: Array<Identity, 1> = Array::new();

#[btf_map]
pub(crate) static EXPLANATION: Array<Explanation, 1> = Array::new();

#[unsafe(no_mangle)]
pub(crate) static FEATURES: Global<u64> = Global::new(feature::ALL);

#[unsafe(no_mangle)]
pub(crate) static INDEX_SHIFT: Global<u32> = Global::new(index::shift(ROWS));

/// That of a kernel with 250 ticks a second, as most distributions build it.
#[unsafe(no_mangle)]
pub(crate) static TICK_NS: Global<u32> = Global::new(4_000_000);
