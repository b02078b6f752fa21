//! Path MTU discovery of served flows between real stacks: a node, a router whose link to the client has a small
//! MTU, and the client. The errors of the router reach the node's stack through the program, or no large answer
//! reaches the client.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anycast_common::Reason;
use anycast_tests::netns::{Namespace, veth};
use anycast_tests::packet::{Frame, Part};
use anycast_tests::{process, wait};
use anycast_userspace::config::dataplane::{Mode, Policy};
use anycast_userspace::dataplane::{DataPlane, Desired, Service, State};
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{ip, settings};

/// Of the router's link to the client; all others have 1500.
const SMALL: u32 = 1_400;
/// Service Addresses, and the client's, by family.
const SERVED: [&str; 2] = ["192.168.250.1", "fd00:250::1"];
const CLIENTS: [&str; 2] = ["10.0.2.2", "fd00:2::2"];
const PATIENCE: Duration = Duration::from_secs(10);

struct Net {
    plane: DataPlane,
    node: Namespace,
    client: Namespace,
    _router: Namespace,
}

fn desired(unlisted: Policy) -> Desired {
    Desired {
        services: vec![Service {
            name: "dns".to_owned(),
            state: State::Up,
            addresses: SERVED.iter().map(|text| ip(text)).collect(),
            ports: vec!["udp/53".parse().unwrap(), "tcp/53".parse().unwrap()],
            unlisted,
            ..Service::default()
        }],
        ..Desired::default()
    }
}

impl Net {
    fn new(name: &str) -> Self {
        let create = |role: &str| {
            let name = format!("anycast-mtu-{}-{name}-{role}", std::process::id());
            Namespace::create(&name).unwrap()
        };
        let (node, router, client) = (create("node"), create("router"), create("client"));
        router
            .sysctl(&[
                ("net.ipv4.ip_forward", "1"),
                ("net.ipv6.conf.all.forwarding", "1"),
            ])
            .unwrap();
        veth((&node, "left"), (&router, "in")).unwrap();
        veth((&router, "out"), (&client, "right")).unwrap();
        let small = format!("link set out mtu {SMALL}");
        for (namespace, lines) in [
            (
                &node,
                &[
                    "address add 10.0.1.1/24 dev left",
                    "address add fd00:1::1/64 dev left",
                    "route add default via 10.0.1.254",
                    "route add default via fd00:1::254",
                    "address add 192.168.250.1/32 dev lo",
                    "address add fd00:250::1/128 dev lo",
                ][..],
            ),
            (
                &router,
                &[
                    "address add 10.0.1.254/24 dev in",
                    "address add fd00:1::254/64 dev in",
                    "address add 10.0.2.254/24 dev out",
                    "address add fd00:2::254/64 dev out",
                    "route add 192.168.250.0/24 via 10.0.1.1",
                    "route add fd00:250::/64 via fd00:1::1",
                    &small,
                ],
            ),
            (
                &client,
                &[
                    "address add 10.0.2.2/24 dev right",
                    "address add fd00:2::2/64 dev right",
                    "route add default via 10.0.2.254",
                    "route add default via fd00:2::254",
                ],
            ),
        ] {
            namespace.ip(lines).unwrap();
        }
        let plane = node
            .enter(|| {
                let mut plane = DataPlane::load(&settings())?;
                plane.apply(&desired(Policy::Drop))?;
                plane.attach("left", Mode::Native)?;
                Ok(plane)
            })
            .unwrap();
        Self {
            plane,
            node,
            client,
            _router: router,
        }
    }

    /// The MTU that the node's stack has learned of the path to the client, if any.
    fn learned(&self, family: usize) -> Option<u32> {
        let mut command = self.node.command("ip").unwrap();
        command.args(["route", "get", CLIENTS[family], "from", SERVED[family]]);
        let said = process::output(command).unwrap();
        let mut words = said.split_whitespace();
        words.find(|word| *word == "mtu")?;
        words.next()?.parse().ok()
    }

    fn counted(&mut self, reason: Reason) -> u64 {
        self.plane.counters().unwrap().services[0]
            .get(reason)
            .packets
    }

