//! A peer that sends faster than it is read: the node's one thread, as in the daemon, is not its alone.

use std::sync::mpsc as threads;
use std::thread;
use std::time::Duration;

use anycast_tests::peers::in_namespace;
use anycast_userspace::bgp::State;
use anycast_userspace::rib::{Attributes, DesiredRoutes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::oneshot;

use crate::crowd::until_update;
use crate::node::{Node, lockstep, routes};
use crate::scripted::{KEEPALIVE, Scripted, UPDATE, addresses, message};

const ROUTE: &[&str] = &["192.168.250.1/32"];
const ANNOUNCED: &[u8] = &[32, 192, 168, 250, 1];
const WITHDRAWN: &[u8] = &[0, 5, 32, 192, 168, 250, 1, 0, 0];
const ROUNDS: usize = 20;
/// The node's own KEEPALIVE is due after a third of it.
const HOLD_TIME: u16 = 6;

/// A node whose runtime has one thread, which is not the caller's; it ends with what is returned.
fn node_in_a_thread(links: &'static [(u8, &str)]) -> (Node, oneshot::Sender<()>) {
    let (ready, started) = threads::channel();
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || {
        lockstep().block_on(async {
            ready.send(Node::start(links)).unwrap();
            let _dropped = stopped.await;
        });
    });
    (started.recv().unwrap(), stop)
}

/// Sends KEEPALIVEs until the connection ends, and hears whether it is sent any: how many.
async fn flood() -> usize {
    let peer = Scripted::establish(1, HOLD_TIME).await.unwrap();
    let (reading, mut writing) = peer.stream.into_split();
    let mut reading = BufReader::new(reading);
    let many = message(KEEPALIVE, &[]).repeat(4096);
    let sends = async { while writing.write_all(&many).await.is_ok() {} };
    let mut heard = 0;
    let hears = async {
        let mut header = [0; 19];
        while reading.read_exact(&mut header).await.is_ok() {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            let mut body = vec![0; length - header.len()];
            if reading.read_exact(&mut body).await.is_err() {
                return;
            }
            heard += usize::from(header[18] == KEEPALIVE);
        }
    };
    tokio::select! {
        () = sends => {}
        () = hears => {}
    }
    heard
}

#[test]
fn a_peer_that_sends_without_end_delays_neither_the_others_nor_its_own_timers() {
    in_namespace(|| {
        addresses(1);
        addresses(2);
        let (mut node, stop) = node_in_a_thread(&[(1, "passive = true"), (2, "passive = true")]);
        let flooding = thread::spawn(|| lockstep().block_on(flood()));
        lockstep().block_on(async {
            let mut good = Scripted::establish(2, 90).await.unwrap();
            node.established("peer1").await;
            node.established("peer2").await;
            for _ in 0..ROUNDS {
                node.publish(routes(ROUTE, Attributes::default()));
                until_update(&mut good, ANNOUNCED).await;
                node.publish(DesiredRoutes::new(0));
                until_update(&mut good, WITHDRAWN).await;
            }
            // As long as two of the node's KEEPALIVEs take, and the peer's hold time.
            tokio::time::sleep(Duration::from_secs(u64::from(HOLD_TIME) + 1)).await;
            assert_eq!(node.summary("peer1").state, State::Established);
            assert_eq!(node.summary("peer1").established_count, 1);
            node.publish(routes(ROUTE, Attributes::default()));
            assert!(good.read_until(UPDATE).await.unwrap().ends_with(ANNOUNCED));
        });
        drop(node);
        drop(stop);
        let heard = flooding.join().unwrap();
        assert!(heard >= 3, "the node sent {heard} KEEPALIVEs");
    });
}
