//! The services, and which of them have been touched: what follows from a service alone, its plan and its next
//! deadline, is looked at again only then. A result of a check costs the same with one service and with thousands.

use std::collections::BTreeSet;
use std::mem;
use std::ops::{Index, IndexMut};
use std::time::Instant;

use super::service::Service;

/// Some of the services, each once.
struct Touched {
    indices: Vec<usize>,
    /// For each service whether it is one of them.
    contained: Vec<bool>,
}

impl Touched {
    fn all(count: usize) -> Self {
        Self {
            indices: (0..count).collect(),
            contained: vec![true; count],
        }
    }

    fn insert(&mut self, index: usize) {
        if !mem::replace(&mut self.contained[index], true) {
            self.indices.push(index);
        }
    }

    /// In the order of the configuration; none is left.
    fn take(&mut self) -> Vec<usize> {
        let mut taken = mem::take(&mut self.indices);
        for index in &taken {
            self.contained[*index] = false;
        }
        taken.sort_unstable();
        taken
    }
}

/// In the order of the configuration. Whoever gets one mutably has touched it, unless its name says otherwise.
pub(super) struct Services {
    all: Vec<Service>,
    /// Touched since the plans were looked at.
    unplanned: Touched,
    /// Touched since the deadlines were.
    undated: Touched,
    /// The deadline of each, as it was seen last.
    dates: Vec<Option<Instant>>,
    deadlines: BTreeSet<(Instant, usize)>,
    awaiting_quiet: BTreeSet<usize>,
}

impl Services {
    pub(super) fn new(all: impl Iterator<Item = Service>) -> Self {
        let all: Vec<Service> = all.collect();
        Self {
            unplanned: Touched::all(all.len()),
            undated: Touched::all(all.len()),
            dates: vec![None; all.len()],
            deadlines: BTreeSet::new(),
            awaiting_quiet: BTreeSet::new(),
            all,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Service> {
        self.all.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Service> {
        self.unplanned = Touched::all(self.all.len());
        self.undated = Touched::all(self.all.len());
        self.all.iter_mut()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Service> {
        (index < self.all.len()).then(|| &mut self[index])
    }

    /// One that is not touched by that. Who changes its plan or its deadline has to [touch](Self::touch) it.
    pub(super) fn untouched(&mut self, index: usize) -> Option<&mut Service> {
        self.all.get_mut(index)
    }

    pub(super) fn touch(&mut self, index: usize) {
        self.unplanned.insert(index);
        self.undated.insert(index);
    }

    /// Those whose plans may have changed since the last time, to be taken in now.
    pub(super) fn take_unplanned(&mut self) -> Vec<usize> {
        self.unplanned.take()
    }

    /// When the next of them has something to do.
    pub(super) fn deadline(&mut self) -> Option<Instant> {
        self.date();
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Those that have something to do by now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<usize> {
        self.date();
        let due = self.deadlines.range(..=(now, usize::MAX));
        due.map(|(_, index)| *index).collect()
    }

    /// Whether any of them is withdrawn, and waits for its packets to end.
    pub(super) fn any_awaits_quiet(&mut self) -> bool {
        self.date();
        !self.awaiting_quiet.is_empty()
    }

    fn date(&mut self) {
        for index in self.undated.take() {
            let service = &self.all[index];
            let date = service.deadline();
            let before = mem::replace(&mut self.dates[index], date);
            if before != date {
                if let Some(at) = before {
                    self.deadlines.remove(&(at, index));
                }
                if let Some(at) = date {
                    self.deadlines.insert((at, index));
                }
            }
            if service.life.awaits_quiet() {
                self.awaiting_quiet.insert(index);
            } else {
                self.awaiting_quiet.remove(&index);
            }
        }
    }
}

impl Index<usize> for Services {
    type Output = Service;

    fn index(&self, index: usize) -> &Service {
        &self.all[index]
    }
}

impl IndexMut<usize> for Services {
    fn index_mut(&mut self, index: usize) -> &mut Service {
        self.touch(index);
        &mut self.all[index]
    }
}
