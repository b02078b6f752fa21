//! The whole transition table: every state that can be reached, every input, and what follows.
//!
//! A state is the phase, the operator's word or that the end has begun, and the health. The test walks from a new service through all
//! inputs; a state without a row, a row that no state has, and a phase that `kind` does not know are faults.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::super::phase::{Phase, Withdrawn};
use super::super::{DataPlaneMode as Mode, Lifecycle, Plan, RouteState, Transition, Word};
use super::pace;
use crate::health::HealthVerdict as Health;
use crate::state::ServiceState as State;

/// `=`: the phase stays. `w:` the operator's word (`ending`: the daemon is), `h:` the checks' verdict. `quiet`: the
/// counters stand still for `drain_quiet`; `time`: the deadline is there. Every service lingers after a failure.
const TABLE: &str = "
phase         word     health      h:init h:up       h:degraded h:down    w:enabled  w:drained     w:disabled proved  refused       written packets quiet   time       stop
Init          enabled  init        =      Installing Installing Down      =          Drained       Disabled   =       =             =       =       =       =          =
Installing    enabled  any         =      =          =          Lingering =          Drained       Disabled   Serving InstallFailed =       =       =       =          Down
InstallFailed enabled  any         =      =          =          Down      =          Drained       Disabled   =       =             =       =       =       Installing Down
Serving       enabled  any         =      =          =          Lingering =          Depreferenced Disabled   =       =             =       =       =       =          Leaving
Depreferenced drained  any         =      =          =          Lingering Serving    =             Disabled   =       =             =       =       =       Withdrawn  Leaving
Withdrawn     drained  init        =      =          =          Lingering Init       =             Disabled   =       =             Written =       =       Drained    Stopping
Withdrawn     drained  up,degraded =      =          =          Lingering Installing =             Disabled   =       =             Written =       =       Drained    Stopping
Written       drained  init        =      =          =          Lingering Init       =             Disabled   =       =             =       =       Drained Drained    Stopping
Written       drained  up,degraded =      =          =          Lingering Installing =             Disabled   =       =             =       =       Drained Drained    Stopping
Drained       drained  init        =      =          =          =         Init       =             Disabled   =       =             =       =       =       =          =
Drained       drained  up,degraded =      =          =          =         Installing =             Disabled   =       =             =       =       =       =          =
Drained       drained  down        =      =          =          =         Down       =             Disabled   =       =             =       =       =       =          =
Disabled      disabled init        =      =          =          =         Init       Drained       =          =       =             =       =       =       =          =
Disabled      disabled up,degraded =      =          =          =         Installing Drained       =          =       =             =       =       =       =          =
Disabled      disabled down        =      =          =          =         Down       Drained       =          =       =             =       =       =       =          =
Lingering     enabled  init,down   =      Installing Installing =         =          Drained       Disabled   =       =             =       =       =       Down       =
Lingering     drained  init,down   =      Drained    Drained    =         =          Drained       Disabled   =       =             =       =       =       Down       =
Down          enabled  any         =      Installing Installing =         =          Drained       Disabled   =       =             =       =       =       =          =
Down          drained  any         =      Drained    Drained    =         =          Drained       Disabled   =       =             =       =       =       =          =
Leaving       ending   any         =      =          =          Lingering =          =             =          =       =             =       =       =       Stopping   Stopping
Stopping      ending   any         =      =          =          Lingering =          =             =          =       =             =       =       =       =          =
Init          ending   any         =      =          =          Down      =          =             =          =       =             =       =       =       =          =
Drained       ending   any         =      =          =          =         =          =             =          =       =             =       =       =       =          =
Disabled      ending   any         =      =          =          =         =          =             =          =       =             =       =       =       =          =
Lingering     ending   any         =      =          =          =         =          =             =          =       =             =       =       =       Down       =
Down          ending   any         =      =          =          =         =          =             =          =       =             =       =       =       =          =
";

