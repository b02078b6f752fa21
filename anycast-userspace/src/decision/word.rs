//! The operator's word on one service: who asks for what, why and for how long, and which of it counts.
//!
//! There are three sources, and each takes back its own word alone. The strictest word counts: disabled
//! before drained. Between equals the source that stands first in [`Source::ALL`] gives the reason.
//! A word with a duration ends at an instant of the monotonic clock.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// What the operator's word on a service amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Nothing: the checks decide.
    Enabled,
    /// Take it away without losing a flow.
    Drained,
    /// Take it away at once.
    Disabled,
}

impl From<Away> for Word {
    fn from(away: Away) -> Self {
        match away {
            Away::Drained => Self::Drained,
            Away::Disabled => Self::Disabled,
        }
    }
}

/// How a service is taken away; the stricter one is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Away {
    /// Without losing a flow.
    Drained,
    /// At once.
    Disabled,
}

impl Away {
    /// The word used in status and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::Disabled => "disabled",
        }
    }
}

/// Who has spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The configuration: `disabled = true`.
    Configuration,
    /// `anycast drain` and `anycast disable`, also before a restart.
    Command,
    /// The service's maintenance file.
    MaintenanceFile,
}

impl Source {
    /// Every source, in the order in which they give the reason.
    pub const ALL: [Self; 3] = [Self::Configuration, Self::Command, Self::MaintenanceFile];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "configuration",
            Self::Command => "command",
            Self::MaintenanceFile => "maintenance file",
        })
    }
}

/// What one source asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// How the service is taken away.
    pub away: Away,
    /// Why.
    pub reason: String,
    /// When it ends by itself.
    pub until: Option<Instant>,
}

/// The orders for one service, at most one of each source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    configuration: Option<Order>,
    command: Option<Order>,
    file: Option<Order>,
}

impl Orders {
    /// What a source says from now on; `None` takes its word back.
    pub fn set(&mut self, source: Source, order: Option<Order>) {
        *self.slot(source) = order;
    }

    /// What a source says.
    pub fn of(&self, source: Source) -> Option<&Order> {
        match source {
            Source::Configuration => self.configuration.as_ref(),
            Source::Command => self.command.as_ref(),
            Source::MaintenanceFile => self.file.as_ref(),
        }
    }

    /// All that is said, with its sources.
    pub fn all(&self) -> impl Iterator<Item = (Source, &Order)> {
        Source::ALL
            .into_iter()
            .filter_map(|source| Some((source, self.of(source)?)))
    }

    /// The order that counts.
    pub fn in_force(&self) -> Option<(Source, &Order)> {
        // The last of equal maxima wins, so the order of the sources is reversed.
        let strictest = self.all().max_by_key(|(source, order)| {
            let rank = Source::ALL.iter().rev().position(|other| other == source);
            (order.away, rank)
        });
        strictest
    }

    /// What it all amounts to.
    pub fn word(&self) -> Word {
        self.in_force()
            .map_or(Word::Enabled, |(_, order)| order.away.into())
    }

    /// When [`Self::on_time`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.all().filter_map(|(_, order)| order.until).min()
    }

    /// Ends what has had its time; returns who had said it.
    pub fn on_time(&mut self, now: Instant) -> Vec<Source> {
        let over: Vec<Source> = self
            .all()
            .filter(|(_, order)| order.until.is_some_and(|until| until <= now))
            .map(|(source, _)| source)
            .collect();
        for source in &over {
            self.set(*source, None);
        }
        over
    }

    fn slot(&mut self, source: Source) -> &mut Option<Order> {
        match source {
            Source::Configuration => &mut self.configuration,
            Source::Command => &mut self.command,
            Source::MaintenanceFile => &mut self.file,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Away, Order, Orders, Source, Word};

    fn order(away: Away, reason: &str) -> Order {
        Order {
            away,
            reason: reason.to_owned(),
            until: None,
        }
    }

    #[test]
    fn the_strictest_word_counts_and_each_source_takes_back_its_own() {
        use Away::{Disabled, Drained};
        use Source::{Command, Configuration, MaintenanceFile};
        // who says what (`None`: takes it back), the word then, and whose reason is told
        let steps = [
            (
                MaintenanceFile,
                Some(Drained),
                Word::Drained,
                Some(MaintenanceFile),
            ),
            (Command, Some(Drained), Word::Drained, Some(Command)),
            (
                MaintenanceFile,
                Some(Disabled),
                Word::Disabled,
                Some(MaintenanceFile),
            ),
            (Command, None, Word::Disabled, Some(MaintenanceFile)),
            (Command, Some(Disabled), Word::Disabled, Some(Command)),
            (
                Configuration,
                Some(Disabled),
                Word::Disabled,
                Some(Configuration),
            ),
            (Configuration, None, Word::Disabled, Some(Command)),
            (MaintenanceFile, None, Word::Disabled, Some(Command)),
            (Command, None, Word::Enabled, None),
        ];
        let mut orders = Orders::default();
        for (step, (source, away, word, told)) in steps.into_iter().enumerate() {
            orders.set(source, away.map(|away| order(away, &source.to_string())));
            assert_eq!(orders.word(), word, "step {step}");
            assert_eq!(
                orders.in_force().map(|(source, _)| source),
                told,
                "step {step}"
            );
        }
    }

    #[test]
    fn a_word_with_a_duration_ends_at_its_instant_and_leaves_the_others() {
        let now = Instant::now();
        let later = |secs| now + Duration::from_secs(secs);
        let mut orders = Orders::default();
        assert_eq!(orders.deadline(), None);
        for (source, away, secs) in [
            (Source::Command, Away::Disabled, 10),
            (Source::MaintenanceFile, Away::Drained, 20),
        ] {
            let until = Some(later(secs));
            orders.set(
                source,
                Some(Order {
                    until,
                    ..order(away, "")
                }),
            );
        }
        assert_eq!(orders.deadline(), Some(later(10)));
        assert_eq!(orders.on_time(later(9)), []);
        assert_eq!(orders.word(), Word::Disabled);
        assert_eq!(orders.on_time(later(10)), [Source::Command]);
        assert_eq!(
            (orders.word(), orders.deadline()),
            (Word::Drained, Some(later(20)))
        );
        assert_eq!(orders.on_time(later(99)), [Source::MaintenanceFile]);
        assert_eq!((orders.word(), orders.deadline()), (Word::Enabled, None));
    }
}