    /// How many bytes the client gets of a long answer over TCP.
    fn download(&self, family: usize, length: usize) -> usize {
        let address = SocketAddr::new(ip(SERVED[family]), 53);
        let listener = self.node.enter(|| Ok(TcpListener::bind(address)?)).unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Where nothing arrives, the client is the first to give up.
            stream.write_all(&vec![7; length])
        });
        let mut stream = self
            .client
            .enter(|| Ok(TcpStream::connect_timeout(&address, PATIENCE)?))
            .unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        server.join().unwrap().unwrap();
        received.len()
    }

    /// An ICMP error as a router would send it, about a first fragment (which over IPv4 is as good as a whole
    /// datagram) from `port` of the Service Address to the client.
    fn forge(&self, family: usize, port: u16) {
        let (from, to) = (ip(CLIENTS[family]), ip(SERVED[family]));
        let quoted = Frame::new(to, from)
            .part(Part::First)
            .udp(port, 4000, &[7; 64])
            .packet();
        let (domain, protocol, header, kind, code) = [
            (Domain::IPV4, Protocol::ICMPV4, 20, 3, 4),
            (Domain::IPV6, Protocol::ICMPV6, 40, 2, 0),
        ][family];
        let error = Frame::new(from, to)
            .icmp(kind, code, SMALL.to_be_bytes(), &quoted)
            .packet();
        self.client
            .enter(|| {
                let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
                socket.send_to(&error[header..], &SocketAddr::new(to, 0).into())?;
                Ok(())
            })
            .unwrap();
    }

    fn end(self) {
        self.plane.unload().unwrap();
    }
}

#[test]
fn a_download_over_tcp_gets_through_a_link_of_a_smaller_mtu() {
    let mut net = Net::new("tcp");
    for family in [0, 1] {
        assert_eq!(net.learned(family), None);
        assert_eq!(net.download(family, 300_000), 300_000);
        assert_eq!(net.learned(family), Some(SMALL));
        let errors = net.counted(Reason::IcmpError);
        assert!(errors > 0, "{errors} errors passed");
    }
    assert_eq!(net.counted(Reason::IcmpOther), 0);
    net.end();
}

#[test]
fn a_datagram_that_its_source_fragments_gets_through_a_link_of_a_smaller_mtu() {
    let mut net = Net::new("udp");
    let address = SocketAddr::new(ip(SERVED[1]), 53);
    let server = net.node.enter(|| Ok(UdpSocket::bind(address)?)).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let client = net
        .client
        .enter(|| Ok(UdpSocket::bind((ip("::"), 0))?))
        .unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    assert_eq!(net.learned(1), None);
    let mut buffer = [0; 4_096];
    // The first answer is lost, and the router says why; a resolver asks again.
    let received = wait::until("an answer", PATIENCE, || {
        client.send_to(b"query", address)?;
        let (_, asker) = server.recv_from(&mut buffer)?;
        server.send_to(&[7; 3_000], asker)?;
        Ok(client.recv(&mut buffer).ok())
    });
    let learned = (net.learned(1), net.counted(Reason::IcmpOther));
    assert_eq!(received.ok(), Some(3_000), "{learned:?}");
    assert_eq!(learned.0, Some(SMALL));
    net.end();
}

#[test]
fn an_error_that_is_not_about_a_served_flow_teaches_the_stack_nothing() {
    let mut net = Net::new("forged");
    for family in [0, 1] {
        // The stack believes errors about ports that somebody has open.
        let bind = |port| {
            let address = SocketAddr::new(ip(SERVED[family]), port);
            net.node.enter(|| Ok(UdpSocket::bind(address)?)).unwrap()
        };
        let _sockets = [bind(53), bind(54)];
        let before = net.counted(Reason::IcmpOther);
        net.forge(family, 54);
        wait::until("the error to be dropped", PATIENCE, || {
            Ok((net.counted(Reason::IcmpOther) > before).then_some(()))
        })
        .unwrap();
        assert_eq!(net.learned(family), None);
        // It is the program that has kept the error away: the stack would have believed it.
        net.plane.apply(&desired(Policy::Pass)).unwrap();
        net.forge(family, 54);
        wait::until("the stack to learn", PATIENCE, || {
            Ok((net.learned(family) == Some(SMALL)).then_some(()))
        })
        .unwrap();
        net.plane.apply(&desired(Policy::Drop)).unwrap();
    }
    net.end();
}