/// What each phase asks of the planes: the map's mode, the routes, and the state that is shown (`?`: the one
/// before). Where two stand, the second is that of a degraded service.
const EFFECTS: &str = "
Init          Init        -           Init
Installing    Up/Degraded -           ?
InstallFailed Down        -           Down
Serving       Up/Degraded Up/Degraded Up/Degraded
Depreferenced Draining    Draining    Draining
Withdrawn     Draining    -           Draining
Written       Draining    -           Draining
Drained       Down        -           Down
Lingering     Lingering   -           Down
Down          Down        -           Down
Disabled      Disabled    -           Disabled
Leaving       Draining    Draining    Draining
Stopping      Draining    -           Draining
";

const fn kind(phase: Phase) -> &'static str {
    match phase {
        Phase::Init => "Init",
        Phase::Installing { .. } => "Installing",
        Phase::InstallFailed { .. } => "InstallFailed",
        Phase::Serving => "Serving",
        Phase::Depreferenced { .. } => "Depreferenced",
        Phase::Withdrawn(Withdrawn { written: false, .. }) => "Withdrawn",
        Phase::Withdrawn(Withdrawn { written: true, .. }) => "Written",
        Phase::Drained => "Drained",
        Phase::Failed {
            lingers_until: Some(_),
        } => "Lingering",
        Phase::Failed {
            lingers_until: None,
        } => "Down",
        Phase::Disabled => "Disabled",
        Phase::Leaving { .. } => "Leaving",
        Phase::Stopping => "Stopping",
    }
}

/// The end goes before what the operator has said.
const fn column(life: &Lifecycle) -> &'static str {
    if life.ending {
        "ending"
    } else {
        word(life.word)
    }
}

const fn word(word: Word) -> &'static str {
    match word {
        Word::Enabled => "enabled",
        Word::Drained => "drained",
        Word::Disabled => "disabled",
    }
}

const fn health(health: Health) -> &'static str {
    match health {
        Health::Init => "init",
        Health::Up => "up",
        Health::Degraded => "degraded",
        Health::Down => "down",
    }
}

/// Applies a column's input to a service.
fn apply(input: &str, life: &mut Lifecycle, now: Instant) -> Option<Transition> {
    let verdicts = [Health::Init, Health::Up, Health::Degraded, Health::Down];
    let words = [Word::Enabled, Word::Drained, Word::Disabled];
    match input.split_once(':') {
        Some(("h", name)) => {
            let verdict = verdicts
                .into_iter()
                .find(|verdict| health(*verdict) == name);
            life.on_health(verdict.expect(name), "checks", now)
        }
        Some(("w", name)) => {
            let said = words.into_iter().find(|said| word(*said) == name);
            life.on_word(said.expect(name), "operator", now)
        }
        Some(_) => panic!("no input `{input}`"),
        None => match input {
            "proved" => life.on_installed(Ok(()), now),
            "refused" => life.on_installed(Err("map full".to_owned()), now),
            "written" => {
                life.on_withdrawn();
                None
            }
            "packets" => life.on_packets(99, now),
            "quiet" => {
                let first = life.on_packets(7, now);
                assert_eq!(first, None, "quiet before its time");
                life.on_packets(7, now + pace().drain_quiet)
            }
            "time" => {
                if let Some(deadline) = life.deadline() {
                    let early = life.clone().on_time(deadline - Duration::from_nanos(1));
                    assert_eq!(early, None, "before the deadline");
                }
                life.on_time(life.deadline().unwrap_or(now))
            }
            "stop" => life.on_stop("SIGTERM", now),
            other => panic!("no input `{other}`"),
        },
    }
}

/// One line of [`TABLE`].
struct Row {
    line: &'static str,
    phase: &'static str,
    word: &'static str,
    health: &'static str,
    next: Vec<&'static str>,
}

