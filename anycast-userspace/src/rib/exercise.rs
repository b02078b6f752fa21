//! What must hold for any sequence of wishes, as a function that fuzzers and property tests call: it
//! panics where a promise is broken.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use ipnet::IpNet;

use super::{AdjRibOut, Attributes, Delta};

type Table = BTreeMap<IpNet, Arc<Attributes>>;

/// A peer that applies every delta holds what is wanted, and is told nothing twice.
///
/// # Errors
/// `data` says nothing more.
pub fn adj_rib_out(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let mut rib = AdjRibOut::default();
    let mut view = Table::new();
    while !input.is_empty() {
        let mut wanted = Table::new();
        for _ in 0..input.int_in_range(0..=24)? {
            let (host, med): (u8, u8) = input.arbitrary()?;
            wanted.insert(prefix(host), attributes(med % 4));
        }
        let delta = if input.arbitrary()? {
            let changed: BTreeSet<IpNet> = view.keys().chain(wanted.keys()).copied().collect();
            rib.update(changed.iter().map(|prefix| (prefix, wanted.get(prefix))))
        } else {
            rib.replace(&wanted)
        };
        receive(&mut view, &delta);
        assert_eq!(view, wanted);
        assert!(rib.replace(&wanted).is_empty());
        let mut again = Table::new();
        receive(&mut again, &rib.resend(|_| true));
        assert_eq!(again, wanted);
    }
    Ok(())
}

fn receive(view: &mut Table, delta: &Delta) {
    for prefix in &delta.withdraw {
        assert!(
            view.remove(prefix).is_some(),
            "{prefix} was never announced"
        );
    }
    for (at, (attributes, prefixes)) in delta.announce.iter().enumerate() {
        let groups = &delta.announce[..at];
        assert!(
            groups.iter().all(|(other, _)| other != attributes),
            "two groups of the same attributes"
        );
        for prefix in prefixes {
            let was = view.insert(*prefix, Arc::clone(attributes));
            assert_ne!(was.as_ref(), Some(attributes), "{prefix} was sent twice");
        }
    }
}

fn prefix(host: u8) -> IpNet {
    match host % 2 {
        0 => IpNet::from(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))),
        _ => IpNet::from(std::net::IpAddr::V6(Ipv6Addr::new(
            0xFD00,
            0,
            0,
            0,
            0,
            0,
            0,
            host.into(),
        ))),
    }
}

fn attributes(med: u8) -> Arc<Attributes> {
    Arc::new(Attributes {
        med: Some(med.into()),
        ..Attributes::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_sequence_of_wishes_is_met(data in prop::collection::vec(any::<u8>(), 0..600)) {
            // Running out of data is how a sequence ends.
            let _ = super::adj_rib_out(&data);
        }
    }
}
