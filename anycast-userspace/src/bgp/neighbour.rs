//! Who is at the other end of an interface: router advertisements (RFC 4861), and what they tell. Pure.
//!
//! Both ends of an unnumbered session learn each other's link-local address from the other's router
//! advertisements. Ours say that we are nobody's default router (Router Lifetime 0), and nothing else.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

/// ICMPv6 types (RFC 4861 §4.1, §4.2).
pub(super) const ROUTER_SOLICITATION: u8 = 133;
pub(super) const ROUTER_ADVERTISEMENT: u8 = 134;
/// The hop limit that no router can have forwarded (RFC 4861 §6.1).
pub(super) const HOP_LIMIT: u8 = 255;

/// Time between advertisements, and between the first few (RFC 4861 §6.2.4 allows more of them at first).
const INTERVAL: Duration = Duration::from_secs(10);
const INITIAL_INTERVAL: Duration = Duration::from_secs(1);
const INITIAL: u32 = 4;
/// The least time between answers to solicitations (RFC 4861 §6.2.6, MIN_DELAY_BETWEEN_RAS).
const ANSWER_INTERVAL: Duration = Duration::from_secs(3);
/// A neighbour that was heard within this is not replaced by another one.
const LOYALTY: Duration = Duration::from_secs(60);

/// A Router Advertisement without options: current hop limit, flags, lifetime and timers are 0, which
/// means "unspecified", and "not a default router". The kernel fills in the checksum.
pub(super) const ADVERTISEMENT: [u8; 16] = {
    let mut message = [0; 16];
    message[0] = ROUTER_ADVERTISEMENT;
    message
};
/// A Router Solicitation without options.
pub(super) const SOLICITATION: [u8; 8] = [ROUTER_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];

/// What has come from the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// A router is at this address.
    Router(Ipv6Addr),
    /// Somebody asks for routers.
    Question,
}

/// Reads an ICMPv6 message, with its sender and its hop limit; `None`: it does not satisfy RFC 4861
/// §6.1.1 or §6.1.2, or is something else.
pub(super) fn read(octets: &[u8], from: Ipv6Addr, hop_limit: u8) -> Option<Heard> {
    let [kind, code, ..] = *octets else {
        return None;
    };
    if hop_limit != HOP_LIMIT || code != 0 {
        return None;
    }
    let (fixed, heard) = match kind {
        ROUTER_ADVERTISEMENT if from.is_unicast_link_local() => {
            (ADVERTISEMENT.len(), Heard::Router(from))
        }
        ROUTER_SOLICITATION => (SOLICITATION.len(), Heard::Question),
        _ => return None,
    };
    options_are_whole(octets.get(fixed..)?).then_some(heard)
}

/// RFC 4861 §4.6: each option has its length in units of 8 octets, and none has length 0.
fn options_are_whole(mut options: &[u8]) -> bool {
    while let [_, length, ..] = *options {
        let length = usize::from(length) * 8;
        if length == 0 {
            return false;
        }
        match options.get(length..) {
            Some(rest) => options = rest,
            None => return false,
        }
    }
    options.is_empty()
}

/// The one neighbour of an interface, and when to advertise next.
#[derive(Debug)]
pub(super) struct Neighbour {
    known: Option<(Ipv6Addr, Instant)>,
    sent: u32,
    last_sent: Option<Instant>,
    next: Instant,
}

