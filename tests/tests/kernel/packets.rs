//! A few packets through the loaded program, and the program on a real interface.

use std::net::IpAddr;

use anycast_common::Reason;
use anycast_common::abi::Disposition;
use anycast_tests::netns::Namespace;
use anycast_tests::packet::Frame;
use anycast_userspace::config::dataplane::{DataPlane as Settings, Mode};
use anycast_userspace::dataplane::{AttachedMode, DataPlane, Desired, State};
use anyhow::{Context as _, ensure};

use crate::features::{service, settings};

/// A packet, and what must become of it.
struct Case {
    name: &'static str,
    frame: Frame,
    state: State,
    want: (Disposition, Reason),
}

fn cases([from, to, stranger]: [&str; 3]) -> Vec<Case> {
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    let frame = Frame::new(ip(from), ip(to));
    let case = |name, frame, state, disposition, reason| Case {
        name,
        frame,
        state,
        want: (disposition, reason),
    };
    let query = frame.clone().udp(4000, 53, b"query");
    vec![
        case(
            "UDP to a served port passes",
            query.clone(),
            State::Up,
            Disposition::Pass,
            Reason::Served,
        ),
        case(
            "TCP to a served port passes",
            frame.clone().syn(4000, 53),
            State::Up,
            Disposition::Pass,
            Reason::Served,
        ),
        case(
            "a query in two VLANs passes",
            query.clone().qinq(7, 8),
            State::Up,
            Disposition::Pass,
            Reason::Served,
        ),
        case(
            "UDP to another port is dropped",
            frame.clone().udp(4000, 54, b"query"),
            State::Up,
            Disposition::Drop,
            Reason::Unlisted,
        ),
        case(
            "a ping is answered",
            frame.clone().echo(1, 2, b"ping"),
            State::Up,
            Disposition::Answer,
            Reason::Echo,
        ),
        case(
            "a ping is dropped while the service is down",
            frame.clone().echo(1, 2, b"ping"),
            State::Down,
            Disposition::Drop,
            Reason::Down,
        ),
        case(
            "a query is dropped while the service is down",
            query,
            State::Down,
            Disposition::Drop,
            Reason::Down,
        ),
        case(
            "what is for another address passes",
            Frame::new(ip(from), ip(stranger)).udp(4000, 53, b"query"),
            State::Up,
            Disposition::Pass,
            Reason::NotOurs,
        ),
    ]
}

/// Runs the packets through both programs.
pub(crate) fn judge() -> anyhow::Result<()> {
    for multi_buffer in [false, true] {
        let mut plane = DataPlane::load(&Settings {
            multi_buffer,
            ..settings("packets")
        })?;
        plane.apply(&Desired {
            services: vec![service()],
            ..Desired::default()
        })?;
        for family in [
            ["10.1.1.1", "192.168.250.1", "192.168.250.9"],
            ["2001:db8:1::1", "fd00:250::1", "fd00:250::9"],
        ] {
            for case in cases(family) {
                check(&mut plane, &case)
                    .with_context(|| format!("{}, to {}", case.name, family[1]))?;
            }
        }
        plane.unload()?;
    }
    Ok(())
}

fn check(plane: &mut DataPlane, case: &Case) -> anyhow::Result<()> {
    plane.flip(0, case.state)?;
    let frame = case.frame.bytes();
    let explained = plane.explain(&frame)?;
    let found = (explained.disposition, explained.reason);
    ensure!(
        found == case.want,
        "found {found:?} instead of {:?}",
        case.want
    );
    let (action, after) = match explained.disposition {
        Disposition::Drop => (1, frame),
        Disposition::Pass => (2, frame),
        Disposition::Answer => (3, case.frame.echo_reply()),
    };
    let outcome = plane.run(&case.frame.bytes())?;
    ensure!(
        outcome.action == action,
        "XDP action {} instead of {action}",
        outcome.action
    );
    ensure!(
        outcome.frame == after,
        "the frame is {:02x?} instead of {after:02x?}",
        outcome.frame
    );
    Ok(())
}

/// Attaches both programs to a veth, in native mode.
pub(crate) fn attach() -> anyhow::Result<()> {
    let namespace = Namespace::create(&format!("anycast-kernel-{}", std::process::id()))?;
    namespace.ip(&["link add dev a type veth peer name b"])?;
    namespace.enter(|| {
        for multi_buffer in [false, true] {
            let mut plane = DataPlane::load(&Settings {
                multi_buffer,
                ..settings("attach")
            })?;
            let attachment = plane.attach("a", Mode::Native)?;
            ensure!(
                attachment.mode == AttachedMode::Native,
                "attached in generic mode: {:?}",
                attachment.fallback
            );
            plane.unload()?;
        }
        Ok(())
    })
}
