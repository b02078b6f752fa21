//! Looks for a text and a match in a body that comes in pieces, without reading it anew for each of them.

use std::fmt;

use regex::bytes::Regex;

/// How much of a body is searched.
const BODY_LIMIT: usize = 64 * 1024;

pub(super) struct Search<'a> {
    /// None once it is found.
    text: Option<&'a str>,
    /// None once it is found.
    pattern: Option<&'a Regex>,
    read: Vec<u8>,
    /// How much of it the pattern has been tried on.
    tried: usize,
}

/// What is looked for, as a person is told.
pub(super) enum Missing<'a> {
    Text(&'a str),
    Match(&'a Regex),
}

impl fmt::Display for Missing<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(to, "`{text}`"),
            Self::Match(pattern) => write!(to, "match of `{pattern}`"),
        }
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(text: Option<&'a str>, pattern: Option<&'a Regex>) -> Self {
        let mut search = Self {
            text,
            pattern,
            read: Vec::new(),
            tried: 0,
        };
        // Some are found in nothing.
        search.push(&[]);
        search.catch_up();
        search
    }

    /// What is not found yet.
    pub(super) fn missing(&self) -> Option<Missing<'a>> {
        match (self.text, self.pattern) {
            (Some(text), _) => Some(Missing::Text(text)),
            (None, Some(pattern)) => Some(Missing::Match(pattern)),
            (None, None) => None,
        }
    }

    /// Takes the next piece. A match may begin anywhere before it, so the pattern is tried when the body has doubled,
    /// and when it is full.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let before = self.read.len();
        let room = BODY_LIMIT - before;
        self.read.extend_from_slice(&piece[..piece.len().min(room)]);
        if let Some(text) = self.text {
            let from = before.saturating_sub(text.len().saturating_sub(1));
            if contains(&self.read[from..], text.as_bytes()) {
                self.text = None;
            }
        }
        if self.read.len() >= 2 * self.tried || self.is_full() {
            self.catch_up();
        }
    }

    /// Whether there is something that the pattern has not been tried on.
    pub(super) fn is_behind(&self) -> bool {
        self.pattern.is_some() && self.tried < self.read.len()
    }

    pub(super) fn catch_up(&mut self) {
        self.tried = self.read.len();
        if let Some(pattern) = self.pattern
            && pattern.is_match(&self.read)
        {
            self.pattern = None;
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.read.len() >= BODY_LIMIT
    }

    pub(super) fn length(&self) -> usize {
        self.read.len()
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty()
        || haystack
            .windows(needle.len())
            .any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{BODY_LIMIT, Search};

    #[test]
    fn a_text_or_match_is_found_wherever_the_pieces_end() {
        let body = b"this is city-a, and more of it";
        let regex = regex::bytes::Regex::new("city-[a-c]").expect("a pattern");
        let cases = [
            (Some("city-a"), None, None),
            (Some("city-b"), None, Some("`city-b`")),
            (Some("more of it"), Some(&regex), None),
            (Some("less of it"), Some(&regex), Some("`less of it`")),
            (Some(""), None, None),
            (None, None, None),
        ];
        for size in 1..=body.len() {
            for (text, pattern, want) in &cases {
                let mut search = Search::new(*text, *pattern);
                for piece in body.chunks(size) {
                    search.push(piece);
                }
                search.catch_up();
                let missing = search.missing().map(|missing| missing.to_string());
                assert_eq!(missing.as_deref(), *want, "{size} bytes at a time");
            }
        }
    }

    #[test]
    fn a_long_body_in_single_bytes_is_not_searched_anew_for_each() {
        let regex = regex::bytes::Regex::new("[a-c]+-town").expect("a pattern");
        let mut search = Search::new(Some("city-b"), Some(&regex));
        let begun = Instant::now();
        for _ in 0..BODY_LIMIT + 10 {
            search.push(b"a");
        }
        assert!(search.is_full() && !search.is_behind());
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "{:?}",
            begun.elapsed()
        );
    }
}
