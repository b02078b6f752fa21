//! The course of a transition: what caused it, and when each plane had done its part. Pure.
//!
//! A decision begins a course; the planes' reports fill it in. The transition takes it over, at once or,
//! when a service comes up, after the proof. A course ends when both planes are done, or with the
//! service's next transition.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::events::{
    DataPlanePhase, EventKind, MapWriter, PeerPhase, Phases, Sent, monotonic_ns_at,
};
use crate::state::ServiceState;

pub(super) use crate::events::Completion;

/// What made the controller decide.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) detected: Instant,
    /// The check whose result it was.
    pub(super) check: Option<String>,
    /// What the check's command printed.
    pub(super) output: Option<String>,
    /// When the kernel took the service down in the maps by itself.
    pub(super) dataplane_down: Option<Instant>,
}

impl Cause {
    /// A cause that is detected and decided on in one: an operator's word, a deadline.
    pub(super) fn at(detected: Instant) -> Self {
        Self {
            detected,
            check: None,
            output: None,
            dataplane_down: None,
        }
    }
}

/// Why a service's plan is about to change.
#[derive(Clone, Debug)]
pub(super) enum Prompt {
    /// Something new.
    New(Cause),
    /// The proof that the last decision was waiting for.
    Proof,
}

/// A decision and what the data plane has done about it.
#[derive(Clone, Debug)]
pub(super) struct Course {
    pub(super) cause: Cause,
    decided: Instant,
    map_from: Option<u64>,
    map: Option<(Instant, MapWriter)>,
    routes_from: Option<u64>,
}

impl Course {
    pub(super) fn new(cause: Cause, decided: Instant) -> Self {
        Self {
            map: cause.dataplane_down.map(|at| (at, MapWriter::Kernel)),
            cause,
            decided,
            map_from: None,
            routes_from: None,
        }
    }

    /// The generation changes the service's map entry, its routes, or both.
    pub(super) fn published(&mut self, generation: u64, map: bool, routes: bool) {
        if map {
            self.map_from = Some(generation);
        }
        if routes {
            self.routes_from = Some(generation);
        }
    }

    pub(super) fn on_map(&mut self, generation: u64, at: Instant) {
        if self.map.is_none() && self.map_from.is_some_and(|from| from <= generation) {
            self.map = Some((at, MapWriter::Controller));
        }
    }
}

/// A transition whose course has not ended.
#[derive(Clone, Debug)]
pub(super) struct Open {
    number: u64,
    from: ServiceState,
    to: ServiceState,
    course: Course,
    /// What each peer was sent and when, and nothing while it has not been.
    peers: BTreeMap<String, Option<(Sent, Instant)>>,
    sends: Sent,
}

impl Open {
    /// `peers`: those that have a session and are to be sent what changes; `announced`: whether the
    /// service is announced afterwards.
    pub(super) fn new(
        number: u64,
        (from, to): (ServiceState, ServiceState),
        course: Course,
        peers: impl Iterator<Item = String>,
        announced: bool,
    ) -> Self {
        let told = course.routes_from.is_some();
        Self {
            number,
            from,
            to,
            course,
            peers: peers.filter(|_| told).map(|peer| (peer, None)).collect(),
            sends: if announced {
                Sent::Announced
            } else {
                Sent::Withdrawn
            },
        }
    }

    pub(super) fn to(&self) -> ServiceState {
        self.to
    }

    pub(super) fn on_map(&mut self, generation: u64, at: Instant) {
        self.course.on_map(generation, at);
    }

    /// A peer has been sent all of a generation; `changed`: with at least one prefix.
    pub(super) fn on_sent(&mut self, peer: &str, generation: u64, changed: bool, at: Instant) {
        if self.course.routes_from.is_none_or(|from| from > generation) {
            return;
        }
        if let Some(phase @ None) = self.peers.get_mut(peer) {
            if changed {
                *phase = Some((self.sends, at));
            } else {
                // None of the service's routes go to this peer.
                self.peers.remove(peer);
            }
        }
    }

    /// A peer's session has ended.
    pub(super) fn on_lost(&mut self, peer: &str, at: Instant) {
        if let Some(phase @ None) = self.peers.get_mut(peer) {
            *phase = Some((Sent::SessionLost, at));
        }
    }

    /// Whether both planes are done.
    pub(super) fn is_done(&self) -> bool {
        let map = self.course.map_from.is_none() || self.course.map.is_some();
        map && self.peers.values().all(Option::is_some)
    }

