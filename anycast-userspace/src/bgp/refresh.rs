//! When a peer that asks for its routes again gets them (RFC 2918 §4). Pure.
//!
//! Requests for a family merge until it is sent, and no family is sent again sooner than `INTERVAL` after the
//! last time: a peer that asks and asks would otherwise have its whole table encoded each time. A request is
//! never dropped; it must not know what is sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::config::bgp::Family;

/// The least time between two refreshes of one family.
const INTERVAL: Duration = Duration::from_secs(5);

/// What a peer has asked for in one session.
#[derive(Debug, Default)]
pub(super) struct Refreshes(BTreeMap<Family, Asked>);

#[derive(Debug, Default)]
struct Asked {
    waits: bool,
    started: Option<Instant>,
}

impl Asked {
    /// When the request that waits may be served; `None`: at once.
    fn due(&self) -> Option<Instant> {
        self.started.map(|started| started + INTERVAL)
    }
}

impl Refreshes {
    /// The peer asks for a family.
    pub(super) fn ask(&mut self, family: Family) {
        self.0.entry(family).or_default().waits = true;
    }

    /// A family that is to be sent now. What is asked for from here on needs another refresh.
    pub(super) fn start_due(&mut self, now: Instant) -> Option<Family> {
        let (family, asked) = self
            .0
            .iter_mut()
            .find(|(_, asked)| asked.waits && asked.due().is_none_or(|at| at <= now))?;
        *asked = Asked {
            waits: false,
            started: Some(now),
        };
        Some(*family)
    }

    /// When `start_due` has something next; `now` if it has already.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.0.values().filter(|asked| asked.waits);
        waiting.map(|asked| asked.due().unwrap_or(now)).min()
    }

    /// Whether `start_due` has something.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline(now).is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_sent_at_once_then_after_the_interval_however_often_it_is_asked_for() {
        const IPV4: &[Family] = &[Family::Ipv4];
        const BOTH: &[Family] = &[Family::Ipv4, Family::Ipv6];
        // At which second what is asked for, and what is sent then.
        let steps: [(u64, &[Family], &[Family]); 9] = [
            (0, &[], &[]),
            (1, IPV4, IPV4),
            (2, IPV4, &[]),
            (3, BOTH, &[Family::Ipv6]),
            (5, IPV4, &[]),
            (6, &[], IPV4),
            (8, &[], &[]),
            (30, BOTH, BOTH),
            (60, &[], &[]),
        ];
        let start = Instant::now();
        let mut refreshes = Refreshes::default();
        for (second, asked, want) in steps {
            let now = start + Duration::from_secs(second);
            for family in asked {
                refreshes.ask(*family);
            }
            assert_eq!(refreshes.is_due(now), !want.is_empty(), "second {second}");
            let sent: Vec<Family> = std::iter::from_fn(|| refreshes.start_due(now)).collect();
            assert_eq!(sent, want, "second {second}");
            assert!(!refreshes.is_due(now), "a loop would not end");
        }
    }

    #[test]
    fn what_is_asked_for_while_it_is_being_sent_is_sent_once_more_at_the_deadline() {
        let start = Instant::now();
        let mut refreshes = Refreshes::default();
        assert_eq!(refreshes.deadline(start), None);
        refreshes.ask(Family::Ipv6);
        assert_eq!(refreshes.deadline(start), Some(start));
        assert_eq!(refreshes.start_due(start), Some(Family::Ipv6));
        assert_eq!(refreshes.deadline(start), None);
        for _ in 0..1000 {
            refreshes.ask(Family::Ipv6);
            assert_eq!(refreshes.start_due(start), None);
        }
        let at = refreshes.deadline(start).expect("a request waits");
        assert_eq!(at, start + INTERVAL);
        assert_eq!(refreshes.start_due(at), Some(Family::Ipv6));
        assert_eq!(refreshes.deadline(at), None);
    }
}