impl Row {
    fn is_of(&self, life: &Lifecycle) -> bool {
        let fits = |pattern: &str, name: &str| {
            pattern == "any" || pattern.split(',').any(|one| one == name)
        };
        self.phase == kind(life.phase)
            && fits(self.word, column(life))
            && fits(self.health, health(life.health))
    }
}

/// The inputs, and the rows.
fn table() -> (Vec<&'static str>, Vec<Row>) {
    let mut lines = TABLE.trim().lines();
    let header = lines.next().expect("a header").split_whitespace();
    let inputs: Vec<_> = header.skip(3).collect();
    let rows = lines
        .map(|line| {
            let mut cells = line.split_whitespace();
            let mut cell = || cells.next().expect("a cell");
            let (phase, word, health) = (cell(), cell(), cell());
            let next: Vec<_> = cells.collect();
            assert_eq!(next.len(), inputs.len(), "{line}");
            Row {
                line,
                phase,
                word,
                health,
                next,
            }
        })
        .collect();
    (inputs, rows)
}

/// What stands in [`EFFECTS`] for the phase that a service is in; `shown_before` stands for `?`.
fn effects(life: &Lifecycle, shown_before: State) -> (Plan, State) {
    let line = EFFECTS
        .lines()
        .find(|line| line.split_whitespace().next() == Some(kind(life.phase)))
        .expect("every phase has effects");
    let cells: Vec<_> = line
        .split_whitespace()
        .map(|cell| match cell.split_once('/') {
            Some((_, degraded)) if life.health == Health::Degraded => degraded,
            Some((up, _)) => up,
            None => cell,
        })
        .collect();
    let modes = [
        Mode::Init,
        Mode::Up,
        Mode::Degraded,
        Mode::Draining,
        Mode::Lingering,
        Mode::Down,
        Mode::Disabled,
    ];
    let routes = [RouteState::Up, RouteState::Degraded, RouteState::Draining];
    let mode = modes
        .into_iter()
        .find(|mode| format!("{mode:?}") == cells[1]);
    let route = routes
        .into_iter()
        .find(|route| format!("{route:?}") == cells[2]);
    let state = State::ALL
        .into_iter()
        .find(|state| format!("{state:?}") == cells[3]);
    assert_eq!(route.is_none(), cells[2] == "-", "{line}");
    let plan = Plan {
        data_plane: mode.expect(line),
        route,
    };
    (plan, state.unwrap_or(shown_before))
}

#[test]
fn every_state_takes_every_input_as_the_table_says() {
    let (inputs, rows) = table();
    let start = Instant::now();
    let mut open = VecDeque::from([Lifecycle::new(pace(), start)]);
    let mut seen: BTreeSet<[&str; 4]> = BTreeSet::new();
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    while let Some(life) = open.pop_front() {
        let state = [
            kind(life.phase),
            column(&life),
            health(life.health),
            life.state().as_str(),
        ];
        if !seen.insert(state) {
            continue;
        }
        let of_state: Vec<_> = rows.iter().filter(|row| row.is_of(&life)).collect();
        let [row] = of_state.as_slice() else {
            panic!("{} rows for {state:?}", of_state.len());
        };
        *used.entry(row.line).or_default() += 1;
        for (input, next) in inputs.iter().zip(&row.next) {
            let mut after = life.clone();
            let transition = apply(input, &mut after, start);
            let want = if *next == "=" { row.phase } else { *next };
            assert_eq!(kind(after.phase), want, "{state:?} on {input}");
            let shown = effects(&after, life.state());
            assert_eq!((after.plan(), after.state()), shown, "{state:?} on {input}");
            let told = transition.map(|transition| (transition.from, transition.to));
            let changed = (life.state() != after.state()).then_some((life.state(), after.state()));
            assert_eq!(told, changed, "{state:?} on {input}");
            open.push_back(after);
        }
    }
    for row in &rows {
        assert!(
            used.contains_key(row.line),
            "no state has the row `{}`",
            row.line
        );
    }
}
