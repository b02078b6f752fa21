//! The Adj-RIB-Out of one peer: what it has been sent, and what must be sent next.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ipnet::IpNet;

use super::Attributes;

/// What has been handed to the session for one peer since it was established.
#[derive(Debug, Default)]
pub struct AdjRibOut {
    sent: BTreeMap<IpNet, Arc<Attributes>>,
}

/// What to send so that a peer's view becomes the wanted one. Withdrawals go first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// Prefixes to withdraw.
    pub withdraw: Vec<IpNet>,
    /// Prefixes to announce, gathered under equal attributes so that they share UPDATEs.
    pub announce: Vec<(Arc<Attributes>, Vec<IpNet>)>,
}

impl Delta {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.withdraw.is_empty() && self.announce.is_empty()
    }
}

impl AdjRibOut {
    /// Makes `wanted` the new content and returns what has to be sent for it.
    ///
    /// `wanted` must be in ascending order of prefixes, each prefix once: one walk over both sides
    /// finds the difference. Calling it again with the same routes returns an empty delta.
    pub fn replace<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = (&'a IpNet, &'a Arc<Attributes>)>,
    ) -> Delta {
        let mut groups = Groups::default();
        let mut withdraw = Vec::new();
        let mut changed: Vec<(IpNet, Arc<Attributes>)> = Vec::new();
        let mut sent = self.sent.iter().peekable();
        for (prefix, attributes) in wanted {
            while let Some((gone, _)) = sent.next_if(|(there, _)| **there < *prefix) {
                withdraw.push(*gone);
            }
            let same = match sent.peek().map(|(there, _)| (*there).cmp(prefix)) {
                Some(Ordering::Equal) => sent
                    .next()
                    .is_some_and(|(_, was)| Arc::ptr_eq(was, attributes) || was == attributes),
                Some(Ordering::Less | Ordering::Greater) | None => false,
            };
            if !same {
                groups.add(*prefix, attributes);
                changed.push((*prefix, Arc::clone(attributes)));
            }
        }
        withdraw.extend(sent.map(|(gone, _)| *gone));

        for prefix in &withdraw {
            self.sent.remove(prefix);
        }
        self.sent.extend(changed);
        Delta {
            withdraw,
            announce: groups.list,
        }
    }

    /// As [`AdjRibOut::replace`], for these prefixes alone: each with its attributes, or `None` where it is
    /// not wanted any more.
    pub fn update<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (&'a IpNet, Option<&'a Arc<Attributes>>)>,
    ) -> Delta {
        let mut groups = Groups::default();
        let mut withdraw = Vec::new();
        for (prefix, wanted) in changes {
            match wanted {
                None => withdraw.extend(self.sent.remove(prefix).map(|_| *prefix)),
                Some(attributes) => {
                    let was = self.sent.insert(*prefix, Arc::clone(attributes));
                    let same =
                        was.is_some_and(|was| Arc::ptr_eq(&was, attributes) || was == *attributes);
                    if !same {
                        groups.add(*prefix, attributes);
                    }
                }
            }
        }
        Delta {
            withdraw,
            announce: groups.list,
        }
    }

    /// Whether the peer has been sent a prefix.
    pub fn contains(&self, prefix: &IpNet) -> bool {
        self.sent.contains_key(prefix)
    }

    /// What the peer has been sent, in the order of the prefixes.
    pub fn iter(&self) -> impl Iterator<Item = (&IpNet, &Arc<Attributes>)> {
        self.sent.iter()
    }

    /// Everything again for the prefixes that `chosen` picks, as a route refresh asks (RFC 2918 §4).
    pub fn resend(&self, chosen: impl Fn(&IpNet) -> bool) -> Delta {
        let mut groups = Groups::default();
        for (prefix, attributes) in self.sent.iter().filter(|(prefix, _)| chosen(prefix)) {
            groups.add(*prefix, attributes);
        }
        Delta {
            withdraw: Vec::new(),
            announce: groups.list,
        }
    }

    /// How many prefixes the peer has been sent.
    pub fn len(&self) -> usize {
        self.sent.len()
    }

    /// Whether the peer has been sent nothing.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }
}

/// Prefixes under equal attributes, in the order in which the attributes first appear.
#[derive(Default)]
struct Groups {
    list: Vec<(Arc<Attributes>, Vec<IpNet>)>,
    index: HashMap<Arc<Attributes>, usize>,
}

