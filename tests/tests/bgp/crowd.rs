//! Every kind of bad peer at once, and one good one, which notices nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anycast_tests::peers::{in_namespace, run};
use anycast_userspace::bgp::State;
use anycast_userspace::rib::DesiredRoutes;
use tokio::io::AsyncWriteExt as _;

use crate::hostile::{TIMELY, connect_from, many, open_files, resident_kib};
use crate::node::{LIMIT, Node, lockstep, runtime};
use crate::scripted::{KEEPALIVE, Scripted, UPDATE, addresses, message, open};

/// Withdrawals that are timed at least, and on until the bad ones have done enough.
const ROUNDS: usize = 150;
/// Connections that are opened at once, over and over.
const CONNECTIONS: u16 = 1000;
const MEMORY_KIB: usize = 64 * 1024;

/// What the bad ones have done.
#[derive(Debug, Default)]
struct Deeds {
    octets: AtomicUsize,
    connections: AtomicUsize,
    pairs: AtomicUsize,
}

impl Deeds {
    /// Each bad one has had its chance, several times over.
    fn are_enough(&self) -> bool {
        let done = |deeds: &AtomicUsize| deeds.load(Ordering::Relaxed);
        done(&self.octets) >= 3
            && done(&self.connections) >= 3 * usize::from(CONNECTIONS)
            && done(&self.pairs) >= 20
    }
}

fn count(deeds: &AtomicUsize) {
    deeds.fetch_add(1, Ordering::Relaxed);
}

