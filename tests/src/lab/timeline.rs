//! The scenario's record: what happened when, and whether it was as it should be.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Monotonic;

/// Prints each line as it happens, and counts the checks that did not hold.
pub struct Timeline<'out> {
    out: &'out mut (dyn Write + Send),
    started: Monotonic,
    failed: Vec<String>,
}

impl std::fmt::Debug for Timeline<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline")
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<'out> Timeline<'out> {
    /// Starts the clock.
    pub fn start(out: &'out mut (dyn Write + Send)) -> Self {
        Self {
            out,
            started: Monotonic::now(),
            failed: Vec::new(),
        }
    }

    /// A heading.
    ///
    /// # Errors
    /// When it cannot be printed; so for all of them.
    pub fn heading(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.out, "\n{text}").context("printing the timeline")
    }

    /// Something that happened just now.
    pub fn note(&mut self, text: &str) -> anyhow::Result<()> {
        self.line(Monotonic::now(), "    ", text)
    }

    /// Something that happened at `at`.
    pub fn note_at(&mut self, at: Monotonic, text: &str) -> anyhow::Result<()> {
        self.line(at, "    ", text)
    }

    /// A step that must hold.
    pub fn check(&mut self, held: bool, text: &str) -> anyhow::Result<()> {
        self.check_at(Monotonic::now(), held, text)
    }

    /// A step at `at` that must hold.
    pub fn check_at(&mut self, at: Monotonic, held: bool, text: &str) -> anyhow::Result<()> {
        if !held {
            self.failed.push(text.into());
        }
        self.line(at, if held { "ok  " } else { "FAIL" }, text)
    }

    /// # Errors
    /// When a check did not hold.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self {
            out,
            started,
            failed,
        } = self;
        let took = Monotonic::now().since(started).as_secs();
        if failed.is_empty() {
            return writeln!(out, "\nEvery step held, in {took} s.")
                .context("printing the timeline");
        }
        anyhow::bail!(
            "{} did not hold: {}",
            plural(failed.len(), "step"),
            failed.join("; ")
        )
    }

    fn line(&mut self, at: Monotonic, mark: &str, text: &str) -> anyhow::Result<()> {
        let seconds = at.since(self.started).as_secs_f64();
        writeln!(self.out, "{seconds:9.3} s  {mark}  {text}").context("printing the timeline")?;
        self.out.flush().context("printing the timeline")
    }
}

/// `1 step`, `2 steps`.
#[must_use]
pub fn plural(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// A span in milliseconds, as the timeline prints it.
#[must_use]
pub fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
