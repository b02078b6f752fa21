//! How fast the speaker is with 16 peers: `cargo bench -p anycast-userspace --bench bgp`.
//!
//! The peers are threads with plain sockets on loopback addresses; a time ends when the peer has read
//! the message, so it includes what the kernel and the waking of the reader take.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anycast_userspace::bgp::{Event, EventKind, Speaker};
use anycast_userspace::config::Bgp;
use anycast_userspace::rib::{Attributes, DesiredRoutes, Route};
use socket2::{Domain, Socket, Type};
use tokio::sync::{mpsc, watch};

const PEERS: u8 = 16;
const PREFIXES: u32 = 10_000;
const ROUNDS: usize = 1000;
const PORT: u16 = 17_900;

/// What one peer read: prefixes announced and withdrawn in one UPDATE, and when.
struct Seen {
    announced: usize,
    withdrawn: usize,
    at: Instant,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (desired, receiver) = watch::channel(Arc::new(DesiredRoutes::new(0)));
    let (events, mut reports) = mpsc::channel(1024);
    let speaker = runtime.block_on(async {
        Speaker::spawn(&configuration(), &receiver, &events).expect("the speaker starts")
    });
    let (sender, seen) = channel();
    for number in 0..PEERS {
        let sender = sender.clone();
        std::thread::spawn(move || peer(number, &sender));
    }
    runtime.block_on(async {
        for number in 0..PEERS {
            let name = format!("peer{number}");
            speaker
                .summary_until(&name, |summary| {
                    summary.state == anycast_userspace::bgp::State::Established
                })
                .await;
        }
    });
    println!("resident with {PEERS} sessions: {} KiB", resident_kib());

    announce_table(&desired, &seen);
    println!(
        "resident with {PREFIXES} prefixes at each: {} KiB",
        resident_kib()
    );
    withdraw_one(&desired, &seen, &mut reports);

    let start = Instant::now();
    runtime.block_on(speaker.shutdown(Some("the benchmark is over")));
    println!(
        "withdrawing everything and closing {PEERS} sessions: {:?}",
        start.elapsed()
    );
}

/// One table of host routes, from nothing.
fn announce_table(desired: &watch::Sender<Arc<DesiredRoutes>>, seen: &Receiver<Seen>) {
    let table = routes(1, PREFIXES);
    let start = Instant::now();
    desired.send_replace(Arc::new(table));
    let mut left = usize::from(PEERS) * usize::try_from(PREFIXES).expect("it fits");
    let mut last = start;
    while left > 0 {
        let update = seen
            .recv_timeout(Duration::from_secs(10))
            .expect("the table arrives");
        left -= update.announced;
        last = last.max(update.at);
    }
    println!(
        "{PREFIXES} prefixes announced to {PEERS} peers: {:?}",
        last - start
    );
}

/// One prefix goes and comes back, many times, in the table of all.
fn withdraw_one(
    desired: &watch::Sender<Arc<DesiredRoutes>>,
    seen: &Receiver<Seen>,
    reports: &mut mpsc::Receiver<Event>,
) {
    for (what, count) in [("alone", 1), ("in a table of 10,000", PREFIXES)] {
        let base = routes(0, count);
        let mut generation = 1_000_000;
        publish(desired, &base, &mut generation);
        // What this changes must have been read before the first time is taken.
        while seen.recv_timeout(Duration::from_millis(500)).is_ok() {}
        while reports.try_recv().is_ok() {}
        let first = std::net::IpAddr::from(host(0)).into();
        let mut without = base.clone();
        without.remove(first);
        let (mut on_wire, mut read) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = publish(desired, &without, &mut generation);
            for _ in 0..PEERS {
                let update = seen
                    .recv_timeout(Duration::from_secs(1))
                    .expect("a withdrawal");
                assert_eq!((update.announced, update.withdrawn), (0, 1));
                read.push(update.at - start);
            }
            on_wire.extend(written(reports, generation).map(|at| at - start));
            publish(desired, &base, &mut generation);
            for _ in 0..PEERS {
                seen.recv_timeout(Duration::from_secs(1))
                    .expect("an announcement");
            }
        }
        report(
            &format!("one withdrawal {what}, decision to kernel"),
            on_wire,
        );
        report(
            &format!("one withdrawal {what}, decision to read by the peer"),
            read,
        );
    }
}

