//! The program between real stacks: a client and a node in network namespaces, joined by a veth pair.
//! The client's own kernel and tools judge the answers.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anycast_common::Reason;
use anycast_userspace::config::dataplane::{DataPlane as Settings, Mode, Policy};
use anycast_userspace::dataplane::{AttachedMode, DataPlane, Desired, Service, State};
use nix::sched::{CloneFlags, setns};

use crate::support::{ip, pin, settings};
use crate::tools::{in_a_namespace, ip_tool};

pub(crate) const ROUTED: [&str; 2] = ["192.168.250.1", "fd00:250::1"];
const ON_LINK: [&str; 2] = ["192.168.251.1", "fd00:251::1"];

/// For an answer that comes at once, on a machine that may stand still.
const PATIENCE: Duration = Duration::from_secs(15);
/// For an answer that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// The client's namespace, held by a process that ends with this value.
pub(crate) struct Client(Child);

impl Client {
    pub(crate) fn new() -> Self {
        let holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let client = Self(holder);
        let own = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::fs::read_link(client.namespace()).is_ok_and(|theirs| {
            theirs == own || theirs == std::fs::read_link("/proc/self/ns/net").unwrap()
        }) {
            assert!(Instant::now() < deadline, "unshare --net does not come up");
            std::thread::yield_now();
        }
        client
    }

    /// The process that holds it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }

    /// Runs `action` with this namespace as its network.
    pub(crate) fn within<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.namespace()).unwrap();
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            done.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command to its end.
    fn run(&self, command: &str) -> Output {
        Command::new("nsenter")
            .arg(format!("--net={}", self.namespace()))
            .args(command.split(' '))
            .output()
            .unwrap()
    }

    /// What a command says, and whether it succeeds.
    pub(crate) fn says(&self, command: &str) -> (bool, String) {
        let output = self.run(command);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) struct Net {
    pub(crate) client: Client,
    pub(crate) node: DataPlane,
    /// Lets XDP_TX through: the other end of a veth pair must have a native program too.
    other_end: DataPlane,
}

/// A client's namespace, joined by a veth pair to the interface `left` of the calling thread's.
pub(crate) struct Link {
    client: Client,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self::with_mtu(1_500)
    }

    fn with_mtu(mtu: u32) -> Self {
        let link = Self {
            client: Client::new(),
        };
        ip_tool("link set lo up");
        link.client.within(|| ip_tool("link set lo up"));
        link.make(mtu);
        link
    }

    /// Makes the pair of interfaces.
    pub(crate) fn make(&self, mtu: u32) {
        ip_tool(&format!(
            "link add left mtu {mtu} type veth peer name right mtu {mtu}"
        ));
        ip_tool(&format!("link set right netns {}", self.client.0.id()));
        ip_tool("address add 10.0.0.1/24 dev left");
        ip_tool("address add fd00::1/64 dev left nodad");
        ip_tool("link set left up");
        self.client.within(|| {
            for command in [
                "address add 10.0.0.2/24 dev right",
                "address add fd00::2/64 dev right nodad",
                "link set right up",
                "route add 192.168.250.0/24 via 10.0.0.1",
                "route add fd00:250::/64 via fd00::1",
                "route add 192.168.251.0/24 dev right",
                "route add fd00:251::/64 dev right",
            ] {
                ip_tool(command);
            }
        });
    }

    /// The other end.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends datagrams, one after the other.
    pub(crate) fn send(&self, address: &str, port: u16, count: usize) {
        let target = SocketAddr::new(ip(address), port);
        self.client.within(|| {
            let any = if target.is_ipv4() {
                ip("0.0.0.0")
            } else {
                ip("::")
            };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            for _ in 0..count {
                socket.send_to(b"hello", target).unwrap();
            }
        });
    }
}

impl Net {
    fn new(desired: &Desired) -> Self {
        Self::with(&settings(), desired, 1_500)
    }

