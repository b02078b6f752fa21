//! The verdict function's tables over BPF maps.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

use anycast_common::Tables;
use anycast_common::abi::index::{PlaceV6, row_v4, row_v6};
use anycast_common::abi::{
    AddressV4, AddressV6, Bucket, Identity, Limit, ListV4, ListV6, NO_SERVICE, Owner, SCOPE_BITS,
    Service, Source, SourceV4, SourceV6, feature,
};
use anycast_common::limit::admit;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::programs::XdpContext;

use crate::maps::{
    ADDRESSES_V4, ADDRESSES_V6, BUCKETS, FEATURES, IDENTITY, INDEX_SHIFT, INDEX_V4, INDEX_V6,
    INTERFACES, LIST_V4, LIST_V6, SERVICES, SOURCES_V4, SOURCES_V6, TICK_NS,
};

/// The maps of this program, as one packet sees them; through the index where that is worth its instructions, of which
/// the verifier walks through those behind either outcome.
pub(crate) struct KernelTables<'a, const INDEXED: bool> {
    ctx: &'a XdpContext,
    features: u64,
    /// The slot of the address that was found last; written and read with the address counters alone.
    slot: UnsafeCell<MaybeUninit<u32>>,
}

impl<'a, const INDEXED: bool> KernelTables<'a, INDEXED> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'a XdpContext) -> Self {
        let tables = Self {
            ctx,
            features: FEATURES.load(),
            slot: UnsafeCell::new(MaybeUninit::uninit()),
        };
        tables.keep_slot(0);
        tables
    }

    /// Keeps a slot in memory, not in a register that would be lost to programs without the feature:
    /// hence volatile.
    #[inline(always)]
    fn keep_slot(&self, slot: u32) {
        if self.has(feature::ADDRESS_COUNTERS) {
            // SAFETY: nothing else refers to it, and it belongs to this run of the program.
            unsafe { self.slot.get().write_volatile(MaybeUninit::new(slot)) };
        }
    }

    /// The slot of the packet's Service Address; 0: it has none. To be asked for only with the feature
    /// of the address counters.
    #[inline(always)]
    pub(crate) fn slot(&self) -> u32 {
        // SAFETY: with the feature on it has been written by `new`.
        unsafe { self.slot.get().read_volatile().assume_init() }
    }

    #[inline(always)]
    fn found(&self, owner: &Owner) -> Owner {
        self.keep_slot(owner.slot);
        *owner
    }

    /// The service of an address in the index, which knows nothing of the address counters' slots.
    #[inline(always)]
    fn indexed_v4(&self, address: &[u8; 4]) -> Option<u32> {
        if self.has(feature::ADDRESS_COUNTERS) {
            return None;
        }
        let address = u32::from_ne_bytes(*address);
        let row = INDEX_V4.get_ptr(row_v4(address, INDEX_SHIFT.load()))?;
        // SAFETY: a row is two words. Each is written by the controller as a whole, at any time: hence volatile.
        let [first, second] = unsafe {
            let places = row.cast::<u64>();
            [places.read_volatile(), places.add(1).read_volatile()]
        };
        service_of(first, address).or_else(|| service_of(second, address))
    }

    #[inline(always)]
    fn indexed_v6(&self, address: &[u8; 16]) -> Option<u32> {
        if self.has(feature::ADDRESS_COUNTERS) {
            return None;
        }
        let address = halves(address);
        let row = INDEX_V6.get_ptr(row_v6(address, INDEX_SHIFT.load()))?;
        let place = row.cast::<PlaceV6>();
        // SAFETY: a row is two places.
        unsafe { service_at(place, address).or_else(|| service_at(place.add(1), address)) }
    }
}

/// The service of an IPv4 place, read as a word, if the address is there.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "its lower half")]
fn service_of(place: u64, address: u32) -> Option<u32> {
    let service = place as u32;
    (place >> 32 == u64::from(address) && service != NO_SERVICE).then_some(service)
}

/// The service of an IPv6 place, if the address is there.
///
/// # Safety
/// `place` is one of the index.
#[inline(always)]
unsafe fn service_at(place: *const PlaceV6, [high, low]: [u64; 2]) -> Option<u32> {
    let words = place.cast::<u64>();
    // SAFETY: a place's first three words, of which the controller writes each as a whole, at any time: hence
    // volatile. The service first, which is written last.
    let [service, first, second] = unsafe { [2, 0, 1].map(|word| words.add(word).read_volatile()) };
    #[expect(clippy::cast_possible_truncation, reason = "the rest is padding")]
    let service = service as u32;
    (first == high && second == low && service != NO_SERVICE).then_some(service)
}

/// The clock of the limits. Its grain is the kernel's tick, 1 to 10 ms: the controller lets no burst be shorter.
/// The kernel makes a load of it, where a clock that counts nanoseconds is a call.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: no arguments, no effects; kernel 5.6.
    let ticks = unsafe { bpf_jiffies64() };
    ticks * u64::from(TICK_NS.load())
}

/// A key on the stack, in whole words: the verifier refuses stores there that are not aligned, and
/// the compiler would merge those of smaller fields into such.
#[inline(always)]
fn key<K, const WORDS: usize>(words: &[u64; WORDS]) -> &K {
    const { assert!(size_of::<K>() <= 8 * WORDS && align_of::<K>() <= 8) };
    // SAFETY: at least as large and as aligned as a `K`; keys are integers and byte arrays.
    unsafe { &*words.as_ptr().cast::<K>() }
}

