//! Authentication (RFC 5880 §6.7) with BIRD, which has every type of it.

use std::time::Duration;

use anycast_tests::peers::Router;
use anycast_tests::peers::in_namespace;
use anycast_userspace::bfd::auth::Key;
use anycast_userspace::bfd::{EventKind, State};
use anycast_userspace::config::bfd::AuthType;

use crate::bird::Bird;
use crate::daemon::{ADDRESSES, BfdDaemon as _, PATIENT, patient, router};
use crate::node::{NOTICED, Node};

/// Each type, and BIRD's words for it.
const TYPES: [(AuthType, &str); 5] = [
    (AuthType::Simple, "simple"),
    (AuthType::KeyedMd5, "keyed md5"),
    (AuthType::MeticulousKeyedMd5, "meticulous keyed md5"),
    (AuthType::KeyedSha1, "keyed sha1"),
    (AuthType::MeticulousKeyedSha1, "meticulous keyed sha1"),
];

/// BIRD with one session over IPv4 at 50 ms × [`PATIENT`], and this in its interface.
fn bird(router: &Router, authentication: &str) -> Bird {
    let (node, bird) = ADDRESSES[0];
    let protocol = format!(
        "protocol bfd {{\n\
         \x20interface \"router1\" {{\n\
         \x20 min rx interval 50 ms;\n\x20 min tx interval 50 ms;\n\x20 multiplier {PATIENT};\n\
         {authentication}\x20}};\n\
         \x20neighbor {node} dev \"router1\" local {bird};\n}}\n"
    );
    Bird::start_with(router, &protocol).expect("BIRD starts")
}

fn with_password(words: &str) -> String {
    format!(" authentication {words};\n password \"sesame\" {{ id 7; }};\n")
}

fn key(kind: AuthType, id: u8, secret: &str) -> Option<Key> {
    Some(Key::new(kind, id, secret.as_bytes()).expect("a key"))
}

fn comes_up_and_stays(kind: AuthType, words: &'static str) {
    in_namespace(move || {
        let router = router().expect("a router");
        let mut bird = bird(&router, &with_password(words));
        let key = key(kind, 7, "sesame");
        let mut node = Node::start_with_key(1, &patient(), key.as_ref()).expect("BFD starts");
        node.wait_until_up().expect("the session comes up");
        bird.wait_for_single(true).expect("BIRD says so too");
        node.nothing_happens_for(Duration::from_secs(3))
            .expect("it stays up");
        let session = &node.status().sessions[0];
        assert_eq!(session.authentication, Some(kind));
        assert_eq!(session.authentication_error, None);
        // BIRD begins again with another sequence number.
        bird.kill();
        node.wait_for_each(|kind| matches!(kind, EventKind::Down(_)), NOTICED)
            .expect("the end is noticed");
        bird.restart().expect("BIRD starts again");
        node.wait_until_up().expect("the session comes up again");
        node.nothing_happens_for(Duration::from_secs(1))
            .expect("it stays up");
    });
}

#[test]
fn simple_passwords_agree() {
    let (kind, words) = TYPES[0];
    comes_up_and_stays(kind, words);
}

#[test]
fn keyed_md5_agrees() {
    let (kind, words) = TYPES[1];
    comes_up_and_stays(kind, words);
}

#[test]
fn meticulous_keyed_md5_agrees() {
    let (kind, words) = TYPES[2];
    comes_up_and_stays(kind, words);
}

#[test]
fn keyed_sha1_agrees() {
    let (kind, words) = TYPES[3];
    comes_up_and_stays(kind, words);
}

#[test]
fn meticulous_keyed_sha1_agrees() {
    let (kind, words) = TYPES[4];
    comes_up_and_stays(kind, words);
}

#[test]
fn what_does_not_agree_is_discarded_counted_and_named() {
    let md5 = AuthType::KeyedMd5;
    let sha1 = AuthType::MeticulousKeyedSha1;
    // BIRD's side, our key, and a part of what the status says.
    let cases = [
        (
            with_password("keyed md5"),
            key(md5, 7, "simsalabim"),
            "another secret",
        ),
        (
            with_password("simple"),
            key(AuthType::Simple, 7, "simsalabim"),
            "another secret",
        ),
        (
            with_password("meticulous keyed sha1"),
            key(sha1, 7, "Sesame"),
            "another secret",
        ),
        (
            with_password("keyed md5"),
            key(md5, 8, "sesame"),
            "key id 7",
        ),
        (with_password("keyed sha1"), key(md5, 7, "sesame"), "type 4"),
        (
            String::new(),
            key(md5, 7, "sesame"),
            "does not authenticate",
        ),
        (with_password("keyed md5"), None, "no key is configured"),
    ];
    in_namespace(move || {
        let router = router().expect("a router");
        for (authentication, key, reason) in cases {
            let bird = bird(&router, &authentication);
            let mut node = Node::start_with_key(1, &patient(), key.as_ref()).expect("BFD starts");
            node.wait_for_status(|session| {
                session.packets.authentication >= 2
                    && session
                        .authentication_error
                        .as_ref()
                        .is_some_and(|error| error.contains(reason))
            })
            .expect(reason);
            node.nothing_happens_for(Duration::from_millis(500))
                .expect(reason);
            assert_eq!(node.states(), [State::Down], "{reason}");
            assert_eq!(node.status().sessions[0].packets.received, 0, "{reason}");
            bird.wait_for_single(false).expect(reason);
            node.block_on(node.manager.shutdown(Duration::from_secs(1)));
        }
    });
}
