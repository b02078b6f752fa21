//! The cases, by what they are about.

use anycast_common::Reason;
use anycast_common::abi::feature;

use super::{Case, Wrapper, XDP_DROP, XDP_PASS, XDP_TX};
use crate::frames::{
    arp, at_least, bytes, dns, from_denied, identity, lldp, ping, solicitation, syn, to_v4, to_v6,
};
use crate::tables::{Tables, service};

pub(super) fn passes() -> Vec<Case> {
    let pass = |name, what, frame, reason| Case::anycast(name, what, frame, XDP_PASS, reason);
    let up4 = || to_v4(service::UP);
    let up6 = || to_v6(service::UP);
    let (ours, served) = (Reason::NotOurs, Reason::Served);
    vec![
        pass("not-ip", "link layer discovery", lldp(), Reason::NotIp),
        pass(
            "not-ours-v4",
            "to no Service Address",
            bytes(&dns(to_v4(200))),
            ours,
        ),
        pass(
            "not-ours-v6",
            "to no Service Address, IPv6",
            bytes(&dns(to_v6(200))),
            ours,
        ),
        pass(
            "not-ours-arp",
            "ARP, the feature off",
            arp(200),
            Reason::NotIp,
        ),
        pass(
            "not-ours-v4/all",
            "as not-ours-v4, all features on",
            bytes(&dns(to_v4(200))),
            ours,
        )
        .with(feature::ALL),
        pass(
            "not-ours-v6/all",
            "as not-ours-v6, all features on",
            bytes(&dns(to_v6(200))),
            ours,
        )
        .with(feature::ALL),
        pass("not-ours-arp/on", "ARP for another address", arp(200), ours).with(feature::NEIGHBOR),
        pass(
            "served-udp4",
            "UDP to a served port",
            bytes(&dns(up4())),
            served,
        ),
        pass(
            "served-tcp4",
            "TCP to the last of four ports",
            bytes(&syn(up4(), 443)),
            served,
        ),
        pass("served-udp6", "UDP over IPv6", bytes(&dns(up6())), served),
        pass(
            "served-tcp6",
            "TCP over IPv6",
            bytes(&syn(up6(), 443)),
            served,
        ),
        pass(
            "served-vlan",
            "UDP, one tag",
            bytes(&dns(up4().vlan(7))),
            served,
        ),
        pass(
            "served-qinq",
            "UDP, two tags",
            bytes(&dns(up4().qinq(8, 7))),
            served,
        ),
        pass(
            "served-options",
            "UDP, IPv4 options",
            bytes(&dns(up4().options(&[1; 4]))),
            served,
        ),
        pass(
            "served-extension",
            "UDP over IPv6 behind destination options",
            bytes(&dns(up6().extension(60, 0))),
            served,
        ),
        pass(
            "served-udp4/all",
            "as served-udp4, all features on",
            bytes(&dns(up4())),
            served,
        )
        .with(feature::ALL),
        pass(
            "served-tcp4/all",
            "as served-tcp4, all features on",
            bytes(&syn(up4(), 443)),
            served,
        )
        .with(feature::ALL),
        pass(
            "served-udp6/all",
            "as served-udp6, all features on",
            bytes(&dns(up6())),
            served,
        )
        .with(feature::ALL),
        pass(
            "served-udp4/everything",
            "all features on and used by the service",
            bytes(&dns(to_v4(service::EVERYTHING))),
            served,
        )
        .with(feature::ALL),
    ]
}

pub(super) fn drops() -> Vec<Case> {
    let down4 = || bytes(&dns(to_v4(service::DOWN)));
    let down6 = || bytes(&dns(to_v6(service::DOWN)));
    let drop = |name, what, frame, reason| Case::anycast(name, what, frame, XDP_DROP, reason);
    let syn22 = || bytes(&syn(to_v4(service::UP), 22));
    vec![
        drop(
            "down-v4",
            "to a service that is down",
            down4(),
            Reason::Down,
        ),
        drop(
            "down-v6",
            "to a service that is down, IPv6",
            down6(),
            Reason::Down,
        ),
        drop(
            "down-v4/all",
            "as down-v4, all features on",
            down4(),
            Reason::Down,
        )
        .with(feature::ALL),
        drop(
            "down-v6/all",
            "as down-v6, all features on",
            down6(),
            Reason::Down,
        )
        .with(feature::ALL),
        drop(
            "unlisted",
            "to a port that is not served",
            syn22(),
            Reason::Unlisted,
        ),
        drop(
            "unlisted/all",
            "as unlisted, all features on",
            syn22(),
            Reason::Unlisted,
        )
        .with(feature::ALL),
    ]
}