    pub(super) fn phases(&self) -> Phases {
        let detected = self.course.cause.detected;
        let since = |at: Instant| {
            u64::try_from(at.saturating_duration_since(detected).as_micros()).unwrap_or(u64::MAX)
        };
        let sent = self.peers.values().flatten().map(|(_, at)| *at);
        let steps = self.course.map.iter().map(|(at, _)| *at).chain(sent);
        let last = steps.fold(self.course.decided, Instant::max);
        Phases {
            detected_ns: monotonic_ns_at(detected),
            decided_us: since(self.course.decided),
            data_plane: self
                .course
                .map
                .map(|(at, by)| DataPlanePhase { us: since(at), by }),
            peers: self
                .peers
                .iter()
                .map(|(peer, phase)| {
                    let phase = PeerPhase {
                        sent: phase.map_or(self.sends, |(sent, _)| sent),
                        us: phase.map(|(_, at)| since(at)),
                    };
                    (peer.clone(), phase)
                })
                .collect(),
            total_us: since(last),
        }
    }

    pub(super) fn completed(
        &self,
        service: &str,
        outcome: Completion,
        phases: Phases,
    ) -> EventKind {
        EventKind::Completed {
            service: service.to_owned(),
            transition: self.number,
            from: self.from,
            to: self.to,
            outcome,
            phases,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const DOWN: (ServiceState, ServiceState) = (ServiceState::Up, ServiceState::Down);

    struct Story {
        begun: Instant,
        open: Open,
    }

    impl Story {
        /// A failure decided after 10 µs in generation 7, with two peers up.
        fn of(cause: impl FnOnce(Instant) -> Cause, map: bool, routes: bool) -> Self {
            let begun = Instant::now();
            let mut course = Course::new(cause(begun), begun + Duration::from_micros(10));
            course.published(7, map, routes);
            let peers = ["r1", "r2"].map(str::to_owned).into_iter();
            let open = Open::new(1, DOWN, course, peers, false);
            Self { begun, open }
        }

        fn at(&self, micros: u64) -> Instant {
            self.begun + Duration::from_micros(micros)
        }
    }

    #[test]
    fn a_course_is_done_when_the_map_and_every_peer_are() {
        let mut story = Story::of(Cause::at, true, true);
        story.open.on_sent("r1", 6, true, story.at(20));
        story.open.on_sent("r1", 7, true, story.at(30));
        story.open.on_map(6, story.at(40));
        assert_eq!(story.open.phases().data_plane, None);
        story.open.on_map(8, story.at(50));
        assert!(!story.open.is_done());
        story.open.on_sent("r2", 9, true, story.at(60));
        assert!(story.open.is_done());
        let phases = story.open.phases();
        assert_eq!((phases.decided_us, phases.total_us), (10, 60));
        let map = DataPlanePhase {
            us: 50,
            by: MapWriter::Controller,
        };
        assert_eq!(phases.data_plane, Some(map));
        let withdrawn = |us| PeerPhase {
            sent: Sent::Withdrawn,
            us: Some(us),
        };
        assert_eq!(phases.peers["r1"], withdrawn(30));
        assert_eq!(phases.peers["r2"], withdrawn(60));
    }

    #[test]
    fn what_the_kernel_wrote_by_itself_is_the_map_s_phase() {
        let cause = |begun: Instant| Cause {
            dataplane_down: Some(begun + Duration::from_micros(3)),
            ..Cause::at(begun)
        };
        let mut story = Story::of(cause, true, false);
        assert!(story.open.is_done());
        story.open.on_map(7, story.at(90));
        let map = DataPlanePhase {
            us: 3,
            by: MapWriter::Kernel,
        };
        assert_eq!(story.open.phases().data_plane, Some(map));
    }

    #[test]
    fn peers_that_are_sent_nothing_or_go_away_are_not_waited_for() {
        let mut story = Story::of(Cause::at, false, true);
        story.open.on_sent("r1", 7, false, story.at(20));
        story.open.on_lost("r2", story.at(30));
        story.open.on_sent("r3", 7, true, story.at(40));
        assert!(story.open.is_done());
        let phases = story.open.phases();
        assert_eq!(phases.peers.len(), 1);
        assert_eq!(phases.peers["r2"].sent, Sent::SessionLost);
        assert_eq!(phases.data_plane, None);
    }

    #[test]
    fn a_change_of_the_map_alone_waits_for_no_peer() {
        let mut story = Story::of(Cause::at, true, false);
        assert!(!story.open.is_done());
        story.open.on_map(7, story.at(20));
        assert!(story.open.is_done());
        assert!(story.open.phases().peers.is_empty());
    }
}
