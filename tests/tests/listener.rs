//! The `listener` check on the real kernel: sockets are opened, shared, handed over and closed, and
//! what the check reports is compared with what happened. Needs root.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anycast_userspace::listener::{Port, Report, Settings, Watched, Watcher};
use aya::maps::{Array, Map, MapData};
use tokio::sync::mpsc;

#[path = "listener/data_plane.rs"]
mod data_plane;
#[path = "listener/deaths.rs"]
mod deaths;
#[path = "listener/hand_over.rs"]
mod hand_over;
#[path = "listener/latency.rs"]
mod latency;
#[path = "listener/namespaces.rs"]
mod namespaces;
#[path = "listener/nsd.rs"]
mod nsd;

const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than the interval at which everything is read. An event is mostly handled within it, unless the machine
/// stands still.
const SOON: Duration = Duration::from_millis(500);
/// What waits two resyncs out.
const RESYNCED: Duration = Duration::from_millis(2200);

/// A watcher of one check, and its reports.
struct Watch {
    _watcher: Watcher,
    reports: mpsc::Receiver<Report>,
}

impl Watch {
    fn start(settings: Settings) -> Self {
        let (sender, reports) = mpsc::channel(64);
        let _watcher = Watcher::spawn(settings, sender).expect("root and a kernel from 5.9 on");
        Self { _watcher, reports }
    }

    fn of(addresses: &[IpAddr], ports: &[Port]) -> Self {
        Self::start(settings(addresses, ports))
    }

    async fn next(&mut self) -> Report {
        tokio::time::timeout(PATIENCE, self.reports.recv())
            .await
            .expect("a report in time")
            .expect("the watcher runs")
    }

    async fn pass(&mut self) -> Report {
        let report = self.next().await;
        assert!(report.outcome.passed(), "{report:?}");
        report
    }

    async fn fail(&mut self) -> Report {
        let report = self.next().await;
        assert!(!report.outcome.passed(), "{report:?}");
        report
    }

    async fn stays_silent(&mut self, time: Duration) {
        if let Ok(report) = tokio::time::timeout(time, self.reports.recv()).await {
            panic!("nothing was to be reported: {report:?}");
        }
    }
}

fn settings(addresses: &[IpAddr], ports: &[Port]) -> Settings {
    Settings {
        watched: vec![Watched {
            service: 3,
            check: 1,
            dataplane: None,
            addresses: addresses.to_vec(),
            ports: ports.to_vec(),
        }],
        ..Settings::default()
    }
}

/// A loopback address that no other test uses.
fn own_address() -> IpAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    Ipv4Addr::new(127, process[2] | 1, process[3], last).into()
}

fn any(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, 0)
}

fn udp_port(socket: &UdpSocket) -> Port {
    Port::udp(socket.local_addr().unwrap().port())
}

fn tcp_port(socket: &TcpListener) -> Port {
    Port::tcp(socket.local_addr().unwrap().port())
}

/// A map as the data plane pins it, with more in an entry than its state; gone when dropped.
struct Services {
    directory: PathBuf,
    map: Array<MapData, [u32; 30]>,
}

const ID: u32 = 2;
const UP: u32 = 1;
const DOWN: u32 = 4;

impl Services {
    fn pinned(name: &str) -> Self {
        let directory = PathBuf::from(format!(
            "/sys/fs/bpf/listener-{}-{name}",
            std::process::id()
        ));
        std::fs::create_dir(&directory).unwrap();
        let pin = directory.join("SERVICES");
        let made = Command::new("bpftool")
            .args(["map", "create"])
            .arg(&pin)
            .args(["type", "array", "key", "4", "value", "120"])
            .args(["entries", "8", "name", "SERVICES"])
            .status()
            .expect("bpftool is installed");
        assert!(made.success());
        let map = Map::Array(MapData::from_pin(&pin).unwrap());
        let mut services = Self {
            directory,
            map: map.try_into().unwrap(),
        };
        services.set(UP);
        services
    }

    fn pin(&self) -> PathBuf {
        self.directory.join("SERVICES")
    }

    fn set(&mut self, state: u32) {
        let mut entry = [0xaaaa_aaaa; 30];
        entry[0] = state;
        self.map.set(ID, entry, 0).unwrap();
    }

