//! What the live view knows: the probes' answers and the nodes' own words, kept fresh by threads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anycast_tests::lab::Lab;
use anycast_tests::lab::control::Control;
use anycast_tests::lab::probe::{Family, Tool};
use anycast_tests::lab::topology::City;
use anycast_tests::netns::Inside;
use serde_json::Value;

/// How often each tool asks, and each node is asked.
const PERIOD: Duration = Duration::from_millis(500);
/// How many answers are kept of each tool.
const HISTORY: usize = 120;

/// The answers of one tool over one family, oldest first.
pub(super) type Answers = VecDeque<Option<City>>;

#[derive(Debug, Default)]
struct Known {
    answers: [[Answers; 2]; 3],
    status: [Option<Value>; 2],
}

/// The shared knowledge.
#[derive(Debug, Default)]
pub(super) struct Board {
    known: Mutex<Known>,
    stop: AtomicBool,
}

/// Ends the threads when it is dropped, also by a panic.
#[derive(Debug)]
pub(super) struct Stop<'board>(&'board AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Board {
    /// Starts the threads that keep the board fresh until the returned value is dropped.
    pub(super) fn watch<'scope, 'board: 'scope>(
        &'board self,
        scope: &'scope Scope<'scope, 'board>,
        lab: &Lab,
    ) -> Stop<'board> {
        let client: Inside = lab.topology().client.clone();
        for tool in Tool::ALL {
            for family in Family::ALL {
                let client = client.clone();
                scope.spawn(move || self.ask_again_and_again(tool, family, &client));
            }
        }
        for city in City::ALL {
            let control = lab.node(city).control().clone();
            scope.spawn(move || self.listen_again_and_again(city, &control));
        }
        Stop(&self.stop)
    }

    /// What a tool has heard.
    pub(super) fn answers(&self, tool: Tool, family: Family) -> Answers {
        self.known().answers[tool as usize][family as usize].clone()
    }

    /// What a node's controller says of itself, while it runs.
    pub(super) fn status(&self, city: City) -> Option<Value> {
        self.known().status[city as usize].clone()
    }

    fn ask_again_and_again(&self, tool: Tool, family: Family, client: &Inside) {
        self.every_period(|| {
            let answer = tool.ask(client, family).unwrap_or_default();
            let mut known = self.known();
            let answers = &mut known.answers[tool as usize][family as usize];
            answers.push_back(answer);
            while answers.len() > HISTORY {
                answers.pop_front();
            }
        });
    }

    fn listen_again_and_again(&self, city: City, control: &Control) {
        self.every_period(|| {
            let status = control.status().ok();
            self.known().status[city as usize] = status;
        });
    }

    fn every_period(&self, mut work: impl FnMut()) {
        while !self.stop.load(Ordering::SeqCst) {
            let next = Instant::now() + PERIOD;
            work();
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
