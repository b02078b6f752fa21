//! The operator's word: by command, by maintenance file, and the end of its time.
//!
//! Who asks by command is answered once the word is on the disk, or could not be put there; the word itself
//! waits for no disk.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Controller;
use super::service::Service;
use crate::control::protocol::{Operation, Response};
use crate::control::server::Answer;
use crate::decision::{Away, Order, Source};
use crate::events::EventKind;
use crate::state::ServiceState;
use crate::words::{FileReport, Spoken, Words};

/// How long a client waits for the disk.
const SAVING: Duration = Duration::from_secs(5);

/// What an operator asks for by command.
pub(super) struct Asked {
    pub(super) service: String,
    pub(super) operation: Operation,
    pub(super) lasts: Option<Duration>,
    pub(super) reason: Option<String>,
}

impl Controller {
    /// Takes what was said before the start; nothing has been announced yet.
    pub(super) fn heed_first_words(&mut self, now: Instant) {
        for index in 0..self.services.len() {
            let orders = self.services[index].orders.clone();
            for (source, order) in orders.all() {
                self.record_word(index, source, operation(order.away), &order.reason);
            }
            self.follow_orders(index, "", now);
        }
    }

    pub(super) fn on_operate(&mut self, asked: Asked, reply: oneshot::Sender<Answer>) {
        let generation = self.words_generation;
        match self.operate(&asked) {
            Ok((state, note)) => {
                let done = Done {
                    service: asked.service,
                    state,
                    note,
                };
                if self.words_generation == generation {
                    // The client may have gone meanwhile.
                    let _gone = reply.send(done.answer(None));
                } else {
                    self.answer_when_saved(done, reply);
                }
            }
            Err(message) => {
                let _gone = reply.send(Answer::One(Response::Error { message }));
            }
        }
    }

    /// The state that follows, and what still holds the service.
    fn operate(&mut self, asked: &Asked) -> Result<(ServiceState, Option<String>), String> {
        let name = &asked.service;
        let index = self.index_of(name)?;
        let service = &self.services[index];
        let said = service.orders.of(Source::Command).map(|order| order.away);
        let away = match (asked.operation, said) {
            (Operation::Drain, _) => Some(Away::Drained),
            (Operation::Disable, _) => Some(Away::Disabled),
            (Operation::Undrain, Some(Away::Disabled)) => {
                return Err(format!(
                    "{name} is disabled, not drained: `anycast enable {name}`"
                ));
            }
            (Operation::Enable, Some(Away::Drained)) => {
                return Err(format!(
                    "{name} is drained, not disabled: `anycast undrain {name}`"
                ));
            }
            (Operation::Undrain | Operation::Enable, None) => match service.held_by() {
                Some(held) => return Err(held),
                None => return Ok((service.life.state(), None)),
            },
            (Operation::Undrain, Some(Away::Drained))
            | (Operation::Enable, Some(Away::Disabled)) => None,
        };
        let now = Instant::now();
        let reason = asked
            .reason
            .clone()
            .unwrap_or_else(|| format!("{} by the operator", past(asked.operation)));
        let order = away.map(|away| Order {
            away,
            reason: reason.clone(),
            until: asked.lasts.map(|lasts| now + lasts),
        });
        self.services[index].orders.set(Source::Command, order);
        self.record_word(index, Source::Command, asked.operation, &reason);
        self.follow_orders(index, &reason, now);
        self.save_words();
        let service = &self.services[index];
        let note = away.map_or_else(|| service.held_by(), |_| None);
        Ok((service.life.state(), note))
    }

