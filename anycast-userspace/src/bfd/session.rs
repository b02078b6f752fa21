//! One session's task: its state machine, its timers, and the socket that it sends from.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};

use super::machine::{Change, Diagnostic, Machine, State};
use super::packet::Packet;

/// Destination ports: RFC 5881 §4 and RFC 5883 §5.
const SINGLE_HOP: u16 = 3784;
const MULTIHOP: u16 = 4784;
/// Source ports (RFC 5881 §4).
const FIRST_SOURCE: u16 = 49152;
/// How often the last word is said when a session is stopped: a datagram may be lost.
const LAST_WORDS: usize = 3;

/// What a session is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The peer's name, for messages.
    pub name: Arc<str>,
    /// The peer's address.
    pub remote: IpAddr,
    /// Our address; the kernel chooses when absent.
    pub source: Option<IpAddr>,
    /// The interface of a link-local address.
    pub interface: Option<String>,
    /// The device that the socket is bound to.
    pub device: Option<String>,
    /// Time between packets that we want, in both directions.
    pub interval: Duration,
    /// Packets that may be missing before the peer counts as gone.
    pub multiplier: u8,
    /// Hops to a peer that is not on the same link.
    pub multihop: Option<u8>,
}

impl Settings {
    /// The port that packets of this session go to.
    pub(super) fn port(&self) -> u16 {
        match self.multihop {
            None => SINGLE_HOP,
            Some(_) => MULTIHOP,
        }
    }
}

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Why the last state was left.
    pub why: Diagnostic,
    /// When this state was entered.
    #[serde(skip)]
    pub since: Instant,
}

/// One session's task.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) settings: Settings,
    pub(super) machine: Machine,
    pub(super) socket: UdpSocket,
    pub(super) inbox: mpsc::Receiver<Packet>,
    pub(super) stop: oneshot::Receiver<oneshot::Sender<()>>,
    pub(super) status: watch::Sender<Status>,
    /// State of the generator that spreads the packets.
    pub(super) random: u32,
}

impl Session {
    /// Runs until it is stopped, or until nobody can stop it any more.
    pub(super) async fn run(mut self) {
        loop {
            let deadline = self.machine.deadline();
            let timer = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                stopped = &mut self.stop => {
                    self.say_farewell().await;
                    if let Ok(done) = stopped {
                        let _ = done.send(());
                    }
                    return;
                }
                packet = self.inbox.recv() => match packet {
                    Some(packet) => self.receive(&packet).await,
                    None => return,
                },
                () = timer => self.tick().await,
            }
        }
    }

    async fn receive(&mut self, packet: &Packet) {
        let now = Instant::now();
        let (change, answer) = self.machine.receive(packet, now);
        self.publish(change, now);
        if let Some(answer) = answer {
            self.send(&answer).await;
        }
        if change.is_some() {
            // The peer learns of the new state at once, not at the next interval.
            self.tick().await;
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        let change = self.machine.tick(now);
        self.publish(change, now);
        let jitter = self.jitter();
        if let Some(packet) = self.machine.transmit(now, jitter) {
            self.send(&packet).await;
        }
    }

    async fn say_farewell(&mut self) {
        let packet = self.machine.take_down();
        for _ in 0..LAST_WORDS {
            self.send(&packet).await;
        }
        let change = Change {
            to: State::AdminDown,
            why: Diagnostic::AdministrativelyDown,
        };
        self.publish(Some(change), Instant::now());
    }

    async fn send(&self, packet: &Packet) {
        if let Err(error) = self.socket.send(&packet.encode()).await {
            // The peer's host may be down, or refuse: silence is what BFD is about.
            tracing::trace!(peer = %self.settings.name, %error, "a BFD packet could not be sent");
        }
    }

    fn publish(&self, change: Option<Change>, now: Instant) {
        let Some(Change { to, why }) = change else {
            return;
        };
        tracing::info!(peer = %self.settings.name, state = ?to, %why, "BFD session");
        self.status.send_replace(Status {
            state: to,
            why,
            since: now,
        });
    }

    /// Thousandths between 750 and 1000 (xorshift32).
    fn jitter(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        750 + self.random % 251
    }
}

/// The socket that a session sends from: a port of its own, and a TTL of 255.
pub(super) fn sender(settings: &Settings, random: u32) -> io::Result<UdpSocket> {
    let (domain, any) = match settings.remote {
        IpAddr::V4(_) => (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        IpAddr::V6(_) => (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    match settings.remote {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(255)?;
            socket.set_tos_v4(0xC0)?;
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(255)?;
            socket.set_tclass_v6(0xC0)?;
        }
    }
    if let Some(device) = &settings.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    let source = settings.source.unwrap_or(any);
    bind(&socket, source, settings, random)?;
    let remote = endpoint(settings.remote, settings.port(), settings)?;
    socket.connect(&remote.into())?;
    UdpSocket::from_std(socket.into())
}

/// Binds to the first free port, from a random one on.
fn bind(socket: &Socket, source: IpAddr, settings: &Settings, random: u32) -> io::Result<()> {
    let range = u32::from(u16::MAX - FIRST_SOURCE) + 1;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for offset in 0..range {
        let step = u16::try_from(random.wrapping_add(offset) % range).unwrap_or_default();
        match socket.bind(&endpoint(source, FIRST_SOURCE + step, settings)?.into()) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn endpoint(address: IpAddr, port: u16, settings: &Settings) -> io::Result<SocketAddr> {
    match (address, &settings.interface) {
        (IpAddr::V6(v6), Some(name)) if v6.is_unicast_link_local() => {
            let scope = nix::net::if_::if_nametoindex(name.as_str())
                .map_err(|error| io::Error::other(format!("interface {name}: {error}")))?;
            Ok(SocketAddrV6::new(v6, port, 0, scope).into())
        }
        (IpAddr::V4(_) | IpAddr::V6(_), Some(_) | None) => Ok(SocketAddr::new(address, port)),
    }
}
