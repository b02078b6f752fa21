//! Maintenance files: while a service's file is there, the service is drained or disabled.
//!
//! The first line is the reason; a further line `for 30m` ends it by itself, counted from when the file was
//! written. The files are looked at twice a second: that needs no watch on a directory that may not
//! be there yet, and sees every way in which a file can appear, be replaced, or go.
//!
//! A file that cannot be looked at changes nothing; at the start it counts as there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::FileReport;
use super::clocks::after;
use crate::config::Span;
use crate::decision::{Away, Order};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How much of a file is read.
const READ: u64 = 4096;
/// How much of its first line is told.
const REASON: usize = 200;

/// A service's file.
#[derive(Clone, Debug)]
pub struct Maintenance {
    /// The service's index.
    pub service: usize,
    /// Where it is.
    pub path: PathBuf,
    /// What its presence means.
    pub away: Away,
}

/// What was seen of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Absent,
    Present(Mark),
    /// It cannot be told.
    Unknown(String),
}

/// What differs when a file was written again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

/// The files of a node, and what was last seen of each.
#[derive(Debug)]
pub struct Files {
    files: Vec<(Maintenance, Seen)>,
}

impl Files {
    /// Looks for the first time; returns what each file that is there says.
    pub fn open(files: Vec<Maintenance>) -> (Self, Vec<FileReport>) {
        let unseen = files.into_iter().map(|file| (file, Seen::Absent)).collect();
        let mut files = Self { files: unseen };
        let mut reports = files.look();
        for (file, seen) in &files.files {
            if let Seen::Unknown(why) = seen {
                reports.push(FileReport {
                    service: file.service,
                    order: Some(Order {
                        away: file.away,
                        reason: format!("cannot look for {}: {why}", file.path.display()),
                        until: None,
                    }),
                });
            }
        }
        (files, reports)
    }

    /// Looks again; returns what has changed.
    fn look(&mut self) -> Vec<FileReport> {
        let mut reports = Vec::new();
        for (file, last) in &mut self.files {
            let seen = see(&file.path);
            if seen == *last {
                continue;
            }
            let order = match &seen {
                Seen::Absent => None,
                Seen::Present(mark) => {
                    let text = read(&file.path).unwrap_or_default();
                    order(
                        file,
                        &text,
                        mark.modified,
                        SystemTime::now(),
                        Instant::now(),
                    )
                }
                Seen::Unknown(why) => {
                    tracing::warn!(path = %file.path.display(), why, "cannot look for a maintenance file");
                    *last = seen;
                    continue;
                }
            };
            *last = seen;
            reports.push(FileReport {
                service: file.service,
                order,
            });
        }
        reports
    }

    /// Starts the task that looks on; it ends when nobody takes its reports. Without files there is none.
    pub fn watch(self, reports: mpsc::Sender<FileReport>) -> Option<JoinHandle<()>> {
        (!self.files.is_empty()).then(|| tokio::spawn(self.run(reports)))
    }

    async fn run(mut self, reports: mpsc::Sender<FileReport>) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            // A file system may hang: nothing else waits for it.
            let looked = tokio::task::spawn_blocking(move || {
                let seen = self.look();
                (self, seen)
            });
            let Ok((files, seen)) = looked.await else {
                return;
            };
            self = files;
            for report in seen {
                if reports.send(report).await.is_err() {
                    return;
                }
            }
            if reports.is_closed() {
                return;
            }
        }
    }
}

fn see(path: &Path) -> Seen {
    match fs::metadata(path) {
        Ok(metadata) => Seen::Present(Mark {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
        }),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => see_link(path),
            _other => Seen::Unknown(error.to_string()),
        },
    }
}

/// A link that leads nowhere is there: people make such ones for want of a text.
fn see_link(path: &Path) -> Seen {
    fs::symlink_metadata(path).map_or(Seen::Absent, |metadata| {
        Seen::Present(Mark {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: 0,
            modified: metadata.modified().ok(),
        })
    })
}

/// The beginning of a file; of anything else, nothing.
fn read(path: &Path) -> io::Result<String> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a file says. Its duration counts from when it was written, by the wall clock; a clock that was set
/// back since counts as no time at all. From then on the monotonic clock decides.
fn order(
    file: &Maintenance,
    text: &str,
    modified: Option<SystemTime>,
    wall: SystemTime,
    now: Instant,
) -> Option<Order> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .peekable();
    let first = lines.next_if(|line| lasts(line).is_none());
    let reason = first.map_or_else(
        || format!("{} is there", file.path.display()),
        |line| {
            let printable = line.chars().filter(|letter| !letter.is_control());
            printable.take(REASON).collect()
        },
    );
    let until = match lines.find_map(lasts) {
        None => None,
        Some(Ok(span)) => {
            let age = modified
                .and_then(|modified| wall.duration_since(modified).ok())
                .unwrap_or_default();
            let left = span.0.checked_sub(age).filter(|left| !left.is_zero())?;
            Some(after(now, left))
        }
        Some(Err(why)) => {
            tracing::warn!(path = %file.path.display(), why, "a maintenance file without an end");
            None
        }
    };
    Some(Order {
        away: file.away,
        reason,
        until,
    })
}

/// A line `for 30m`: a duration, or what is wrong with it.
fn lasts(line: &str) -> Option<Result<Span, String>> {
    let rest = line.strip_prefix("for ")?.trim();
    // A reason may begin with "for" as well: "for maintenance".
    rest.starts_with(|letter: char| letter.is_ascii_digit())
        .then(|| rest.parse())
}

#[cfg(test)]
mod tests;
