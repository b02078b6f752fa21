//! Allow and deny lists as one longest-prefix match. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

/// Adds the lists of a scope, such that the longest match says what the lists mean: what is allowed
/// wins, whatever is denied within it or around it.
pub(super) fn list(
    into: &mut BTreeMap<(u32, IpNet), bool>,
    scope: u32,
    allow: &[IpNet],
    deny: &[IpNet],
) {
    let allowed: BTreeSet<IpNet> = allow.iter().map(IpNet::trunc).collect();
    for prefix in deny.iter().map(IpNet::trunc) {
        if !within(prefix, &allowed) {
            into.insert((scope, prefix), false);
        }
    }
    for prefix in allowed {
        into.insert((scope, prefix), true);
    }
}

/// Whether a prefix or one around it is in the set.
fn within(prefix: IpNet, set: &BTreeSet<IpNet>) -> bool {
    let mut next = Some(prefix);
    while let Some(prefix) = next {
        if set.contains(&prefix) {
            return true;
        }
        next = prefix.supernet();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn longest(lists: &BTreeMap<(u32, IpNet), bool>, source: IpAddr) -> Option<bool> {
        lists
            .iter()
            .filter(|((_, prefix), _)| prefix.contains(&source))
            .max_by_key(|((_, prefix), _)| prefix.prefix_len())
            .map(|(_, allow)| *allow)
    }

    #[test]
    fn duplicates_overlaps_and_both_families_have_one_meaning() {
        let nets = |texts: &[&str]| -> Vec<IpNet> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let mut lists = BTreeMap::new();
        list(
            &mut lists,
            0,
            &nets(&["10.1.0.0/16", "10.1.0.0/16", "2001:db8::/32"]),
            &nets(&[
                "10.0.0.0/8",
                "10.1.2.0/24",
                "10.1.0.0/16",
                "2001:db8:1::/48",
                "::/0",
            ]),
        );
        for (source, want) in [
            ("10.2.0.1", Some(false)),
            ("10.1.2.3", Some(true)),
            ("10.1.9.9", Some(true)),
            ("11.0.0.1", None),
            ("2001:db8:1::1", Some(true)),
            ("2001:db9::1", Some(false)),
        ] {
            assert_eq!(longest(&lists, source.parse().unwrap()), want, "{source}");
        }
    }

    fn prefixes() -> impl Strategy<Value = Vec<IpNet>> {
        // Few addresses and lengths, so that they overlap.
        prop::collection::vec((0_u8..8, 0_u8..=4), 0..8).prop_map(|parts| {
            parts
                .into_iter()
                .map(|(bits, length)| {
                    let address = std::net::Ipv4Addr::new(bits << 5, 0, 0, 0);
                    ipnet::Ipv4Net::new(address, length).unwrap().trunc().into()
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_longest_match_denies_what_is_denied_and_not_allowed(
            allow in prefixes(),
            deny in prefixes(),
            first in 0_u8..=255,
        ) {
            let source = IpAddr::from([first, 0, 0, 1]);
            let mut lists = BTreeMap::new();
            list(&mut lists, 0, &allow, &deny);
            let allowed = allow.iter().any(|prefix| prefix.contains(&source));
            let denied = deny.iter().any(|prefix| prefix.contains(&source));
            let want = if allowed { Some(true) } else { denied.then_some(false) };
            prop_assert_eq!(longest(&lists, source), want);
        }
    }
}
