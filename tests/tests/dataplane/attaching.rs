//! Attaching to interfaces: modes, several at once, other programs.

use anycast_userspace::config::dataplane::Mode;
use anycast_userspace::dataplane::{AttachedMode, DataPlane, DataPlaneError, Desired, State};

use crate::daemon::Daemon;
use crate::live::Client;
use crate::support::settings;
use crate::tools::{in_a_namespace, ip_tool};
use crate::whole::{desired, service};

#[test]
fn attaching_takes_native_mode_where_the_driver_has_it_and_says_so_where_not() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        ip_tool("link add name br type bridge");
        let settings = settings();
        let mut plane = DataPlane::load(&settings).unwrap();

        let native = plane.attach("left", Mode::Auto).unwrap().clone();
        assert_eq!((native.mode, native.fallback), (AttachedMode::Native, None));
        assert!(
            ip_tool("link show left").contains(" xdp "),
            "ip link says that it is native"
        );

        let generic = plane.attach("br", Mode::Auto).unwrap().clone();
        assert_eq!(generic.mode, AttachedMode::Generic);
        assert!(generic.fallback.unwrap().contains("refused native mode"));
        assert!(ip_tool("link show br").contains(" xdpgeneric "));

        let error = plane.attach("br", Mode::Native).unwrap_err().to_string();
        assert!(error.contains("br"), "{error}");
        assert_eq!(
            plane.attach("missing", Mode::Auto).unwrap_err().to_string(),
            "there is no interface missing"
        );
        assert_eq!(plane.attachments().count(), 2);
        assert!(plane.detach("left") && !plane.detach("left"));
        assert!(!ip_tool("link show left").contains("xdp"));
        plane.unload().unwrap();
        assert!(!ip_tool("link show br").contains("xdp"));
    });
}

#[test]
fn the_daemon_s_status_says_that_a_driver_has_no_native_mode_and_what_is_used_instead() {
    in_a_namespace(|| {
        ip_tool("link add name left type bridge");
        let daemon = Daemon::start("", &[]);
        let status = daemon.json(&["status", "--json"]);
        let shown = &status["interfaces"][0];
        assert_eq!(
            (&shown["name"], &shown["mode"]),
            (&"left".into(), &"generic".into())
        );
        let note = shown["note"].as_str().unwrap();
        assert!(
            note.starts_with("the driver of left refused native mode: "),
            "{note}"
        );
        let (_, text) = daemon.ask(&["status"]);
        let line = format!("interface left  generic  ({note})");
        assert!(text.contains(&line), "{text}");
        assert!(ip_tool("link show left").contains(" xdpgeneric "));
    });
}

#[test]
fn another_program_on_the_interface_is_left_alone_and_named() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        let (first, second) = (settings(), settings());
        let mut holder = DataPlane::load(&first).unwrap();
        holder.attach("left", Mode::Auto).unwrap();
        let mut plane = DataPlane::load(&second).unwrap();
        let error = plane.attach("left", Mode::Auto).unwrap_err();
        assert!(matches!(error, DataPlaneError::Occupied { .. }), "{error}");
        assert!(
            error.to_string().contains("ip link set left xdp off"),
            "{error}"
        );
        plane.unload().unwrap();
        holder.unload().unwrap();
    });
}

#[test]
fn a_process_that_ends_takes_its_program_off_the_interface() {
    in_a_namespace(|| {
        ip_tool("link add left type veth peer name right");
        let settings = settings();
        let mut plane = DataPlane::load(&settings).unwrap();
        plane.attach("left", Mode::Auto).unwrap();
        assert!(ip_tool("link show left").contains("xdp"));
        // What the kernel does with the descriptors of a killed process, `drop` does here.
        drop(plane);
        assert!(!ip_tool("link show left").contains("xdp"));
        DataPlane::load(&settings).unwrap().unload().unwrap();
    });
}