    /// With an MTU of the links' own.
    pub(crate) fn with(settings: &Settings, desired: &Desired, mtu: u32) -> Self {
        let Link { client } = Link::with_mtu(mtu);
        for address in ROUTED.iter().chain(&ON_LINK) {
            let length = if address.contains(':') { 128 } else { 32 };
            ip_tool(&format!("address add {address}/{length} dev lo"));
        }
        let mut node = DataPlane::load(settings).unwrap();
        node.apply(desired).unwrap();
        assert_eq!(
            node.attach("left", Mode::Auto).unwrap().mode,
            AttachedMode::Native
        );
        let peer = Settings {
            pin: pin(),
            ..settings.clone()
        };
        let other_end = client.within(|| {
            let mut plane = DataPlane::load(&peer).unwrap();
            plane.attach("right", Mode::Native).unwrap();
            plane
        });
        Self {
            client,
            node,
            other_end,
        }
    }

    fn ping(&self, address: &str) -> (bool, String) {
        self.client
            .says(&format!("ping -c 3 -i 0.01 -W 1 {address}"))
    }

    /// How a connection to the address ends.
    fn connect(&self, address: &str, port: u16) -> ErrorKind {
        let target = SocketAddr::new(ip(address), port);
        self.client.within(|| {
            let error = TcpStream::connect_timeout(&target, PATIENCE).unwrap_err();
            error.kind()
        })
    }

    /// How a datagram to the address is answered within `patience`.
    fn send(&self, address: &str, port: u16, patience: Duration) -> ErrorKind {
        let target = SocketAddr::new(ip(address), port);
        self.client.within(|| {
            let any: IpAddr = if target.is_ipv4() {
                ip("0.0.0.0")
            } else {
                ip("::")
            };
            let socket = UdpSocket::bind((any, 0)).unwrap();
            socket.set_read_timeout(Some(patience)).unwrap();
            socket.connect(target).unwrap();
            socket.send(b"hello").unwrap();
            socket.recv(&mut [0; 16]).unwrap_err().kind()
        })
    }

    pub(crate) fn end(self) {
        self.node.unload().unwrap();
        self.other_end.unload().unwrap();
    }
}

pub(crate) fn desired() -> Desired {
    let service = |name: &str, addresses: [&str; 2]| Service {
        name: name.to_owned(),
        state: State::Up,
        addresses: addresses.iter().map(|text| ip(text)).collect(),
        ports: vec!["udp/53".parse().unwrap(), "tcp/53".parse().unwrap()],
        unlisted: Policy::Reject,
        identity: true,
        ..Service::default()
    };
    Desired {
        services: vec![
            service("routed", ROUTED),
            Service {
                neighbor: true,
                ..service("on link", ON_LINK)
            },
        ],
        identity: Some("city-a".to_owned()),
        ..Desired::default()
    }
}

#[test]
fn real_clients_take_the_answers_for_what_they_are() {
    in_a_namespace(|| {
        let mut net = Net::new(&desired());
        for address in ROUTED {
            let (answered, said) = net.ping(address);
            assert!(answered && said.contains(" 0% packet loss"), "{said}");
            assert!(said.contains("ttl=64"), "{said}");
            assert_eq!(
                net.connect(address, 81),
                ErrorKind::ConnectionRefused,
                "{address}"
            );
            assert_eq!(
                net.send(address, 54, PATIENCE),
                ErrorKind::ConnectionRefused,
                "{address}"
            );
            for options in ["", " +noedns", " +nocookie +bufsize=512"] {
                let command =
                    format!("dig +short +tries=1 +time=10 CH TXT id.server @{address}{options}");
                let said = net.client.says(&command);
                let counted = net.node.counters().unwrap().services[0];
                assert_eq!(
                    said,
                    (true, "\"city-a\"\n".to_owned()),
                    "{command}: {counted:?}"
                );
            }
        }
        let counters = net.node.counters().unwrap().services[0];
        assert_eq!(counters.echo.packets, 6);
        assert_eq!(counters.identity.packets, 6);
        // Each was refused at its first packet.
        assert_eq!(counters.unlisted_rejected.packets, 4);

        net.node.flip(0, State::Down).unwrap();
        for address in ROUTED {
            let (answered, said) = net.ping(address);
            assert!(!answered && said.contains("100% packet loss"), "{said}");
            let answer = net.send(address, 53, SILENCE);
            assert_eq!(answer, ErrorKind::WouldBlock, "{address}");
        }
        net.end();
    });
}

