//! The handles by which the rest of the daemon uses BFD: they hold channels and nothing else.

use std::io;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::engine::{Command, Engine};
use super::error::AddError;
use super::event::Event;
use super::iana::State;
use super::session::Peer;
use super::status::Status;
use crate::config::bfd::Bfd;

/// Commands that may wait for the engine; more make their senders wait.
const COMMANDS: usize = 64;
/// Events that may wait for the client; more are merged (see the module's page).
const EVENTS: usize = 256;

/// A handle to the BFD thread. When the last handle is gone, sessions included, the thread tells every peer
/// that its session is administratively down, and ends.
#[derive(Clone, Debug)]
pub struct Manager {
    commands: mpsc::Sender<Command>,
}

impl Manager {
    /// Starts the BFD thread, in the network namespace of the calling thread. The receiver yields the events
    /// of all sessions, and ends with the thread.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made.
    pub fn spawn() -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (event_queue, events) = mpsc::channel(EVENTS);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        std::thread::Builder::new()
            .name("bfd".to_owned())
            .spawn(move || {
                crate::slice::shorten_if_possible();
                runtime.block_on(Engine::default().run(command_queue, event_queue));
            })?;
        Ok((Self { commands }, events))
    }

    /// Begins to watch a peer. The session starts in state Down and comes up by itself.
    ///
    /// # Errors
    /// See [`AddError`]. A source address, an interface or a device that is not there yet is no error: it is
    /// tried again with every packet, and `status` says what is wrong.
    pub async fn add(&self, peer: Peer) -> Result<Session, AddError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Add(Box::new(peer), reply)).await;
        let (discriminator, state) = answer.await.map_err(|_| AddError::Stopped)??;
        Ok(Session {
            discriminator,
            state,
            manager: self.clone(),
        })
    }

    /// Every session and the packets that reached none; empty once BFD was shut down.
    pub async fn status(&self) -> Status {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Status(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// Holds every session down, so that no peer takes the end of this process for a failure, and ends the
    /// thread once every peer has answered, or after `limit`.
    pub async fn shutdown(&self, limit: Duration) {
        let (done, ended) = oneshot::channel();
        self.send(Command::Stop(limit, done)).await;
        // An error means that it has ended already.
        let _ = ended.await;
    }

    /// A command to a thread that has ended is dropped, and with it the sender of its answer.
    async fn send(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }
}

/// One watched peer. Dropping the handle leaves the session as it is: use [`Session::remove`].
#[derive(Clone, Debug)]
pub struct Session {
    discriminator: NonZeroU32,
    state: watch::Receiver<State>,
    manager: Manager,
}

impl Session {
    /// Our discriminator: names the session among [`Status::sessions`].
    pub fn discriminator(&self) -> u32 {
        self.discriminator.get()
    }

    /// Our state, and a way to wait for the next. It closes when the session is removed.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Holds the session down (true), which the peer does not take for a failure, or releases it (false).
    pub async fn set_admin_down(&self, held: bool) {
        self.manager
            .send(Command::Hold(self.discriminator, held))
            .await;
    }

    /// Changes timers while the session goes on; the peer agrees by a Poll Sequence. `multihop` stays as it is.
    pub async fn configure(&self, settings: Bfd) {
        self.manager
            .send(Command::Configure(self.discriminator, settings))
            .await;
    }

    /// Ends the session; the peer is told that it is administratively down.
    pub async fn remove(self) {
        self.manager.send(Command::Remove(self.discriminator)).await;
    }
}
