//! What comes in: results, reports of the planes, requests.

use std::time::Instant;

use super::Controller;
use super::word::Asked;
use crate::checks::Report;
use crate::control::protocol::Request;
use crate::control::server::{Answer, Call};
use crate::events::{EventKind, monotonic_ns_at};
use crate::health::{HealthVerdict, Transition};
use crate::planes::{MapReport, PeerNews, PeerReport};

impl Controller {
    pub(super) fn on_check(&mut self, report: Report) {
        let now = Instant::now();
        let Some(service) = self.services.get_mut(report.service) else {
            return;
        };
        service.took.insert(report.check, report.took);
        let transition = service.health.on_result(report.check, report.outcome, now);
        self.on_health_at(report.service, transition, report.at, now);
        if let Some(down) = report.dataplane_down {
            self.events.record(EventKind::DataPlaneDown {
                service: self.services[report.service].name().to_owned(),
                down_ns: monotonic_ns_at(down),
            });
        }
    }

    pub(super) fn on_health(&mut self, index: usize, transition: Option<Transition>, now: Instant) {
        self.on_health_at(index, transition, now, now);
    }

    /// `seen` is when the result that turned the verdict was there.
    fn on_health_at(
        &mut self,
        index: usize,
        transition: Option<Transition>,
        seen: Instant,
        now: Instant,
    ) {
        let Some(transition) = transition else { return };
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
        self.tell_those_who_need(index, transition.to, seen, now);
    }

    /// Nothing needs itself, so this ends.
    fn tell_those_who_need(
        &mut self,
        index: usize,
        verdict: HealthVerdict,
        seen: Instant,
        now: Instant,
    ) {
        let needed = self.services[index].name().to_owned();
        for other in 0..self.services.len() {
            let transition = self.services[other].health.on_need(&needed, verdict, now);
            self.on_health_at(other, transition, seen, now);
        }
    }

    pub(super) fn on_map_report(&mut self, report: MapReport) {
        self.maps_hold = self.maps_hold.max(report.generation);
        if report.writes > 0 {
            self.events.record(EventKind::DataPlaneApplied {
                generation: report.generation,
                writes: report.writes,
                took_us: self.since_decided(report.generation, report.at),
            });
        }
        let now = Instant::now();
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
            let change = service.life.on_installed(outcome, now);
            self.publish();
            self.note(index, change);
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
                progress.up = false;
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
        for service in &mut self.services {
            if service.life.awaits_withdrawal() && slowest >= service.routed_at {
                service.life.on_withdrawn();
            }
        }
    }

    pub(super) fn on_call(&mut self, call: Call) {
        let answer = match call.request {
            Request::Status => return self.answer_status(call.reply),
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
