//! What holds for every frame, whatever its bytes.
#![cfg(feature = "user")]

use std::net::IpAddr;

use anycast_common::abi::{self, PortRange, Service, feature, policy};
use anycast_common::host::HostTables;
use anycast_common::{Action, checksum};
use proptest::prelude::*;

fn tables(state: u32) -> HostTables {
    let mut tables = HostTables {
        features: feature::ALL,
        mac: Some([2, 0, 0, 0, 0, 1]),
        now: 1,
        ..HostTables::default()
    };
    let mut entry = Service {
        state,
        on_down: policy::REJECT,
        unlisted: policy::REJECT,
        neighbor: 1,
        ..Service::default()
    };
    entry.ports[0] = PortRange {
        protocol: 17,
        first: 53,
        last: 53,
    };
    tables.services.insert(1, entry);
    for address in ["192.0.2.1", "2001:db8::1"] {
        tables.own(address.parse::<IpAddr>().unwrap(), 1);
    }
    tables
}

/// Any bytes behind an Ethernet header, with the address of the service where it belongs.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06], [0x81, 0x00]]);
    (
        kinds,
        prop::collection::vec(any::<u8>(), 0..200),
        any::<bool>(),
    )
        .prop_map(|(kind, rest, plausible)| {
            let mut frame = vec![2; 12];
            frame.extend(kind);
            frame.extend(rest);
            if plausible && kind == [0x08, 0x00] && frame.len() >= 34 {
                let total = u16::try_from(frame.len() - 14).unwrap();
                frame[14] = 0x45;
                frame[16..18].copy_from_slice(&total.to_be_bytes());
                frame[20..22].copy_from_slice(&[0, 0]);
                frame[23] = [1, 6, 17][usize::from(frame[23] % 3)];
                frame[30..34].copy_from_slice(&[192, 0, 2, 1]);
            }
            if plausible && kind == [0x86, 0xdd] && frame.len() >= 54 {
                let payload = u16::try_from(frame.len() - 54).unwrap();
                frame[14] = 0x60;
                frame[18..20].copy_from_slice(&payload.to_be_bytes());
                frame[20] = [58, 6, 17, 0, 43, 44, 60][usize::from(frame[20] % 7)];
                frame[38..54]
                    .copy_from_slice(&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            }
            frame
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_frame_panics_and_only_answers_are_rewritten(
        frame in frames(),
        state in prop::sample::select(vec![abi::UP, abi::DOWN, abi::LINGERING, 99]),
    ) {
        let mut after = frame.clone();
        let verdict = tables(state).run(&mut after);
        match verdict.action {
            Action::Pass | Action::Drop => prop_assert_eq!(&after, &frame),
            Action::Answer(_) => {
                prop_assert_eq!(&after[..2], &frame[6..8], "it goes back to its sender");
                if after[12..14] == [0x08, 0x00] && frame[24..26] != [0, 0] {
                    prop_assert_eq!(after[22], 64);
                }
            }
        }
    }

    #[test]
    fn any_bytes_at_all_are_judged_without_a_panic(frame in prop::collection::vec(any::<u8>(), 0..120)) {
        tables(abi::UP).run(&mut frame.clone());
    }

    #[test]
    fn the_sum_of_words_is_that_of_the_words(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let words = bytes.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
        prop_assert_eq!(checksum::sum(&bytes), words.sum::<u32>());
    }

    #[test]
    fn what_holds_for_every_frame_holds_for_random_ones(
        state in any::<u8>(),
        policies in any::<u8>(),
        limits in any::<u8>(),
        lists in any::<u8>(),
        frames in prop::collection::vec(
            (any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 14..160)),
            1..12,
        ),
    ) {
        let mut data = vec![state, policies, limits, lists];
        for (how, room, frame) in frames {
            data.extend([how, room, u8::try_from(frame.len()).unwrap()]);
            data.extend(frame);
        }
        anycast_common::exercise::frames(&data);
    }
}

/// A neighbour solicitation, and the question for the node's identity with and without EDNS: their answers are
/// longer than they are.
fn questions() -> Vec<Vec<u8>> {
    let service = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let asker = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    let ethernet = |tags: &[u8], kind: [u8; 2]| [&[2; 12][..], tags, &kind].concat();
    let v6 = |protocol: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        let header = [0x60, 0, 0, 0, 0, length, protocol, 255];
        [&header[..], &asker, &service, payload].concat()
    };
    let v4 = |payload: &[u8]| {
        let length = u8::try_from(20 + payload.len()).unwrap();
        let header = [0x45, 0, 0, length, 0, 0, 0, 0, 64, 17, 0, 0];
        [&header[..], &[10, 1, 1, 1, 192, 0, 2, 1], payload].concat()
    };
    let udp = |message: &[u8]| {
        let length = u8::try_from(8 + message.len()).unwrap();
        [&[16, 0, 0, 53, 0, length, 0, 0], message].concat()
    };
    let plain = b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x02id\x06server\0\0\x10\0\x03".to_vec();
    let mut edns = plain.clone();
    edns[11] = 1;
    edns.extend([0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 0]);
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &service].concat();
    let mut questions = Vec::new();
    for tags in [&[][..], b"\x81\0\0\x05", b"\x88\xa8\0\x05\x81\0\0\x06"] {
        questions.push([ethernet(tags, [0x86, 0xdd]), v6(58, &solicitation)].concat());
        for message in [&plain, &edns] {
            questions.push([ethernet(tags, [0x86, 0xdd]), v6(17, &udp(message))].concat());
            questions.push([ethernet(tags, [0x08, 0x00]), v4(&udp(message))].concat());
        }
    }
    questions
}

#[test]
fn an_answer_is_the_same_however_little_room_is_behind_the_frame() {
    let mut tables = tables(abi::UP);
    let name = b"\xc0\x0c\0\x10\0\x03\0\0\0\0\0\x02\x01x\0\0\x29\x04\xd0\0\0\0\0\0\0";
    let mut identity = abi::Identity {
        txt: 14,
        both: 25,
        txt_sum: 0,
        both_sum: 0,
        record: [0; abi::RECORD],
    };
    identity.record[..name.len()].copy_from_slice(name);
    tables.identity = Some(identity);
    tables.services.get_mut(&1).unwrap().identity = 1;
    for question in questions() {
        let mut wanted = question.clone();
        let verdict = tables.run(&mut wanted);
        assert!(
            matches!(verdict.action, Action::Answer(_)) && wanted.len() > question.len(),
            "{verdict:?}: {question:02x?}"
        );
        for room in 0..=128 {
            let mut answer = question.clone();
            assert_eq!(tables.run_with_tail_room(&mut answer, room), verdict);
            assert_eq!(answer, wanted, "{room} bytes of room: {question:02x?}");
        }
    }
}
