//! The loop that runs every session: the only owner of the sessions, the sockets and the timers.
//!
//! It runs in a thread of its own (see the module's page for why) and never waits for its client.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::mpsc::{self, Permit};
use tokio::sync::{oneshot, watch};

use super::demux::{Stray, Table};
use super::error::AddError;
use super::event::{Backlog, Event};
use super::iana::State;
use super::packet::Control;
use super::session::{Peer, Session};
use super::socket::{Arrival, Domain, Receiver};
use super::status::{Discarded, Status};
use crate::config::bfd::Bfd;

/// Packets taken from one socket before what is due to be sent gets its turn.
const BATCH: usize = 256;
/// How long to wait when no session has anything to wait for.
const IDLE: Duration = Duration::from_secs(3600);

/// How often it is looked whether a device has come, or is another one.
const DEVICE_LOOK: Duration = Duration::from_secs(1);

/// A new session as its handle knows it.
pub(super) type Added = (NonZeroU32, watch::Receiver<State>);

/// What the handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Add(Box<Peer>, oneshot::Sender<Result<Added, AddError>>),
    Remove(NonZeroU32),
    Hold(NonZeroU32, bool),
    Configure(NonZeroU32, Bfd),
    Status(oneshot::Sender<Status>),
    /// Hold every session down, tell the peers, and end once they have heard it or the time is up.
    Stop(Duration, oneshot::Sender<()>),
}

/// What ends a wait.
enum Wake<'a> {
    Packets,
    Deadline,
    Room(Permit<'a, Event>),
    Command(Command),
    /// No handle is left.
    Abandoned,
}

struct Stop {
    deadline: Instant,
    done: Option<oneshot::Sender<()>>,
}

#[derive(Default)]
pub(super) struct Engine {
    receivers: BTreeMap<Domain, Receiver>,
    /// Domains whose device may be gone, or come again; each has a receiver while the device is there.
    by_device: BTreeSet<Domain>,
    /// When to look for the devices next.
    look: Option<Instant>,
    sessions: BTreeMap<NonZeroU32, Session>,
    table: Table,
    backlog: Backlog,
    discarded: Discarded,
    /// Packets that the kernel dropped for sockets that are closed.
    overflowed: u64,
    random: Random,
    stop: Option<Stop>,
}

