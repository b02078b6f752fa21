//! Transitions as events: each is recorded, followed through both planes, and completed once.

use std::time::Instant;

use super::Controller;
use super::course::{Cause, Completion, Course, Open, Prompt};
use super::service::Service;
use crate::decision::{Plan, Transition};
use crate::events::EventKind;

impl Controller {
    /// Records a transition, with the generation in which the planes get to know of it.
    pub(super) fn note(&mut self, index: usize, transition: Option<Transition>) {
        let Some(Transition { from, to, reason }) = transition else {
            return;
        };
        self.publish();
        self.complete(index, Completion::Superseded);
        let now = Instant::now();
        let service = &mut self.services[index];
        let course = service
            .course
            .take()
            .unwrap_or_else(|| Course::new(Cause::at(now), now));
        self.transitions += 1;
        self.metrics.on_transition(index, to);
        let hooks = &self.channels.hooks;
        let for_hooks = hooks.wanted(index, to).then(|| reason.clone());
        let at = self.events.record(EventKind::Transition {
            service: service.name().to_owned(),
            from,
            to,
            reason,
            transition: self.transitions,
            generation: self.generation,
            check: course.cause.check.clone(),
            output: course.cause.output.clone(),
        });
        if let Some(reason) = for_hooks {
            self.channels.hooks.tell(index, (from, to), reason, at);
        }
        let chosen = service.settings.peers.clone();
        let told = self
            .peers
            .iter()
            .filter(|(name, peer)| {
                peer.up && chosen.as_ref().is_none_or(|chosen| chosen.contains(name))
            })
            .map(|(name, _)| name.clone());
        let announced = service.life.plan().route.is_some();
        let open = Open::new(self.transitions, (from, to), course, told, announced);
        self.open.insert(index, open);
        self.complete_done();
        self.tell_those_who_need(index, now, now);
    }

    /// The maps hold a generation.
    pub(super) fn follow_map(&mut self, generation: u64, at: Instant) {
        for service in self.services.iter_mut() {
            if let Some(course) = &mut service.course {
                course.on_map(generation, at);
            }
        }
        for open in self.open.values_mut() {
            open.on_map(generation, at);
        }
        self.complete_done();
    }

    /// A peer has been sent all of a generation.
    pub(super) fn follow_peer(&mut self, peer: &str, generation: u64, changed: bool, at: Instant) {
        for open in self.open.values_mut() {
            open.on_sent(peer, generation, changed, at);
        }
        self.complete_done();
    }

    /// A peer's session has ended.
    pub(super) fn follow_loss(&mut self, peer: &str, at: Instant) {
        for open in self.open.values_mut() {
            open.on_lost(peer, at);
        }
        self.complete_done();
    }

    /// Ends the course of every transition that has not ended.
    pub(super) fn complete_all(&mut self, outcome: Completion) {
        for index in 0..self.services.len() {
            self.complete(index, outcome);
        }
    }

    fn complete_done(&mut self) {
        let done: Vec<usize> = self
            .open
            .iter()
            .filter(|(_, open)| open.is_done())
            .map(|(index, _)| *index)
            .collect();
        for index in done {
            self.complete(index, Completion::Done);
        }
    }

    fn complete(&mut self, index: usize, outcome: Completion) {
        let Some(open) = self.open.remove(&index) else {
            return;
        };
        let service = &mut self.services[index];
        let phases = open.phases();
        let event = open.completed(service.name(), outcome, phases.clone());
        self.metrics.on_completed(open.to(), outcome, &phases);
        service.phases = Some(phases);
        self.events.record(event);
    }
}

impl Service {
    /// The plan is published in `generation`; `map` and `routes` say what of it is new.
    pub(super) fn follow(&mut self, plan: Plan, generation: u64, now: Instant) {
        let before = self.published.replace(plan);
        let map = before.is_none_or(|before| before.data_plane != plan.data_plane);
        let routes = before.is_some_and(|before| before.route != plan.route);
        if !map && !routes {
            return;
        }
        let course = match (self.prompt.take(), self.course.take()) {
            (Some(Prompt::Proof), Some(course)) => course,
            (Some(Prompt::New(cause)), _) => Course::new(cause, now),
            (Some(Prompt::Proof), None) | (None, _) => Course::new(Cause::at(now), now),
        };
        self.course
            .insert(course)
            .published(generation, map, routes);
    }
}
