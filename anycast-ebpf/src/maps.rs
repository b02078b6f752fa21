//! The maps, with BTF, so that bpftool prints their fields by name and libbpf can create them.
//!
//! Sizes here serve those who load the object with other tools; the controller sets its own.

use anycast_common::abi::{AddressV4, AddressV6, Counters, Explanation, Owner, Service};
use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::macros::btf_map;

const ADDRESSES: usize = 1024;
/// Entries are allocated as they are written: room for a million costs nothing until it is used,
/// and a removed entry is not reused under a program that still reads it.
const ON_DEMAND: usize = BPF_F_NO_PREALLOC as usize;
const MAX_SERVICES: usize = 64;

#[btf_map]
pub(crate) static ADDRESSES_V4: HashMap<AddressV4, Owner, ADDRESSES, ON_DEMAND> = HashMap::new();

#[btf_map]
pub(crate) static ADDRESSES_V6: HashMap<AddressV6, Owner, ADDRESSES, ON_DEMAND> = HashMap::new();

#[btf_map]
pub(crate) static SERVICES: Array<Service, MAX_SERVICES> = Array::new();

#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<Counters, MAX_SERVICES> = PerCpuArray::new();

#[btf_map]
pub(crate) static EXPLANATION: Array<Explanation, 1> = Array::new();

#[unsafe(no_mangle)]
pub(crate) static FEATURES: Global<u64> = Global::new(0);