impl Neighbour {
    /// Nobody is known; the first advertisement is due.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            known: None,
            sent: 0,
            last_sent: None,
            next: now,
        }
    }

    /// Takes what was heard. A second router on the link does not replace one that is still heard.
    pub(super) fn heard(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Router(address) => {
                let stays = self.known.is_some_and(|(known, last)| {
                    known != address && now.duration_since(last) < LOYALTY
                });
                if !stays {
                    self.known = Some((address, now));
                }
            }
            Heard::Question => {
                let earliest = self.last_sent.map_or(now, |last| last + ANSWER_INTERVAL);
                self.next = self.next.min(earliest.max(now));
            }
        }
    }

    /// The neighbour's address.
    pub(super) fn address(&self) -> Option<Ipv6Addr> {
        self.known.map(|(address, _)| address)
    }

    /// When the next advertisement is due.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// An advertisement has been sent.
    pub(super) fn advertised(&mut self, now: Instant) {
        self.sent = self.sent.saturating_add(1);
        self.last_sent = Some(now);
        let wait = if self.sent < INITIAL {
            INITIAL_INTERVAL
        } else {
            INTERVAL
        };
        self.next = now + wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
    const OTHER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3);
    const GLOBAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    #[test]
    fn only_whole_messages_from_the_link_are_heard() {
        let with = |options: &[u8]| [&ADVERTISEMENT[..], options].concat();
        let router = Some(Heard::Router(ROUTER));
        let cases = [
            ("an advertisement", with(&[]), ROUTER, 255, router),
            ("forwarded", with(&[]), ROUTER, 254, None),
            ("from a global address", with(&[]), GLOBAL, 255, None),
            (
                "with an option",
                with(&[1, 1, 2, 0, 0, 0, 0, 1]),
                ROUTER,
                255,
                router,
            ),
            (
                "an option of length 0",
                with(&[1, 0, 0, 0, 0, 0, 0, 0]),
                ROUTER,
                255,
                None,
            ),
            (
                "an option cut short",
                with(&[1, 2, 0, 0, 0, 0, 0, 0]),
                ROUTER,
                255,
                None,
            ),
            ("half an option", with(&[1]), ROUTER, 255, None),
            ("cut short", ADVERTISEMENT[..15].to_vec(), ROUTER, 255, None),
            (
                "another code",
                [&[134, 1][..], &[0; 14]].concat(),
                ROUTER,
                255,
                None,
            ),
            (
                "an echo request",
                [&[128, 0][..], &[0; 14]].concat(),
                ROUTER,
                255,
                None,
            ),
            ("nothing", Vec::new(), ROUTER, 255, None),
            (
                "a solicitation",
                SOLICITATION.to_vec(),
                Ipv6Addr::UNSPECIFIED,
                255,
                Some(Heard::Question),
            ),
        ];
        for (name, octets, from, hop_limit, want) in cases {
            assert_eq!(read(&octets, from, hop_limit), want, "{name}");
        }
    }

    #[test]
    fn a_second_router_is_taken_only_when_the_first_is_silent() {
        let start = Instant::now();
        let mut neighbour = Neighbour::new(start);
        assert_eq!(neighbour.address(), None);
        neighbour.heard(Heard::Router(ROUTER), start);
        neighbour.heard(Heard::Router(OTHER), start + Duration::from_secs(59));
        assert_eq!(neighbour.address(), Some(ROUTER));
        neighbour.heard(Heard::Router(OTHER), start + Duration::from_secs(60));
        assert_eq!(neighbour.address(), Some(OTHER));
    }

    #[test]
    fn advertisements_come_quickly_at_first_then_every_ten_seconds_and_when_asked() {
        let start = Instant::now();
        let mut neighbour = Neighbour::new(start);
        let mut at = start;
        let mut waits = Vec::new();
        for _ in 0..6 {
            neighbour.advertised(at);
            waits.push(neighbour.deadline().duration_since(at).as_secs());
            at = neighbour.deadline();
        }
        assert_eq!(waits, [1, 1, 1, 10, 10, 10]);
        // The last one was sent 10 s before `at`; a question a second later must wait for 3 s.
        let sent = at - INTERVAL;
        neighbour.heard(Heard::Question, sent + Duration::from_secs(1));
        assert_eq!(neighbour.deadline(), sent + ANSWER_INTERVAL);
        neighbour.heard(Heard::Question, sent + Duration::from_secs(5));
        assert_eq!(neighbour.deadline(), sent + ANSWER_INTERVAL);
    }
}
