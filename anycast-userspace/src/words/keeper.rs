//! Keeps the words that were said by command in one file of the state directory.
//!
//! A file is replaced as a whole (written aside, flushed, renamed, and the directory flushed), so a crash
//! leaves the old one or the new one. A file that cannot be read is set aside and never overwritten
//! before that; whoever starts with it must hold every service.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::clocks::Moment;
use super::{Saved, Spoken, Words, saved};

/// The file's name in the state directory.
const FILE: &str = "words.json";

/// How long after a save that failed it is tried again.
const RETRY: Duration = Duration::from_secs(10);

/// What was found at the start.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file: nothing was ever said.
    Nothing,
    /// The words whose time is not over.
    Words(Vec<Spoken>),
    /// There is a file, and nobody knows what it says: why, with its path.
    Unreadable(String),
}

/// The file.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Why nothing may be written: an unreadable file could not be set aside.
    blocked: Option<String>,
}

impl Store {
    /// The store in a directory, which need not be there.
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(FILE),
            blocked: None,
        }
    }

    /// Reads the file. One that cannot be read is set aside as `words.json.unreadable`.
    pub fn open(&mut self, moment: &Moment, now: Instant) -> Found {
        let why = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => error.to_string(),
            Ok(bytes) => match String::from_utf8(bytes) {
                Err(error) => error.to_string(),
                Ok(text) => match saved::read(&text, moment, now) {
                    Ok(spoken) => return Found::Words(spoken),
                    Err(why) => why,
                },
            },
        };
        let path = self.path.display();
        let why = format!("the saved words in {path} cannot be read ({why})");
        if let Err(error) = self.set_aside() {
            self.blocked = Some(format!("{why}, and cannot be set aside ({error})"));
        }
        Found::Unreadable(why)
    }

    fn set_aside(&self) -> io::Result<()> {
        let aside = self.path.with_extension("json.unreadable");
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // A link keeps the file in its place until another one replaces it, and asks for no right to read.
        fs::hard_link(&self.path, &aside)
    }

    fn save(&self, spoken: &[Spoken]) -> Result<(), String> {
        if let Some(why) = &self.blocked {
            return Err(why.clone());
        }
        let text = saved::write(spoken, &Moment::now(), Instant::now());
        self.replace(&text)
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }

    fn replace(&self, text: &str) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        let aside = self.path.with_extension("json.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

/// Starts the task that saves `first`, and then each generation of the words; it ends, with the last one
/// saved, when the controller's end of the channel is gone. What could not be saved is tried again every
/// 10 seconds, and once more at the end. Flushing a disk takes its time, so it is done beside the runtime.
pub fn spawn(
    store: Store,
    first: Option<Vec<Spoken>>,
    words: watch::Receiver<Words>,
) -> (JoinHandle<()>, watch::Receiver<Saved>) {
    spawn_retrying(store, first, words, RETRY)
}

fn spawn_retrying(
    store: Store,
    first: Option<Vec<Spoken>>,
    words: watch::Receiver<Words>,
    pause: Duration,
) -> (JoinHandle<()>, watch::Receiver<Saved>) {
    let (saved, receiver) = watch::channel(Saved::default());
    let keeper = Keeper {
        store: Arc::new(store),
        unsaved: first.map(|spoken| Words {
            generation: 0,
            spoken,
        }),
        failing: false,
        saved,
    };
    (tokio::spawn(keeper.run(words, pause)), receiver)
}

/// The task's state.
struct Keeper {
    store: Arc<Store>,
    /// What is not on the disk yet.
    unsaved: Option<Words>,
    /// Whether the last save failed, which a person was told of.
    failing: bool,
    saved: watch::Sender<Saved>,
}

impl Keeper {
    async fn run(mut self, mut words: watch::Receiver<Words>, pause: Duration) {
        loop {
            self.save().await;
            tokio::select! {
                changed = words.changed() => {
                    if changed.is_err() {
                        return self.save().await;
                    }
                    self.unsaved = Some(words.borrow_and_update().clone());
                }
                () = sleep(pause), if self.unsaved.is_some() => {}
            }
        }
    }

    async fn save(&mut self) {
        let Some(Words { generation, spoken }) = self.unsaved.clone() else {
            return;
        };
        let store = Arc::clone(&self.store);
        let written = tokio::task::spawn_blocking(move || store.save(&spoken)).await;
        let error = match written {
            Ok(result) => result.err(),
            Err(panicked) => Some(panicked.to_string()),
        };
        match (&error, self.failing) {
            (Some(error), false) => {
                tracing::warn!(
                    error,
                    "the operator's words will not survive a restart; saving them is tried again"
                );
            }
            (None, true) => tracing::info!("the operator's words are saved after all"),
            (Some(_), true) | (None, false) => {}
        }
        self.failing = error.is_some();
        if error.is_none() {
            self.unsaved = None;
        }
        self.saved.send_replace(Saved { generation, error });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::time::{Duration, Instant};

    use tokio::sync::watch;

    use super::{Found, Store, spawn, spawn_retrying};
    use crate::decision::{Away, Order};
    use crate::words::clocks::Moment;
    use crate::words::{Spoken, Words};

    fn spoken(service: &str) -> Spoken {
        Spoken {
            service: service.to_owned(),
            order: Order {
                away: Away::Drained,
                reason: "disks".to_owned(),
                until: None,
            },
        }
    }

    fn open(directory: &Path) -> (Store, Found) {
        let mut store = Store::new(directory);
        let found = store.open(&Moment::now(), Instant::now());
        (store, found)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("the directory");
        let mut names: Vec<_> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_was_said_last_is_found_again_and_the_directory_is_made_when_it_is_needed() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("var/anycast");
        let (store, found) = open(&directory);
        assert_eq!(found, Found::Nothing);
        assert!(!directory.exists(), "nothing was said, nothing is written");
        let (words, seen) = watch::channel(Words::default());
        let (keeper, mut saved) = spawn(store, None, seen);
        for (generation, said) in [(1, vec![spoken("dns")]), (2, vec![spoken("web")])] {
            words.send_replace(Words {
                generation,
                spoken: said,
            });
            let done = saved.wait_for(|saved| saved.generation >= generation).await;
            assert_eq!(done.expect("the keeper runs").error, None);
        }
        words.send_replace(Words {
            generation: 3,
            spoken: vec![spoken("web"), spoken("dns")],
        });
        drop(words);
        keeper.await.expect("the keeper ends");
        let (_, found) = open(&directory);
        assert_eq!(found, Found::Words(vec![spoken("web"), spoken("dns")]));
        assert_eq!(names(&directory), ["words.json"]);
        let mode = fs::metadata(directory.join("words.json"))
            .expect("the file")
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn what_could_not_be_saved_is_saved_as_soon_as_it_can_be_without_another_word() {
        let root = tempfile::tempdir().expect("a directory");
        let directory = root.path().join("state");
        fs::write(&directory, "a file in the way").expect("written");
        let pause = Duration::from_millis(5);
        let (words, seen) = watch::channel(Words::default());
        let store = Store::new(&directory);
        let (keeper, mut saved) = spawn_retrying(store, Some(vec![spoken("dns")]), seen, pause);
        let spoken = vec![spoken("dns"), spoken("web")];
        words.send_replace(Words {
            generation: 1,
            spoken: spoken.clone(),
        });
        let tried = saved.wait_for(|saved| saved.generation == 1).await;
        let error = tried.expect("the keeper runs").error.clone();
        assert!(error.is_some(), "nothing can be saved there");
        fs::remove_file(&directory).expect("the way is free");
        let done = saved.wait_for(|saved| saved.generation == 1 && saved.error.is_none());
        let done = tokio::time::timeout(Duration::from_secs(10), done).await;
        drop(done.expect("saved in time").expect("the keeper runs"));
        assert_eq!(open(&directory).1, Found::Words(spoken));
        drop(words);
        keeper.await.expect("the keeper ends");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_kept_aside_and_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("words.json");
        for text in ["", "{\"version\": 1", "nonsense"] {
            fs::write(&file, text).expect("written");
            let (store, found) = open(directory.path());
            let Found::Unreadable(why) = found else {
                panic!("`{text}` was taken: {found:?}");
            };
            assert!(why.contains(&file.display().to_string()), "{why}");
            assert_eq!(fs::read_to_string(&file).expect("still there"), text);
            store.save(&[spoken("dns")]).expect("saved");
            let aside = directory.path().join("words.json.unreadable");
            assert_eq!(fs::read_to_string(aside).expect("kept"), text);
        }
    }

    #[test]
    fn what_cannot_be_set_aside_is_not_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("words.json")).expect("a directory in the way");
        let (store, found) = open(directory.path());
        assert!(matches!(found, Found::Unreadable(_)), "{found:?}");
        let error = store.save(&[spoken("dns")]).expect_err("refused");
        assert!(error.contains("cannot be set aside"), "{error}");
        assert_eq!(names(directory.path()), ["words.json"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("state"), "a file").expect("written");
        let store = Store::new(&directory.path().join("state"));
        let error = store.save(&[spoken("dns")]).expect_err("refused");
        assert!(error.contains("state/words.json"), "{error}");
    }
}
