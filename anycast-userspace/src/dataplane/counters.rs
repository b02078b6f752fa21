//! Counters as read from the kernel. Pure.

use anycast_common::Reason;
use anycast_common::abi::{Count, Counters};

/// Packets and bytes of every service at about one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By service, in the order of the desired state.
    pub services: Vec<Counters>,
    /// Of packets that belong to no service.
    pub unowned: Counters,
}

impl Snapshot {
    /// All packets and bytes, whatever became of them.
    pub fn total(&self) -> Count {
        total(&sum(self.services.iter().copied().chain([self.unowned])))
    }
}

/// All packets and bytes of one set of counters.
pub fn total(counters: &Counters) -> Count {
    let mut total = Count::default();
    for (_, count) in by_reason(counters) {
        total.packets += count.packets;
        total.bytes += count.bytes;
    }
    total
}

/// The counts with their reasons, in the order of the map.
pub fn by_reason(counters: &Counters) -> impl Iterator<Item = (Reason, Count)> + '_ {
    Reason::ALL
        .iter()
        .map(|reason| (*reason, counters.get(*reason)))
}

pub(super) fn sum(all: impl Iterator<Item = Counters>) -> Counters {
    let mut sum = Counters::default();
    for counters in all {
        for (reason, count) in by_reason(&counters) {
            let into = sum.get_mut(reason);
            into.packets += count.packets;
            into.bytes += count.bytes;
        }
    }
    sum
}
