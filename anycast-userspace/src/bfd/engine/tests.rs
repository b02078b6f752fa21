//! Packets that wait while timers expire, on a socket of the loopback interface.

use std::net::{Ipv4Addr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::bfd::iana::{Diagnostic, TTL};
use crate::bfd::packet::Micros;
use crate::bfd::socket::Hops;
use crate::config::Span;

const DOMAIN: Domain = Domain {
    hops: Hops::Single,
    ipv6: false,
    vrf: None,
};
const INTERVAL: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(10);
/// Longer than the interval times the multiplier.
const SILENCE: Duration = Duration::from_millis(25);
/// Too short to be a packet.
const JUNK: &[u8] = &[0; 8];

/// An engine with one session that is up, and its peer.
struct Pair {
    engine: Engine,
    peer: UdpSocket,
    ours: NonZeroU32,
}

impl Pair {
    fn new() -> Self {
        let (receiver, address) = Receiver::on_loopback(&DOMAIN).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.set_ttl(TTL.into()).unwrap();
        peer.connect(address).unwrap();
        let mut engine = Engine::default();
        engine.receivers.insert(DOMAIN, receiver);
        let watched = Peer {
            name: "r1".to_owned(),
            address: Ipv4Addr::LOCALHOST.into(),
            source: None,
            interface: None,
            vrf: None,
            settings: Bfd {
                interval: Span(INTERVAL),
                multiplier: 1,
                ..Bfd::default()
            },
            key: None,
        };
        let (ours, _) = engine.add(watched).unwrap();
        let mut pair = Self { engine, peer, ours };
        for state in [State::Down, State::Init] {
            pair.say(state);
            pair.turn();
        }
        assert_eq!(pair.state(), State::Up);
        pair
    }

    fn say(&self, state: State) {
        let packet = Control {
            diagnostic: Diagnostic::NONE,
            state,
            poll: false,
            last: false,
            control_plane_independent: false,
            demand: false,
            multiplier: NonZeroU8::MIN,
            my_discriminator: NonZeroU32::MIN,
            your_discriminator: (state != State::Down).then_some(self.ours),
            desired_min_tx: Micros::saturating_from(INTERVAL),
            required_min_rx: Micros::saturating_from(INTERVAL),
            required_min_echo_rx: Micros(0),
        };
        self.peer.send(&packet.encode()).unwrap();
    }

    /// What the loop does with packets and timers.
    fn turn(&mut self) {
        let heard_until = self.engine.receive();
        self.engine.expire(heard_until);
    }

    fn state(&self) -> State {
        self.engine.sessions[&self.ours].machine().state()
    }
}

#[tokio::test]
async fn a_packet_that_waits_behind_a_full_batch_keeps_its_session_up() {
    for before in [0, 1, BATCH - 1, BATCH, BATCH + 1] {
        let mut pair = Pair::new();
        std::thread::sleep(SILENCE);
        for _ in 0..before {
            pair.peer.send(JUNK).unwrap();
        }
        pair.say(State::Up);
        pair.turn();
        assert_eq!(pair.state(), State::Up, "{before} packets before it");
        let length = pair.engine.discarded.length;
        assert_eq!(length, u64::try_from(before).unwrap(), "all are read");
    }
}

#[tokio::test]
async fn a_flood_does_not_keep_the_session_of_a_silent_peer_up() {
    let mut pair = Pair::new();
    let (flood, over) = (
        pair.peer.try_clone().unwrap(),
        Arc::new(AtomicBool::new(false)),
    );
    let sender = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                flood.send(JUNK).unwrap();
            }
        }
    });
    let start = Instant::now();
    while pair.state() == State::Up && start.elapsed() < LIMIT {
        pair.turn();
    }
    over.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    assert_eq!(pair.state(), State::Down);
}

#[tokio::test]
async fn a_flood_is_left_when_all_has_been_read_that_can_have_waited() {
    let mut pair = Pair::new();
    let receiver = pair.engine.receivers.get_mut(&DOMAIN).unwrap();
    let (capacity, mut read) = (receiver.capacity, 0);
    for _ in 0..2 * capacity {
        pair.peer.send(JUNK).unwrap();
    }
    while !receiver.drain(1, |_| read += 1) {}
    assert!(read > BATCH, "the test needs a queue that is longer");
    assert!(
        read <= capacity,
        "{read} waited, {capacity} are thought to be the most"
    );
}
