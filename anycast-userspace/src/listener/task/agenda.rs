//! Which ports are to be read, and when. Pure: time is an argument.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::plan::Port;

/// How often everything is read again: the bound on what no event tells.
const RESYNC: Duration = Duration::from_secs(1);
/// After a bind, or when a socket is first followed, its port is read again after this long, then after
/// twice as long and so on up to the last: a TCP socket listens only after its bind, and one that was
/// just being released can still be listed.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(512);
/// Least time between two readings that only binds ask for: anyone may bind, as often as they like.
const BIND_GAP: Duration = Duration::from_millis(2);
/// What is to be read, and when.
pub(super) struct Agenda {
    pending: BTreeSet<Port>,
    due: Option<Instant>,
    recent: BTreeSet<Port>,
    look: Duration,
    look_due: Option<Instant>,
    resync_due: Instant,
    last_read: Instant,
}

impl Agenda {
    /// Everything is due at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            pending: BTreeSet::new(),
            due: None,
            recent: BTreeSet::new(),
            look: FIRST_LOOK,
            look_due: None,
            resync_due: now,
            last_read: now,
        }
    }

    /// When there will be something to read.
    pub(super) fn next(&self) -> Instant {
        [self.due, self.look_due]
            .into_iter()
            .flatten()
            .fold(self.resync_due, Instant::min)
    }

    /// Asks for a port to be read at a time.
    pub(super) fn ask(&mut self, port: Port, at: Instant) {
        self.pending.insert(port);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Asks for a port that was bound, and for looks after it.
    pub(super) fn ask_for_bind(&mut self, port: Port, now: Instant) {
        self.ask(port, now.max(self.last_read + BIND_GAP));
        self.look_again([port], now);
    }

    /// Asks for ports to be read again soon, and then less and less often.
    pub(super) fn look_again(&mut self, ports: impl IntoIterator<Item = Port>, now: Instant) {
        self.recent.extend(ports);
        self.look = FIRST_LOOK;
        self.look_due = Some(now + self.look);
    }

    /// The ports to read now; empty if it is too early.
    pub(super) fn take(&mut self, all: impl Iterator<Item = Port>, now: Instant) -> BTreeSet<Port> {
        let mut ports = BTreeSet::new();
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            ports.append(&mut self.pending);
        }
        if self.look_due.is_some_and(|due| due <= now) {
            ports.extend(&self.recent);
            self.look *= 2;
            self.look_due = (self.look <= LAST_LOOK).then(|| now + self.look);
            if self.look_due.is_none() {
                self.recent.clear();
            }
        }
        if self.resync_due <= now {
            ports.extend(all);
            self.resync_due = now + RESYNC;
        }
        if !ports.is_empty() {
            self.last_read = now;
        }
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Port = Port::udp(53);
    const TWO: Port = Port::tcp(53);

    /// An agenda whose first reading of everything is done.
    fn agenda(now: Instant) -> Agenda {
        let mut agenda = Agenda::new(now);
        assert_eq!(agenda.take([ONE, TWO].into_iter(), now).len(), 2);
        agenda
    }

    #[test]
    fn everything_is_read_at_first_and_then_once_a_second() {
        let start = Instant::now();
        let mut agenda = agenda(start);
        assert_eq!(agenda.next(), start + RESYNC);
        assert!(agenda.take([ONE, TWO].into_iter(), start).is_empty());
        assert_eq!(agenda.take([ONE, TWO].into_iter(), start + RESYNC).len(), 2);
    }

    #[test]
    fn a_port_that_is_asked_for_is_read_alone_and_once() {
        let start = Instant::now();
        let mut agenda = agenda(start);
        agenda.ask(ONE, start);
        let read = agenda.take([ONE, TWO].into_iter(), start);
        assert_eq!(read, BTreeSet::from([ONE]));
        assert_eq!(agenda.next(), start + RESYNC);
    }

    #[test]
    fn after_a_bind_the_looks_grow_apart_and_end() {
        let start = Instant::now();
        let mut agenda = agenda(start);
        agenda.ask_for_bind(ONE, start);
        let mut looks = Vec::new();
        while agenda.next() < start + RESYNC {
            let now = agenda.next();
            assert_eq!(agenda.take([TWO].into_iter(), now), BTreeSet::from([ONE]));
            looks.push((now - start).as_millis());
        }
        assert_eq!(looks, [1, 2, 3, 7, 15, 31, 63, 127, 255, 511]);
    }

    #[test]
    fn binds_that_never_end_do_not_make_readings_more_frequent() {
        let start = Instant::now();
        let mut agenda = agenda(start);
        let mut readings = 0;
        for tick in 1..=100_000 {
            let now = start + Duration::from_micros(tick);
            agenda.ask_for_bind(ONE, now);
            if agenda.next() <= now {
                readings += usize::from(!agenda.take([].into_iter(), now).is_empty());
            }
        }
        assert!((40..=50).contains(&readings), "{readings} in 100 ms");
    }
}