    fn index_of(&self, name: &str) -> Result<usize, String> {
        let found = self
            .services
            .iter()
            .position(|service| service.name() == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.services.iter().map(Service::name).collect();
            format!(
                "no service is named `{name}`; there are: {}",
                known.join(", ")
            )
        })
    }

    pub(super) fn on_file(&mut self, report: FileReport) {
        let Some(service) = self.services.get_mut(report.service) else {
            return;
        };
        let before = service.orders.of(Source::MaintenanceFile).cloned();
        service
            .orders
            .set(Source::MaintenanceFile, report.order.clone());
        let gone = "the maintenance file is gone, or its time is over";
        let (word, reason) = match (&before, &report.order) {
            (_, Some(order)) => (operation(order.away), order.reason.as_str()),
            (Some(before), None) => (end_of(before.away), gone),
            (None, None) => return,
        };
        self.record_word(report.service, Source::MaintenanceFile, word, reason);
        self.follow_orders(report.service, gone, Instant::now());
    }

    pub(super) fn end_of_words(&mut self, index: usize, now: Instant) {
        let before = self.services[index].orders.clone();
        let over = self.services[index].orders.on_time(now);
        let reason = "the time set by the operator is over";
        for source in &over {
            if let Some(order) = before.of(*source) {
                self.record_word(index, *source, end_of(order.away), reason);
            }
        }
        if !over.is_empty() {
            self.follow_orders(index, reason, now);
        }
        if over.contains(&Source::Command) {
            self.save_words();
        }
    }

    /// `otherwise`: why the service is free when no order is left.
    fn follow_orders(&mut self, index: usize, otherwise: &str, now: Instant) {
        let service = &mut self.services[index];
        let word = service.orders.word();
        if word == service.life.word() {
            return;
        }
        let reason = match service.orders.in_force() {
            Some((_, order)) => order.reason.clone(),
            None => otherwise.to_owned(),
        };
        let change = service.life.on_word(word, &reason, now);
        self.publish();
        self.note(index, change);
        self.note_withdrawals();
    }

    fn record_word(&mut self, index: usize, source: Source, word: Operation, reason: &str) {
        self.events.record(EventKind::Operator {
            service: self.services[index].name().to_owned(),
            word: word.as_str().to_owned(),
            source,
            reason: reason.to_owned(),
        });
    }

    fn save_words(&mut self) {
        self.words_generation += 1;
        let spoken = self.services.iter().filter_map(|service| {
            Some(Spoken {
                service: service.name().to_owned(),
                order: service.orders.of(Source::Command)?.clone(),
            })
        });
        self.channels.words.send_replace(Words {
            generation: self.words_generation,
            spoken: spoken.collect(),
        });
    }

    fn answer_when_saved(&self, done: Done, reply: oneshot::Sender<Answer>) {
        let generation = self.words_generation;
        let mut saved = self.channels.saved.clone();
        tokio::spawn(async move {
            let on_disk = saved.wait_for(|saved| saved.generation >= generation);
            let trouble = match timeout(SAVING, on_disk).await {
                Ok(Ok(saved)) => saved.error.clone(),
                Ok(Err(_)) => Some("the daemon is stopping".to_owned()),
                Err(_) => Some(format!("the disk has not answered for {SAVING:?}")),
            };
            // The client may have gone meanwhile.
            let _gone = reply.send(done.answer(trouble));
        });
    }
}

/// What was done, on its way to the client.
struct Done {
    service: String,
    state: ServiceState,
    note: Option<String>,
}

impl Done {
    fn answer(self, trouble: Option<String>) -> Answer {
        let trouble =
            trouble.map(|why| format!("this will not survive a restart of the daemon: {why}"));
        let notes: Vec<String> = self.note.into_iter().chain(trouble).collect();
        Answer::One(Response::Done {
            service: self.service,
            state: self.state,
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        })
    }
}

impl Service {
    /// Who holds the service when no command does, and how that ends.
    fn held_by(&self) -> Option<String> {
        let (source, order) = self.orders.in_force()?;
        let name = self.name();
        let away = order.away.as_str();
        Some(match source {
            Source::Configuration => {
                format!("{name} is {away} in the configuration: take `disabled = true` out of it")
            }
            Source::Command => return None,
            Source::MaintenanceFile => match &self.settings.maintenance_file {
                Some(path) => format!(
                    "{name} is {away} by its maintenance file: remove {}",
                    path.display()
                ),
                None => format!("{name} is {away} by its maintenance file"),
            },
        })
    }
}

const fn operation(away: Away) -> Operation {
    match away {
        Away::Drained => Operation::Drain,
        Away::Disabled => Operation::Disable,
    }
}

const fn end_of(away: Away) -> Operation {
    match away {
        Away::Drained => Operation::Undrain,
        Away::Disabled => Operation::Enable,
    }
}

const fn past(operation: Operation) -> &'static str {
    match operation {
        Operation::Drain => "drained",
        Operation::Undrain => "undrained",
        Operation::Disable => "disabled",
        Operation::Enable => "enabled",
    }
}