#[test]
fn several_interfaces_at_once_each_in_its_mode_serve_alike_and_are_replaced_alike() {
    in_a_namespace(|| {
        let settings = settings();
        let mut plane = DataPlane::load(&settings).unwrap();
        let up = || service("up", State::Up, &["192.168.250.1"]);
        plane.apply(&desired(vec![up()])).unwrap();
        let clients: Vec<Client> = [("east", Mode::Generic), ("west", Mode::Native)]
            .into_iter()
            .enumerate()
            .map(|(place, (name, mode))| {
                let client = Client::new();
                ip_tool(&format!("link add {name} type veth peer name right"));
                ip_tool(&format!("link set right netns {}", client.id()));
                ip_tool(&format!("address add 10.0.{place}.1/24 dev {name}"));
                ip_tool(&format!("link set {name} up"));
                client.within(|| {
                    ip_tool(&format!("address add 10.0.{place}.2/24 dev right"));
                    ip_tool("link set right up");
                    ip_tool(&format!("route add 192.168.250.1 via 10.0.{place}.1"));
                });
                let attached = plane.attach(name, mode).unwrap();
                let wanted = match mode {
                    Mode::Native => AttachedMode::Native,
                    Mode::Generic | Mode::Auto => AttachedMode::Generic,
                };
                assert_eq!((attached.mode, attached.fallback.clone()), (wanted, None));
                client
            })
            .collect();
        // What leaves natively reaches a veth's other end only if a program is there too.
        let peer_settings = crate::support::settings();
        let peer = clients[1].within(|| {
            let mut plane = DataPlane::load(&peer_settings).unwrap();
            plane.attach("right", Mode::Native).unwrap();
            plane
        });
        let ping = |client: &Client| {
            let (answered, said) = client.says("ping -c 3 -i 0.01 -W 1 192.168.250.1");
            assert!(answered && said.contains(" 0% packet loss"), "{said}");
        };
        clients.iter().for_each(ping);
        assert_eq!(plane.counters().unwrap().services[0].echo.packets, 6);
        let listed = Desired {
            deny: vec!["203.0.113.0/24".parse().unwrap()],
            ..desired(vec![up()])
        };
        plane.apply(&listed).unwrap();
        clients.iter().for_each(ping);
        assert_eq!(plane.counters().unwrap().services[0].echo.packets, 12);
        assert_eq!(plane.attachments().count(), 2);
        plane.unload().unwrap();
        for name in ["east", "west"] {
            assert!(!ip_tool(&format!("link show {name}")).contains("xdp"));
        }
        peer.unload().unwrap();
    });
}

#[test]
fn an_interface_that_is_gone_does_not_take_the_others_with_it_when_the_program_is_replaced() {
    in_a_namespace(|| {
        for name in ["first", "second", "third"] {
            ip_tool(&format!("link add {name} type veth peer name {name}-peer"));
        }
        let mut plane = DataPlane::load(&settings()).unwrap();
        let up = || service("up", State::Up, &["192.168.250.1"]);
        plane.apply(&desired(vec![up()])).unwrap();
        for name in ["first", "second", "third"] {
            plane.attach(name, Mode::Native).unwrap();
        }
        let program = |name: &str| -> String {
            let shown = ip_tool(&format!("link show {name}"));
            let (_, id) = shown.split_once("prog/xdp id ").expect("it is attached");
            id.split_whitespace().next().unwrap().to_owned()
        };
        let before = program("third");
        ip_tool("link del second");
        let listed = Desired {
            deny: vec!["203.0.113.0/24".parse().unwrap()],
            ..desired(vec![up()])
        };
        plane.apply(&listed).unwrap_err();
        program("first");
        assert_eq!(program("third"), before, "not replaced, and still there");
        assert_eq!(plane.attachments().count(), 3);

        assert!(plane.detach("second"));
        plane.apply(&listed).unwrap();
        assert_ne!(program("third"), before);
        assert_eq!(program("first"), program("third"));
        plane.unload().unwrap();
        assert!(!ip_tool("link show first").contains("xdp"));
    });
}
