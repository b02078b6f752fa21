//! Poll Sequences (RFC 5880 §6.5), and timers that change while the session is up (§6.8.3).

use super::*;

#[test]
fn coming_up_polls_until_the_peer_answers() {
    let now = Instant::now();
    let mut machine = machine_in(State::Init, now);
    machine.on_packet(&from_peer(State::Init), now);
    let first = drain(&mut machine, now);
    assert_eq!(first.len(), 1);
    assert!(first[0].poll && !first[0].last);
    assert_eq!(first[0].desired_min_tx, Micros(50_000));
    let again = drain(&mut machine, now + millis(50));
    assert!(again[0].poll, "no answer yet");
    let answer = Control {
        last: true,
        ..from_peer(State::Up)
    };
    machine.on_packet(&answer, now + millis(60));
    let after = drain(&mut machine, now + millis(100));
    assert!(!after[0].poll, "answered");
}

#[test]
fn a_poll_is_answered_at_once_in_every_state_but_admin_down() {
    let now = Instant::now();
    let poll = Control {
        poll: true,
        ..from_peer(State::Up)
    };
    for (state, answers) in [
        (State::AdminDown, 0),
        (State::Down, 1),
        (State::Init, 1),
        (State::Up, 1),
    ] {
        let mut machine = machine_in(state, now);
        machine.on_packet(&poll, now);
        let sent = drain(&mut machine, now);
        let finals = sent.iter().filter(|packet| packet.last).count();
        assert_eq!(finals, answers, "{state:?}");
        assert!(sent.iter().all(|packet| !(packet.poll && packet.last)));
    }
}

#[test]
fn an_answer_to_a_poll_does_not_move_the_periodic_packet() {
    let now = Instant::now();
    let mut machine = machine_up_and_agreed(now);
    let before = machine.transmit_at();
    let poll = Control {
        poll: true,
        ..from_peer(State::Up)
    };
    machine.on_packet(&poll, now + millis(20));
    assert_eq!(drain(&mut machine, now + millis(20)).len(), 1);
    assert_eq!(machine.transmit_at(), before);
}

#[test]
fn slower_sending_and_faster_detection_wait_for_the_peers_agreement() {
    let now = Instant::now();
    let answer = Control {
        last: true,
        ..from_peer(State::Up)
    };
    let slower = Settings {
        desired_min_tx: Micros(200_000),
        ..FAST
    };
    let mut machine = machine_up_and_agreed(now);
    machine.configure(slower);
    assert_eq!(machine.transmit_interval(), Some(Micros(50_000)));
    let sent = drain(&mut machine, now + millis(50));
    assert!(sent[0].poll && sent[0].desired_min_tx == Micros(200_000));
    machine.on_packet(&answer, now + millis(51));
    assert_eq!(machine.transmit_interval(), Some(Micros(200_000)));

    let faster = Settings {
        required_min_rx: Micros(20_000),
        ..slower
    };
    let fast_peer = Control {
        desired_min_tx: Micros(20_000),
        ..answer
    };
    machine.on_packet(&fast_peer, now + millis(52));
    machine.configure(faster);
    assert_eq!(machine.detection_time(), Some(millis(150)));
    machine.on_packet(&fast_peer, now + millis(60));
    assert_eq!(machine.detection_time(), Some(millis(60)));
}

#[test]
fn faster_sending_and_slower_detection_hold_at_once() {
    let now = Instant::now();
    let mut machine = machine_up_and_agreed(now);
    machine.configure(Settings {
        desired_min_tx: Micros(10_000),
        required_min_rx: Micros(500_000),
        ..FAST
    });
    assert_eq!(machine.detection_time(), Some(millis(1500)));
    assert_eq!(
        machine.transmit_interval(),
        Some(Micros(50_000)),
        "the peer takes no more"
    );
    let takes_more = Control {
        required_min_rx: Micros(10_000),
        ..from_peer(State::Up)
    };
    machine.on_packet(&takes_more, now);
    assert_eq!(machine.transmit_interval(), Some(Micros(10_000)));
    assert_eq!(machine.transmit_at(), Some(now + millis(10)));
}

#[test]
fn timers_that_change_during_a_poll_are_agreed_by_one_more() {
    let now = Instant::now();
    let answer = Control {
        last: true,
        ..from_peer(State::Up)
    };
    let mut machine = machine_up_and_agreed(now);
    for tx in [200_000, 300_000] {
        machine.configure(Settings {
            desired_min_tx: Micros(tx),
            ..FAST
        });
    }
    machine.on_packet(&answer, now);
    assert_eq!(machine.transmit_interval(), Some(Micros(50_000)));
    machine.on_packet(&answer, now);
    assert_eq!(machine.transmit_interval(), Some(Micros(300_000)));
}