/// Two numbers in the order of memory.
#[inline(always)]
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// The halves of an IPv6 address in the order of memory.
#[inline(always)]
fn halves(address: &[u8; 16]) -> [u64; 2] {
    // SAFETY: sixteen bytes are two words; they are read without alignment.
    unsafe {
        core::ptr::from_ref(address)
            .cast::<[u64; 2]>()
            .read_unaligned()
    }
}

/// Takes a packet into account in `map`. Two CPUs that do so at once may lose one of the two: a
/// source limit is exact for a source whose packets arrive at one CPU.
macro_rules! admit_source {
    ($map:ident, $key:expr, $limit:expr) => {{
        let (key, now) = ($key, now());
        match $map.get_ptr_mut(key) {
            Some(source) => {
                // SAFETY: an LRU map's memory stays mapped while the program runs; should the entry
                // be evicted meanwhile, another source's bucket takes this packet.
                let source = unsafe { &mut *source };
                admit(&mut source.arrival_ns, now, $limit)
            }
            None => {
                let mut source = Source::default();
                let within = admit(&mut source.arrival_ns, now, $limit);
                // A full map evicts; what fails then is a race that the next packet repeats.
                let _raced = $map.insert(key, &source, 0);
                within
            }
        }
    }};
}

impl<const INDEXED: bool> Tables for KernelTables<'_, INDEXED> {
    #[inline(always)]
    fn owner_v4(&self, address: &[u8; 4]) -> Option<Owner> {
        if INDEXED && let Some(service) = self.indexed_v4(address) {
            return Some(Owner { service, slot: 0 });
        }
        // SAFETY: the key is four bytes without alignment, as the address is. By reference, so that
        // the kernel reads it where it lies.
        let key = unsafe { &*core::ptr::from_ref(address).cast::<AddressV4>() };
        // SAFETY: the value is copied out before anything else runs, and the map's memory is not
        // reused while the program runs.
        unsafe { ADDRESSES_V4.get(key) }.map(|owner| self.found(owner))
    }

    #[inline(always)]
    fn owner_v6(&self, address: &[u8; 16]) -> Option<Owner> {
        if INDEXED && let Some(service) = self.indexed_v6(address) {
            return Some(Owner { service, slot: 0 });
        }
        // SAFETY: as in `owner_v4`, with sixteen bytes.
        let key = unsafe { &*core::ptr::from_ref(address).cast::<AddressV6>() };
        // SAFETY: as in `owner_v4`.
        unsafe { ADDRESSES_V6.get(key) }.map(|owner| self.found(owner))
    }

    #[inline(always)]
    fn service(&self, id: u32) -> Option<&Service> {
        SERVICES.get(id)
    }

    #[inline(always)]
    fn features(&self) -> u64 {
        self.features
    }

    #[inline(always)]
    fn listed_v4(&self, scope: u32, source: &[u8; 4]) -> Option<bool> {
        let words = [
            pair(SCOPE_BITS + 32, scope.to_be()),
            u64::from(u32::from_ne_bytes(*source)),
        ];
        Some(LIST_V4.get(key::<Key<ListV4>, 2>(&words))?.allow != 0)
    }

    #[inline(always)]
    fn listed_v6(&self, scope: u32, source: &[u8; 16]) -> Option<bool> {
        let [high, low] = halves(source);
        let words = [pair(SCOPE_BITS + 128, scope.to_be()), high, low];
        Some(LIST_V6.get(key::<Key<ListV6>, 3>(&words))?.allow != 0)
    }

    #[inline(always)]
    fn admit(&self, service: u32, bucket: Bucket, limit: &Limit) -> bool {
        let Some(buckets) = BUCKETS.get_ptr_mut(service) else {
            return true;
        };
        // SAFETY: this CPU's own slot, and XDP is not preempted by itself.
        let buckets = unsafe { &mut *buckets };
        let arrival = match bucket {
            Bucket::Echo => &mut buckets.echo,
            Bucket::Reject => &mut buckets.reject,
            Bucket::Packets => &mut buckets.packets,
        };
        admit(arrival, now(), limit)
    }

    #[inline(always)]
    fn admit_source_v4(&self, service: u32, prefix: [u8; 4], limit: &Limit) -> bool {
        let words = [pair(u32::from_ne_bytes(prefix), service)];
        admit_source!(SOURCES_V4, key::<SourceV4, 1>(&words), limit)
    }

    #[inline(always)]
    fn admit_source_v6(&self, service: u32, prefix: [u8; 16], limit: &Limit) -> bool {
        let [high, low] = halves(&prefix);
        let words = [high, low, u64::from(service)];
        admit_source!(SOURCES_V6, key::<SourceV6, 3>(&words), limit)
    }

    #[inline(always)]
    fn mac(&self) -> Option<[u8; 6]> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an interface index has 32 bits"
        )]
        let index = self.ctx.ingress_ifindex() as u32;
        // SAFETY: the value is copied out before anything else runs.
        unsafe { INTERFACES.get(index) }.map(|interface| interface.mac)
    }

    #[inline(always)]
    fn identity(&self) -> Option<&Identity> {
        IDENTITY.get(0)
    }
}