impl Groups {
    fn add(&mut self, prefix: IpNet, attributes: &Arc<Attributes>) {
        if let Some((last, prefixes)) = self.list.last_mut()
            && Arc::ptr_eq(last, attributes)
        {
            prefixes.push(prefix);
            return;
        }
        let at = *self.index.entry(Arc::clone(attributes)).or_insert_with(|| {
            self.list.push((Arc::clone(attributes), Vec::new()));
            self.list.len() - 1
        });
        self.list[at].1.push(prefix);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Table = BTreeMap<IpNet, Arc<Attributes>>;

    fn med(med: u32) -> Arc<Attributes> {
        Arc::new(Attributes {
            med: Some(med),
            ..Attributes::default()
        })
    }

    fn table(rows: &[(&str, u32)]) -> Table {
        rows.iter()
            .map(|(prefix, value)| (prefix.parse().unwrap(), med(*value)))
            .collect()
    }

    fn prefixes(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_difference_is_sent_and_nothing_else() {
        struct Case {
            name: &'static str,
            sent: &'static [(&'static str, u32)],
            wanted: &'static [(&'static str, u32)],
            withdraw: &'static [&'static str],
            announce: &'static [(u32, &'static [&'static str])],
        }
        let cases = [
            Case {
                name: "everything is new",
                sent: &[],
                wanted: &[("10.0.0.1/32", 1), ("fd00::1/128", 1)],
                withdraw: &[],
                announce: &[(1, &["10.0.0.1/32", "fd00::1/128"])],
            },
            Case {
                name: "everything goes",
                sent: &[("10.0.0.1/32", 1), ("fd00::1/128", 1)],
                wanted: &[],
                withdraw: &["10.0.0.1/32", "fd00::1/128"],
                announce: &[],
            },
            Case {
                name: "the same again is silence",
                sent: &[("10.0.0.1/32", 1)],
                wanted: &[("10.0.0.1/32", 1)],
                withdraw: &[],
                announce: &[],
            },
            Case {
                name: "changed attributes are announced without a withdrawal",
                sent: &[("10.0.0.1/32", 1), ("10.0.0.2/32", 1)],
                wanted: &[("10.0.0.1/32", 2), ("10.0.0.2/32", 1)],
                withdraw: &[],
                announce: &[(2, &["10.0.0.1/32"])],
            },
            Case {
                name: "equal attributes share a group, whatever lies between",
                sent: &[("10.0.0.9/32", 1)],
                wanted: &[("10.0.0.1/32", 1), ("10.0.0.2/32", 2), ("10.0.0.3/32", 1)],
                withdraw: &["10.0.0.9/32"],
                announce: &[(1, &["10.0.0.1/32", "10.0.0.3/32"]), (2, &["10.0.0.2/32"])],
            },
        ];
        for case in cases {
            let mut rib = AdjRibOut::default();
            rib.replace(&table(case.sent));
            let delta = rib.replace(&table(case.wanted));
            let announce: Vec<_> = case
                .announce
                .iter()
                .map(|(value, list)| (med(*value), prefixes(list)))
                .collect();
            assert_eq!(delta.withdraw, prefixes(case.withdraw), "{}", case.name);
            assert_eq!(delta.announce, announce, "{}", case.name);
        }
    }

    #[test]
    fn a_flap_that_ends_where_it_began_sends_nothing() {
        let up = table(&[("10.0.0.1/32", 1), ("fd00::1/128", 1)]);
        let mut rib = AdjRibOut::default();
        rib.replace(&up);
        // Down and up again happened while the session was busy: only the last state is seen.
        assert!(rib.replace(&up).is_empty());
    }

    #[test]
    fn a_refresh_sends_one_family_again_and_changes_nothing() {
        let up = table(&[("10.0.0.1/32", 1), ("fd00::1/128", 1)]);
        let mut rib = AdjRibOut::default();
        rib.replace(&up);
        let again = rib.resend(|prefix| prefix.addr().is_ipv6());
        assert_eq!(again.announce, vec![(med(1), prefixes(&["fd00::1/128"]))]);
        assert!(rib.replace(&up).is_empty());
    }

    /// What a peer holds after a delta: withdrawals first, as they are sent.
    fn receive(view: &mut Table, delta: &Delta) {
        for prefix in &delta.withdraw {
            assert!(
                view.remove(prefix).is_some(),
                "{prefix} was never announced"
            );
        }
        for (attributes, list) in &delta.announce {
            for prefix in list {
                let was = view.insert(*prefix, Arc::clone(attributes));
                assert_ne!(was.as_ref(), Some(attributes), "{prefix} was sent twice");
            }
        }
    }

    fn tables() -> impl Strategy<Value = Table> {
        prop::collection::btree_map(0u8..24, 0u32..3, 0..24).prop_map(|rows| {
            rows.into_iter()
                .map(|(host, value)| {
                    let text = match host % 2 {
                        0 => format!("10.0.0.{host}/32"),
                        _ => format!("fd00::{host}/128"),
                    };
                    (text.parse().unwrap(), med(value))
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn a_peer_that_applies_every_delta_holds_exactly_what_is_wanted(
            steps in prop::collection::vec(tables(), 1..8)
        ) {
            let mut rib = AdjRibOut::default();
            let mut view = Table::new();
            for wanted in &steps {
                let delta = rib.replace(wanted);
                receive(&mut view, &delta);
                prop_assert_eq!(&view, wanted);
                let distinct: std::collections::HashSet<_> =
                    delta.announce.iter().map(|(attributes, _)| attributes).collect();
                prop_assert_eq!(distinct.len(), delta.announce.len());
            }
        }
    }
}
