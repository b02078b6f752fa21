//! Maintenance files: while a service's file is there, the service is drained or disabled.
//!
//! The first line is the reason; a further line `for 30m` ends it by itself, counted from when the file was
//! written. The files are looked at twice a second: that needs no watch on a directory that may not
//! be there yet, and sees every way in which a file can appear, be replaced, or go.
//!
//! A file that cannot be looked at changes nothing; at the start it counts as there. The files of a
//! directory are looked at beside those of others, so that a file system that hangs stops no other; the
//! 64th that hangs does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout, timeout_at};

use super::FileReport;
use super::clocks::after;
use crate::config::Span;
use crate::decision::{Away, Order};

/// How often the files are looked at.
const EVERY: Duration = Duration::from_millis(500);
/// How long a look may take before a person is told of it; at the start, before its files count as there.
const PATIENCE: Duration = Duration::from_secs(5);
/// Directories that are looked at at the same time. The runtime has more threads, for others.
const AT_ONCE: usize = 64;
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
    NotYet,
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

/// Looks at a file; may take as long as its file system likes.
type See = fn(&Path) -> Seen;

/// The files in one directory, and what was last seen of each.
#[derive(Debug)]
struct Directory {
    files: Vec<(Maintenance, Seen)>,
    see: See,
}

impl Directory {
    /// Looks again; returns what has changed.
    fn look(&mut self) -> Vec<FileReport> {
        let mut reports = Vec::new();
        for (file, last) in &mut self.files {
            let seen = (self.see)(&file.path);
            if seen == *last {
                continue;
            }
            let order = match &seen {
                Seen::Absent | Seen::NotYet => None,
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

    /// Those that could not be looked at count as there at the start.
    fn unknown(&self) -> impl Iterator<Item = FileReport> {
        self.files.iter().filter_map(|(file, seen)| match seen {
            Seen::Unknown(why) => Some(held(file, why)),
            Seen::NotYet | Seen::Absent | Seen::Present(_) => None,
        })
    }
}

/// A look under way, in a thread that may hang.
type Look = JoinHandle<Option<(Directory, Vec<FileReport>)>>;

/// A directory between looks, or in one.
#[derive(Debug)]
enum State {
    Idle(Directory),
    Looking(Look),
}

/// The files of a node. Those of one directory are looked at together, in a thread of their own while it
/// lasts: a file system that hangs keeps nothing waiting but what is on it.
#[derive(Debug)]
pub struct Files {
    directories: Vec<(PathBuf, State)>,
    threads: Arc<Semaphore>,
}

impl Files {
    /// Looks for the first time; returns what each file that is there says. One whose file system does not
    /// answer within five seconds counts as there until it does. Must be called within a tokio runtime.
    pub async fn open(files: Vec<Maintenance>) -> (Self, Vec<FileReport>) {
        Self::open_with(files, see, PATIENCE).await
    }

    async fn open_with(
        files: Vec<Maintenance>,
        see: See,
        patience: Duration,
    ) -> (Self, Vec<FileReport>) {
        let mut by_directory: BTreeMap<PathBuf, Vec<Maintenance>> = BTreeMap::new();
        for file in files {
            let directory = file.path.parent().unwrap_or(&file.path).to_owned();
            by_directory.entry(directory).or_default().push(file);
        }
        let threads = Arc::new(Semaphore::new(AT_ONCE));
        let looks: Vec<(PathBuf, Vec<Maintenance>, Look)> = by_directory
            .into_iter()
            .map(|(path, files)| {
                let unseen = files.iter().cloned().map(|file| (file, Seen::NotYet));
                let files_seen = unseen.collect();
                let directory = Directory {
                    files: files_seen,
                    see,
                };
                (path, files, look(directory, &threads))
            })
            .collect();
        let deadline = tokio::time::Instant::now() + patience;
        let mut directories = Vec::new();
        let mut reports = Vec::new();
        for (path, files, mut look) in looks {
            match timeout_at(deadline, &mut look).await {
                Ok(Ok(Some((directory, seen)))) => {
                    reports.extend(seen.into_iter().filter(|report| report.order.is_some()));
                    reports.extend(directory.unknown());
                    directories.push((path, State::Idle(directory)));
                }
                Ok(Ok(None) | Err(_)) => {
                    let why = "the look has failed";
                    reports.extend(files.iter().map(|file| held(file, why)));
                }
                Err(_late) => {
                    let why = format!("its file system has not answered for {patience:?}");
                    tracing::warn!(directory = %path.display(), why, "cannot look for maintenance files");
                    reports.extend(files.iter().map(|file| held(file, &why)));
                    directories.push((path, State::Looking(look)));
                }
            }
        }
        let files = Self {
            directories,
            threads,
        };
        (files, reports)
    }

    /// Starts the tasks that look on, one for each directory; they end when nobody takes their reports.
    pub fn watch(self, reports: &mpsc::Sender<FileReport>) {
        for (path, state) in self.directories {
            let threads = Arc::clone(&self.threads);
            tokio::spawn(watch(path, state, threads, reports.clone()));
        }
    }
}

async fn watch(
    path: PathBuf,
    mut state: State,
    threads: Arc<Semaphore>,
    reports: mpsc::Sender<FileReport>,
) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let look = match state {
            State::Looking(look) => look,
            State::Idle(directory) => {
                tick.tick().await;
                look(directory, &threads)
            }
        };
        let Some((directory, seen)) = finish(&path, look).await else {
            return;
        };
        for report in seen {
            if reports.send(report).await.is_err() {
                return;
            }
        }
        if reports.is_closed() {
            return;
        }
        state = State::Idle(directory);
    }
}

/// Looks at a directory in a thread, as soon as there is one.
fn look(mut directory: Directory, threads: &Arc<Semaphore>) -> Look {
    let threads = Arc::clone(threads);
    tokio::spawn(async move {
        let thread = threads.acquire_owned().await.ok()?;
        let looked = tokio::task::spawn_blocking(move || {
            let seen = directory.look();
            drop(thread);
            (directory, seen)
        });
        looked.await.ok()
    })
}

/// Waits for a look, and tells a person when it takes too long.
async fn finish(path: &Path, mut look: Look) -> Option<(Directory, Vec<FileReport>)> {
    if let Ok(looked) = timeout(PATIENCE, &mut look).await {
        return looked.ok().flatten();
    }
    let directory = path.display();
    tracing::warn!(%directory, "maintenance files: the file system does not answer, what they say is not heard");
    let looked = look.await;
    tracing::info!(%directory, "maintenance files: the file system answers again");
    looked.ok().flatten()
}

/// A file that nobody can look for, at the start.
fn held(file: &Maintenance, why: &str) -> FileReport {
    FileReport {
        service: file.service,
        order: Some(Order {
            away: file.away,
            reason: format!("cannot look for {}: {why}", file.path.display()),
            until: None,
        }),
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
