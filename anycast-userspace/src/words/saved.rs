//! The form in which words are saved: JSON, small, readable. Pure: time is an argument.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Spoken;
use super::clocks::{Moment, after};
use crate::config::Span;
use crate::decision::{Away, Order};

/// The version of the form.
const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    saved: Moment,
    words: Vec<Entry>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    service: String,
    word: Away,
    reason: String,
    /// From the moment of saving; absent: until said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<Span>,
}

/// The text to save.
pub fn write(spoken: &[Spoken], moment: &Moment, now: Instant) -> String {
    let words = spoken
        .iter()
        .map(|Spoken { service, order }| Entry {
            service: service.clone(),
            word: order.away,
            reason: order.reason.clone(),
            left: order
                .until
                .map(|until| Span(until.saturating_duration_since(now))),
        })
        .collect();
    let form = Form {
        version: VERSION,
        saved: moment.clone(),
        words,
    };
    // Strings, numbers and lists of them can always be written.
    let mut text = serde_json::to_string_pretty(&form).unwrap_or_default();
    text.push('\n');
    text
}

/// The words of a saved text whose time is not over; an error says what is wrong with the text.
pub fn read(text: &str, moment: &Moment, now: Instant) -> Result<Vec<Spoken>, String> {
    let form: Form = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if form.version != VERSION {
        return Err(format!(
            "version {}, and this anycast reads version {VERSION}",
            form.version
        ));
    }
    let passed = moment.since(&form.saved);
    let spoken = form.words.into_iter().filter_map(|entry| {
        let until = match entry.left {
            Some(Span(left)) if left <= passed => return None,
            Some(Span(left)) => Some(after(now, left - passed)),
            None => None,
        };
        let order = Order {
            away: entry.word,
            reason: entry.reason,
            until,
        };
        Some(Spoken {
            service: entry.service,
            order,
        })
    });
    Ok(spoken.collect())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use jiff::Timestamp;

    use super::{read, write};
    use crate::decision::{Away, Order};
    use crate::words::Spoken;
    use crate::words::clocks::Moment;

    fn moment(boot: &str, wall: i64, monotonic: u64) -> Moment {
        Moment {
            at: Timestamp::from_second(1_000_000 + wall).expect("a time"),
            boot: boot.to_owned(),
            monotonic_ns: monotonic * 1_000_000_000,
        }
    }

    fn spoken(service: &str, away: Away, until: Option<Instant>) -> Spoken {
        Spoken {
            service: service.to_owned(),
            order: Order {
                away,
                reason: "kernel \"update\"\n".to_owned(),
                until,
            },
        }
    }

    #[test]
    fn a_word_keeps_what_was_left_of_its_time_whatever_the_wall_clock_did() {
        let then = Instant::now();
        let saved = moment("a", 0, 100);
        let half_an_hour = then + Duration::from_secs(1800);
        let words = [
            spoken("dns", Away::Drained, Some(half_an_hour)),
            spoken("web", Away::Disabled, None),
        ];
        let text = write(&words, &saved, then);
        let now = then + Duration::from_secs(7);
        // the moment of the restart, and the seconds left to `dns`; `None`: its time is over
        let cases = [
            (moment("a", 600, 700), Some(1200)),
            (moment("a", -86_400, 700), Some(1200)),
            (moment("a", 86_400, 700), Some(1200)),
            (moment("a", 0, 1900), None),
            (moment("b", 600, 3), Some(1200)),
            (moment("b", 1800, 3), None),
            (moment("b", -86_400, 3), Some(1800)),
        ];
        for (moment, left) in cases {
            let want: Vec<_> = left
                .map(|left| {
                    let until = now + Duration::from_secs(left);
                    spoken("dns", Away::Drained, Some(until))
                })
                .into_iter()
                .chain([spoken("web", Away::Disabled, None)])
                .collect();
            assert_eq!(read(&text, &moment, now), Ok(want), "{moment:?}");
        }
    }

    #[test]
    fn a_text_that_was_not_written_whole_or_by_another_version_is_refused() {
        let now = Instant::now();
        let here = moment("a", 0, 100);
        let whole = write(&[spoken("dns", Away::Drained, None)], &here, now);
        let cases = [
            (String::new(), "EOF"),
            (whole[..whole.len() / 2].to_owned(), "EOF"),
            (
                whole.replace("\"version\": 1", "\"version\": 2"),
                "version 2",
            ),
            (
                whole.replace("drained", "derained"),
                "unknown variant `derained`",
            ),
            (whole.replace("\"reason\"", "\"raeson\""), "raeson"),
            ("\0\0\0\0".to_owned(), "expected value"),
        ];
        for (text, words) in cases {
            let error = read(&text, &here, now).expect_err(words);
            assert!(error.contains(words), "`{text}`: {error}");
        }
    }
}
