mod calm;
mod table;

use std::time::{Duration, Instant};

use proptest::prelude::{Just, Strategy, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::{DataPlaneMode as Mode, Lifecycle, Pace, Plan, RouteState, Word};
use crate::health::HealthVerdict as Health;
use crate::state::ServiceState as State;

fn pace() -> Pace {
    Pace {
        linger: Duration::from_millis(50),
        drain_delay: Duration::from_secs(1),
        drain_quiet: Duration::from_secs(2),
        drain_timeout: Duration::from_secs(30),
        install_retry: Duration::from_secs(3),
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Health(Health),
    Word(Word),
    Proved,
    Refused,
    Withdrawn,
    Packets(u64),
    After(Duration),
    Stop,
}

fn take(life: &mut Lifecycle, step: Step, now: &mut Instant) {
    match step {
        Step::Health(verdict) => drop(life.on_health(verdict, "checks", *now)),
        Step::Word(word) => drop(life.on_word(word, "operator", *now)),
        Step::Proved => drop(life.on_installed(Ok(()), *now)),
        Step::Refused => drop(life.on_installed(Err("map full".to_owned()), *now)),
        Step::Withdrawn => life.on_withdrawn(),
        Step::Packets(packets) => drop(life.on_packets(packets, *now)),
        Step::After(span) => {
            *now += span;
            drop(life.on_time(*now));
        }
        Step::Stop => drop(life.on_stop("SIGTERM", *now)),
    }
}

const fn plan(data_plane: Mode, route: Option<RouteState>) -> Plan {
    Plan { data_plane, route }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_path_through_a_service_s_life_gives_each_plane_its_part() {
    use Step::{After, Health as H, Packets, Proved, Refused, Stop, Withdrawn, Word as W};
    let up: &[Step] = &[H(Health::Up), Proved];
    let cases: Vec<(&str, Vec<Step>, State, Plan)> = vec![
        (
            "a new service is not served",
            vec![],
            State::Init,
            plan(Mode::Init, None),
        ),
        (
            "a healthy one is installed before it is announced",
            vec![H(Health::Up)],
            State::Init,
            plan(Mode::Up, None),
        ),
        (
            "the proof lets it be announced",
            up.to_vec(),
            State::Up,
            plan(Mode::Up, Some(RouteState::Up)),
        ),
        (
            "a degraded one has its own attributes",
            [up, &[H(Health::Degraded)]].concat(),
            State::Degraded,
            plan(Mode::Degraded, Some(RouteState::Degraded)),
        ),
        (
            "an entry that was not proved is not announced",
            vec![H(Health::Up), Refused],
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "and is tried again",
            vec![H(Health::Up), Refused, After(3 * SECOND)],
            State::Down,
            plan(Mode::Up, None),
        ),
        (
            "a failure withdraws and stops the answers at once, and lingers",
            [up, &[H(Health::Down)]].concat(),
            State::Down,
            plan(Mode::Lingering, None),
        ),
        (
            "the linger ends",
            [up, &[H(Health::Down), After(SECOND)]].concat(),
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "a service that was never up does not linger",
            vec![H(Health::Down)],
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "a drain first makes the routes the worst",
            [up, &[W(Word::Drained)]].concat(),
            State::Draining,
            plan(Mode::Draining, Some(RouteState::Draining)),
        ),
        (
            "then withdraws, and still serves",
            [up, &[W(Word::Drained), After(SECOND)]].concat(),
            State::Draining,
            plan(Mode::Draining, None),
        ),
        (
            "quiet before the withdrawal was written does not count",
            [
                up,
                &[
                    W(Word::Drained),
                    After(SECOND),
                    Packets(7),
                    After(2 * SECOND),
                    Packets(7),
                ],
            ]
            .concat(),
            State::Draining,
            plan(Mode::Draining, None),
        ),
        (
            "quiet after it ends the drain",
            [
                up,
                &[
                    W(Word::Drained),
                    After(SECOND),
                    Withdrawn,
                    Packets(7),
                    After(2 * SECOND),
                    Packets(7),
                ],
            ]
            .concat(),
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "packets put the end off",
            [
                up,
                &[
                    W(Word::Drained),
                    After(SECOND),
                    Withdrawn,
                    Packets(7),
                    After(2 * SECOND),
                    Packets(8),
                ],
            ]
            .concat(),
            State::Draining,
            plan(Mode::Draining, None),
        ),
        (
            "but not beyond the timeout",
            [
                up,
                &[
                    W(Word::Drained),
                    After(SECOND),
                    Withdrawn,
                    Packets(7),
                    After(30 * SECOND),
                ],
            ]
            .concat(),
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "an undrain before the withdrawal announces again at once",
            [up, &[W(Word::Drained), W(Word::Enabled)]].concat(),
            State::Up,
            plan(Mode::Up, Some(RouteState::Up)),
        ),
        (
            "an undrain after it proves the entry first",
            [up, &[W(Word::Drained), After(SECOND), W(Word::Enabled)]].concat(),
            State::Draining,
            plan(Mode::Up, None),
        ),
        (
            "a failure during a drain withdraws at once",
            [up, &[W(Word::Drained), H(Health::Down), After(SECOND)]].concat(),
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "a drained service that recovers stays drained",
            [up, &[W(Word::Drained), H(Health::Down), H(Health::Up)]].concat(),
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "a disabled one is withdrawn at once",
            [up, &[W(Word::Disabled)]].concat(),
            State::Disabled,
            plan(Mode::Disabled, None),
        ),
        (
            "and its checks change nothing",
            [up, &[W(Word::Disabled), H(Health::Down), H(Health::Up)]].concat(),
            State::Disabled,
            plan(Mode::Disabled, None),
        ),
        (
            "an enable lets the checks decide",
            [up, &[W(Word::Disabled), W(Word::Enabled), Proved]].concat(),
            State::Up,
            plan(Mode::Up, Some(RouteState::Up)),
        ),
        (
            "an enable of an unhealthy one leaves it down",
            [up, &[W(Word::Disabled), H(Health::Down), W(Word::Enabled)]].concat(),
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "a drain ordered before the first verdict holds",
            vec![W(Word::Drained), H(Health::Up)],
            State::Down,
            plan(Mode::Down, None),
        ),
        (
            "at the end it is first announced as the worst",
            [up, &[Stop]].concat(),
            State::Draining,
            plan(Mode::Draining, Some(RouteState::Draining)),
        ),
        (
            "then it is withdrawn and still served",
            [up, &[Stop, After(SECOND)]].concat(),
            State::Draining,
            plan(Mode::Draining, None),
        ),
        (
            "at once when it is said again",
            [up, &[Stop, Stop]].concat(),
            State::Draining,
            plan(Mode::Draining, None),
        ),
        (
            "a failure meanwhile takes it down",
            [up, &[Stop, H(Health::Down), H(Health::Up)]].concat(),
            State::Down,
            plan(Mode::Lingering, None),
        ),
        (
            "and nothing brings it back",
            [up, &[Stop, Stop, H(Health::Up), W(Word::Enabled), Proved]].concat(),
            State::Draining,
            plan(Mode::Draining, None),
        ),
    ];
    for (name, steps, state, want) in cases {
        let mut now = Instant::now();
        let mut life = Lifecycle::new(pace(), now);
        for step in steps {
            take(&mut life, step, &mut now);
        }
        assert_eq!((life.state(), life.plan()), (state, want), "{name}");
    }
}

#[test]
fn a_transition_names_both_states_and_the_reason() {
    let now = Instant::now();
    let mut life = Lifecycle::new(pace(), now);
    assert_eq!(life.on_health(Health::Up, "check dns passed", now), None);
    let up = life.on_installed(Ok(()), now).expect("a transition");
    assert_eq!((up.from, up.to), (State::Init, State::Up));
    assert_eq!(up.reason, "check dns passed");
    let down = life
        .on_health(Health::Down, "check dns failed", now)
        .expect("a transition");
    assert_eq!((down.from, down.to), (State::Up, State::Down));
    assert_eq!(down.reason, "check dns failed");
    assert_eq!(life.on_health(Health::Down, "again", now), None);
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        prop_oneof![
            Just(Health::Init),
            Just(Health::Up),
            Just(Health::Degraded),
            Just(Health::Down)
        ]
        .prop_map(Step::Health),
        prop_oneof![
            Just(Word::Enabled),
            Just(Word::Drained),
            Just(Word::Disabled)
        ]
        .prop_map(Step::Word),
        Just(Step::Proved),
        Just(Step::Refused),
        Just(Step::Withdrawn),
        (0..3u64).prop_map(Step::Packets),
        (0..40_000u64).prop_map(|millis| Step::After(Duration::from_millis(millis))),
        Just(Step::Stop),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn no_sequence_announces_what_the_data_plane_does_not_serve(steps in steps()) {
        let mut now = Instant::now();
        let mut life = Lifecycle::new(pace(), now);
        let mut health = Health::Init;
        let mut proved = false;
        for step in steps {
            let before = life.plan();
            take(&mut life, step, &mut now);
            if let Step::Health(verdict) = step {
                health = verdict;
            }
            proved = match step {
                Step::Proved => proved || before.data_plane == Mode::Up || before.data_plane == Mode::Degraded,
                _other => proved && life.plan().data_plane != Mode::Down,
            };
            let after = life.plan();
            if after.route.is_some() {
                let serves = matches!(after.data_plane, Mode::Up | Mode::Degraded | Mode::Draining);
                prop_assert!(serves, "{:?} after {:?}", after, step);
                prop_assert!(proved, "announced without a proof after {:?}", step);
                prop_assert!(life.word() != Word::Disabled);
            }
            if matches!(step, Step::Health(Health::Down)) {
                prop_assert_eq!(after.route, None, "announced although {:?}", health);
            }
        }
    }
}
