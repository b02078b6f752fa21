//! What the verdict function asks of the tables: BPF maps in the kernel, ordinary maps on the host.

use crate::abi::{Owner, Service};

/// The installed addresses and services.
pub trait Tables {
    /// The service that owns an IPv4 Service Address.
    fn owner_v4(&self, address: &[u8; 4]) -> Option<Owner>;

    /// The service that owns an IPv6 Service Address.
    fn owner_v6(&self, address: &[u8; 16]) -> Option<Owner>;

    /// A service's entry.
    fn service(&self, id: u32) -> Option<&Service>;

    /// The features chosen at load, a set of [`crate::abi::feature`] bits.
    fn features(&self) -> u64;
}
