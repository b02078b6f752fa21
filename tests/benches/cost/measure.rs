//! Shuffled rounds over all cases, and the least and the median of what each took.

use std::rc::Rc;

use anyhow::Context as _;
use aya::programs::{TestRun as _, TestRunOptions};
use nix::time::{ClockId, clock_gettime};

use crate::bed::Loaded;

/// A program on its frame.
pub(crate) struct Run {
    pub(crate) loaded: Rc<Loaded>,
    pub(crate) frame: Vec<u8>,
}

/// What one case takes: a run, and what is not its own.
pub(crate) struct Runner {
    pub(crate) run: Run,
    /// The same wrapper around a program that drops.
    pub(crate) less: Option<Run>,
}

/// What tells the time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// The thread's CPU time, less that of a call which runs the program once.
    Thread,
    /// What the kernel reports.
    Kernel,
}

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rounds: u32,
    pub(crate) repeat: u32,
    pub(crate) clock: Clock,
}

/// Nanoseconds a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) least: f64,
    pub(crate) median: f64,
}

/// Measures all of them, each in every round.
pub(crate) fn measure(runners: &[Runner], plan: &Plan) -> anyhow::Result<Vec<Cost>> {
    let runs: Vec<&Run> = runners
        .iter()
        .flat_map(|runner| std::iter::once(&runner.run).chain(&runner.less))
        .collect();
    let mut samples = vec![Vec::with_capacity(plan.rounds as usize); runs.len()];
    let mut order: Vec<usize> = (0..runs.len()).collect();
    let mut random = Shuffle(0x9e37_79b9_7f4a_7c15);
    for _ in 0..plan.rounds {
        random.shuffle(&mut order);
        for place in &order {
            samples[*place].push(runs[*place].take(plan)?);
        }
    }
    let mut costs = samples.into_iter().map(cost);
    let mut next = || costs.next().context("a cost for each run");
    runners
        .iter()
        .map(|runner| {
            let whole = next()?;
            Ok(match runner.less {
                Some(_) => whole.less(next()?),
                None => whole,
            })
        })
        .collect()
}

impl Run {
    /// Nanoseconds a packet in one call.
    fn take(&self, plan: &Plan) -> anyhow::Result<f64> {
        match plan.clock {
            Clock::Kernel => Ok(self.call(plan.repeat)?.as_secs_f64() * 1e9),
            Clock::Thread => {
                let started = cpu_time()?;
                self.call(1)?;
                let once = cpu_time()?;
                self.call(plan.repeat)?;
                let ended = cpu_time()?;
                let call = once - started;
                Ok((ended - once - call) / f64::from(plan.repeat.saturating_sub(1).max(1)))
            }
        }
    }

    fn call(&self, repeat: u32) -> anyhow::Result<std::time::Duration> {
        let result = self.loaded.program()?.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            repeat,
            ..TestRunOptions::new()
        });
        Ok(result.context("BPF_PROG_TEST_RUN")?.duration)
    }
}

/// CPU time of this thread, in nanoseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "a thread that has run for less than 100 days"
)]
fn cpu_time() -> anyhow::Result<f64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}

fn cost(mut samples: Vec<f64>) -> Cost {
    samples.sort_by(f64::total_cmp);
    Cost {
        least: samples.first().copied().unwrap_or(f64::NAN),
        median: samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN),
    }
}

impl Cost {
    fn less(self, other: Self) -> Self {
        Self {
            least: self.least - other.least,
            median: self.median - other.median,
        }
    }
}

/// xorshift64*.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Fisher and Yates.
    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = last as u64 + 1;
            let other = usize::try_from((self.next() >> 33) % bound).unwrap_or(0);
            items.swap(last, other);
        }
    }
}
