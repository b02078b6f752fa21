//! How often the peers of a prefix have failed, for as long as they are away (RFC 4271 §8.1.1,
//! DampPeerOscillations). Pure.
//!
//! A peer of a prefix has a task only while it is connected or held off; without this its waits would begin
//! anew each time. What is kept is bounded, in number and in time. It must not decide who is let in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long a peer that stays away is remembered, unless its waits can be longer.
const MEMORY: Duration = Duration::from_secs(300);

/// The failures of peers that are away, at most so many peers.
#[derive(Debug)]
pub(super) struct Penalties {
    most: usize,
    memory: Duration,
    away: BTreeMap<IpAddr, Penalty>,
}

#[derive(Debug, Clone, Copy)]
struct Penalty {
    failures: u32,
    forgotten_at: Instant,
}

impl Penalties {
    /// `longest`: the longest wait that a peer can be given.
    pub(super) fn new(most: usize, longest: Duration) -> Self {
        Self {
            most,
            memory: MEMORY.max(longest),
            away: BTreeMap::new(),
        }
    }

    /// A peer has gone, after so many failures in a row. Where there is no room, the one is forgotten that
    /// has been away for longest.
    pub(super) fn went(&mut self, address: IpAddr, failures: u32, now: Instant) {
        self.away.retain(|_, penalty| penalty.forgotten_at > now);
        self.away.remove(&address);
        if failures == 0 {
            return;
        }
        if self.away.len() >= self.most {
            let longest = self.away.iter().min_by_key(|(_, it)| it.forgotten_at);
            if let Some(address) = longest.map(|(address, _)| *address) {
                self.away.remove(&address);
            }
        }
        let penalty = Penalty {
            failures,
            forgotten_at: now + self.memory,
        };
        self.away.insert(address, penalty);
    }

    /// A peer is back: its failures before.
    pub(super) fn came(&mut self, address: IpAddr, now: Instant) -> u32 {
        self.away
            .remove(&address)
            .filter(|penalty| penalty.forgotten_at > now)
            .map_or(0, |penalty| penalty.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[test]
    fn failures_are_remembered_until_the_peer_is_back_or_has_been_away_for_long() {
        let start = Instant::now();
        // Failures when it goes, seconds until it is back, and what is remembered then.
        let cases = [
            (3, 1, 3),
            (3, 299, 3),
            (3, 300, 0),
            (0, 1, 0),
            (u32::MAX, 1, u32::MAX),
        ];
        for (failures, seconds, want) in cases {
            let mut penalties = Penalties::new(8, Duration::from_secs(30));
            penalties.went(peer(1), failures, start);
            let back = start + Duration::from_secs(seconds);
            assert_eq!(penalties.came(peer(2), back), 0, "another one");
            assert_eq!(penalties.came(peer(1), back), want, "{failures} {seconds}");
            assert_eq!(
                penalties.came(peer(1), back),
                0,
                "it is known by its task now"
            );
        }
    }

    #[test]
    fn a_wait_that_is_longer_than_the_memory_is_not_a_way_to_be_forgotten() {
        let start = Instant::now();
        let hour = Duration::from_secs(3600);
        let mut penalties = Penalties::new(8, hour);
        penalties.went(peer(1), 9, start);
        assert_eq!(penalties.came(peer(1), start + hour - MEMORY), 9);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_the_last_ones_stay() {
        let start = Instant::now();
        let mut penalties = Penalties::new(4, Duration::from_secs(30));
        for number in 0..=255u8 {
            let now = start + Duration::from_millis(number.into());
            penalties.went(peer(number), 1, now);
            penalties.went(peer(number), 2, now);
            assert!(penalties.away.len() <= 4);
        }
        let kept: Vec<u8> = (0..=255)
            .filter(|number| penalties.came(peer(*number), start) == 2)
            .collect();
        assert_eq!(kept, [252, 253, 254, 255]);
        penalties.went(peer(1), 1, start);
        penalties.went(peer(2), 1, start + MEMORY);
        assert_eq!(penalties.away.len(), 1, "what is forgotten takes no room");
    }
}