#[test]
fn curl_and_dig_are_told_that_a_port_is_refused() {
    in_a_namespace(|| {
        let mut net = Net::new(&desired());
        let refused = |net: &Net, port: u16| {
            for address in ROUTED {
                let host = if address.contains(':') {
                    format!("[{address}]")
                } else {
                    address.to_owned()
                };
                // curl says by its status that it could not connect (7) or waited in vain (28). dig says of both that
                // there was no answer (9), and waits for half a minute where it is told nothing.
                for (command, status) in [
                    (format!("curl -sS --max-time 30 http://{host}:{port}/"), 7),
                    (
                        format!("dig +tries=1 +time=30 @{address} -p {port} example"),
                        9,
                    ),
                ] {
                    let start = Instant::now();
                    let output = net.client.run(&command);
                    let took = start.elapsed();
                    assert_eq!(output.status.code(), Some(status), "{command}: {output:?}");
                    assert!(took < PATIENCE, "{command}: told after {took:?}");
                }
            }
        };
        refused(&net, 81);
        let counters = net.node.counters().unwrap().services[0];
        assert!(counters.unlisted_rejected.packets >= 4, "{counters:?}");
        let mut down = desired();
        down.services[0].state = State::Down;
        down.services[0].on_down = Policy::Reject;
        net.node.apply(&down).unwrap();
        refused(&net, 53);
        let counters = net.node.counters().unwrap().services[0];
        assert!(counters.down_rejected.packets >= 4, "{counters:?}");
        net.end();
    });
}

#[test]
fn neighbours_find_a_service_that_is_up_and_lose_one_that_is_not() {
    in_a_namespace(|| {
        let mut net = Net::new(&desired());
        let link = ip_tool("-json link show left");
        let link: serde_json::Value = serde_json::from_str(&link).unwrap();
        let mac = link[0]["address"].as_str().unwrap().to_owned();
        for address in ON_LINK {
            let (answered, said) = net.ping(address);
            assert!(answered, "{said}");
            let (_, neighbours) = net.client.says(&format!("ip neighbor show {address}"));
            assert!(neighbours.contains(&mac), "{neighbours}");
        }
        let counters = net.node.counters().unwrap().services[1];
        assert!(counters.neighbor.packets >= 2, "{counters:?}");

        net.node.flip(1, State::Down).unwrap();
        for address in ON_LINK {
            net.client.says("ip neighbor flush dev right");
            let (answered, _) = net.ping(address);
            assert!(!answered);
            let (_, neighbours) = net.client.says(&format!("ip neighbor show {address}"));
            assert!(
                !neighbours.contains(&mac),
                "the stack answered: {neighbours}"
            );
        }
        let counters = net.node.counters().unwrap().services[1];
        assert!(
            counters.get(Reason::NeighborDown).packets >= 2,
            "{counters:?}"
        );
        net.end();
    });
}

#[test]
fn a_program_is_replaced_under_traffic_without_losing_a_packet() {
    in_a_namespace(|| {
        let plain = Desired {
            services: vec![Service {
                name: "routed".to_owned(),
                state: State::Up,
                addresses: ROUTED.iter().map(|text| ip(text)).collect(),
                ..Service::default()
            }],
            ..Desired::default()
        };
        let mut net = Net::new(&plain);
        let (said, writes) = std::thread::scope(|scope| {
            let client = &net.client;
            let pinging =
                scope.spawn(|| client.says(&format!("ping -c 200 -i 0.005 -W 1 {}", ROUTED[0])));
            let mut listed = plain.clone();
            listed.deny = vec!["203.0.113.0/24".parse().unwrap()];
            let mut writes = net.node.apply(&listed).unwrap();
            writes += net.node.apply(&plain).unwrap();
            (pinging.join().unwrap().1, writes)
        });
        assert_eq!(writes, 2, "a prefix comes and goes");
        assert!(said.contains(" 0% packet loss"), "{said}");
        assert!(ip_tool("link show left").contains(" xdp "));
        net.end();
    });
}