/// Publishes routes as the next generation, and says when that was.
fn publish(
    desired: &watch::Sender<Arc<DesiredRoutes>>,
    routes: &DesiredRoutes,
    generation: &mut u64,
) -> Instant {
    *generation += 1;
    let mut routes = routes.clone();
    routes.generation = *generation;
    let start = Instant::now();
    desired.send_replace(Arc::new(routes));
    start
}

/// When each peer's bytes of a generation were handed to the kernel.
fn written(reports: &mut mpsc::Receiver<Event>, generation: u64) -> impl Iterator<Item = Instant> {
    let mut times = Vec::new();
    while times.len() < usize::from(PEERS) {
        let event = reports.blocking_recv().expect("the speaker runs");
        if matches!(event.kind, EventKind::Applied { generation: applied, .. } if applied == generation)
        {
            times.push(event.at);
        }
    }
    times.into_iter()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |permille: usize| times[(times.len() - 1) * permille / 1000];
    println!(
        "{what}: median {:?}, p99 {:?}, longest {:?} ({} samples)",
        at(500),
        at(990),
        at(1000),
        times.len()
    );
}

fn configuration() -> Bgp {
    let mut text =
        format!("local_as = 64512\nrouter_id = \"10.0.0.1\"\nlisten = [\"127.0.0.1:{PORT}\"]\n");
    for number in 0..PEERS {
        text.push_str(&format!(
            "[[peers]]\nname = \"peer{number}\"\naddress = \"{}\"\nremote_as = 65001\npassive = true\n\
             next_hop = {{ ipv4 = \"10.0.1.1\" }}\n",
            address(number)
        ));
    }
    toml::from_str(&text).expect("a valid configuration")
}

fn address(peer: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 1, peer + 1)
}

fn host(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0A40_0000 + number)
}

fn routes(generation: u64, count: u32) -> DesiredRoutes {
    let route = Route::new("dns", Attributes::default());
    let mut desired = DesiredRoutes::new(generation);
    desired.extend(
        (0..count).map(|number| (std::net::IpAddr::from(host(number)).into(), route.clone())),
    );
    desired
}

/// Goes through the handshake and reports each UPDATE that has prefixes.
fn peer(number: u8, sender: &Sender<Seen>) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::from((address(number), 0)).into())
        .expect("an address");
    let speaker = SocketAddr::from(([127, 0, 0, 1], PORT));
    socket.connect(&speaker.into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.write_all(&open(number)).expect("OPEN");
    stream.write_all(&message(4, &[])).expect("KEEPALIVE");
    let mut header = [0; 19];
    while stream.read_exact(&mut header).is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - 19];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let at = Instant::now();
        if header[18] != 2 {
            continue;
        }
        let withdrawn = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let attributes = usize::from(u16::from_be_bytes([
            body[2 + withdrawn],
            body[3 + withdrawn],
        ]));
        // Host routes take five octets each.
        let seen = Seen {
            announced: (body.len() - 4 - withdrawn - attributes) / 5,
            withdrawn: withdrawn / 5,
            at,
        };
        if sender.send(seen).is_err() {
            return;
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("a short message");
    [&[0xFF; 16][..], &length.to_be_bytes(), &[kind], body].concat()
}

/// An OPEN of AS 65001 for IPv4 unicast, with a Hold Time of 0: nothing but routes is sent.
fn open(number: u8) -> Vec<u8> {
    let fields = [4, 0xFD, 0xE9, 0, 0, 10, 0, 1, number + 1];
    let capabilities = [14, 2, 12, 1, 4, 0, 1, 0, 1, 65, 4, 0, 0, 0xFD, 0xE9];
    message(1, &[&fields[..], &capabilities].concat())
}

fn resident_kib() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1))
        .unwrap_or("?")
        .to_owned()
}
