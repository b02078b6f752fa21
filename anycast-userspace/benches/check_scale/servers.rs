//! The other side: what is checked, and who scrapes, in a process of their own.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anycast_userspace::config::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// The argument that makes this program the servers.
pub(crate) const SERVER: &str = "--serve";

/// A TCP server that answers HTTP and a DNS server; prints their ports. Then scrapes the address that it
/// reads once a second, until it is killed.
pub(crate) async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a listener");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a socket");
    let port = |address: std::io::Result<SocketAddr>| address.expect("its address").port();
    println!(
        "{} {}",
        port(listener.local_addr()),
        port(socket.local_addr())
    );
    tokio::spawn(serve_dns(socket));
    tokio::spawn(serve_http(listener));
    let line = tokio::task::spawn_blocking(|| std::io::stdin().lines().next())
        .await
        .expect("a thread that reads")
        .expect("a line")
        .expect("an address");
    let metrics = line.trim().parse().expect("an address");
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        ticks.tick().await;
        let page = scrape(metrics).await;
        assert!(page.starts_with("HTTP/1.1 200 OK"), "{page}");
    }
}

async fn serve_dns(socket: UdpSocket) {
    let mut buffer = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        // The query with the answer bit set is an answer without records.
        buffer[2] |= 0x80;
        let _ = socket.send_to(&buffer[..length], client).await;
    }
}

async fn serve_http(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            continue;
        };
        tokio::spawn(async move {
            let mut request = [0; 1024];
            if matches!(stream.read(&mut request).await, Ok(length) if length > 0) {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    .await;
            }
        });
    }
}

/// One scrape, as Prometheus does it.
pub(crate) async fn scrape(metrics: SocketAddr) -> String {
    let mut stream = TcpStream::connect(metrics).await.expect("a connection");
    let request =
        "GET /metrics HTTP/1.1\r\nHost: bench\r\nAccept: application/openmetrics-text\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a page");
    page
}

/// The process with the servers; it goes with this value.
pub(crate) struct Servers {
    child: Child,
    tcp: u16,
    udp: u16,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg(SERVER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the servers start");
        let mut line = String::new();
        let output = child.stdout.take().expect("its output");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("the ports");
        let mut ports = line
            .split_whitespace()
            .map(|port| port.parse().expect("a port"));
        let (tcp, udp) = (ports.next().expect("a port"), ports.next().expect("a port"));
        Self { child, tcp, udp }
    }

    /// Has the process scrape once a second.
    pub(crate) fn scrape(&mut self, metrics: SocketAddr) {
        let input = self.child.stdin.as_mut().expect("its input");
        writeln!(input, "{metrics}").expect("it reads");
    }

    /// The scraper ends with the first scrape that fails.
    pub(crate) fn assert_alive(&mut self) {
        let ended = self.child.try_wait().expect("its state");
        assert!(ended.is_none(), "the servers have ended: {ended:?}");
    }

    /// So many services with a tcp, an http and a dns check each.
    pub(crate) fn configuration(&self, services: usize) -> Config {
        let Self { tcp, udp, .. } = self;
        let mut text = "[node]\nname = \"bench\"\n[dataplane]\ninterfaces = [\"lo\"]\n".to_owned();
        let common = "target = \"127.0.0.1\"\ninterval = \"1s\"\ntimeout = \"1s\"";
        for index in 0..u32::try_from(services).expect("a number of services") {
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits() + index);
            let _ = write!(
                text,
                "[[services]]\nname = \"service-{index}\"\naddresses = [\"{address}\"]\nannounce = []\n\
                 [[services.checks]]\nname = \"tcp\"\ntype = \"tcp\"\nport = {tcp}\n{common}\n\
                 [[services.checks]]\nname = \"http\"\ntype = \"http\"\nport = {tcp}\nbody_contains = \"ok\"\n{common}\n\
                 [[services.checks]]\nname = \"dns\"\ntype = \"dns\"\nport = {udp}\nquery = \"city.example.\"\n{common}\n"
            );
        }
        Config::parse(&text).expect("a valid configuration")
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
