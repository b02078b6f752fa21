//! What comes in: results, reports of the planes, requests.

use std::time::Instant;

use super::Controller;
use super::course::{Cause, Prompt};
use super::word::Asked;
use crate::checks::Report;
use crate::control::protocol::Request;
use crate::control::server::{Answer, Call};
use crate::events::{EventKind, monotonic_ns_at};
use crate::health::{HealthVerdict, Reason, Transition};
use crate::planes::{MapReport, PeerNews, PeerReport};

/// How many results of checks are taken before anything else is looked at.
const CHECKS_AT_ONCE: usize = 32;

impl Controller {
    /// Takes a result and those that wait behind it. What one of them changes is published before the next.
    pub(super) fn on_checks(&mut self, first: Report) {
        self.on_check(first);
        for _ in 1..CHECKS_AT_ONCE {
            self.publish();
            let Ok(next) = self.channels.checks.try_recv() else {
                return;
            };
            self.on_check(next);
        }
    }

    pub(super) fn on_check(&mut self, report: Report) {
        let now = Instant::now();
        let Some(service) = self.services.untouched(report.service) else {
            return;
        };
        if let Some(run) = service.runs.get_mut(report.check) {
            run.took = report.took;
            run.printed.clone_from(&report.output);
        }
        self.metrics.on_check(&report);
        let before = service.health.check_state(report.check);
        let transition = service.health.on_result(report.check, report.outcome, now);
        if transition.is_some() || service.health.check_state(report.check) != before {
            self.services.touch(report.service);
        }
        let dataplane_down = report.dataplane_down;
        let cause = Cause {
            output: report.output.map(String::from),
            dataplane_down,
            ..Cause::at(report.at)
        };
        self.on_health_by(report.service, transition, cause, now);
        if let Some(down) = dataplane_down {
            self.events.record(EventKind::DataPlaneDown {
                service: self.services[report.service].name().to_owned(),
                down_ns: monotonic_ns_at(down),
            });
        }
    }

    pub(super) fn on_health(&mut self, index: usize, transition: Option<Transition>, now: Instant) {
        self.on_health_by(index, transition, Cause::at(now), now);
    }

    /// `cause` is what turned the verdict.
    fn on_health_by(
        &mut self,
        index: usize,
        transition: Option<Transition>,
        mut cause: Cause,
        now: Instant,
    ) {
        let Some(transition) = transition else { return };
        let seen = cause.detected;
        match &transition.reason {
            Reason::Check { name, .. } => cause.check = Some(name.to_string()),
            Reason::Need { .. }
            | Reason::NoChecks
            | Reason::Unchecked
            | Reason::HoldDownOver
            | Reason::SuppressionOver => cause.output = None,
        }
        self.services[index].prompt = Some(Prompt::New(cause));
        let reason = transition.reason.to_string();
        let change = self.services[index]
            .life
            .on_health(transition.to, &reason, now);
        self.publish();
        self.events.record(EventKind::Detected {
            service: self.services[index].name().to_owned(),
            verdict: transition.to.to_string(),
            reason,
            decided_us: micros(seen, now),
        });
        self.note(index, change);
        // A verdict that changes nothing prompts nothing later.
        self.services[index].prompt = None;
        self.tell_those_who_need(index, seen, now);
    }

    /// Tells what the service is to those that need it: down while an operator keeps it away, otherwise what
    /// its checks say. Nothing needs itself, so this ends.
    pub(super) fn tell_those_who_need(&mut self, index: usize, seen: Instant, now: Instant) {
        let service = &self.services[index];
        let verdict = if service.life.is_away() {
            HealthVerdict::Down
        } else {
            service.health.verdict()
        };
        let needed = service.name().to_owned();
        for other in 0..self.services.len() {
            let transition = self.services[other].health.on_need(&needed, verdict, now);
            self.on_health_by(other, transition, Cause::at(seen), now);
        }
    }

