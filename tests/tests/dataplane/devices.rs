//! The daemon on devices that change under it: another MAC address, gone and made anew.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anycast_tests::wait;
use anycast_userspace::sockopt::takes_vlan_tags_off;

use crate::daemon::Daemon;
use crate::live::{Client, Link};
use crate::tools::{bpftool, in_a_namespace, ip_tool};

const WAIT: Duration = Duration::from_secs(10);
/// On the client's link: neighbours ask for it.
const ON_LINK: [&str; 2] = ["192.168.251.1", "fd00:251::1"];

/// Generic, so that answers reach the other end of the veth pair without a program there.
fn daemon() -> Daemon {
    Daemon::start_with("mode = \"generic\"", "neighbor = true", &[])
}

/// The link layer address that the client learns for an address, asking anew.
fn learned(client: &Client, address: &str) -> String {
    client.says("ip neighbor flush dev right");
    client.says(&format!("ping -c 1 -W 1 {address}"));
    let (_, said) = client.says(&format!("ip neighbor show {address}"));
    let after = said.split("lladdr ").nth(1).unwrap_or_default();
    after.split(' ').next().unwrap_or_default().to_owned()
}

fn wait_until(what: &str, daemon: &Daemon, mut holds: impl FnMut() -> bool) {
    wait::until_found(what, WAIT, || holds().then_some(()))
        .unwrap_or_else(|error| panic!("{error:#}: {}", daemon.log()));
}

fn interface(daemon: &Daemon) -> (String, String) {
    let status = daemon.json(&["status", "--json"]);
    let text = |field: &str| {
        let value = &status["interfaces"][0][field];
        value.as_str().unwrap_or_default().to_owned()
    };
    (text("mode"), text("note"))
}

#[test]
fn neighbours_are_told_the_mac_address_that_the_interface_has_now() {
    in_a_namespace(|| {
        let link = Link::new();
        let daemon = daemon();
        for mac in ["02:00:00:00:00:07", "02:00:00:00:00:08"] {
            ip_tool(&format!("link set left address {mac}"));
            for address in ON_LINK {
                let what = format!("{address} to be at {mac}");
                wait_until(&what, &daemon, || learned(link.client(), address) == mac);
            }
            assert!(daemon.log().contains(mac), "{}", daemon.log());
        }
    });
}

#[test]
fn at_the_end_no_address_that_neighbours_ask_for_outlives_the_program() {
    // Enough that removing them takes longer than looking.
    const MANY: u32 = 3_000;
    in_a_namespace(|| {
        let _link = Link::new();
        let many: Vec<String> = (0..MANY)
            .map(|n| format!("\"{}\"", Ipv4Addr::from_bits(0x0ac8_0000 + n)))
            .collect();
        let service = |name: &str, addresses: &[String]| {
            format!(
                "\n[[services]]\nname = \"{name}\"\naddresses = [{}]\nannounce = []\n",
                addresses.join(", ")
            )
        };
        let further = format!(
            "{}neighbor = true\n{}",
            service("many", &many),
            service("routed", &["\"192.168.252.1\"".to_owned()])
        );
        let daemon = Daemon::start_with("mode = \"generic\"", &further, &[]);
        let held = || ip_tool("-oneline -4 address show dev lo");
        assert_eq!(held().matches("10.200.").count(), MANY as usize);
        daemon.terminate();
        wait_until("the program to be off", &daemon, || {
            !ip_tool("link show left").contains("xdp")
        });
        let left = held().matches("10.200.").count();
        assert_eq!(left, 0, "the kernel answers for them");
        wait_until("the other addresses to go", &daemon, || {
            !held().contains("192.168.25")
        });
    });
}

#[test]
fn whether_a_device_takes_vlan_tags_off_is_what_ethtool_set() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        for (word, wanted) in [("off", false), ("on", true)] {
            let done = Command::new("ethtool")
                .args(["-K", "left", "rxvlan", word])
                .status()
                .expect("ethtool is installed");
            assert!(done.success());
            assert_eq!(takes_vlan_tags_off("left").unwrap(), wanted, "{word}");
        }
    });
}

#[test]
fn an_interface_that_is_made_anew_is_attached_to_again_and_status_says_so_meanwhile() {
    in_a_namespace(|| {
        let link = Link::new();
        let daemon = daemon();
        ip_tool("link del left");
        let gone = ("none".to_owned(), "the interface is gone".to_owned());
        wait_until("status to say that it is gone", &daemon, || {
            interface(&daemon) == gone
        });
        let (_, shown) = daemon.ask(&["status"]);
        assert!(
            shown.contains("interface left  none  (the interface is gone)"),
            "{shown}"
        );
        assert!(
            daemon.log().contains("nothing is attached"),
            "{}",
            daemon.log()
        );

        link.make(1_500);
        wait_until("status to say that it is attached", &daemon, || {
            interface(&daemon).0 == "generic"
        });
        assert!(ip_tool("link show left").contains(" xdpgeneric "));
        for address in ON_LINK {
            let (answered, said) = link.client().says(&format!("ping -c 1 -W 2 {address}"));
            assert!(answered, "{said}");
        }
    });
}

#[test]
fn a_program_that_was_taken_off_is_back_at_the_next_change_of_a_device() {
    in_a_namespace(|| {
        let _link = Link::new();
        let daemon = daemon();
        let shown = ip_tool("link show left");
        let (_, program) = shown.split_once("prog/xdp id ").expect("it is attached");
        let program: u64 = program.split(' ').next().unwrap().parse().unwrap();
        let links = bpftool(&["link", "show"]);
        let held = links
            .as_array()
            .unwrap()
            .iter()
            .find(|held| held["prog_id"] == program)
            .unwrap_or_else(|| panic!("{program}: {links}"));
        bpftool(&["link", "detach", "id", &held["id"].to_string()]);
        assert!(!ip_tool("link show left").contains("xdp"));
        ip_tool("link set left mtu 1400");
        wait_until("the program to be back", &daemon, || {
            ip_tool("link show left").contains(" xdpgeneric ")
        });
        assert_eq!(interface(&daemon).0, "generic");
    });
}
