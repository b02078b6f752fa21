//! When a check is due. Pure: time is an argument.
//!
//! A check has a grid: points one interval apart, whose offset follows from its seed, so that many
//! checks spread over the interval. While its results make no verdict it runs at the fast interval
//! instead, and returns to the same grid afterwards.
//!
//! Offsets are whole steps since the start that all checks share: what is due within one step is due together, and
//! one wake of the process serves it all.

use std::time::{Duration, Instant};

/// The least step between two offsets. It divides the intervals that people write.
const TICK: Duration = Duration::from_millis(10);
/// The most ticks of a step.
const LONGEST_STEP: u128 = 4;
/// Into how many steps a window is divided at the least, unless they would be shorter than a tick.
const STEPS: u128 = 25;

/// The times of one check.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub(super) interval: Duration,
    pub(super) fast_interval: Duration,
    pub(super) jitter: Duration,
    pub(super) splay: Duration,
}

/// The due times of one check.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    timing: Timing,
    seed: u64,
    /// A point of the grid.
    origin: Instant,
    /// The due time without jitter.
    base: Instant,
    due: Instant,
    run: u64,
}

impl Schedule {
    /// The first run falls within `splay` from the start.
    pub(super) fn new(timing: Timing, seed: u64, started: Instant) -> Self {
        let base = started + spread(seed, 0, timing.splay);
        Self {
            timing,
            seed,
            origin: started + spread(seed, 0, timing.interval),
            base,
            due: base,
            run: 0,
        }
    }

    /// When the next run is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Moves on after a run that ended at `now`. Points that passed in the meantime merge into one run
    /// that is due at once.
    pub(super) fn advance(&mut self, settled: bool, now: Instant) {
        self.run += 1;
        let grid = self.next_point(self.base);
        let next = if settled {
            grid
        } else {
            grid.min(self.base + self.timing.fast_interval)
        };
        if next <= now {
            self.base = now;
            self.due = now;
        } else {
            self.base = next;
            self.due = next + spread(self.seed, self.run, self.timing.jitter);
        }
    }

    /// The first point of the grid after `time`.
    fn next_point(&self, time: Instant) -> Instant {
        let interval = self.timing.interval.as_nanos();
        match time.checked_duration_since(self.origin) {
            None => self.origin,
            Some(since) => {
                let into = nanos(since.as_nanos() % interval);
                time + (self.timing.interval - into)
            }
        }
    }
}

/// The seed of a check: the same names give the same one on every start and every machine.
pub(super) fn seed(names: [&str; 3]) -> u64 {
    // FNV-1a, 64 bit; a zero byte ends each name.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    names
        .iter()
        .flat_map(|name| name.bytes().chain([0]))
        .fold(OFFSET, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(PRIME)
        })
}

/// The step of offsets within `window`: 40 ms for a second, and never more.
fn step(window: Duration) -> u128 {
    let ticks = window.as_nanos() / (STEPS * TICK.as_nanos());
    TICK.as_nanos() * ticks.clamp(1, LONGEST_STEP)
}