    pub(super) fn on_map_report(&mut self, report: MapReport) {
        if report.writes > 0 {
            self.events.record(EventKind::DataPlaneApplied {
                generation: report.generation,
                writes: report.writes,
                took_us: self.since_decided(report.generation, report.at),
            });
        }
        let now = Instant::now();
        // A write that failed is tried again, and completes nothing before it is done.
        if report.failures.is_empty() {
            self.maps_hold = self.maps_hold.max(report.generation);
            self.follow_map(report.generation, report.at);
        }
        let failures = report
            .failures
            .into_iter()
            .map(|(index, why)| (index, Err(why)));
        for (index, outcome) in report.proofs.into_iter().chain(failures) {
            self.on_proof(index, report.generation, outcome, now);
        }
    }

    fn on_proof(
        &mut self,
        index: usize,
        generation: u64,
        outcome: Result<(), String>,
        now: Instant,
    ) {
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        if let Err(reason) = &outcome {
            self.events.record(EventKind::DataPlaneFailed {
                generation,
                reason: format!("{}: {reason}", service.settings.name),
            });
        }
        // A proof of an older entry says nothing about the one that is asked for now.
        if service.proof_from.is_some_and(|from| generation >= from) {
            service.proof_from = None;
            service.prompt = outcome.is_ok().then_some(Prompt::Proof);
            let change = service.life.on_installed(outcome, now);
            self.publish();
            self.note(index, change);
            self.services[index].prompt = None;
        }
    }

    pub(super) fn on_peer_report(&mut self, report: PeerReport) {
        let PeerReport { peer, news } = report;
        let progress = self.peers.entry(peer.clone()).or_default();
        match news {
            PeerNews::Up => {
                progress.up = true;
                self.events.record(EventKind::PeerUp { peer });
            }
            PeerNews::Down { reason } => {
                // It holds no routes of ours; a peer of a prefix may never come back.
                self.peers.remove(&peer);
                self.follow_loss(&peer, Instant::now());
                self.events.record(EventKind::PeerDown { peer, reason });
            }
            PeerNews::Applied {
                generation,
                announced,
                withdrawn,
                at,
            } => {
                progress.applied = progress.applied.max(generation);
                let took_us = self.since_decided(generation, at);
                let name = peer.clone();
                if withdrawn > 0 {
                    self.events.record(EventKind::RouteWithdrawn {
                        peer: peer.clone(),
                        generation,
                        prefixes: withdrawn,
                        took_us,
                    });
                }
                if announced > 0 {
                    self.events.record(EventKind::RouteAnnounced {
                        peer,
                        generation,
                        prefixes: announced,
                        took_us,
                    });
                }
                self.follow_peer(&name, generation, announced + withdrawn > 0, at);
            }
        }
        self.note_withdrawals();
    }

    /// A peer that is down holds no routes of ours; every other must have been sent the withdrawal.
    pub(super) fn note_withdrawals(&mut self) {
        let slowest = self
            .peers
            .values()
            .filter(|peer| peer.up)
            .map(|peer| peer.applied)
            .min()
            .unwrap_or(u64::MAX);
        for index in 0..self.services.len() {
            let service = &self.services[index];
            if service.life.awaits_withdrawal() && slowest >= service.routed_at {
                self.services[index].life.on_withdrawn();
            }
        }
    }

    pub(super) fn on_call(&mut self, call: Call) {
        let answer = match call.request {
            Request::Status => return self.answer_status(call.reply),
            Request::Addresses => return self.answer_addresses(call.reply),
            Request::Events { follow } => {
                Answer::Events(self.events.recent(), follow.then(|| self.events.follow()))
            }
            Request::Operate {
                service,
                operation,
                lasts,
                reason,
            } => {
                let asked = Asked {
                    service,
                    operation,
                    lasts: lasts.map(|span| span.0),
                    reason,
                };
                return self.on_operate(asked, call.reply);
            }
        };
        // The client may have gone meanwhile.
        let _gone = call.reply.send(answer);
    }

    fn since_decided(&self, generation: u64, at: Instant) -> u64 {
        self.decided
            .iter()
            .find(|(decided, _)| *decided == generation)
            .map_or(0, |(_, decided_at)| micros(*decided_at, at))
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