impl Engine {
    /// Runs until it is told to stop. Events that find the client's queue full wait in a backlog.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        loop {
            let wake = self.wait(&mut commands, &events).await;
            let heard_until = self.receive();
            let now = Instant::now();
            match wake {
                Wake::Packets | Wake::Deadline => {}
                Wake::Room(permit) => {
                    if let Some(event) = self.backlog.pop() {
                        permit.send(event);
                    }
                }
                Wake::Command(command) => self.command(command, now),
                Wake::Abandoned => self.begin_stop(Duration::ZERO, None, now),
            }
            self.follow_devices(now);
            self.expire(heard_until);
            self.transmit(now);
            self.deliver(&events);
            if self.stopped(now) {
                return;
            }
        }
    }

    async fn wait<'a>(
        &self,
        commands: &mut mpsc::Receiver<Command>,
        events: &'a mpsc::Sender<Event>,
    ) -> Wake<'a> {
        let now = Instant::now();
        let deadlines = self
            .sessions
            .values()
            .filter_map(|session| session.machine().next_deadline());
        let stop = self.stop.as_ref().map(|stop| stop.deadline);
        let deadline = deadlines
            .chain(stop)
            .chain(self.look)
            .min()
            .unwrap_or(now + IDLE);
        let packets = poll_fn(|context| {
            let mut ready = false;
            for receiver in self.receivers.values() {
                ready |= receiver.poll_readable(context).is_ready();
            }
            if ready {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        tokio::select! {
            () = packets => Wake::Packets,
            () = tokio::time::sleep_until(deadline.into()) => Wake::Deadline,
            Ok(permit) = events.reserve(), if !self.backlog.is_empty() => Wake::Room(permit),
            command = commands.recv(), if self.stop.is_none() => {
                command.map_or(Wake::Abandoned, Wake::Command)
            }
        }
    }

    /// Takes every packet that has arrived, before any timer is looked at: a thread that ran late must not
    /// take a peer for dead whose packets are waiting. Returns a moment: no packet is left that had arrived by
    /// then. A flood does not stop this, for no more can have waited then than the socket's queue holds.
    fn receive(&mut self) -> Instant {
        let heard_until = Instant::now();
        let mut receivers = std::mem::take(&mut self.receivers);
        for (domain, receiver) in &mut receivers {
            let mut left = receiver.capacity;
            while left > 0 {
                let batch = BATCH.min(left);
                if receiver.drain(batch, |arrival| self.take(domain, &arrival)) {
                    break;
                }
                left -= batch;
                self.transmit(Instant::now());
            }
        }
        self.receivers = receivers;
        heard_until
    }

    fn take(&mut self, domain: &Domain, arrival: &Arrival<'_>) {
        let parsed = match Control::parse(arrival.payload) {
            Ok(parsed) => parsed,
            Err(error) => return self.discarded.count(&error),
        };
        let session = match self.table.select(domain, &parsed.control, arrival) {
            Ok(discriminator) => self.sessions.get_mut(&discriminator),
            Err(Stray::Ttl) => return self.discarded.ttl += 1,
            Err(Stray::Unknown) => return self.discarded.unknown_session += 1,
        };
        if let Some(session) = session
            && let Some(event) = session.on_packet(&parsed, Instant::now())
        {
            self.backlog.push(event);
        }
    }

    /// Lets the sessions go down whose peers had been silent for too long at `heard_until`.
    fn expire(&mut self, heard_until: Instant) {
        for session in self.sessions.values_mut() {
            if let Some(event) = session.on_deadline(heard_until) {
                self.backlog.push(event);
            }
        }
    }

    fn transmit(&mut self, now: Instant) {
        for (discriminator, session) in &mut self.sessions {
            if session.transmit(now, || self.random.next()) {
                self.table.insert(*discriminator, session.key());
            }
        }
    }

    fn deliver(&mut self, events: &mpsc::Sender<Event>) {
        while !self.backlog.is_empty() {
            match events.try_reserve() {
                Ok(permit) => {
                    if let Some(event) = self.backlog.pop() {
                        permit.send(event);
                    }
                }
                Err(mpsc::error::TrySendError::Full(())) => return,
                // Nobody wants to know.
                Err(mpsc::error::TrySendError::Closed(())) => self.backlog = Backlog::default(),
            }
        }
    }

    /// A handle that no longer waits for its answer needs none.
    fn command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Add(peer, reply) => {
                if let Err(Ok((discriminator, _))) = reply.send(self.add(*peer)) {
                    self.remove(discriminator, now);
                }
            }
            Command::Remove(discriminator) => self.remove(discriminator, now),
            Command::Hold(discriminator, held) => {
                if let Some(session) = self.sessions.get_mut(&discriminator)
                    && let Some(event) = session.set_admin_down(held, now)
                {
                    self.backlog.push(event);
                }
            }
            Command::Configure(discriminator, settings) => {
                if let Some(session) = self.sessions.get_mut(&discriminator) {
                    session.configure(&settings);
                    self.table.insert(discriminator, session.key());
                }
            }
            Command::Status(reply) => {
                let _ = reply.send(self.status());
            }
            Command::Stop(limit, done) => self.begin_stop(limit, Some(done), now),
        }
    }

    fn add(&mut self, peer: Peer) -> Result<Added, AddError> {
        let address = peer.address;
        if let Some(local) = peer.source
            && local.is_ipv6() != address.is_ipv6()
        {
            return Err(AddError::Families { address, local });
        }
        if let IpAddr::V6(v6) = address
            && v6.is_unicast_link_local()
            && peer.interface.is_none()
        {
            return Err(AddError::NoInterface(address));
        }
        let domain = peer.domain();
        let discriminator = self.free_discriminator();
        let (sender, state) = watch::channel(State::Down);
        let mut session = Session::new(peer, discriminator, self.random.next(), sender);
        let key = session.key();
        if self.table.conflict(&key).is_some() {
            return Err(AddError::Duplicate(address));
        }
        self.listen(domain)?;
        self.table.insert(discriminator, key);
        self.sessions.insert(discriminator, session);
        Ok((discriminator, state))
    }

    /// A device that is not there is no error: its socket is opened when it comes.
    fn listen(&mut self, domain: Domain) -> Result<(), AddError> {
        if self.receivers.contains_key(&domain) || self.by_device.contains(&domain) {
            return Ok(());
        }
        match Receiver::bind(&domain, &self.receivers) {
            Ok(receiver) => {
                self.receivers.insert(domain.clone(), receiver);
            }
            Err(error) if is_missing(&domain, &error) => {}
            Err(source) => {
                return Err(AddError::Listen {
                    port: domain.hops.port(),
                    vrf: domain.vrf,
                    source,
                });
            }
        }
        if domain.vrf.is_some() {
            self.by_device.insert(domain);
            self.look.get_or_insert(Instant::now() + DEVICE_LOOK);
        }
        Ok(())
    }

    /// Opens the sockets of devices that have come, again of those that are others than they were.
    fn follow_devices(&mut self, now: Instant) {
        if self.look.is_none_or(|at| at > now) {
            return;
        }
        self.look = (!self.by_device.is_empty()).then_some(now + DEVICE_LOOK);
        for domain in &self.by_device {
            let (index, known) = (domain.index(), self.receivers.get(domain));
            if known.and_then(|receiver| receiver.device) == index {
                continue;
            }
            if let Some(old) = self.receivers.remove(domain) {
                self.overflowed += u64::from(old.overflowed);
            }
            if index.is_none() {
                continue;
            }
            match Receiver::bind(domain, &self.receivers) {
                Ok(receiver) => {
                    self.receivers.insert(domain.clone(), receiver);
                }
                // It has gone again.
                Err(error) if is_missing(domain, &error) => {}
                Err(error) => {
                    let (device, port) = (&domain.vrf, domain.hops.port());
                    tracing::warn!(?device, port, %error, "BFD packets cannot be listened for");
                }
            }
        }
    }

    /// Tells the peer that this is no failure, and forgets the session.
    fn remove(&mut self, discriminator: NonZeroU32, now: Instant) {
        let Some(mut session) = self.sessions.remove(&discriminator) else {
            return;
        };
        session.set_admin_down(true, now);
        session.transmit(now, || self.random.next());
        self.table.remove(discriminator);
        let (table, overflowed) = (&self.table, &mut self.overflowed);
        self.by_device.retain(|domain| table.serves(domain));
        self.receivers.retain(|domain, receiver| {
            let needed = table.serves(domain);
            if !needed {
                *overflowed += u64::from(receiver.overflowed);
            }
            needed
        });
    }

    fn begin_stop(&mut self, limit: Duration, done: Option<oneshot::Sender<()>>, now: Instant) {
        for session in self.sessions.values_mut() {
            session.set_admin_down(true, now);
        }
        self.stop = Some(Stop {
            deadline: now + limit,
            done,
        });
    }

    /// Whether it was told to stop, and every peer knows or the time is up.
    fn stopped(&mut self, now: Instant) -> bool {
        let Some(stop) = &mut self.stop else {
            return false;
        };
        let heard = self
            .sessions
            .values()
            .all(|session| session.machine().remote_state() != State::Up);
        if !heard && now < stop.deadline {
            return false;
        }
        if let Some(done) = stop.done.take() {
            // Whoever asked may have left.
            let _ = done.send(());
        }
        true
    }

    fn status(&self) -> Status {
        let mut sessions: Vec<_> = self.sessions.values().map(Session::status).collect();
        sessions.sort_by(|one, other| one.peer.cmp(&other.peer));
        let open: u64 = self
            .receivers
            .values()
            .map(|receiver| u64::from(receiver.overflowed))
            .sum();
        Status {
            sessions,
            discarded: Discarded {
                queue_full: self.overflowed + open,
                ..self.discarded
            },
        }
    }

    /// A discriminator that is hard to guess, since it alone selects the session (RFC 5880 §10).
    fn free_discriminator(&mut self) -> NonZeroU32 {
        loop {
            if let Some(number) = NonZeroU32::new(self.random.next())
                && !self.table.contains(number)
            {
                return number;
            }
        }
    }
}

/// Whether a socket could not be bound because the domain's device is not there.
fn is_missing(domain: &Domain, error: &io::Error) -> bool {
    domain.vrf.is_some() && error.raw_os_error() == Some(Errno::ENODEV as i32)
}

/// Numbers that differ from node to node and cannot be guessed from one another: a keyed hash of a counter.
#[derive(Default)]
struct Random {
    key: RandomState,
    count: u64,
}

impl Random {
    fn next(&mut self) -> u32 {
        self.count += 1;
        let [a, b, c, d, ..] = self.key.hash_one(self.count).to_ne_bytes();
        u32::from_ne_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests;