/// A share of `window`, in whole steps, that follows from the seed and the run's number.
fn spread(seed: u64, run: u64, window: Duration) -> Duration {
    // The finalizer of SplitMix64: neighbouring inputs give unrelated outputs.
    let mut mixed = seed.wrapping_add(run.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let share = (window.as_nanos() * u128::from(mixed)) >> 64;
    nanos(share - share % step(window))
}

fn nanos(count: u128) -> Duration {
    Duration::from_nanos(u64::try_from(count).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Schedule, TICK, Timing, seed, spread, step};

    const SECOND: Duration = Duration::from_secs(1);

    fn timing() -> Timing {
        Timing {
            interval: SECOND,
            fast_interval: SECOND / 5,
            jitter: Duration::ZERO,
            splay: SECOND / 2,
        }
    }

    #[test]
    fn due_times_stay_on_the_grid_however_long_the_runs_take() {
        let start = Instant::now();
        let mut schedule = Schedule::new(timing(), seed(["node", "dns", "udp"]), start);
        schedule.advance(true, schedule.due());
        let first = schedule.due();
        for run in 1..1000u32 {
            let took = Duration::from_micros(u64::from(run) * 700);
            schedule.advance(true, schedule.due() + took);
            assert_eq!(schedule.due(), first + SECOND * run, "run {run}");
        }
    }

    #[test]
    fn missed_points_merge_into_one_run_and_the_grid_stays() {
        let start = Instant::now();
        let mut schedule = Schedule::new(timing(), 7, start);
        schedule.advance(true, schedule.due());
        let point = schedule.due();
        let late = point + SECOND * 7 / 2;
        schedule.advance(true, late);
        assert_eq!(schedule.due(), late, "one run at once");
        schedule.advance(true, late);
        assert_eq!(schedule.due(), point + SECOND * 4, "then the grid");
    }

    #[test]
    fn an_unsettled_check_runs_at_the_fast_interval_and_returns_to_its_grid() {
        let start = Instant::now();
        let mut schedule = Schedule::new(timing(), 7, start);
        schedule.advance(true, schedule.due());
        let point = schedule.due();
        for fast in 1..5u32 {
            schedule.advance(false, schedule.due());
            assert_eq!(schedule.due(), point + SECOND / 5 * fast);
        }
        schedule.advance(true, schedule.due());
        assert_eq!(schedule.due(), point + SECOND);
    }

    #[test]
    fn the_first_run_falls_within_the_splay_and_checks_spread_over_it() {
        let start = Instant::now();
        let firsts: Vec<_> = (0..1000)
            .map(|check| {
                let name = format!("check-{check}");
                Schedule::new(timing(), seed(["node", "service", &name]), start).due() - start
            })
            .collect();
        assert!(firsts.iter().all(|first| *first < SECOND / 2));
        for tenth in 0..10u32 {
            let slice = SECOND / 20 * tenth..SECOND / 20 * (tenth + 1);
            let count = firsts.iter().filter(|first| slice.contains(*first)).count();
            assert!(
                (50..200).contains(&count),
                "{count} of 1000 in tenth {tenth}"
            );
        }
    }

    #[test]
    fn steps_are_whole_ticks_and_grow_with_the_window_up_to_a_bound() {
        for (window, expected) in [(0, 10), (100, 10), (500, 20), (1000, 40), (60_000, 40)] {
            let step = step(Duration::from_millis(window));
            assert_eq!(step, expected * 1_000_000, "{window} ms");
        }
    }

    #[test]
    fn whatever_falls_due_within_a_tick_falls_due_at_once() {
        let start = Instant::now();
        for check in 0..100 {
            let mut schedule = Schedule::new(timing(), check, start);
            for run in 0..20 {
                let since = schedule.due() - start;
                assert_eq!(since.as_nanos() % TICK.as_nanos(), 0, "{check}: {since:?}");
                let jitter = spread(check, run, SECOND / 10);
                assert_eq!(
                    jitter.as_nanos() % TICK.as_nanos(),
                    0,
                    "{check}: {jitter:?}"
                );
                schedule.advance(run % 7 > 2, schedule.due() + TICK / 3);
            }
        }
    }

    #[test]
    fn jitter_is_the_same_on_every_start_and_stays_below_its_bound() {
        let start = Instant::now();
        let timing = Timing {
            jitter: SECOND / 10,
            ..timing()
        };
        let dues = |seed| {
            let mut schedule = Schedule::new(timing, seed, start);
            (0..100)
                .map(|_| {
                    schedule.advance(true, schedule.due());
                    schedule.due()
                })
                .collect::<Vec<_>>()
        };
        let of_one = dues(seed(["a", "dns", "udp"]));
        assert_eq!(of_one, dues(seed(["a", "dns", "udp"])));
        assert_ne!(
            of_one,
            dues(seed(["b", "dns", "udp"])),
            "another node, other times"
        );
        let gaps = of_one.windows(2).map(|pair| pair[1] - pair[0]);
        for gap in gaps {
            assert!(gap > SECOND * 9 / 10 && gap < SECOND * 11 / 10, "{gap:?}");
        }
    }
}