pub(super) fn answers() -> Vec<Case> {
    let answer = |name, what, frame, reason| Case::anycast(name, what, frame, XDP_TX, reason);
    let echo =
        |name, what, frame| answer(name, what, frame, Reason::Echo).wrapped(Wrapper::Restore);
    let plain = Wrapper::RestoreLength { prepended: 0 };
    let ping4 = |number| ping(to_v4(number)).bytes();
    let ping6 = |number| ping(to_v6(number)).bytes();
    let limits = feature::SERVICE_LIMITS;
    let rejects = feature::REJECT | feature::SERVICE_LIMITS;
    let refused = Reason::UnlistedRejected;
    vec![
        echo("echo-v4", "echo request, no limit", ping4(service::UP)),
        echo(
            "echo-v6",
            "echo request, no limit, IPv6",
            ping6(service::UP),
        ),
        echo(
            "echo-v4/limit",
            "echo request, within its limit",
            ping4(service::ECHO_LIMIT),
        )
        .with(limits),
        echo(
            "echo-v6/limit",
            "echo request, within its limit, IPv6",
            ping6(service::ECHO_LIMIT),
        )
        .with(limits),
        echo(
            "echo-v4/all",
            "as echo-v4/limit, all features on",
            ping4(service::ECHO_LIMIT),
        )
        .with(feature::ALL),
        answer(
            "arp",
            "ARP request",
            at_least(arp(service::NEIGHBOR), 64),
            Reason::Neighbor,
        )
        .with(feature::NEIGHBOR)
        .wrapped(Wrapper::Restore),
        answer(
            "nd",
            "neighbour solicitation",
            at_least(solicitation(service::NEIGHBOR), 88),
            Reason::Neighbor,
        )
        .with(feature::NEIGHBOR)
        .wrapped(plain),
        answer(
            "identity-v4",
            "CH TXT id.server",
            identity(to_v4(service::IDENTITY)).bytes(),
            Reason::Identity,
        )
        .with(feature::IDENTITY)
        .wrapped(plain),
        answer(
            "identity-v6",
            "CH TXT id.server, IPv6",
            identity(to_v6(service::IDENTITY)).bytes(),
            Reason::Identity,
        )
        .with(feature::IDENTITY)
        .wrapped(plain),
        answer(
            "reset-v4",
            "TCP to a port that is rejected",
            at_least(syn(to_v4(service::REJECTS), 22).bytes(), 64),
            refused,
        )
        .with(rejects)
        .wrapped(plain),
        answer(
            "reset-v6",
            "TCP to a port that is rejected, IPv6",
            at_least(syn(to_v6(service::REJECTS), 22).bytes(), 88),
            refused,
        )
        .with(rejects)
        .wrapped(plain),
        answer(
            "unreachable-v4",
            "UDP to a port that is rejected",
            to_v4(service::REJECTS).udp(40_000, 54, &[0; 32]).bytes(),
            refused,
        )
        .with(rejects)
        .wrapped(Wrapper::RestoreLength { prepended: 28 }),
        answer(
            "unreachable-v6",
            "UDP to a port that is rejected, IPv6",
            to_v6(service::REJECTS).udp(40_000, 54, &[0; 32]).bytes(),
            refused,
        )
        .with(rejects)
        .wrapped(Wrapper::RestoreLength { prepended: 48 }),
    ]
}

pub(super) fn limits() -> Vec<Case> {
    let frame = |number| bytes(&dns(to_v4(number)));
    let mut exceeded = Case::anycast(
        "packet-limit/over",
        "over the limit of packets",
        frame(service::EXCEEDED),
        XDP_DROP,
        Reason::ServiceLimited,
    )
    .with(feature::SERVICE_LIMITS);
    exceeded.first_differ = 1;
    vec![
        Case::anycast(
            "packet-limit",
            "served, within the limit of packets",
            frame(service::PACKET_LIMIT),
            XDP_PASS,
            Reason::Served,
        )
        .with(feature::SERVICE_LIMITS),
        exceeded,
        Case::anycast(
            "source-limit",
            "served, within the source's limit",
            frame(service::SOURCE_LIMIT),
            XDP_PASS,
            Reason::Served,
        )
        .with(feature::SOURCE_LIMITS),
        Case::anycast(
            "source-limit-v6",
            "served, within the source's limit, IPv6",
            bytes(&dns(to_v6(service::SOURCE_LIMIT))),
            XDP_PASS,
            Reason::Served,
        )
        .with(feature::SOURCE_LIMITS),
    ]
}

pub(super) fn lists() -> Vec<Case> {
    let many = Tables {
        denied: 1_000_000,
        ..Tables::SMALL
    };
    let miss = |name, what| {
        let frame = bytes(&dns(to_v4(service::UP)));
        Case::anycast(name, what, frame, XDP_PASS, Reason::Served).with(feature::LISTS)
    };
    let hit = |name, what| {
        let frame = bytes(&dns(from_denied(service::UP)));
        Case::anycast(name, what, frame, XDP_DROP, Reason::Denied).with(feature::LISTS)
    };
    vec![
        miss(
            "list-miss",
            "served, the source is not in the list of 1 prefix",
        ),
        hit("list-hit", "the source is in the list of 1 prefix"),
        miss(
            "list-miss/1M",
            "served, the source is not in the list of 1,000,000 prefixes",
        )
        .over(many),
        hit(
            "list-hit/1M",
            "the source is in the list of 1,000,000 prefixes",
        )
        .over(many),
    ]
}

pub(super) fn sizes() -> Vec<Case> {
    let mut all = Vec::new();
    for (further, names) in [
        (10, ["down-v4/10", "served-udp4/10", "spread/10"]),
        (10_000, ["down-v4/10k", "served-udp4/10k", "spread/10k"]),
        (1_000_000, ["down-v4/1M", "served-udp4/1M", "spread/1M"]),
    ] {
        let tables = Tables {
            further,
            ..Tables::SMALL
        };
        let down = || bytes(&dns(to_v4(service::DOWN)));
        let up = bytes(&dns(to_v4(service::UP)));
        let [at_down, at_up, spread] = names;
        all.push(
            Case::anycast(
                at_down,
                "down-v4 among so many addresses",
                down(),
                XDP_DROP,
                Reason::Down,
            )
            .over(tables),
        );
        all.push(
            Case::anycast(
                at_up,
                "served-udp4 among so many addresses",
                up,
                XDP_PASS,
                Reason::Served,
            )
            .over(tables),
        );
        all.push(
            Case::anycast(
                spread,
                "down, another of so many addresses each time",
                at_least(down(), 64),
                XDP_DROP,
                Reason::Down,
            )
            .over(tables)
            .wrapped(Wrapper::Spread),
        );
    }
    all
}
