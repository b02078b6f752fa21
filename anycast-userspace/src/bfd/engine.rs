//! All sessions of the host: starts them with their receivers, and stops them.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::machine::{Diagnostic, Machine, State};
use super::receiver::{self, INBOX_DEPTH, Route, Routes, min_ttl};
use super::session::{Session, Settings, Status, sender};

/// One session, for those who act on its state.
#[derive(Debug, Clone)]
pub struct Handle {
    /// The current state; changes at once with each change of the session.
    pub status: watch::Receiver<Status>,
}

/// The running sessions. Dropping it ends them without a word.
#[derive(Debug)]
pub struct Engine {
    handles: HashMap<Arc<str>, Handle>,
    stops: Vec<oneshot::Sender<oneshot::Sender<()>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Starts a session for each of the settings; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// A socket cannot be opened: another BFD daemon may own port 3784 or 4784.
    pub fn start(settings: Vec<Settings>) -> io::Result<Self> {
        let mut engine = Self {
            handles: HashMap::new(),
            stops: Vec::new(),
            tasks: Vec::new(),
        };
        let sockets: BTreeSet<(bool, u16)> = settings
            .iter()
            .map(|settings| (settings.remote.is_ipv4(), settings.port()))
            .collect();
        let mut routes: HashMap<(bool, u16), HashMap<u32, Route>> = HashMap::new();
        for settings in settings {
            let key = (settings.remote.is_ipv4(), settings.port());
            let (discriminator, route) = engine.add(settings)?;
            routes.entry(key).or_default().insert(discriminator, route);
        }
        for key in sockets {
            let socket = receiver::open(key.0, key.1)?;
            let routes: Routes = Arc::new(routes.remove(&key).unwrap_or_default());
            engine
                .tasks
                .push(tokio::spawn(receiver::run(socket, routes)));
        }
        Ok(engine)
    }

    /// The session of this name.
    pub fn handle(&self, name: &str) -> Option<Handle> {
        self.handles.get(name).cloned()
    }

    /// Tells every peer that the sessions are taken down on purpose (AdminDown), and ends them.
    pub async fn stop(mut self) {
        for stop in self.stops.drain(..) {
            let (done, said) = oneshot::channel();
            if stop.send(done).is_ok() {
                // A session that has ended has nothing to say.
                let _ = said.await;
            }
        }
    }

    fn add(&mut self, settings: Settings) -> io::Result<(u32, Route)> {
        let now = Instant::now();
        let random = RandomState::new();
        let discriminator = nonzero(random.hash_one(&settings.name));
        let seed = nonzero(random.hash_one(settings.remote));
        let (inbox_sender, inbox) = mpsc::channel(INBOX_DEPTH);
        let (stop_sender, stop) = oneshot::channel();
        let (status, receiver) = watch::channel(Status {
            state: State::Down,
            why: Diagnostic::None,
            since: now,
        });
        let route = Route {
            remote: settings.remote,
            min_ttl: min_ttl(settings.multihop.unwrap_or(1)),
            inbox: inbox_sender,
        };
        let machine = Machine::new(discriminator, settings.interval, settings.multiplier, now);
        self.handles
            .insert(Arc::clone(&settings.name), Handle { status: receiver });
        self.stops.push(stop_sender);
        let session = Session {
            socket: sender(&settings, seed)?,
            settings,
            machine,
            inbox,
            stop,
            status,
            random: seed,
        };
        self.tasks.push(tokio::spawn(session.run()));
        Ok((discriminator, route))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The low half of a hash, never 0.
fn nonzero(hash: u64) -> u32 {
    let [a, b, c, d, ..] = hash.to_le_bytes();
    u32::from_le_bytes([a, b, c, d]).max(1)
}
