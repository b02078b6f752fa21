//! Messages of every type with some octets changed, one after the other through live sessions: the speaker
//! neither stops, nor grows, nor keeps another peer waiting.

use std::time::Instant;

use anycast_tests::peers::in_namespace;
use anycast_userspace::bgp::State;
use anycast_userspace::rib::Attributes;

use crate::hostile::{TIMELY, established_soon, median, open_files, resident_kib, time_to_apply};
use crate::node::{LIMIT, Node, routes, runtime};
use crate::scripted::{KEEPALIVE, NOTIFICATION, Scripted, UPDATE, addresses, message, open};

const ROUTE: &[&str] = &["192.168.250.1/32"];
const ROUTE_REFRESH: u8 = 5;
/// What the process may grow in the second half of a run.
const GROWTH_KIB: usize = 8 * 1024;

/// How many mutated messages a run sends: a million takes less than a minute. `ANYCAST_MUTATIONS` changes it.
fn how_many() -> u32 {
    let set = std::env::var("ANYCAST_MUTATIONS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// xorshift64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    /// A message with one to three octets changed, mostly in its body: a broken header ends the session at
    /// once.
    fn mutate(&mut self, message: &[u8]) -> Vec<u8> {
        let mut octets = message.to_vec();
        for _ in 0..=self.below(3) {
            let at = if octets.len() == 19 || self.below(50) == 0 {
                self.below(octets.len())
            } else {
                19 + self.below(octets.len() - 19)
            };
            octets[at] = u8::try_from(self.below(256)).unwrap();
        }
        octets
    }
}

/// An UPDATE with attributes, IPv4 and IPv6 prefixes.
fn update() -> Vec<u8> {
    let attributes = [
        &[0x40, 1, 1, 0][..],
        &[0x40, 2, 6, 2, 1, 0, 0, 0xFD, 0xE9],
        &[0x40, 3, 4, 10, 0, 1, 2],
        &[0x80, 4, 4, 0, 0, 0, 1],
        &[0xC0, 8, 4, 0xFB, 0xF0, 0, 1],
        &[
            0x80, 14, 22, 0, 2, 1, 16, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0,
        ],
        &[0x80, 15, 4, 0, 2, 1, 0],
        &[0xC0, 16, 8, 0, 2, 0xFC, 0, 0, 0, 0, 7],
        &[0xC0, 32, 12, 0, 0, 0xFC, 0, 0, 0, 0, 1, 0, 0, 0, 2],
    ]
    .concat();
    let length = u16::try_from(attributes.len()).unwrap();
    let withdrawn = [0, 4, 24, 10, 1, 2];
    message(
        UPDATE,
        &[
            &withdrawn,
            &length.to_be_bytes()[..],
            &attributes,
            &[24, 10, 1, 3],
        ]
        .concat(),
    )
}

/// What is mutated, each with how often it is taken: what ends every session comes seldom.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![update(); 90];
    seeds.extend(vec![message(ROUTE_REFRESH, &[0, 1, 0, 1]); 6]);
    seeds.extend(vec![message(KEEPALIVE, &[]); 2]);
    seeds.push(open([10, 0, 1, 2], 90));
    seeds.push(message(NOTIFICATION, &[6, 2, 4, b'b', b'y', b'e', b'!']));
    seeds
}

/// Before the session: a mutated OPEN, and a KEEPALIVE, whatever comes of them.
async fn knock(random: &mut Random) -> std::io::Result<()> {
    let mut peer = Scripted::connect(1).await?;
    let octets = random.mutate(&open([10, 0, 1, 2], 90));
    peer.send(&octets).await?;
    peer.send(&message(KEEPALIVE, &[])).await
}

#[test]
fn mutated_messages_neither_stop_the_speaker_nor_make_it_grow_nor_delay_another_peer() {
    in_namespace(|| {
        runtime().block_on(async {
            addresses(1);
            addresses(2);
            let quick = "passive = true\nretry = \"1ms\"\nretry_max = \"1ms\"";
            let mut node = Node::start_with(&[(1, 65001, quick), (2, 65001, "passive = true")]);
            let mut good = Scripted::establish(2, 90).await.unwrap();
            node.established("peer2").await;
            let reading = tokio::spawn(async move { while good.read().await.is_ok() {} });

            let (total, seeds) = (how_many(), seeds());
            let mut random = Random(0x9E37_79B9_7F4A_7C15);
            let mut peer = established_soon(1).await;
            let (mut sessions, mut half_time, mut times) = (1u32, (0, 0), Vec::new());
            let start = Instant::now();
            for number in 0..total {
                let seed = random.below(seeds.len());
                let octets = random.mutate(&seeds[seed]);
                if peer.send(&octets).await.is_err() || number % 16 == 0 && is_over(&mut peer) {
                    if sessions % 8 == 0 {
                        // It may be refused at any point.
                        let _ = knock(&mut random).await;
                    }
                    peer = established_soon(1).await;
                    sessions += 1;
                }
                if number % 5_000 == 0 {
                    for prefixes in [ROUTE, &[]] {
                        let wanted = routes(prefixes, Attributes::default());
                        times.push(time_to_apply(&mut node, "peer2", wanted).await);
                    }
                }
                if number == total / 2 {
                    half_time = (resident_kib(), open_files());
                }
            }
            drop(peer);
            let _peer = established_soon(1).await;
            node.established("peer1").await;
            let (memory, files) = (resident_kib(), open_files());
            let (median, longest) = (median(&mut times), times[times.len() - 1]);
            println!(
                "{total} mutated messages in {:?} through {sessions} sessions; resident {} KiB at half time, \
                 {memory} KiB at the end; {} and {files} descriptors; the other peer waited {longest:?} at most",
                start.elapsed(),
                half_time.0,
                half_time.1,
            );
            assert!(sessions > total / 5_000, "the mutations are too tame: {sessions} sessions");
            assert!(memory.saturating_sub(half_time.0) < GROWTH_KIB, "it grows");
            assert!(files <= half_time.1 + 8, "descriptors are lost");
            assert!(median < TIMELY && longest < LIMIT / 2, "{median:?}, {longest:?}");
            assert_eq!(node.summary("peer2").state, State::Established);
            assert_eq!(node.summary("peer2").established_count, 1);
            reading.abort();
        });
    });
}

/// Whether the node has closed the connection.
fn is_over(peer: &mut Scripted) -> bool {
    let mut scrap = [0; 4096];
    loop {
        match peer.stream.try_read(&mut scrap) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}
