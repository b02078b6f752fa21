//! The scenario's record: what happened when, and whether it was as it should be.

use std::io::Write;
use std::time::Duration;

use anyhow::Context as _;

use crate::clock::Monotonic;

/// Prints what happened under each heading, in the order in which it happened, and counts the checks that
/// did not hold.
pub struct Timeline<'out> {
    out: &'out mut (dyn Write + Send),
    started: Monotonic,
    lines: Vec<(Monotonic, String)>,
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
            lines: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Prints what has happened so far, and then a heading.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn heading(&mut self, text: &str) -> anyhow::Result<()> {
        self.print()?;
        writeln!(self.out, "\n{text}").context("printing the timeline")
    }

    /// Something that happened just now.
    pub fn note(&mut self, text: &str) {
        self.note_at(Monotonic::now(), text);
    }

    /// Something that happened at `at`.
    pub fn note_at(&mut self, at: Monotonic, text: &str) {
        self.lines.push((at, format!("      {text}")));
    }

    /// A step that must hold.
    pub fn check(&mut self, held: bool, text: &str) {
        self.check_at(Monotonic::now(), held, text);
    }

    /// A step at `at` that must hold.
    pub fn check_at(&mut self, at: Monotonic, held: bool, text: &str) {
        if !held {
            self.failed.push(text.into());
        }
        let mark = if held { "ok  " } else { "FAIL" };
        self.lines.push((at, format!("{mark}  {text}")));
    }

    /// Prints the verdict.
    ///
    /// # Errors
    /// When a check did not hold.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.print()?;
        if !self.failed.is_empty() {
            let count = plural(self.failed.len(), "step", "steps");
            anyhow::bail!("{count} did not hold: {}", self.failed.join("; "));
        }
        let took = Monotonic::now().since(self.started).as_secs();
        writeln!(self.out, "\nEvery step held, in {took} s.").context("printing the timeline")
    }

    fn print(&mut self) -> anyhow::Result<()> {
        self.lines.sort_by_key(|(at, _)| *at);
        for (at, text) in self.lines.drain(..) {
            let seconds = at.since(self.started).as_secs_f64();
            writeln!(self.out, "{seconds:9.3} s  {text}").context("printing the timeline")?;
        }
        self.out.flush().context("printing the timeline")
    }
}

impl Drop for Timeline<'_> {
    fn drop(&mut self) {
        // A step that failed with an error has left its lines; where they cannot be printed, nothing can.
        let _ = self.print();
    }
}

/// `1 step`, `2 steps`.
#[must_use]
pub fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A span in milliseconds, as the timeline prints it.
#[must_use]
pub fn millis(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