/// Takes what it is sent, and never reads it: its buffers hold far less than the table.
async fn stuck() {
    let peer = Scripted::establish(1, 90).await.unwrap();
    let (_unread, mut writing) = peer.stream.into_split();
    while writing.write_all(&message(KEEPALIVE, &[])).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Sends an OPEN at one octet a second.
async fn slow(deeds: &Deeds) {
    loop {
        let Ok(mut peer) = Scripted::connect(2).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        for octet in open([10, 0, 2, 2], 90) {
            if peer.send(&[octet]).await.is_err() {
                break;
            }
            count(&deeds.octets);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

/// Opens connections from the address of a peer, keeps them all for a while, and begins again.
async fn greedy(deeds: &Deeds) {
    loop {
        let mut crowd = Vec::new();
        for _ in 0..CONNECTIONS {
            crowd.push(connect_from(3).await);
            count(&deeds.connections);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Two sessions at a time, each as far as it gets.
async fn double(deeds: &Deeds) {
    loop {
        let pair = tokio::join!(Scripted::establish(4, 90), Scripted::establish(4, 90));
        count(&deeds.pairs);
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(pair);
    }
}

/// How long threads were ready to run and had to wait for a processor.
struct Waiting(Vec<PathBuf>);

impl Waiting {
    /// Of the caller and of the one worker of its runtime: whatever runs between a decision and the
    /// moment when the good peer's end has read it.
    async fn of_this_runtime() -> Self {
        let worker = tokio::spawn(async { this_thread() }).await.unwrap();
        let threads = [this_thread(), worker];
        Self(threads.map(|thread| thread.join("schedstat")).into())
    }

    fn total(&self) -> Duration {
        let of = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap();
            let delay = text.split_whitespace().nth(1).unwrap();
            Duration::from_nanos(delay.parse().unwrap())
        };
        self.0.iter().map(of).sum()
    }
}

fn this_thread() -> PathBuf {
    Path::new("/proc").join(std::fs::read_link("/proc/thread-self").unwrap())
}

/// Announces and withdraws one host route, and says what each withdrawal took to be read, without what the
/// machine took from it: other processes, and the bad ones themselves, keep its processors busy.
async fn withdrawals(
    node: &mut Node,
    good: &mut Scripted,
    table: &DesiredRoutes,
    deeds: &Deeds,
) -> Vec<Duration> {
    let route = "192.168.250.1/32".parse().unwrap();
    let (_, sample) = table.iter().next().unwrap();
    let mut with = table.clone();
    with.insert(route, sample.clone());
    let waiting = Waiting::of_this_runtime().await;
    let mut times = Vec::new();
    let deadline = Instant::now() + 2 * LIMIT;
    while times.len() < ROUNDS || !deeds.are_enough() {
        assert!(
            Instant::now() < deadline,
            "after {} rounds: {deeds:?}",
            times.len()
        );
        node.publish(with.clone());
        until_update(good, &[32, 192, 168, 250, 1]).await;
        let (since, waited) = (Instant::now(), waiting.total());
        node.publish(table.clone());
        until_update(good, &[0, 5, 32, 192, 168, 250, 1, 0, 0]).await;
        let time = since.elapsed();
        times.push(time.saturating_sub(waiting.total() - waited));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort();
    println!(
        "{} withdrawals: median {:?}, longest {:?}; {deeds:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
    times
}

/// Reads until an UPDATE ends with these octets.
pub(crate) async fn until_update(peer: &mut Scripted, end: &[u8]) {
    let wait = async {
        loop {
            if peer.read_until(UPDATE).await.unwrap().ends_with(end) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .expect("the UPDATE comes");
}

#[test]
fn a_good_peer_notices_nothing_of_bad_ones() {
    in_namespace(|| {
        runtime().block_on(async {
            for link in 1..=5 {
                addresses(link);
            }
            // Both ends of every connection are in this process.
            run(
                "prlimit",
                &["--pid", &std::process::id().to_string(), "--nofile=8192"],
            )
            .unwrap();
            let quick = "passive = true\nretry = \"1ms\"\nretry_max = \"1ms\"";
            // No socket holds the table: the one that does not read is stuck at once.
            run("sysctl", &["-w", "net.ipv4.tcp_wmem=4096 16384 16384"]).unwrap();
            run("sysctl", &["-w", "net.ipv4.tcp_rmem=4096 16384 16384"]).unwrap();
            let peers = [1, 2, 3, 4, 5].map(|link| (link, quick));
            let mut node = Node::start(&peers);
            let mut good = Scripted::establish(5, 90).await.unwrap();
            node.established("peer5").await;
            let table = many(20_000, 1);
            node.publish(table.clone());
            until_update(&mut good, &[32, 10, 64, 78, 31]).await;
            let (memory, files) = (resident_kib(), open_files());
            // In a thread of their own: what they cost themselves is not the node's.
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let deeds = Arc::new(Deeds::default());
            let doing = Arc::clone(&deeds);
            let bad = std::thread::spawn(move || {
                lockstep().block_on(async {
                    tokio::select! {
                        () = stuck() => {}
                        () = slow(&doing) => {}
                        () = greedy(&doing) => {}
                        () = double(&doing) => {}
                        _ = stopped => {}
                    }
                });
            });
            node.established("peer1").await;
            let times = withdrawals(&mut node, &mut good, &table, &deeds).await;
            let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
            let grown = resident_kib().saturating_sub(memory);
            let applied = |peer| node.summary(peer).applied.map(|(generation, _)| generation);
            assert!(
                applied("peer1") < applied("peer5"),
                "the stuck one is not stuck"
            );
            // It fails if a bad one gave up early.
            stop.send(()).expect("the bad ones are still at it");
            bad.join().unwrap();
            assert!(
                median < TIMELY && longest < LIMIT / 2,
                "{median:?}, {longest:?}"
            );
            assert!(
                grown < MEMORY_KIB,
                "{grown} KiB more, the bad peers' own part included"
            );
            assert_eq!(node.summary("peer5").state, State::Established);
            assert_eq!(node.summary("peer5").established_count, 1);
            let deadline = Instant::now() + LIMIT;
            while open_files() > files + 16 {
                assert!(
                    Instant::now() < deadline,
                    "{} descriptors, {files} before",
                    open_files()
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    });
}