    fn state(&self) -> u32 {
        let entry = self.map.get(&ID, 0).unwrap();
        assert!(entry[1..].iter().all(|word| *word == 0xaaaa_aaaa));
        entry[0]
    }

    fn settings(&self, addresses: &[IpAddr], ports: &[Port]) -> Settings {
        let mut settings = settings(addresses, ports);
        settings.watched[0].dataplane = Some(ID);
        settings.services_pin = Some(self.pin());
        settings
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _unpinned = std::fs::remove_dir_all(&self.directory);
    }
}

/// A process that holds a socket as its standard input; killed when dropped.
struct Holder(Child);

impl Holder {
    fn of(socket: impl Into<OwnedFd>) -> Self {
        Self(
            Command::new("sleep")
                .arg("1000")
                .stdin(Stdio::from(socket.into()))
                .spawn()
                .unwrap(),
        )
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_udp_socket_fails_the_check_at_once() {
    let address = own_address();
    let socket = UdpSocket::bind(any(address)).unwrap();
    let port = udp_port(&socket);
    let mut watch = Watch::of(&[address], &[port]);
    let report = watch.pass().await;
    assert_eq!((report.service, report.check), (3, 1));
    assert_eq!(report.outcome.detail(), format!("{port}: 1 socket"));
    let closed = Instant::now();
    drop(socket);
    let report = watch.fail().await;
    assert!(closed <= report.at, "{report:?}");
    // Only the release itself tells who closed it: a reading finds the socket gone, and no name.
    let words = report.outcome.detail();
    assert!(
        words.starts_with(&format!("no socket serves {port} on {address}; "))
            && words.ends_with(&format!(
                "(process {}) released the last one",
                std::process::id()
            )),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_tcp_listener_takes_the_service_down_in_the_data_plane() {
    let address = own_address();
    let services = Services::pinned("tcp");
    let socket = TcpListener::bind(any(address)).unwrap();
    let mut watch = Watch::start(services.settings(&[address], &[tcp_port(&socket)]));
    watch.pass().await;
    // One close() after the pass was reported: the bind has long been looked at.
    let closed = Instant::now();
    drop(socket);
    assert_eq!(services.state(), DOWN, "before close() returned");
    let report = watch.fail().await;
    let down = report.dataplane_down.expect("the program wrote the state");
    assert!(closed <= report.at && report.at <= down, "{report:?}");
    watch.stays_silent(RESYNCED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_serving_state_is_overwritten() {
    for state in 0..8 {
        let address = own_address();
        let mut services = Services::pinned(&format!("state{state}"));
        services.set(state);
        let socket = UdpSocket::bind(any(address)).unwrap();
        let mut watch = Watch::start(services.settings(&[address], &[udp_port(&socket)]));
        watch.pass().await;
        drop(socket);
        let report = watch.fail().await;
        // Up, degraded and draining.
        let serving = (1..=3).contains(&state);
        assert_eq!(services.state(), if serving { DOWN } else { state });
        assert_eq!(report.dataplane_down.is_some(), serving, "state {state}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_may_not_touch_the_data_plane_does_not() {
    let address = own_address();
    let services = Services::pinned("hands-off");
    let socket = UdpSocket::bind(any(address)).unwrap();
    let mut settings = services.settings(&[address], &[udp_port(&socket)]);
    settings.watched[0].dataplane = None;
    let mut watch = Watch::start(settings);
    watch.pass().await;
    drop(socket);
    assert_eq!(watch.fail().await.dataplane_down, None);
    assert_eq!(services.state(), UP);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_do_not_serve_the_endpoint_change_nothing() {
    let address = own_address();
    let socket = UdpSocket::bind(any(address)).unwrap();
    let port = udp_port(&socket);
    let mut watch = Watch::of(&[address], &[port]);
    watch.pass().await;
    drop(TcpListener::bind((address, port.number)).unwrap());
    drop(UdpSocket::bind((own_address(), port.number)).unwrap());
    drop(UdpSocket::bind(any(address)).unwrap());
    watch.stays_silent(RESYNCED).await;
    drop(socket);
    watch.fail().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_tcp_socket_counts_once_it_listens_and_until_it_stops() {
    use socket2::{Domain, Socket, Type};
    let address = own_address();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&any(address).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    let mut watch = Watch::of(&[address], &[Port::tcp(port)]);
    watch.fail().await;
    watch.stays_silent(SOON).await;
    socket.listen(1).unwrap();
    watch.pass().await;
    // Not released, but it takes no connections any more: found by the next reading.
    socket.shutdown(std::net::Shutdown::Both).unwrap();
    watch.fail().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connected_udp_socket_serves_nobody() {
    let address = own_address();
    let client = UdpSocket::bind(any(address)).unwrap();
    client.connect((address, 9)).unwrap();
    let mut watch = Watch::of(&[address], &[udp_port(&client)]);
    watch.fail().await;
    watch.stays_silent(SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_port_and_address_must_be_served() {
    let (one, two) = (own_address(), own_address());
    let udp = UdpSocket::bind(any(one)).unwrap();
    let port = udp_port(&udp);
    let tcp = TcpListener::bind((one, port.number)).unwrap();
    let mut watch = Watch::of(&[one, two], &[port, tcp_port(&tcp)]);
    let report = watch.fail().await;
    let (udp_on, tcp_on) = (
        format!("{port} on {two}"),
        format!("{} on {two}", tcp_port(&tcp)),
    );
    assert_eq!(
        report.outcome.detail(),
        format!("no socket serves {udp_on}, {tcp_on}")
    );
    let _udp_two = UdpSocket::bind((two, port.number)).unwrap();
    let tcp_two = TcpListener::bind((two, port.number)).unwrap();
    watch.pass().await;
    drop(tcp_two);
    let report = watch.fail().await;
    assert!(report.outcome.detail().contains(&tcp_on), "{report:?}");
    assert!(!report.outcome.detail().contains(&udp_on), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wildcard_sockets_serve_their_family_and_ipv4_too_unless_told_otherwise() {
    use socket2::{Domain, Socket, Type};
    let (v4, v6) = (own_address(), IpAddr::from(Ipv6Addr::LOCALHOST));
    for (name, only_v6, addresses, passes) in [
        ("dual stack", false, vec![v4, v6], true),
        ("IPv6 only, for IPv6", true, vec![v6], true),
        ("IPv6 only, for both", true, vec![v4, v6], false),
    ] {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None).unwrap();
        socket.set_only_v6(only_v6).unwrap();
        socket
            .bind(&any(Ipv6Addr::UNSPECIFIED.into()).into())
            .unwrap();
        let port = Port::udp(socket.local_addr().unwrap().as_socket().unwrap().port());
        let mut watch = Watch::of(&addresses, &[port]);
        assert_eq!(watch.next().await.outcome.passed(), passes, "{name}");
        drop(socket);
        if passes {
            watch.fail().await;
        }
    }
    let socket = TcpListener::bind(any(Ipv4Addr::UNSPECIFIED.into())).unwrap();
    let mut watch = Watch::of(&[v4], &[tcp_port(&socket)]);
    watch.pass().await;
    drop(socket);
    watch.fail().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_socket_takes_over_where_an_address_loses_its_own() {
    let address = own_address();
    let services = Services::pinned("take-over");
    let wildcard = reusable(any(Ipv4Addr::UNSPECIFIED.into()));
    let port = udp_port(&wildcard);
    let own = reusable(SocketAddr::new(address, port.number));
    let mut watch = Watch::start(services.settings(&[address], &[port]));
    watch.pass().await;
    drop(own);
    watch.stays_silent(SOON).await;
    assert_eq!(services.state(), UP);
    drop(wildcard);
    assert!(watch.fail().await.dataplane_down.is_some());
}

/// A UDP socket that shares its port (`SO_REUSEPORT`).
fn reusable(address: SocketAddr) -> UdpSocket {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

#[test]
fn a_missing_data_plane_map_is_named() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let (sender, _reports) = mpsc::channel(1);
    let error = Watcher::spawn(
        Settings {
            services_pin: Some(Path::new("/sys/fs/bpf/listener-none/SERVICES").to_owned()),
            ..Settings::default()
        },
        sender,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the data plane's map is not pinned at /sys/fs/bpf/listener-none/SERVICES"
    );
}
