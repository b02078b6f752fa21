//! What the data plane is measured against: programs that do next to nothing, and peers.

use super::{Case, Program, Wrapper, XDP_DROP, XDP_PASS, XDP_TX};
use crate::frames::{bytes, dns, ping, syn, to_v4, to_v6};
use crate::peers::XdpFilter;
use crate::tables::service;

pub(super) fn references() -> Vec<Case> {
    let down = || bytes(&dns(to_v4(service::DOWN)));
    let other = || bytes(&dns(to_v4(200)));
    let katran_echo = |name, what, to| {
        Case::other(name, what, Program::Katran, bytes(&ping(to)), XDP_TX).wrapped(Wrapper::Restore)
    };
    vec![
        Case::other(
            "drop",
            "a program that drops",
            Program::Drop,
            down(),
            XDP_DROP,
        ),
        Case::other(
            "floor",
            "Ethernet, IPv4, one look-up that finds, drop",
            Program::Floor,
            down(),
            XDP_DROP,
        ),
        Case::other(
            "floor-miss",
            "Ethernet, IPv4, one look-up that does not find, pass",
            Program::Floor,
            other(),
            XDP_PASS,
        ),
        Case::other(
            "xdp-filter-ip-drop",
            "xdp-filter, IP addresses only: denied destination",
            Program::XdpFilter(XdpFilter::Ip),
            down(),
            XDP_DROP,
        ),
        Case::other(
            "xdp-filter-all-pass",
            "xdp-filter, all features: nothing matches",
            Program::XdpFilter(XdpFilter::All),
            bytes(&dns(to_v4(service::UP))),
            XDP_PASS,
        ),
        Case::other(
            "xdp-filter-all-pass-tcp",
            "xdp-filter, all features: nothing matches, TCP",
            Program::XdpFilter(XdpFilter::All),
            bytes(&syn(to_v4(service::UP), 443)),
            XDP_PASS,
        ),
        Case::other(
            "xdp-filter-all-pass-v6",
            "xdp-filter, all features: nothing matches, IPv6",
            Program::XdpFilter(XdpFilter::All),
            bytes(&dns(to_v6(service::UP))),
            XDP_PASS,
        ),
        Case::other(
            "katran-pass",
            "Katran: to none of its addresses",
            Program::Katran,
            other(),
            XDP_PASS,
        ),
        katran_echo(
            "katran-echo-v4",
            "Katran: echo request, neither address nor limit checked",
            to_v4(service::UP),
        ),
        katran_echo(
            "katran-echo-v6",
            "Katran: echo request, neither address nor limit checked, IPv6",
            to_v6(service::UP),
        ),
    ]
}
