//! What the verdict function asks of the tables: BPF maps in the kernel, ordinary maps on the host.

use crate::abi::{Bucket, Identity, Limit, Owner, Service};

/// The installed addresses and services, and what else a verdict depends on.
pub trait Tables {
    /// The service that owns an IPv4 Service Address.
    fn owner_v4(&self, address: &[u8; 4]) -> Option<Owner>;

    /// The service that owns an IPv6 Service Address.
    fn owner_v6(&self, address: &[u8; 16]) -> Option<Owner>;

    /// A service's entry.
    fn service(&self, id: u32) -> Option<&Service>;

    /// The features chosen at load, a set of [`crate::abi::feature`] bits.
    fn features(&self) -> u64;

    /// Whether a list of `scope` allows an IPv4 source, denies it, or does not know it.
    fn listed_v4(&self, scope: u32, source: &[u8; 4]) -> Option<bool>;

    /// As [`Tables::listed_v4`], for IPv6.
    fn listed_v6(&self, scope: u32, source: &[u8; 16]) -> Option<bool>;

    /// Takes a packet into account of one of a service's limits; false: it is over the limit.
    fn admit(&self, service: u32, bucket: Bucket, limit: &Limit) -> bool;

    /// Takes a packet into account of the limit of an IPv4 prefix.
    fn admit_source_v4(&self, service: u32, prefix: [u8; 4], limit: &Limit) -> bool;

    /// As [`Tables::admit_source_v4`], for IPv6.
    fn admit_source_v6(&self, service: u32, prefix: [u8; 16], limit: &Limit) -> bool;

    /// The MAC address of the interface that the packet came in by.
    fn mac(&self) -> Option<[u8; 6]>;

    /// What the node calls itself in DNS.
    fn identity(&self) -> Option<&Identity>;

    /// Whether a feature was chosen at load.
    #[inline(always)]
    fn has(&self, feature: u64) -> bool {
        self.features() & feature != 0
    }
}
