//! Whom a listener demands a key of, asked of the kernel on the loopback interface.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::*;
use crate::bgp::settings::resolve;
use crate::config::Bgp;

/// A connection that is not set up by then meets silence.
const WAIT: Duration = Duration::from_millis(300);

fn entries(peers: &str) -> Vec<Entry> {
    let text = format!("local_as = 64512\nrouter_id = \"10.0.0.1\"\n{peers}");
    let config: Bgp = toml::from_str(&text).unwrap();
    assert_eq!(config.problems(), []);
    resolve(&config).unwrap()
}

fn peer(name: &str, place: &str, key: &str) -> String {
    format!("[[peers]]\nname = \"{name}\"\n{place}\nremote_as = 65001\n{key}\n")
}

/// Whether 127.0.0.`host` gets a connection, signing with `key`.
fn connects(host: u8, key: Option<&str>, to: SocketAddr) -> bool {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    if let Some(key) = key {
        sockopt::set_md5_key(socket.as_fd(), to.ip(), None, key.as_bytes()).unwrap();
    }
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
    socket.bind(&from.into()).unwrap();
    socket.connect_timeout(&to.into(), WAIT).is_ok()
}

#[tokio::test]
async fn the_key_of_a_prefix_is_demanded_of_its_own_peers_alone() {
    let peers = [
        peer("rack", "prefix = \"127.0.0.0/24\"", "password = \"rack\""),
        peer("open", "prefix = \"127.0.0.32/28\"", ""),
        peer("bare", "address = \"127.0.0.9\"", ""),
        peer("own", "address = \"127.0.0.10\"", "password = \"own\""),
        peer("deep", "address = \"127.0.0.33\"", "password = \"deep\""),
    ];
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = listen(loopback, &entries(&peers.concat())).unwrap();
    let to = listener.local_addr().unwrap();
    let cases = [
        ("a peer of the prefix", 8, Some("rack"), true),
        ("with another key", 8, Some("other"), false),
        ("without a key", 8, None, false),
        ("beside the peer that has none", 11, None, false),
        ("the last one", 255, None, false),
        ("a peer of its own that has none", 9, None, true),
        ("a peer of its own that has its own", 10, Some("own"), true),
        ("with that of the prefix", 10, Some("rack"), false),
        ("a prefix inside that has none", 34, None, true),
        ("a peer of its own inside that", 33, Some("deep"), true),
        ("without its key", 33, None, false),
        ("behind the prefix inside", 48, None, false),
    ];
    for (name, host, key, want) in cases {
        assert_eq!(connects(host, key, to), want, "{name}: {host}, {key:?}");
    }
}

#[test]
fn keys_of_another_kind_are_kept_apart() {
    let ao = "ao_keys = [{ send_id = 1, secret = \"x\" }]";
    let md5 = "password = \"x\"";
    // The key of 10.0.0.0/30, that of 10.0.0.1, and the parts of the prefix that get its key.
    let cases: [(&str, &str, &[&str]); 7] = [
        ("", md5, &[]),
        (md5, md5, &["10.0.0.0/30"]),
        (md5, "", &["10.0.0.0/32", "10.0.0.2/31"]),
        (md5, ao, &["10.0.0.0/32", "10.0.0.2/31"]),
        (ao, ao, &["10.0.0.0/32", "10.0.0.2/31"]),
        (ao, md5, &["10.0.0.0/32", "10.0.0.2/31"]),
        (ao, "", &["10.0.0.0/32", "10.0.0.2/31"]),
    ];
    for (outer, inner, want) in cases {
        let peers = peer("rack", "prefix = \"10.0.0.0/30\"", outer)
            + &peer("one", "address = \"10.0.0.1\"", inner);
        let entries = entries(&peers);
        let entries: Vec<&Entry> = entries.iter().collect();
        let found = signed_parts(&entries);
        let parts = found
            .iter()
            .find(|(entry, _)| *entry.settings().name == *"rack");
        let parts: Vec<String> = parts
            .into_iter()
            .flat_map(|(_, parts)| parts)
            .map(IpNet::to_string)
            .collect();
        assert_eq!(parts, want, "{outer:?} {inner:?}");
    }
}

#[test]
fn peers_by_interface_give_their_common_keys_once() {
    let leaf = |number: u8| {
        let place = format!("interface = \"eth{number}\"");
        peer(&format!("leaf{number}"), &place, "password = \"x\"")
    };
    let entries = entries(&(leaf(1) + &leaf(2)));
    let entries: Vec<&Entry> = entries.iter().collect();
    assert_eq!(signed_parts(&entries).len(), 1);
}

#[test]
fn each_listener_has_the_keys_of_those_that_may_come_to_it() {
    let at = |address: &str, device: &str| {
        let place = format!("address = \"{address}\"");
        let device = match device {
            "" => String::new(),
            name => format!("device = \"{name}\""),
        };
        peer(
            &format!("{address} {device}").replace('"', ""),
            &place,
            &device,
        )
    };
    let entries = entries(
        &[
            at("10.0.0.1", ""),
            at("10.0.0.1", "eth0"),
            at("10.0.0.2", ""),
            at("10.0.0.3", "red"),
        ]
        .concat(),
    );
    let device = |name: &str, is_vrf| {
        Some(Device {
            name: name.into(),
            is_vrf,
        })
    };
    let cases: [(Option<Device>, &[&str]); 3] = [
        (None, &["10.0.0.1 ", "10.0.0.2 "]),
        (
            device("eth0", false),
            &["10.0.0.1 device = eth0", "10.0.0.2 "],
        ),
        (device("red", true), &["10.0.0.3 device = red"]),
    ];
    for (by, want) in cases {
        let heard = heard(&entries, by.as_ref());
        let names: Vec<&str> = heard.iter().map(|entry| &*entry.settings().name).collect();
        assert_eq!(names, want, "{by:?}");
    }
}

#[tokio::test]
async fn tcp_looks_after_silent_connections_whoever_opened_them() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let here = format!("address = \"127.0.0.1\"\nport = {port}");
    let Some(Entry::Peer(settings)) = entries(&peer("r1", &here, "")).pop() else {
        panic!("one peer is configured");
    };
    let address = Ipv4Addr::LOCALHOST.into();
    let dialed = dial(Arc::new(settings.clone()), address).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    adopt(&accepted, &settings).unwrap();
    for stream in [&dialed, &accepted] {
        assert!(SockRef::from(stream).keepalive().unwrap());
    }
}
