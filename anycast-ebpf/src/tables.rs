//! The verdict function's tables over BPF maps.

use anycast_common::Tables;
use anycast_common::abi::{AddressV4, AddressV6, Owner, Service};

use crate::maps::{ADDRESSES_V4, ADDRESSES_V6, FEATURES, SERVICES};

/// The maps of this program.
pub(crate) struct KernelTables;

impl Tables for KernelTables {
    #[inline(always)]
    fn owner_v4(&self, address: &[u8; 4]) -> Option<Owner> {
        // SAFETY: the key is four bytes without alignment, as the address is. By reference, so that
        // the kernel reads it where it lies.
        let key = unsafe { &*core::ptr::from_ref(address).cast::<AddressV4>() };
        // SAFETY: the value is copied out before anything else runs, and the map's memory is not
        // reused while the program runs.
        unsafe { ADDRESSES_V4.get(key) }.copied()
    }

    #[inline(always)]
    fn owner_v6(&self, address: &[u8; 16]) -> Option<Owner> {
        // SAFETY: as in `owner_v4`, with sixteen bytes.
        let key = unsafe { &*core::ptr::from_ref(address).cast::<AddressV6>() };
        // SAFETY: as in `owner_v4`.
        unsafe { ADDRESSES_V6.get(key) }.copied()
    }

    #[inline(always)]
    fn service(&self, id: u32) -> Option<&Service> {
        SERVICES.get(id)
    }

    #[inline(always)]
    fn features(&self) -> u64 {
        FEATURES.load()
    }
}
